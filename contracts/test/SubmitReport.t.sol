// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SlaSettlement} from "../src/SlaSettlement.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {Bls12381} from "../src/libraries/Bls12381.sol";
import {Committee} from "../src/libraries/Committee.sol";
import {BlsSigner} from "./utils/BlsSigner.sol";
import {Fixture} from "./utils/Fixture.sol";

contract SubmitReportTest is Fixture {
    uint256 internal constant ALL = 0xf;

    function setUp() public {
        deployWithCommittee(4);
        vm.warp(endOf(0));
    }

    function failure(bytes4 selector, uint256 a) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, a);
    }

    function certificateFails(Report memory r, uint256 bitmap, bytes memory signature) private {
        vm.expectRevert(ISlaSettlement.InvalidCertificate.selector);
        settlement.submitReport(r, bitmap, signature);
    }

    function test_a_signed_report_is_accepted() public {
        Report memory r = report(0);
        r.view_ = 3;
        bytes memory signature = signReport(r, ALL);
        (bool any, uint64 epoch, bytes32 digest) = settlement.lastAccepted();
        vm.assertFalse(any);
        vm.assertEq(digest, bytes32(0));

        vm.expectEmit(address(settlement));
        emit ISlaSettlement.ReportAccepted(0, digestOf(r), 3, ALL, 4 * 65535, 4 * 65535);
        vm.prank(address(0xabc)); // anyone
        settlement.submitReport(r, ALL, signature);

        (any, epoch, digest) = settlement.lastAccepted();
        vm.assertTrue(any);
        vm.assertEq(epoch, 0);
        vm.assertEq(digest, stored(digestOf(r)));
        uint64 acceptedAt;
        (digest, acceptedAt) = settlement.acceptedReport(0);
        vm.assertEq(digest, stored(digestOf(r)));
        vm.assertEq(acceptedAt, endOf(0));
        (digest, acceptedAt) = settlement.acceptedReport(1);
        vm.assertEq(digest, bytes32(0));
        vm.assertEq(acceptedAt, 0);
    }

    function test_config_returns_what_was_deployed() public view {
        vm.assertEq(keccak256(abi.encode(settlement.config())), keccak256(abi.encode(config())));
    }

    function test_reports_follow_their_parents() public {
        Report memory r = report(0);
        submit(r, ALL);
        for (uint64 epoch = 1; epoch < 5; ++epoch) {
            bytes32 parent = digestOf(r);
            r = report(epoch);
            r.parentDigest = parent;
            vm.warp(endOf(epoch) + epoch);
            submit(r, ALL & ~(uint256(1) << (epoch % 4))); // each time another one is missing
            (, uint64 last, bytes32 digest) = settlement.lastAccepted();
            vm.assertEq(last, epoch);
            vm.assertEq(digest, stored(digestOf(r)));
        }
    }

    // ---- the certificate

    // Defence: the pairing binds signature, digest and signers; removed, this turns red.
    function test_forged_certificate() public {
        Report memory r = report(0);
        bytes memory signature = signReport(r, ALL);
        r.rewardRoot = keccak256("all to me");
        certificateFails(r, ALL, signature);
        certificateFails(report(0), ALL, BlsSigner.sign(12345, messageOf(report(0)), BlsSigner.REPORT_DST));
        certificateFails(report(0), ALL, signReport(report(0), 7)); // three signed, four are claimed
        certificateFails(report(0), ALL, "");
    }

    // Defence: the digest and the signed message name the view; both removed, this turns red.
    function test_signature_for_another_view() public {
        Report memory r = report(0);
        bytes memory signature = signReport(r, ALL);
        r.view_ = 1;
        certificateFails(r, ALL, signature);
    }

    // Defence: reports have their own domain tag; with another one, this turns red.
    function test_signature_under_another_tag() public {
        bytes32 message = messageOf(report(0));
        certificateFails(report(0), ALL, BlsSigner.sign(BlsSigner.sumOfSecrets(4, ALL), message, BlsSigner.POP_DST));
    }

    // Defence: the pairing, and before it the refusal of infinity; both removed, this turns red.
    function test_infinity_signature() public {
        certificateFails(report(0), ALL, new bytes(128));
    }

    // Defence: the pairing checks the subgroup, with bounded gas; removed, this turns red.
    function test_wrong_subgroup_and_off_curve_signatures() public {
        string memory points = vm.readFile("../tests/vectors/curve_points.json");
        uint256 before = gasleft();
        certificateFails(report(0), ALL, vm.parseJsonBytes(points, ".g1.wrongSubgroup"));
        certificateFails(report(0), ALL, vm.parseJsonBytes(points, ".g1.offCurve"));
        vm.assertLt(before - gasleft(), 1_000_000);
    }

    // Defence: infinity is refused as the signers' key and as their signature; both removed, two members with opposite keys
    // and a quorum sign everything with nothing, and this turns red.
    function test_keys_that_cancel_sign_nothing() public {
        deploy();
        registerOracle(0, STAKE);
        uint256 sk = BlsSigner.ORDER - BlsSigner.secret(0);
        bytes memory key = BlsSigner.publicKey(sk);
        bytes memory pop = BlsSigner.sign(sk, oracles.popMessage(address(this), key), BlsSigner.POP_DST);
        oracles.register(key, pop, "x", address(1), address(1), 1, STAKE);
        registerOracle(1, 1e18);
        oracles.buildSnapshot(3);
        vm.warp(endOf(0));
        certificateFails(report(0), 3, new bytes(128));
        certificateFails(report(0), 3, signReport(report(0), 2));
        // and missing together, they take nothing away from the third
        (bytes memory left, uint256 weight,) = this.signersKey(4);
        vm.assertEq(left, BlsSigner.publicKey(BlsSigner.secret(1)));
        vm.assertEq(weight, 655);
    }

    function signersKey(uint256 bitmap) external view returns (bytes memory, uint256, uint256) {
        (, address header) = oracles.currentCommittee();
        return Committee.signersKey(header, bitmap);
    }

    // Defence: bits beyond the committee are refused; removed, this turns red.
    function test_bitmap_with_a_strangers_bit() public {
        bytes memory expected = abi.encodeWithSelector(Committee.InvalidSigners.selector, 0x1f, 4);
        submitExpecting(report(0), 0x1f, expected);
        Report memory r = report(0);
        bytes memory signature = signReport(r, ALL);
        vm.expectRevert(abi.encodeWithSelector(Committee.InvalidSigners.selector, ALL | (1 << 255), 4));
        settlement.submitReport(r, ALL | (1 << 255), signature);
        vm.expectRevert(abi.encodeWithSelector(Committee.InvalidSigners.selector, 0, 4));
        settlement.submitReport(r, 0, signature);
    }

    // Defence: strictly more than two thirds of the weight; with >=, this turns red.
    function test_exactly_two_thirds_are_refused() public {
        deployWithCommittee(3);
        vm.warp(endOf(0));
        bytes memory expected = abi.encodeWithSelector(ISlaSettlement.QuorumNotReached.selector, 2 * 65535, 3 * 65535);
        submitExpecting(report(0), 3, expected);
        submit(report(0), 7);
    }

    // Defence: weight counts, not heads; removed, this turns red.
    function test_many_small_members_are_no_quorum() public {
        deploy();
        registerOracle(0, 100e18);
        for (uint256 i = 1; i < 4; ++i) {
            registerOracle(i, 10e18);
        }
        oracles.buildSnapshot(4);
        vm.warp(endOf(0));
        bytes memory expected = abi.encodeWithSelector(ISlaSettlement.QuorumNotReached.selector, 3 * 6553, 3 * 6553 + 65535);
        submitExpecting(report(0), 0xe, expected);
        submit(report(0), 1); // one member holds 77 %
    }

    function testFuzz_any_quorum_of_nine_is_accepted(uint256 bitmap) public {
        deployWithCommittee(9);
        vm.warp(endOf(0));
        bitmap = bound(bitmap, 1, 511);
        uint256 count;
        for (uint256 i = 0; i < 9; ++i) {
            count += (bitmap >> i) & 1;
        }
        if (count > 6) {
            submit(report(0), bitmap);
        } else {
            submitExpecting(report(0), bitmap, abi.encodeWithSelector(ISlaSettlement.QuorumNotReached.selector, count * 65535, 9 * 65535));
        }
    }

    // ---- the rules, one by one

    // Defence: the report names the chain; removed, this turns red.
    function test_wrong_chain() public {
        Report memory r = report(0);
        r.chainId = 1;
        submitExpecting(r, ALL, failure(ISlaSettlement.WrongChain.selector, 1));
    }

    // Defence: the report names the contract; removed, this turns red.
    function test_wrong_settlement() public {
        Report memory r = report(0);
        r.settlement = address(0xbad);
        submitExpecting(r, ALL, failure(ISlaSettlement.WrongSettlement.selector, 0xbad));
    }

    // Defence: the report names the parameters; removed, this turns red.
    function test_wrong_params() public {
        Report memory r = report(0);
        r.paramsHash = bytes32(uint256(5));
        submitExpecting(r, ALL, failure(ISlaSettlement.WrongParams.selector, 5));
    }

    // Defence: an epoch must be over; removed, this turns red.
    function test_early_report() public {
        vm.warp(endOf(0) - 1);
        submitExpecting(report(0), ALL, failure(ISlaSettlement.EpochNotOver.selector, endOf(0)));
        vm.warp(endOf(0));
        submit(report(0), ALL);
    }

    // Defence: validUntil follows from the epoch; removed, a report lives as long as its leader likes and this turns red.
    function test_wrong_valid_until() public {
        Report memory r = report(0);
        r.validUntil += 1;
        submitExpecting(r, ALL, failure(ISlaSettlement.WrongValidUntil.selector, validUntil(0)));
    }

    // Defence: reports expire; removed, this turns red.
    function test_expired_report() public {
        vm.warp(validUntil(0) + 1);
        submitExpecting(report(0), ALL, failure(ISlaSettlement.ReportExpired.selector, validUntil(0)));
        vm.warp(validUntil(0));
        submit(report(0), ALL);
    }

    // Defence: one report per epoch; removed, this turns red.
    function test_second_report_of_an_epoch() public {
        submit(report(0), ALL);
        submitExpecting(report(0), ALL, failure(ISlaSettlement.EpochAlreadySettled.selector, 1));
        Report memory r = report(0);
        r.parentDigest = digestOf(r);
        submitExpecting(r, ALL, failure(ISlaSettlement.EpochAlreadySettled.selector, 1));
    }

    // Defence: an epoch may be skipped only once its own report is dead; removed, this turns red.
    function test_skipped_epochs() public {
        submit(report(0), ALL);
        Report memory r = report(2);
        r.parentDigest = digestOf(report(0));
        vm.warp(endOf(2));
        submitExpecting(r, ALL, failure(ISlaSettlement.EarlierEpochOpen.selector, validUntil(1)));
        vm.warp(validUntil(1));
        submitExpecting(r, ALL, failure(ISlaSettlement.EarlierEpochOpen.selector, validUntil(1)));
        vm.warp(validUntil(1) + 1);
        submit(r, ALL);

        Report memory late = report(1);
        late.parentDigest = digestOf(report(0));
        submitExpecting(late, ALL, failure(ISlaSettlement.ReportExpired.selector, validUntil(1)));
    }

    // Defence: the first report skips by the same rule; removed, this turns red.
    function test_the_first_report_skips_by_the_same_rule() public {
        vm.warp(endOf(1));
        submitExpecting(report(1), ALL, failure(ISlaSettlement.EarlierEpochOpen.selector, validUntil(0)));
        vm.warp(validUntil(0) + 1);
        submit(report(1), ALL);
    }

    // Defence: a report names its parent; removed, this turns red.
    function test_wrong_parent() public {
        Report memory r = report(0);
        r.parentDigest = bytes32(uint256(1) << 32);
        submitExpecting(r, ALL, failure(ISlaSettlement.WrongParent.selector, 0));
        submit(report(0), ALL);
        r = report(1);
        vm.warp(endOf(1));
        submitExpecting(r, ALL, failure(ISlaSettlement.WrongParent.selector, uint256(stored(digestOf(report(0))))));
        r.parentDigest = digestOf(report(0)) ^ bytes32(uint256(1) << 32);
        submitExpecting(r, ALL, failure(ISlaSettlement.WrongParent.selector, uint256(stored(digestOf(report(0))))));
        r.parentDigest = digestOf(report(0));
        submit(r, ALL);
    }

    // Defence: the sentinel that fills the empty slot is no parent; removed, this turns red.
    function test_the_empty_slots_sentinel_is_no_parent() public {
        Report memory r = report(0);
        r.parentDigest = bytes32(uint256(1) << 32);
        submitExpecting(r, ALL, failure(ISlaSettlement.WrongParent.selector, 0));
    }

    // Defence: the contract bounds a report's rewards; removed, this turns red.
    function test_budget_exceeded() public {
        Report memory r = report(0);
        r.rewardTotal = BUDGET + 1;
        submitExpecting(r, ALL, abi.encodeWithSelector(ISlaSettlement.BudgetExceeded.selector, BUDGET + 1, BUDGET));
        r.rewardTotal = BUDGET;
        submit(r, ALL);
    }

    // Defence: only the current set signs, but for what was under way; removed, an old set rules for ever and this turns red.
    function test_wrong_set() public {
        Report memory r = report(0);
        r.setEpoch = 2;
        submitExpecting(r, ALL, failure(ISlaSettlement.WrongSet.selector, 1));
        registerOracle(4, STAKE);
        oracles.buildSnapshot(5);
        submitExpecting(
            report(1),
            /* not over */
            ALL,
            failure(ISlaSettlement.EpochNotOver.selector, endOf(1))
        );
        r = report(0);
        r.setEpoch = 1;
        submitExpecting(r, ALL, failure(ISlaSettlement.WrongSet.selector, 2));
        submit(report(0), 0x1f);
    }

    /// One more oracle, and the set with it completed in this block.
    function changeSet(uint256 index, uint256 blockNumber) private {
        registerOracle(index, STAKE);
        vm.roll(blockNumber);
        vm.assertTrue(oracles.buildSnapshot(256));
    }

    /// Signed by the first set, with the state before this block.
    function underWay(uint64 epoch, uint64 refBlock) private view returns (Report memory r) {
        r = report(epoch);
        r.setEpoch = 1;
        r.refBlock = refBlock;
    }

    // Defence: the set before the current one may finish what was under way; removed, a stranger's registration voids a report
    // in flight and this turns red.
    function test_a_change_of_the_set_voids_no_report_under_way() public {
        changeSet(4, 50);
        vm.assertEq(oracles.currentSet(), 2);
        submitExpecting(underWay(0, 49), 0x1f, abi.encodeWithSelector(Committee.InvalidSigners.selector, 0x1f, 4)); // its own members
        submitExpecting(underWay(0, 49), 3, abi.encodeWithSelector(ISlaSettlement.QuorumNotReached.selector, 2 * 65535, 4 * 65535));
        submit(underWay(0, 49), 0xe);
        (bool any,, bytes32 digest) = settlement.lastAccepted();
        vm.assertTrue(any);
        vm.assertEq(digest, stored(digestOf(underWay(0, 49))));
    }

    // Defence: the reference block of an old set's report lies before the change; removed, two sets judge one state and this
    // turns red.
    function test_an_old_set_with_a_reference_block_after_the_change() public {
        changeSet(4, 50);
        submitExpecting(underWay(0, 50), ALL, failure(ISlaSettlement.WrongSet.selector, 2));
        submitExpecting(underWay(0, 51), ALL, failure(ISlaSettlement.WrongSet.selector, 2));
    }

    // Defence: only one set back; removed, this turns red.
    function test_two_sets_back() public {
        changeSet(4, 50);
        changeSet(5, 60);
        submitExpecting(underWay(0, 49), ALL, failure(ISlaSettlement.WrongSet.selector, 3));
        Report memory r = underWay(0, 59);
        r.setEpoch = 2;
        submit(r, 0x1f);
    }

    // Defence: an old set's epoch began before the change, or less than an epoch after it; removed, the old set rules on by naming
    // old blocks and this turns red.
    function test_an_old_set_cannot_go_on_by_naming_old_blocks() public {
        changeSet(4, 50); // at the end of epoch 0
        submit(underWay(0, 49), ALL);
        Report memory r = underWay(1, 49);
        r.parentDigest = digestOf(underWay(0, 49));
        vm.warp(endOf(1));
        submit(r, ALL);
        Report memory next = underWay(2, 49);
        next.parentDigest = digestOf(r);
        vm.warp(endOf(2));
        submitExpecting(next, ALL, failure(ISlaSettlement.WrongSet.selector, 2));
        next.setEpoch = 2;
        submit(next, 0x1f);
    }

    // Defence: the first set has none before it; removed, this turns red.
    function test_there_is_no_set_before_the_first() public {
        Report memory r = underWay(0, 0);
        r.setEpoch = 0;
        submitExpecting(r, ALL, failure(ISlaSettlement.WrongSet.selector, 1));
    }

    function test_without_a_set_nothing_is_accepted() public {
        deploy();
        vm.warp(endOf(0));
        submitExpecting(report(0), 1, failure(ISlaSettlement.WrongSet.selector, 0));
    }

    // Defence: the digest is over the words as they came; masked, one signature would fit two calldatas and this turns red.
    function test_dirty_words_are_another_report() public {
        Report memory r = report(0);
        bytes memory data = abi.encodeCall(settlement.submitReport, (r, ALL, signReport(r, ALL)));
        uint256 refBlockAt = 4 + 6 * 32;
        data[refBlockAt] = 0x01; // above the 64 bits
        (bool ok, bytes memory result) = address(settlement).call(data);
        vm.assertFalse(ok);
        vm.assertEq(result, abi.encodeWithSelector(ISlaSettlement.InvalidCertificate.selector));
    }

    function test_the_constructor_refuses_nonsense() public {
        ISlaSettlement.Config memory c = config();
        c.epochLength = 1;
        refused(c, roles());
        c = config();
        c.slashCapPpm = 1_000_001;
        refused(c, roles());
        c = config();
        c.token = address(0);
        refused(c, roles());
        c = config();
        c.slashWindow = 1024 * LENGTH; // a void would have to walk over too many epochs
        refused(c, roles());
        c = config();
        c.validEpochs = 1024;
        refused(c, roles());
        ISlaSettlement.Roles memory r = roles();
        r.escapeDelay = (1 + VALID_EPOCHS) * LENGTH; // within one report's validity
        refused(config(), r);
    }

    function refused(ISlaSettlement.Config memory c, ISlaSettlement.Roles memory r) private {
        vm.expectRevert(ISlaSettlement.InvalidConfig.selector);
        new SlaSettlement(c, r);
    }
}

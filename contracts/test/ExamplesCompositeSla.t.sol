// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CompositeSla} from "../src/examples/CompositeSla.sol";
import {Verdict} from "../src/interfaces/ISlaOracle.sol";
import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {MarketFixture} from "./utils/MarketFixture.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

contract ExamplesCompositeSlaTest is MarketFixture {
    uint256 internal constant PAYOUT = 1e18;
    uint64 internal constant CLOSES_AT = GENESIS + 1_000;
    address internal constant HOLDER = address(0x401d);
    address internal constant INSURER = address(0x1257);

    CompositeSla internal sla;
    uint256 internal policyId;

    function setUp() public {
        deployMarket(0, 0);
        sla = new CompositeSla(token, oracle);
        token.mint(INSURER, 100 * PAYOUT);
        vm.prank(INSURER);
        token.approve(address(sla), type(uint256).max);
        policyId = write(members(500_000, 300_000, 200_000));
    }

    /// Providers 1 to 3.
    function members(uint32 a, uint32 b, uint32 c) private pure returns (CompositeSla.Member[] memory list) {
        list = new CompositeSla.Member[](3);
        list[0] = CompositeSla.Member(1, a);
        list[1] = CompositeSla.Member(2, b);
        list[2] = CompositeSla.Member(3, c);
    }

    /// Epochs 0 to 2, below 80 %.
    function terms() private pure returns (CompositeSla.Terms memory) {
        return CompositeSla.Terms(HOLDER, 0, 2, 800_000, PAYOUT, CLOSES_AT);
    }

    function write(CompositeSla.Member[] memory list) private returns (uint256) {
        vm.prank(INSURER);
        return sla.write(terms(), list);
    }

    function writeExpecting(CompositeSla.Terms memory t, CompositeSla.Member[] memory list, bytes memory failure) private {
        vm.prank(INSURER);
        vm.expectRevert(failure);
        sla.write(t, list);
    }

    /// An epoch whose verdicts on the first `count` providers are recorded.
    function judge(uint64 epoch, uint32[3] memory multipliers, uint256 count) private {
        Verdict[] memory verdicts = new Verdict[](3);
        for (uint64 i = 0; i < 3; ++i) {
            verdicts[i] = verdictOf(i + 1, epoch, DEGRADED, multipliers[i]);
        }
        bytes32[] memory tree = resultTree(verdicts);
        Report memory r = accept(epoch, tree[0]);
        vm.warp(block.timestamp + REWARD_WINDOW);
        for (uint256 i = 0; i < count; ++i) {
            oracle.record(r, verdicts[i], MerkleTree.proof(tree, resultLeaf(verdicts[i])));
        }
    }

    function payOutExpecting(uint64 epoch, bytes memory failure) private {
        vm.expectRevert(failure);
        sla.payOut(policyId, epoch);
    }

    function test_a_score_below_the_threshold_pays_the_holder_once() public {
        judge(0, [uint32(600_000), 1_000_000, 900_000], 3);
        vm.assertEq(sla.score(policyId, 0), 780_000);
        sla.payOut(policyId, 0);
        vm.assertEq(token.balanceOf(HOLDER), PAYOUT);
        // Defence: an epoch is paid once; without it, one bad epoch takes the funds of all.
        payOutExpecting(0, abi.encodeWithSelector(CompositeSla.AlreadyPaid.selector, policyId, 0));
    }

    function test_a_score_at_the_threshold_does_not_pay() public {
        judge(0, [uint32(600_000), 1_000_000, 1_000_000], 3);
        payOutExpecting(0, abi.encodeWithSelector(CompositeSla.ScoreTooGood.selector, 800_000, 800_000));
    }

    // Defence: what is not recorded counts in full; without it, a holder is paid for verdicts that he leaves out.
    function test_unrecorded_verdicts_do_not_lower_a_score() public {
        payOutExpecting(0, abi.encodeWithSelector(CompositeSla.ScoreTooGood.selector, 1_000_000, 800_000));
        judge(0, [uint32(700_000), 0, 0], 1);
        payOutExpecting(0, abi.encodeWithSelector(CompositeSla.ScoreTooGood.selector, 850_000, 800_000));
        judge(1, [uint32(700_000), 0, 0], 2);
        sla.payOut(policyId, 1);
        vm.assertEq(token.balanceOf(HOLDER), PAYOUT);
    }

    // Defence: the funds cover every epoch from the start; without it, the last bad epochs go unpaid.
    function test_every_epoch_can_be_paid_and_the_rest_goes_back() public {
        vm.assertEq(token.balanceOf(address(sla)), 3 * PAYOUT);
        judge(0, [uint32(0), 0, 0], 3);
        judge(1, [uint32(1_000_000), 1_000_000, 1_000_000], 3);
        judge(2, [uint32(0), 0, 0], 3);
        sla.payOut(policyId, 0);
        sla.payOut(policyId, 2);
        payOutExpecting(3, abi.encodeWithSelector(CompositeSla.NotCovered.selector, policyId, 3));

        vm.expectRevert(abi.encodeWithSelector(CompositeSla.StillOpen.selector, CLOSES_AT));
        sla.close(policyId);
        vm.warp(CLOSES_AT);
        uint256 before = token.balanceOf(INSURER);
        sla.close(policyId);
        vm.assertEq(token.balanceOf(INSURER) - before, PAYOUT);
        vm.assertEq(token.balanceOf(address(sla)), 0);
        vm.expectRevert(abi.encodeWithSelector(CompositeSla.NothingLeft.selector, policyId));
        sla.close(policyId);
    }

    // Defence: a closed policy pays nothing; without it, it pays from other policies' funds.
    function test_a_closed_policy() public {
        write(members(500_000, 300_000, 200_000)); // another's funds
        judge(0, [uint32(0), 0, 0], 3);
        vm.warp(CLOSES_AT);
        sla.close(policyId);
        payOutExpecting(0, abi.encodeWithSelector(CompositeSla.NothingLeft.selector, policyId));
    }

    function test_groups_and_terms_that_make_no_sense() public {
        bytes memory failure = abi.encodeWithSelector(CompositeSla.InvalidMembers.selector);
        writeExpecting(terms(), new CompositeSla.Member[](0), failure);
        writeExpecting(terms(), new CompositeSla.Member[](17), failure);
        CompositeSla.Member[] memory twice = members(500_000, 300_000, 200_000);
        twice[2].providerId = 2; // Defence: nobody counts twice; without it, this turns red.
        writeExpecting(terms(), twice, failure);
        writeExpecting(
            terms(), members(500_000, 300_000, 200_001), abi.encodeWithSelector(CompositeSla.WeightsMustSumToOne.selector, 1_000_001)
        );
        failure = abi.encodeWithSelector(CompositeSla.InvalidTerms.selector);
        CompositeSla.Terms memory t = terms();
        t.payout = 0;
        writeExpecting(t, members(500_000, 300_000, 200_000), failure);
        t = terms();
        t.holder = address(0);
        writeExpecting(t, members(500_000, 300_000, 200_000), failure);
        t = terms();
        t.firstEpoch = 3;
        writeExpecting(t, members(500_000, 300_000, 200_000), failure);
    }

    function test_sixteen_members() public {
        CompositeSla.Member[] memory list = new CompositeSla.Member[](16);
        for (uint64 i = 0; i < 16; ++i) {
            list[i] = CompositeSla.Member(i + 1, 62_500);
        }
        uint256 id = write(list);
        judge(0, [uint32(0), 0, 0], 3);
        vm.assertEq(sla.score(id, 0), 812_500);
    }
}

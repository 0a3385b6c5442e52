// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {SlaSettlement} from "../src/SlaSettlement.sol";
import {AttestedSettlement} from "../src/attestation/AttestedSettlement.sol";
import {BlsAttestation} from "../src/attestation/BlsAttestation.sol";
import {EcdsaAttestation} from "../src/attestation/EcdsaAttestation.sol";
import {IAttestationVerifier, ICommitteeSets} from "../src/interfaces/IAttestationVerifier.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {Committee} from "../src/libraries/Committee.sol";
import {Attested} from "./utils/Attested.sol";
import {Fixture} from "./utils/Fixture.sol";

contract EcdsaAttestationTest is Attested {
    uint256 internal constant N = 7;
    uint256 internal constant ALL = 0x7f;
    uint256 internal constant TOTAL = 28; // 1 + 2 + … + 7
    bytes32 internal constant MESSAGE = keccak256("message");

    function setUp() public {
        deployAttested(N);
        vm.warp(endOf(0));
    }

    /// What a verifier says of an attestation that does not hold.
    function refused(uint256 signers, bytes memory attestation) private view {
        (uint256 signed, uint256 total) = ecdsa.verify(MESSAGE, 1, signers, attestation);
        vm.assertEq(signed, 0);
        vm.assertEq(total, TOTAL);
    }

    function test_a_report_is_accepted_by_signatures_of_members() public {
        Report memory r = attestedReport(0);
        bytes memory attestation = attest(messageOf(r), 0x7c);
        vm.expectEmit(address(settlement));
        emit ISlaSettlement.ReportAccepted(0, digestOf(r), 0, 0x7c, 25, TOTAL);
        settlement.submitReport(r, 0x7c, attestation);
        (bool any,, bytes32 digest) = settlement.lastAccepted();
        vm.assertTrue(any);
        vm.assertEq(digest, stored(digestOf(r)));
    }

    // Defence: strictly more than two thirds of the weight; without it, this turns red.
    function test_a_minority_of_the_weight_is_no_quorum() public {
        Report memory r = attestedReport(0);
        bytes memory attestation = attest(messageOf(r), 0x1f); // five of seven, 15 of 28
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.QuorumNotReached.selector, 15, TOTAL));
        settlement.submitReport(r, 0x1f, attestation);
    }

    // Defence: every signature is recovered over the report's own message; without it, this turns red.
    function test_a_forged_certificate() public {
        Report memory r = attestedReport(0);
        bytes memory attestation = attest(messageOf(r), ALL);
        r.rewardRoot = keccak256("all to me");
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.QuorumNotReached.selector, 0, TOTAL));
        settlement.submitReport(r, ALL, attestation);
        vm.assertFalse(settlement.certified(r, ALL, attestation));
    }

    function testFuzz_the_weight_is_that_of_the_signers(uint256 signers) public view {
        signers = bound(signers, 1, ALL);
        uint256 expected;
        for (uint256 i = 0; i < N; ++i) {
            if ((signers >> i) & 1 == 1) expected += i + 1;
        }
        (uint256 signed, uint256 total) = ecdsa.verify(MESSAGE, 1, signers, attest(MESSAGE, signers));
        vm.assertEq(signed, expected);
        vm.assertEq(total, TOTAL);
    }

    // Defence: each signature must be its own member's; without it, one member signs for all and this turns red.
    function test_one_member_for_two() public view {
        bytes memory one = compact(secrets[0], MESSAGE);
        refused(3, bytes.concat(one, one));
        refused(3, bytes.concat(compact(secrets[1], MESSAGE), one)); // both, in the wrong order
        refused(2, one); // under another's bit
    }

    // Defence: addresses ascend, so nobody is a member twice; without it, one key weighs double and this turns red.
    function test_nobody_is_a_member_twice() public {
        EcdsaAttestation.Member[] memory members = membersOf(3);
        members[2] = members[1];
        vm.expectRevert(abi.encodeWithSelector(EcdsaAttestation.InvalidMember.selector, 2));
        ecdsa.setMembers(members);
        (members[0], members[1]) = (members[1], members[0]);
        vm.expectRevert(abi.encodeWithSelector(EcdsaAttestation.InvalidMember.selector, 1));
        ecdsa.setMembers(members);
    }

    // Defence: the zero address, which a failed recovery gives, is no member, and no member is without weight; else this turns red.
    function test_nobody_is_no_member() public {
        EcdsaAttestation.Member[] memory members = membersOf(2);
        members[0].signer = address(0);
        vm.expectRevert(abi.encodeWithSelector(EcdsaAttestation.InvalidMember.selector, 0));
        ecdsa.setMembers(members);
        members = membersOf(2);
        members[1].weight = 0;
        vm.expectRevert(abi.encodeWithSelector(EcdsaAttestation.InvalidMember.selector, 1));
        ecdsa.setMembers(members);
        vm.expectRevert(abi.encodeWithSelector(EcdsaAttestation.InvalidMemberCount.selector, 0));
        ecdsa.setMembers(new EcdsaAttestation.Member[](0));
        vm.expectRevert(abi.encodeWithSelector(EcdsaAttestation.InvalidMemberCount.selector, 257));
        ecdsa.setMembers(new EcdsaAttestation.Member[](257));
    }

    // Defence: a high s is refused; without it, signatures can be changed by strangers and this turns red.
    function test_a_malleable_signature() public {
        // a high s that recovers: its address is made a member, so that nothing else speaks against it
        bytes32 s = bytes32(uint256(0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1)); // half the order, plus 1
        bytes32 r = bytes32(uint256(0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)); // of the generator
        address signer = ecrecover(MESSAGE, 27, r, s);
        vm.assertTrue(signer != address(0));
        EcdsaAttestation.Member[] memory members = new EcdsaAttestation.Member[](1);
        members[0] = EcdsaAttestation.Member(signer, 1);
        ecdsa.setMembers(members);
        (uint256 signed,) = ecdsa.verify(MESSAGE, 2, 1, abi.encodePacked(r, s));
        vm.assertEq(signed, 0);
    }

    // Defence: 64 bytes a signer and nothing else; without it, an attestation can be padded and this turns red.
    function test_attestations_of_a_wrong_length() public view {
        bytes memory whole = attest(MESSAGE, 7);
        refused(7, "");
        refused(7, attest(MESSAGE, 3));
        refused(7, attest(MESSAGE, 15));
        refused(7, bytes.concat(whole, hex"00"));
        bytes memory short = new bytes(191);
        for (uint256 i = 0; i < 191; ++i) {
            short[i] = whole[i];
        }
        refused(7, short);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(secrets[0], MESSAGE);
        refused(1, abi.encodePacked(r, s, v)); // the form of 65 bytes
    }

    // Defence: bits beyond the set are refused; without it, zeros behind the records are members and this turns red.
    function test_strangers_bits() public {
        bytes memory attestation = attest(MESSAGE, ALL);
        uint256[3] memory signers = [uint256(0), ALL | 0x80, ALL | (1 << 255)];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(Committee.InvalidSigners.selector, signers[i], N));
            ecdsa.verify(MESSAGE, 1, signers[i], attestation);
        }
    }

    function test_the_largest_set() public {
        deployAttested(256);
        (uint256 signed, uint256 total) = ecdsa.verify(MESSAGE, 1, type(uint256).max, attest(MESSAGE, type(uint256).max));
        vm.assertEq(signed, 256 * 257 / 2);
        vm.assertEq(total, 256 * 257 / 2);
    }

    function test_a_set_that_does_not_exist() public {
        vm.expectRevert(abi.encodeWithSelector(EcdsaAttestation.UnknownSet.selector, 2));
        ecdsa.verify(MESSAGE, 2, 1, "");
        vm.expectRevert(abi.encodeWithSelector(EcdsaAttestation.UnknownSet.selector, 0));
        ecdsa.committeeOf(0);
    }

    // Defence: the owner alone names members; without it, a stranger is the committee and this turns red.
    function test_a_stranger_names_no_members() public {
        EcdsaAttestation.Member[] memory members = membersOf(1);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(0xbad)));
        vm.prank(address(0xbad));
        ecdsa.setMembers(members);
    }

    // Defence: sets change by the rule for every settlement: one back, and only for what was under way; without it, this turns red.
    function test_a_change_of_the_set() public {
        vm.roll(50);
        ecdsa.setMembers(membersOf(3));
        Report memory r = attestedReport(0);
        r.setEpoch = 1;
        r.refBlock = 50;
        bytes memory attestation = attest(messageOf(r), ALL);
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.WrongSet.selector, 2));
        settlement.submitReport(r, ALL, attestation);
        r.refBlock = 49;
        submitAttested(r, ALL);

        r = attestedReport(1);
        r.parentDigest = settlementDigest();
        vm.warp(endOf(1));
        submitAttested(r, 7);
    }

    function settlementDigest() private view returns (bytes32 digest) {
        (,, digest) = settlement.lastAccepted();
    }

    function test_without_a_verifier_there_is_no_settlement() public {
        vm.expectRevert(ISlaSettlement.InvalidConfig.selector);
        new AttestedSettlement(config(), roles(), IAttestationVerifier(address(0)));
    }
}

/// The same certificates through a verifier as inline.
contract BlsAttestationTest is Fixture {
    SlaSettlement internal inlined;

    function newSettlement() internal override returns (SlaSettlement) {
        inlined = new SlaSettlement(config(), roles());
        return SlaSettlement(address(new AttestedSettlement(config(), roles(), new BlsAttestation(ICommitteeSets(address(oracles))))));
    }

    function setUp() public {
        deployWithCommittee(9);
        vm.warp(endOf(0));
    }

    // Defence: a certificate is checked as such, whoever accepted what; without it, courts punish for unsigned reports and this
    // turns red.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_both_say_the_same_of_a_certificate(uint256 signers, uint256 named) public {
        signers = bound(signers, 1, 511);
        named = named % 4 == 0 ? bound(named, 1, 511) : signers;
        Report memory r = report(0);
        for (uint256 i = 0; i < 2; ++i) {
            bytes memory signature = signReport(r, signers);
            bool honest = signers == named && weightOf(signers) > 6;
            vm.assertEq(settlement.certified(r, named, signature), honest);
            (bool ok,) = address(settlement).call(abi.encodeCall(settlement.submitReport, (r, named, signature)));
            vm.assertEq(ok, honest);
            settlement = inlined; // whose address the report and its signature name
            r.settlement = address(inlined);
        }
    }

    function weightOf(uint256 signers) private pure returns (uint256 count) {
        for (; signers != 0; signers &= signers - 1) {
            ++count;
        }
    }

    // Defence: the certificate is bound to its own settlement; without it, this turns red.
    function test_certified_looks_at_the_signature_alone() public {
        Report memory r = report(0);
        bytes memory signature = signReport(r, 511);
        vm.assertTrue(settlement.certified(r, 511, signature)); // not accepted yet
        vm.assertFalse(inlined.certified(r, 511, signature));
        settlement.submitReport(r, 511, signature);
        Report memory other = r;
        other.view_ = 1;
        signature = signReport(other, 511);
        vm.assertTrue(settlement.certified(other, 511, signature)); // the second of one epoch
        vm.assertFalse(settlement.certified(other, 511, new bytes(128)));
        vm.assertFalse(settlement.certified(other, 511, ""));
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EquivocationCourt} from "../src/courts/EquivocationCourt.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {IEquivocationCourt} from "../src/interfaces/IEquivocationCourt.sol";
import {IOracleRegistry} from "../src/interfaces/IOracleRegistry.sol";
import {Statements} from "../src/libraries/Statements.sol";
import {Committee} from "../src/libraries/Committee.sol";
import {BlsSigner} from "./utils/BlsSigner.sol";
import {CourtFixture} from "./utils/CourtFixture.sol";

contract CourtEquivocationTest is CourtFixture {
    uint64 internal constant EPOCH = 7;
    bytes32 internal constant A = keccak256("a");
    bytes32 internal constant B = keccak256("b");
    uint256 internal constant SLASH = STAKE * SLASH_PPM / 1e6;

    EquivocationCourt internal court;

    function setUp() public {
        deployCourts();
        court = new EquivocationCourt(settlement, SLASH_PPM);
        allow(address(court));
    }

    /// Oracle 2 is member 1.
    function punishReports(bytes memory signature) private {
        vm.prank(CHALLENGER);
        court.punishReports(1, 1, EPOCH, 3, A, B, signature);
    }

    function reportsSignature(uint256 index) private view returns (bytes memory) {
        return signBoth(index, reportMessage(EPOCH, 3, A), reportMessage(EPOCH, 3, B), BlsSigner.REPORT_DST);
    }

    function assertPunished(uint8 offence, uint256 stakeBefore, uint256 balanceBefore) private view {
        uint256 slash = stakeBefore * SLASH_PPM / 1e6;
        vm.assertEq(oracles.stakeOf(2), stakeBefore - slash);
        vm.assertEq(token.balanceOf(CHALLENGER) - balanceBefore, slash / 10);
        vm.assertEq(token.balanceOf(address(court)), 0);
        vm.assertTrue(court.punished(2, EPOCH, offence));
    }

    function test_two_reports_in_one_view() public {
        uint256 balance = token.balanceOf(CHALLENGER);
        bytes memory signature = reportsSignature(1);
        vm.expectEmit(address(court));
        emit ICourt.Punished(2, EPOCH, 1, SLASH, CHALLENGER);
        punishReports(signature);
        assertPunished(1, STAKE, balance);
        vm.assertEq(token.balanceOf(BURN), SLASH * 9 / 10);
    }

    function test_two_commits_in_one_epoch() public {
        Statements.Commit memory first = commitOf(2, EPOCH, A);
        Statements.Commit memory second = commitOf(2, EPOCH, A);
        second.logHead = B; // differing in the log's head alone is two commits
        bytes memory signature = signBoth(1, digestOf(first), digestOf(second), COMMIT_DST);
        uint256 balance = token.balanceOf(CHALLENGER);
        vm.prank(CHALLENGER);
        court.punishCommits(1, 1, first, second, signature);
        assertPunished(2, STAKE, balance);
    }

    function test_two_bit_votes_in_one_epoch() public {
        (bytes32[] memory first, bytes32[] memory second) = (new bytes32[](2), new bytes32[](0));
        (first[0], first[1]) = (bytes32(uint256(4)), A);
        bytes memory signature = signBoth(1, voteDigest(2, EPOCH, first), voteDigest(2, EPOCH, second), BIT_VOTE_DST);
        uint256 balance = token.balanceOf(CHALLENGER);
        vm.prank(CHALLENGER);
        court.punishBitVotes(1, 1, EPOCH, first, second, signature);
        assertPunished(3, STAKE, balance);
    }

    /// Defence: the key is the one of the set; without it a member signs twice, changes its key and is free.
    function test_a_key_that_was_changed_since() public {
        uint256 fresh = BlsSigner.secret(99);
        bytes memory key = BlsSigner.publicKey(fresh);
        oracles.rotateKey(2, key, BlsSigner.sign(fresh, oracles.popMessage(address(this), key), BlsSigner.POP_DST));
        vm.warp(block.timestamp + 1);
        oracles.buildSnapshot(256);
        vm.assertEq(uint256(oracles.currentSet()), 2);
        uint256 balance = token.balanceOf(CHALLENGER);
        punishReports(reportsSignature(1));
        assertPunished(1, STAKE, balance);
    }

    /// Defence: an offence is punished once, whichever set it is shown with; without it every copy of the proof takes half of the rest.
    function test_an_offence_is_punished_once() public {
        registerOracle(4, STAKE);
        vm.warp(block.timestamp + 1);
        oracles.buildSnapshot(256);
        bytes memory signature = reportsSignature(1);
        punishReports(signature);
        for (uint64 set = 1; set <= 2; ++set) {
            vm.expectRevert(abi.encodeWithSelector(ICourt.AlreadyPunished.selector, uint64(2), EPOCH, uint8(1)));
            court.punishReports(set, 1, EPOCH, 3, A, B, signature);
        }
        vm.assertEq(oracles.stakeOf(2), STAKE - SLASH);
    }

    function test_another_kind_is_another_offence() public {
        punishReports(reportsSignature(1));
        uint256 balance = token.balanceOf(CHALLENGER);
        (Statements.Commit memory first, Statements.Commit memory second) = (commitOf(2, EPOCH, A), commitOf(2, EPOCH, B));
        bytes memory signature = signBoth(1, digestOf(first), digestOf(second), COMMIT_DST);
        vm.prank(CHALLENGER);
        court.punishCommits(1, 1, first, second, signature);
        assertPunished(2, STAKE - SLASH, balance);
    }

    /// Defence: two digests that differ; without it one honest signature, taken twice, is a proof.
    function test_signing_the_same_digest_twice_is_nothing() public {
        bytes32 message = reportMessage(EPOCH, 3, A);
        bytes memory signature = signBoth(1, message, message, BlsSigner.REPORT_DST);
        vm.expectRevert(IEquivocationCourt.NoContradiction.selector);
        court.punishReports(1, 1, EPOCH, 3, A, A, signature);
    }

    /// Defence: the signature; without it, or with half of it, anybody accuses anybody.
    function test_what_the_member_did_not_sign_proves_nothing() public {
        bytes32 first = reportMessage(EPOCH, 3, A);
        bytes32 second = reportMessage(EPOCH, 3, B);
        bytes memory honest = sign(1, first, BlsSigner.REPORT_DST);
        bytes[] memory forged = new bytes[](7);
        forged[0] = honest;
        forged[1] = addPoints(honest, honest);
        forged[2] = addPoints(honest, sign(0, second, BlsSigner.REPORT_DST)); // another member's
        forged[3] = reportsSignature(0);
        forged[4] = addPoints(honest, sign(1, second, COMMIT_DST)); // another purpose
        forged[5] = new bytes(128); // infinity
        forged[6] = bytes.concat(reportsSignature(1), hex"00");
        for (uint256 i = 0; i < forged.length; ++i) {
            vm.expectRevert(IEquivocationCourt.InvalidSignature.selector);
            court.punishReports(1, 1, EPOCH, 3, A, B, forged[i]);
        }
        // Two views: an honest member signs again in a later one.
        bytes memory twoViews = addPoints(honest, sign(1, reportMessage(EPOCH, 4, B), BlsSigner.REPORT_DST));
        vm.expectRevert(IEquivocationCourt.InvalidSignature.selector);
        court.punishReports(1, 1, EPOCH, 3, A, B, twoViews);
        vm.assertEq(oracles.stakeOf(2), STAKE);
    }

    /// Defence: both commits are of one epoch and one oracle; without it two honest commits are a proof.
    function test_commits_of_two_epochs_or_oracles_prove_nothing() public {
        Statements.Commit memory first = commitOf(2, EPOCH, A);
        Statements.Commit memory second = commitOf(2, EPOCH + 1, B);
        bytes memory signature = signBoth(1, digestOf(first), digestOf(second), COMMIT_DST);
        vm.expectRevert(IEquivocationCourt.NotOneAuthor.selector);
        court.punishCommits(1, 1, first, second, signature);

        second = commitOf(3, EPOCH, B);
        signature = signBoth(1, digestOf(first), digestOf(second), COMMIT_DST);
        vm.expectRevert(IEquivocationCourt.NotOneAuthor.selector);
        court.punishCommits(1, 1, first, second, signature);
    }

    function test_a_member_that_the_set_does_not_have() public {
        bytes memory signature = reportsSignature(1);
        vm.expectRevert(abi.encodeWithSelector(Committee.UnknownMember.selector, 4, 4));
        court.punishReports(1, 4, EPOCH, 3, A, B, signature);
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.UnknownSet.selector, uint64(2)));
        court.punishReports(2, 1, EPOCH, 3, A, B, signature);
    }

    /// Defence: the registry asks the settlement; without it any contract that looks like a court slashes.
    function test_a_court_that_is_not_allowed_slashes_nobody() public {
        settlement.setCourt(address(court), false);
        bytes memory signature = reportsSignature(1);
        vm.expectRevert(IOracleRegistry.OnlyCourt.selector);
        court.punishReports(1, 1, EPOCH, 3, A, B, signature);
        vm.assertFalse(court.punished(2, EPOCH, 1));
    }

    /// Who has asked for the exit is slashed as long as the stake is there.
    function test_an_oracle_on_its_way_out() public {
        oracles.requestExit(2);
        uint256 balance = token.balanceOf(CHALLENGER);
        punishReports(reportsSignature(1));
        assertPunished(1, STAKE, balance);
    }
}

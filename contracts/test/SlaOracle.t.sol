// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SlaOracle} from "../src/SlaOracle.sol";
import {ISlaOracle, Verdict} from "../src/interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {Chained} from "./utils/Chained.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

contract SlaOracleTest is Chained {
    SlaOracle internal oracle;

    function setUp() public override {
        super.setUp();
        oracle = new SlaOracle(settlement);
    }

    function verdictOf(uint64 providerId, uint64 epoch) private pure returns (Verdict memory) {
        return Verdict(providerId, epoch, providerId == 1 ? 1 : 5, 1_000_000 / uint32(providerId), 3e18, 1e18, keccak256("dimensions"));
    }

    /// By the words of docs/protocol.md, not by the contract's library.
    function leafOf(Verdict memory v) private pure returns (bytes32) {
        bytes32 inner = keccak256(abi.encode(v.providerId, v.epoch, v.outcome, v.multiplierPpm, v.reward, v.slash, v.dimensions));
        return keccak256(bytes.concat(inner));
    }

    function tree(uint64 epoch) private pure returns (bytes32[] memory) {
        bytes32[] memory leaves = new bytes32[](5);
        for (uint64 id = 1; id <= 5; ++id) {
            leaves[id - 1] = leafOf(verdictOf(id, id == 5 ? epoch + 1 : epoch)); // the last speaks of another epoch
        }
        return MerkleTree.build(leaves);
    }

    function proofOf(Verdict memory v, uint64 epoch) private pure returns (bytes32[] memory) {
        return MerkleTree.proof(tree(epoch), leafOf(v));
    }

    function acceptResults(uint64 epoch, bytes32 parent, uint64 view_) private returns (Report memory r) {
        r = draft(epoch, parent, 1e18);
        r.resultRoot = tree(epoch)[0];
        r.view_ = view_;
        if (block.timestamp < endOf(epoch)) vm.warp(endOf(epoch));
        submit(r, ALL);
    }

    function read(Report memory r, Verdict memory v) private view returns (bool matured) {
        uint8 outcome;
        uint32 multiplierPpm;
        (outcome, multiplierPpm, matured) = oracle.verdict(r, v, proofOf(v, r.epoch));
        vm.assertEq(outcome, v.outcome);
        vm.assertEq(multiplierPpm, v.multiplierPpm);
    }

    function recordOf(Report memory r, Verdict memory v) private {
        bytes32[] memory proof = proofOf(v, r.epoch);
        oracle.record(r, v, proof);
    }

    function assertKnown(uint64 providerId, uint64 epoch, bool known) private view {
        (bool known_, uint8 outcome, uint32 multiplierPpm) = oracle.recorded(providerId, epoch);
        vm.assertEq(known_, known);
        Verdict memory v = verdictOf(providerId, epoch);
        vm.assertEq(outcome, known ? v.outcome : 0);
        vm.assertEq(multiplierPpm, known ? v.multiplierPpm : 0);
    }

    // Defence: a verdict that can still be voided is not matured; without it, this turns red.
    function test_a_verdict_is_read_with_its_proof_and_matures() public {
        Report memory r = acceptResults(0, 0, 0);
        for (uint64 id = 1; id <= 4; ++id) {
            vm.assertFalse(read(r, verdictOf(id, 0)));
        }
        vm.warp(endOf(0) + rewardWindow - 1);
        vm.assertFalse(read(r, verdictOf(1, 0)));
        vm.warp(endOf(0) + rewardWindow);
        vm.assertTrue(read(r, verdictOf(1, 0)));
        holdAs(COURT, 0, endOf(0) + 500);
        vm.assertFalse(read(r, verdictOf(1, 0)));
        vm.warp(endOf(0) + 500);
        vm.assertTrue(read(r, verdictOf(1, 0)));
    }

    // Defence: the leaf binds every field of the verdict; without any of them, this turns red.
    function test_a_changed_verdict() public {
        Report memory r = acceptResults(0, 0, 0);
        for (uint256 field = 0; field < 7; ++field) {
            Verdict memory v = verdictOf(2, 0);
            bytes32[] memory proof = proofOf(v, 0);
            if (field == 0) v.providerId = 3;
            if (field == 1) v.epoch = 1;
            if (field == 2) v.outcome = 1;
            if (field == 3) v.multiplierPpm = 1_000_000;
            if (field == 4) v.reward += 1;
            if (field == 5) v.slash = 0;
            if (field == 6) v.dimensions = 0;
            vm.expectRevert(ISlaOracle.InvalidProof.selector);
            oracle.verdict(r, v, proof);
        }
    }

    // Defence: a leaf counts for the report's own epoch alone; without it, this turns red.
    function test_a_leaf_of_another_epoch() public {
        Report memory r = acceptResults(0, 0, 0);
        Verdict memory v = verdictOf(5, 1);
        bytes32[] memory proof = proofOf(v, 0);
        vm.expectRevert(ISlaOracle.InvalidProof.selector);
        oracle.verdict(r, v, proof);
    }

    // Defence: only what the settlement accepted, and did not void, is read; without it, this turns red.
    function test_a_report_nobody_accepted() public {
        Report memory r = acceptResults(0, 0, 0);
        Verdict memory v = verdictOf(1, 0);
        Report memory forged = draft(0, 0, 1e18);
        forged.resultRoot = leafOf(v);
        vm.expectRevert(with(ISlaSettlement.UnknownReport.selector, 0));
        oracle.verdict(forged, v, new bytes32[](0));
        voidAs(GUARDIAN, r, 0);
        bytes32[] memory proof = proofOf(v, 0);
        vm.expectRevert(with(ISlaSettlement.UnknownReport.selector, 0));
        oracle.verdict(r, v, proof);
    }

    // Defence: only matured verdicts are kept; without it, this turns red.
    function test_a_matured_verdict_is_recorded() public {
        Report memory r = acceptResults(0, 0, 0);
        Verdict memory v = verdictOf(2, 0);
        bytes32[] memory proof = proofOf(v, 0);
        vm.expectRevert(abi.encodeWithSelector(ISlaOracle.NotMatured.selector, 2, 0));
        oracle.record(r, v, proof);
        vm.warp(endOf(0) + rewardWindow);
        assertKnown(2, 0, false);
        vm.expectEmit(address(oracle));
        emit ISlaOracle.VerdictRecorded(2, 0, v.outcome, v.multiplierPpm);
        vm.prank(STRANGER);
        oracle.record(r, v, proof);
        assertKnown(2, 0, true);
        assertKnown(1, 0, false);
        assertKnown(2, 1, false);
        recordOf(r, v); // again
        assertKnown(2, 0, true);
    }

    // Defence: a record is bound to the report that it came from; without it, it outlives a void and this turns red.
    function test_a_void_takes_the_record_back() public {
        Report memory r = acceptResults(0, 0, 0);
        vm.warp(endOf(0) + rewardWindow);
        recordOf(r, verdictOf(2, 0));
        voidAs(COURT, r, 0);
        assertKnown(2, 0, false);
    }

    function test_another_report_of_the_epoch_is_recorded_anew() public {
        (rewardWindow, slashWindow) = (10, 50);
        setUp();
        Report memory r = acceptResults(0, 0, 0);
        vm.warp(endOf(0) + rewardWindow);
        recordOf(r, verdictOf(2, 0));
        voidAs(COURT, r, 0);
        r = acceptResults(0, 0, 1);
        assertKnown(2, 0, false);
        vm.warp(block.timestamp + rewardWindow);
        recordOf(r, verdictOf(2, 0));
        assertKnown(2, 0, true);
    }

    // Defence: what a dispute holds is not known; without it, consumers pay on it and this turns red.
    function test_a_held_record_is_not_known() public {
        Report memory r = acceptResults(0, 0, 0);
        vm.warp(endOf(0) + rewardWindow);
        recordOf(r, verdictOf(2, 0));
        holdAs(COURT, 0, endOf(0) + 500);
        assertKnown(2, 0, false);
        vm.warp(endOf(0) + 500);
        assertKnown(2, 0, true);
    }

    function test_latest_and_staleness() public {
        vm.warp(GENESIS - 5);
        vm.assertEq(oracle.staleness(), 0);
        vm.warp(GENESIS + 7);
        vm.assertEq(oracle.staleness(), 7);
        (bool any, uint64 epoch, bytes32 digest, uint64 acceptedAt) = oracle.latest();
        vm.assertFalse(any);
        vm.assertEq(acceptedAt, 0);

        Report memory r = acceptResults(0, 0, 0);
        vm.warp(endOf(1) + 3);
        Report memory second = acceptResults(1, digestOf(r), 0);
        vm.warp(endOf(1) + 11);
        (any, epoch, digest, acceptedAt) = oracle.latest();
        vm.assertTrue(any);
        vm.assertEq(epoch, 1);
        vm.assertEq(digest, stored(digestOf(second)));
        vm.assertEq(acceptedAt, endOf(1) + 3);
        vm.assertEq(oracle.staleness(), 11);
        voidAs(GUARDIAN, second, 0);
        vm.assertEq(oracle.staleness(), LENGTH + 11);
    }
}

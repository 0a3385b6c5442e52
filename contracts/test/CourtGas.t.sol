// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EquivocationCourt} from "../src/courts/EquivocationCourt.sol";
import {RebuttalCourt} from "../src/courts/RebuttalCourt.sol";
import {IRebuttalCourt} from "../src/interfaces/IRebuttalCourt.sol";
import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {Statements} from "../src/libraries/Statements.sol";
import {BlsSigner} from "./utils/BlsSigner.sol";
import {CompactAnswers} from "./utils/CompactAnswers.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

/// Gas of whole transactions, as in GasTest. The bounds keep what was measured. Two of them miss their goals: 215,000 for an equivocation,
/// 900,000 for a compact rebuttal that is verified at once.
/// forge-config: default.isolate = true
contract CourtGasTest is CompactAnswers {
    /// Slashes in a report's tree: proofs of depth 7.
    uint64 internal constant LEAVES = 128;

    /// The challenger holds tokens already, and so does the address of what is burned.
    function test_equivocation() public {
        deployCourts();
        EquivocationCourt court = new EquivocationCourt(settlement, SLASH_PPM);
        allow(address(court));
        token.mint(BURN, 1);
        bytes memory signature = signBoth(1, reportMessage(0, 0, keccak256("a")), reportMessage(0, 0, keccak256("b")), BlsSigner.REPORT_DST);
        vm.prank(CHALLENGER);
        court.punishReports(1, 1, 0, 0, keccak256("a"), keccak256("b"), signature);
        snapshot("equivocation, two reports", 255_000);

        (Statements.Commit memory first, Statements.Commit memory second) = (commitOf(3, 0, "a"), commitOf(3, 0, "b"));
        signature = signBoth(2, digestOf(first), digestOf(second), COMMIT_DST);
        vm.prank(CHALLENGER);
        court.punishCommits(1, 2, first, second, signature);
        snapshot("equivocation, two commits", 255_000);
    }

    function test_compact_rebuttals() public {
        deployCourts();
        RebuttalCourt court = new RebuttalCourt(settlement, BOND, CONTEST);
        allow(address(court));
        bytes32[] memory leaves = new bytes32[](LEAVES);
        for (uint64 id = 1; id <= LEAVES; ++id) {
            if (id <= 2) registerProvider();
            leaves[id - 1] = silenceLeaf(id, 0);
        }
        bytes32[] memory tree = MerkleTree.build(leaves);
        Report memory r = report(0);
        r.slashRoot = tree[0];
        post(r);
        IRebuttalCourt.Answer memory answer = compactAnswer(1, 30);
        vm.prank(CHALLENGER);
        court.rebut(r, IRebuttalCourt.Silence(1, AMOUNT, MerkleTree.proof(tree, silenceLeaf(1, 0))), answer);
        snapshot("compact rebuttal, 30 samples, all on chain", 960_000);
        answer = compactAnswer(2, 30);
        vm.prank(CHALLENGER);
        court.post(r, IRebuttalCourt.Silence(2, AMOUNT, MerkleTree.proof(tree, silenceLeaf(2, 0))), answer);
        snapshot("compact rebuttal, 30 samples, posted", 190_000);
    }

    function snapshot(string memory name, uint256 limit) private {
        vm.assertLe(vm.snapshotGasLastCall("gas", name), limit);
    }
}

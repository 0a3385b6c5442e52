// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationCourt} from "../../src/courts/AggregationCourt.sol";
import {IAggregationCourt} from "../../src/interfaces/IAggregationCourt.sol";
import {Verdict} from "../../src/interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "../../src/interfaces/ISlaSettlement.sol";
import {Fixture} from "./Fixture.sol";
import {MerkleTree} from "./MerkleTree.sol";

/// Panels and verdicts that Rust makes (tests/vectors/judgement.json), posted by a committee with real keys.
abstract contract JudgementCase is Fixture {
    uint256 internal constant SIGNERS_PPM = 100_000;
    /// Leaves beside the provider's in every tree: proofs of depth 7.
    uint256 internal constant OTHERS = 127;

    string internal json;
    string internal path;
    AggregationCourt internal court;

    /// Deploys the protocol with the case's parameters and a committee of its size.
    function load(uint256 index) internal {
        json = vm.readFile("../tests/vectors/judgement.json");
        path = string.concat(".cases[", vm.toString(index), "]");
        deployWithCommittee(number(".members"));
        registerProvider();
        court = new AggregationCourt(settlement, SIGNERS_PPM);
        settlement.setCourt(address(court), true);
    }

    function config() internal view override returns (ISlaSettlement.Config memory c) {
        c = super.config();
        c.paramsHash = word(".paramsHash");
    }

    /// The case as an honest committee posts it, and what a challenger can show of it.
    function honest() internal view returns (Report memory r, IAggregationCourt.Case memory c) {
        c.verdict = Verdict({
            providerId: uint64(number(".verdict.providerId")),
            epoch: uint64(number(".verdict.epoch")),
            outcome: uint8(number(".verdict.outcome")),
            multiplierPpm: uint32(number(".verdict.multiplierPpm")),
            reward: number(".verdict.reward"),
            slash: number(".verdict.slash"),
            dimensions: word(".verdict.dimensions")
        });
        c.seats = number(".seats");
        c.present = number(".present");
        c.observations = blob(".observations");
        c.params = blob(".params");
        c.dimensions = blob(".dimensions");
        r = report(c.verdict.epoch);
        r.paramsHash = word(".paramsHash");
        r.seedSecure = vm.parseJsonBool(json, string.concat(path, ".secure"));
        if (r.epoch != 0) {
            (c.parent, c.previous, c.previousProof) = parentOf(c.verdict.providerId, uint32(number(".previousPpm")));
            c.hasPrevious = true;
            r.parentDigest = digestOf(c.parent);
        }
        (r.obsRoot, c.panelProof) = tree(word(".panelLeaf"));
        plant(r, c);
    }

    /// The report of the epoch before, which the committee posts too.
    function parentOf(uint64 providerId, uint32 ppm) internal view returns (Report memory r, Verdict memory v, bytes32[] memory proof) {
        r = report(0);
        r.paramsHash = word(".paramsHash");
        v = Verdict(providerId, 0, 1, ppm, 0, 0, "dimensions");
        (r.resultRoot, proof) = tree(verdictLeaf(v));
    }

    /// Puts the verdict into the report.
    function plant(Report memory r, IAggregationCourt.Case memory c) internal pure {
        (r.resultRoot, c.verdictProof) = tree(verdictLeaf(c.verdict));
    }

    /// Puts other words behind the verdict's dimensions.
    function plantDimensions(Report memory r, IAggregationCourt.Case memory c) internal pure {
        c.verdict.dimensions = keccak256(bytes.concat(keccak256("assay.dimensions.v1"), c.dimensions));
        plant(r, c);
    }

    /// Everybody signs it, and its parent.
    function post(Report memory r, IAggregationCourt.Case memory c) internal {
        uint256 all = type(uint256).max >> (256 - number(".members"));
        if (r.epoch != 0) {
            vm.warp(endOf(0));
            submit(c.parent, all);
        }
        vm.warp(endOf(r.epoch));
        submit(r, all);
    }

    function tree(bytes32 leaf) internal pure returns (bytes32 root, bytes32[] memory proof) {
        bytes32[] memory leaves = new bytes32[](OTHERS + 1);
        leaves[OTHERS] = leaf;
        for (uint256 i = 0; i < OTHERS; ++i) {
            leaves[i] = keccak256(abi.encode("another leaf", i));
        }
        bytes32[] memory nodes = MerkleTree.build(leaves);
        return (nodes[0], MerkleTree.proof(nodes, leaf));
    }

    function verdictLeaf(Verdict memory v) internal pure returns (bytes32) {
        bytes memory words = abi.encode(v.providerId, v.epoch, v.outcome, v.multiplierPpm, v.reward, v.slash, v.dimensions);
        return keccak256(bytes.concat(keccak256(words)));
    }

    function panelLeaf(uint64 providerId, bytes32 vector) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(providerId, vector))));
    }

    function number(string memory field) internal view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(path, field));
    }

    function word(string memory field) internal view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(path, field));
    }

    function blob(string memory field) internal view returns (bytes memory) {
        return vm.parseJsonBytes(json, string.concat(path, field));
    }
}

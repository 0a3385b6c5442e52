// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReportLib} from "./ReportLib.sol";

/// @title Encodings of what committee members sign and commit to
/// @notice The byte-exact rules stand in docs/protocol.md; `tests/vectors/protocol.json` pins them for Rust and Solidity alike. A statement
/// names the settlement that it is for, and courts are others than that.
library Statements {
    bytes32 internal constant COMMIT_TAG = keccak256("assay.commit.v1");
    bytes32 internal constant BIT_VOTE_TAG = keccak256("assay.bitvote.v1");
    bytes32 internal constant SEEDS_TAG = keccak256("assay.seeds.v1");
    bytes32 internal constant OBSERVATION_TAG = keccak256("assay.observation.v1");
    bytes internal constant COMMIT_DST = "ASSAY-V1-COMMIT_BLS12381G1_XMD:SHA-256_SSWU_RO_";
    bytes internal constant BIT_VOTE_DST = "ASSAY-V1-BITVOTE_BLS12381G1_XMD:SHA-256_SSWU_RO_";

    struct Commit {
        uint64 epoch;
        uint64 oracleId;
        bytes32 seeds; // digest
        bool secure;
        bytes32 root; // over the salted observations
        uint32 leafCount;
        bytes32 logHead;
    }

    /// @notice What the verdict key signs for a commit.
    function commitDigest(address settlement, Commit calldata commit) internal view returns (bytes32) {
        return keccak256(abi.encode(COMMIT_TAG, block.chainid, settlement, commit));
    }

    /// @notice What the verdict key signs for a bit-vote.
    /// @param held pairs of words: an oracle id and the digest of its commit.
    function bitVoteDigest(address settlement, uint64 epoch, uint64 oracleId, bytes32[] calldata held) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(abi.encode(BIT_VOTE_TAG, block.chainid, settlement, epoch, oracleId), held));
    }

    /// @notice What the verdict key signs for a report.
    function reportMessage(address settlement, uint64 epoch, uint64 view_, bytes32 digest) internal view returns (bytes32) {
        return keccak256(abi.encode(ReportLib.REPORT_TAG, block.chainid, settlement, epoch, view_, digest));
    }

    /// @param seeds the epoch's, then each slot's.
    function seedsDigest(bool secure, bytes32[] calldata seeds) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(abi.encode(SEEDS_TAG, secure), seeds));
    }

    /// @notice A leaf `(id, word)`: of `dataDigest` (oracle, commit digest), `bitVotesRoot` (oracle, bit-vote digest) and `obsRoot`
    /// (provider, panel vector).
    function leaf(uint64 id, bytes32 word) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(id, word))));
    }
}

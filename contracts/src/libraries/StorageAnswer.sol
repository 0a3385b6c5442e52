// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlaSettlement} from "../interfaces/ISlaSettlement.sol";

/// @title Encodings of a storage challenge that was answered late, or not at all
/// @notice The byte-exact rules stand in docs/protocol.md.
library StorageAnswer {
    bytes32 internal constant SILENCE_TAG = keccak256("assay.silence.v1");
    bytes32 internal constant ANSWER_TAG = keccak256("assay.answer.v1");

    /// Drawn over all that the provider claims.
    uint256 internal constant MIN_SAMPLES = 30;
    /// With the most that a challenge adds to them.
    uint256 internal constant MAX_SAMPLES = 40;
    uint256 internal constant CHUNK_BYTES = 1024;
    uint256 internal constant MAX_SIBLINGS_BYTES = 54 * 32;

    /// @notice The factsRoot of a provider that was silent on this challenge: a tree of one leaf, which is its root.
    /// @dev At most one challenge per provider and epoch is ever put by the whole panel.
    function silenceRoot(bytes32 challengeDigest) internal pure returns (bytes32) {
        bytes32 silence = keccak256(abi.encode(SILENCE_TAG, challengeDigest));
        return keccak256(bytes.concat(keccak256(abi.encode(silence))));
    }

    /// @notice The digest of a whole storage answer: the hash of its payload, which is empty, and a word for each sample.
    /// @dev A word hashes the chunk by itself, so that the border between chunk and siblings cannot move. How many samples the
    /// challenge asked for is known to the oracles: an answer with fewer is a wrong one, under the provider's own signature.
    function digest(bytes calldata chunks, bytes[] calldata siblings) internal pure returns (bytes32) {
        uint256 samples = siblings.length;
        if (samples < MIN_SAMPLES || samples > MAX_SAMPLES) revert ISlaSettlement.WrongSampleCount(samples);
        if (chunks.length != samples * CHUNK_BYTES) revert ISlaSettlement.WrongChunksLength(chunks.length);
        bytes32[] memory words = new bytes32[](samples + 1);
        words[0] = keccak256("");
        for (uint256 i = 0; i < samples; ++i) {
            bytes calldata path = siblings[i];
            if (path.length % 32 != 0 || path.length > MAX_SIBLINGS_BYTES) revert ISlaSettlement.WrongSiblingsLength(i, path.length);
            bytes calldata chunk = chunks[i * CHUNK_BYTES:(i + 1) * CHUNK_BYTES];
            words[i + 1] = keccak256(bytes.concat(keccak256(chunk), path));
        }
        return keccak256(abi.encodePacked(words));
    }

    /// @notice What the receipt key signs. Bound to this chain, this contract and the challenge.
    function message(uint64 providerId, bytes32 challengeDigest, bytes32 answerDigest) internal view returns (bytes32) {
        return keccak256(abi.encode(ANSWER_TAG, block.chainid, address(this), providerId, challengeDigest, answerDigest));
    }
}

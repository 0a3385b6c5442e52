// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlaSettlement} from "../interfaces/ISlaSettlement.sol";

/// @title Encodings of a storage challenge that was answered late, or not at all
/// @notice The byte-exact rules stand in docs/protocol.md.
library StorageAnswer {
    bytes32 internal constant SILENCE_TAG = keccak256("assay.silence.v1");
    bytes32 internal constant ANSWER_TAG = keccak256("assay.answer.v1");

    uint256 internal constant SAMPLES = 30;
    uint256 internal constant CHUNK_BYTES = 1024;
    uint256 internal constant MAX_SIBLINGS_BYTES = 54 * 32;

    /// @notice The factsRoot of a provider that was silent on this challenge: a tree of one leaf, which is its root.
    /// @dev At most one challenge per provider and epoch is ever put by the whole panel.
    function silenceRoot(bytes32 challengeDigest) internal pure returns (bytes32) {
        bytes32 silence = keccak256(abi.encode(SILENCE_TAG, challengeDigest));
        return keccak256(bytes.concat(keccak256(abi.encode(silence))));
    }

    /// @notice The digest of a whole storage answer: the hash of its payload, which is empty, and a word for each sample.
    /// @dev A word hashes the chunk by itself, so that the border between chunk and siblings cannot move.
    function digest(bytes calldata chunks, bytes[] calldata siblings) internal pure returns (bytes32) {
        if (siblings.length != SAMPLES) revert ISlaSettlement.WrongSampleCount(siblings.length);
        if (chunks.length != SAMPLES * CHUNK_BYTES) revert ISlaSettlement.WrongChunksLength(chunks.length);
        bytes32[SAMPLES + 1] memory words;
        words[0] = keccak256("");
        for (uint256 i = 0; i < SAMPLES; ++i) {
            bytes calldata path = siblings[i];
            if (path.length % 32 != 0 || path.length > MAX_SIBLINGS_BYTES) revert ISlaSettlement.WrongSiblingsLength(i, path.length);
            bytes calldata chunk = chunks[i * CHUNK_BYTES:(i + 1) * CHUNK_BYTES];
            words[i + 1] = keccak256(bytes.concat(keccak256(chunk), path));
        }
        return keccak256(abi.encode(words));
    }

    /// @notice What the receipt key signs. Bound to this chain, this contract and the challenge.
    function message(uint64 providerId, bytes32 challengeDigest, bytes32 answerDigest) internal view returns (bytes32) {
        return keccak256(abi.encode(ANSWER_TAG, block.chainid, address(this), providerId, challengeDigest, answerDigest));
    }
}

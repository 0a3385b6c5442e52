// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Fixture} from "./Fixture.sol";

/// Answers as a provider signs them, by encodings of their own: docs/protocol.md in words, not the contract's library.
abstract contract Rebuttal is Fixture {
    uint256 internal constant SAMPLES = 30;
    uint256 internal constant MOST_SAMPLES = 40;
    uint256 internal constant CHUNK = 1024;

    struct Answer {
        bytes32 challenge;
        bytes chunks;
        bytes[] siblings;
        bytes signature;
    }

    /// A full answer with `depth` siblings a sample, signed for settlement and chain as they are.
    function answerTo(uint64 providerId, bytes32 challenge, uint256 depth) internal view returns (Answer memory) {
        return answerTo(providerId, challenge, depth, SAMPLES);
    }

    function answerTo(uint64 providerId, bytes32 challenge, uint256 depth, uint256 samples) internal view returns (Answer memory a) {
        a.challenge = challenge;
        a.chunks = noise(abi.encode(challenge), samples * CHUNK);
        a.siblings = new bytes[](samples);
        for (uint256 i = 0; i < samples; ++i) {
            a.siblings[i] = noise(abi.encode(challenge, i), depth * 32);
        }
        a.signature = signAs(RECEIPT_SECRET, messageOf(block.chainid, address(settlement), providerId, a));
    }

    function messageOf(uint256 chain, address contract_, uint64 providerId, Answer memory a) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("assay.answer.v1"), chain, contract_, providerId, a.challenge, answerDigest(a)));
    }

    function answerDigest(Answer memory a) internal pure returns (bytes32) {
        bytes memory words = abi.encode(keccak256(""));
        for (uint256 i = 0; i < a.siblings.length; ++i) {
            bytes memory chunk = new bytes(CHUNK);
            for (uint256 at_ = 0; at_ < CHUNK; at_ += 32) {
                setWord(chunk, at_, word(a.chunks, i * CHUNK + at_));
            }
            words = abi.encodePacked(words, keccak256(abi.encodePacked(keccak256(chunk), a.siblings[i])));
        }
        return keccak256(words);
    }

    function silenceRoot(bytes32 challenge) internal pure returns (bytes32) {
        bytes32 silence = keccak256(abi.encode(keccak256("assay.silence.v1"), challenge));
        return keccak256(bytes.concat(keccak256(abi.encode(silence))));
    }

    function leafOf(uint64 providerId, uint64 epoch, uint8 reason, bytes32 factsRoot, uint256 amount) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(providerId, epoch, reason, factsRoot, amount))));
    }

    function signAs(uint256 secret, bytes32 message) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(secret, message);
        return abi.encodePacked(r, s, v);
    }

    /// Bytes without zeros to speak of: the dearest calldata.
    function noise(bytes memory seed, uint256 length) internal pure returns (bytes memory out) {
        out = new bytes(length);
        for (uint256 at_ = 0; at_ < length; at_ += 32) {
            setWord(out, at_, keccak256(abi.encode(seed, at_)));
        }
    }

    function word(bytes memory from, uint256 at_) internal pure returns (bytes32 value) {
        assembly ("memory-safe") {
            value := mload(add(add(from, 32), at_))
        }
    }

    function setWord(bytes memory into, uint256 at_, bytes32 value) private pure {
        assembly ("memory-safe") {
            mstore(add(add(into, 32), at_), value)
        }
    }
}

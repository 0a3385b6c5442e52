// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRebuttalCourt} from "../../src/interfaces/IRebuttalCourt.sol";
import {CompactProof} from "../../src/libraries/CompactProof.sol";
import {CompactProver} from "./CompactProver.sol";
import {CompactVerifier} from "./CompactVerifier.sol";
import {CourtFixture} from "./CourtFixture.sol";
import {Rebuttal} from "./Rebuttal.sol";

/// Compact answers as a provider signs them, by encodings of their own: docs/protocol.md in words, not the contracts' libraries.
abstract contract CompactAnswers is CourtFixture, Rebuttal {
    bytes32 internal constant CHALLENGE = keccak256("challenge");
    uint256 internal constant AMOUNT = 3e18;
    uint64 internal constant CONTEST = 15;
    uint256 private constant HALF_P_HIGH = 0xd0088f51cbff34d258dd3db21a5d66b;
    uint256 private constant HALF_P_LOW = 0xb23ba5c279c2895fb39869507b587b120f55ffff58a9ffffdcff7fffffffd555;

    CompactVerifier private _verifier = new CompactVerifier();

    function silenceLeaf(uint64 providerId, uint64 epoch) internal pure returns (bytes32) {
        return leafOf(providerId, epoch, 3, silenceRoot(CHALLENGE), AMOUNT);
    }

    /// Of a tree of one leaf.
    function silence(uint64 providerId) internal pure returns (IRebuttalCourt.Silence memory) {
        return IRebuttalCourt.Silence(providerId, AMOUNT, new bytes32[](0));
    }

    /// A proof for `count` blocks of as many replicas.
    function compactAnswer(uint64 providerId, uint256 count) internal view returns (IRebuttalCourt.Answer memory a) {
        CompactProver.Secret memory secret = CompactProver.Secret(uint256(keccak256("eps")), uint256(keccak256("alpha")), 4);
        (a.challengeDigest, a.seed, a.key) = (CHALLENGE, keccak256("seed"), CompactProver.key(secret));
        a.items = new CompactProof.Item[](count);
        for (uint256 i = 0; i < count; ++i) {
            a.items[i] = CompactProof.Item(keccak256(abi.encode("replica", i)), uint64(i) << 20);
        }
        (uint256[] memory nu, uint256 r) = _verifier.draw(a.seed, _verifier.tagKeyId(a.key), count);
        (a.proof,) = CompactProver.prove(secret, a.items, nu, r);
        signAnswer(a, providerId);
    }

    function signAnswer(IRebuttalCourt.Answer memory a, uint64 providerId) internal view {
        a.signature = signAs(RECEIPT_SECRET, answerMessage(a, providerId));
    }

    function answerMessage(IRebuttalCourt.Answer memory a, uint64 providerId) internal view returns (bytes32) {
        bytes32 answerDigest_ = keccak256(abi.encode(keccak256(payloadOf(a))));
        bytes32 tag = keccak256("assay.answer.v1");
        return keccak256(abi.encode(tag, block.chainid, address(settlement), providerId, a.challengeDigest, answerDigest_));
    }

    /// 1, nothing missing, and one group: its key, all positions, the proof.
    function payloadOf(IRebuttalCourt.Answer memory a) internal pure returns (bytes memory) {
        bytes32 keyId = keccak256(bytes.concat(abi.encode(keccak256("assay.tagkey.v1")), abi.encode(a.key)));
        uint64 positions;
        for (uint256 i = 0; i < a.items.length; ++i) {
            positions |= uint64(1 << i);
        }
        bytes memory group = abi.encodePacked(keyId, positions, compressed(a.proof.sigma), compressed(a.proof.psi), a.proof.y);
        return bytes.concat(hex"010000000000000000", group);
    }

    function compressed(bytes32[4] memory point) private pure returns (bytes memory) {
        bool larger = uint256(point[2]) > HALF_P_HIGH || (uint256(point[2]) == HALF_P_HIGH && uint256(point[3]) > HALF_P_LOW);
        uint128 top = uint128(uint256(point[0])) | uint128(larger ? 0xa0 << 120 : 0x80 << 120);
        return abi.encodePacked(top, point[1]);
    }
}

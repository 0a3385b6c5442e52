// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CompactProof} from "../../src/libraries/CompactProof.sol";

/// The library takes calldata, tests have memory.
contract CompactVerifier {
    function tagKeyId(CompactProof.Key calldata key) external pure returns (bytes32) {
        return CompactProof.tagKeyId(key);
    }

    function draw(bytes32 seed, bytes32 keyId, uint256 count) external pure returns (uint256[] memory nu, uint256 r) {
        return CompactProof.draw(seed, keyId, count);
    }

    function commitment(CompactProof.Item[] calldata items, uint256[] calldata nu, uint256 y) external view returns (bytes32[4] memory) {
        return CompactProof.commitment(items, nu, y);
    }

    function verify(
        CompactProof.Key calldata key,
        CompactProof.Item[] calldata items,
        uint256[] calldata nu,
        uint256 r,
        CompactProof.Proof calldata proof
    ) external view returns (bool) {
        return CompactProof.verify(key, items, nu, r, proof);
    }

    function verifyChallenge(
        CompactProof.Key calldata key,
        CompactProof.Item[] calldata items,
        bytes32 seed,
        CompactProof.Proof calldata proof
    ) external view returns (bool) {
        return CompactProof.verifyChallenge(key, items, seed, proof);
    }

    function verifyWithA(CompactProof.Key calldata key, bytes32[4] calldata a, uint256 r, CompactProof.Proof calldata proof)
        external
        view
        returns (bool)
    {
        return CompactProof.verifyWithA(key, a, r, proof);
    }
}

/// The same calls as transactions: forge counts base cost and calldata of those alone that are not declared view.
interface CompactVerifierTransactions {
    function verifyChallenge(
        CompactProof.Key calldata key,
        CompactProof.Item[] calldata items,
        bytes32 seed,
        CompactProof.Proof calldata proof
    ) external returns (bool);

    function verifyWithA(CompactProof.Key calldata key, bytes32[4] calldata a, uint256 r, CompactProof.Proof calldata proof)
        external
        returns (bool);
}

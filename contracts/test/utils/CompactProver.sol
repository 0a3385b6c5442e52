// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bls12381} from "../../src/libraries/Bls12381.sol";
import {CompactProof} from "../../src/libraries/CompactProof.sol";
import {BlsSigner} from "./BlsSigner.sol";

/// Proves in tests, with the owner's secret and blocks of a few scalars that follow from name and index. Sums item by item, where the
/// library multiplies all at once.
library CompactProver {
    uint256 private constant ORDER = BlsSigner.ORDER;

    struct Secret {
        uint256 eps;
        uint256 alpha;
        /// Scalars of a block; 1 makes every block constant.
        uint256 scalars;
    }

    function key(Secret memory s) internal view returns (CompactProof.Key memory) {
        bytes memory v = BlsSigner.publicKey(s.eps);
        bytes memory w = BlsSigner.publicKey(mulmod(s.eps, s.alpha, ORDER));
        return abi.decode(abi.encodePacked(v, w), (CompactProof.Key));
    }

    /// The proof, and the A that belongs to it.
    function prove(Secret memory s, CompactProof.Item[] memory items, uint256[] memory nu, uint256 r)
        internal
        view
        returns (CompactProof.Proof memory proof, bytes32[4] memory a)
    {
        proof.y = combined(s, items, nu, r);
        uint256 atAlpha = combined(s, items, nu, s.alpha);
        uint256 quotient = mulmod(subtract(atAlpha, proof.y), inverse(subtract(s.alpha, r)), ORDER);
        proof.psi = multiply(generator(), quotient);
        bytes32[4] memory hashes = sumOfHashes(items, nu);
        proof.sigma = multiply(add(hashes, multiply(generator(), atAlpha)), s.eps);
        a = add(hashes, multiply(generator(), proof.y));
    }

    /// P(x), the sum of nu * f(x) over the items.
    function combined(Secret memory s, CompactProof.Item[] memory items, uint256[] memory nu, uint256 x)
        private
        pure
        returns (uint256 sum)
    {
        for (uint256 i = 0; i < items.length; ++i) {
            sum = addmod(sum, mulmod(nu[i], blockAt(s, items[i], x), ORDER), ORDER);
        }
    }

    function blockAt(Secret memory s, CompactProof.Item memory item, uint256 x) private pure returns (uint256 value) {
        for (uint256 j = s.scalars; j > 0; --j) {
            uint256 scalar = uint256(keccak256(abi.encode(item, j))) >> 8;
            value = addmod(mulmod(value, x, ORDER), scalar, ORDER);
        }
    }

    function sumOfHashes(CompactProof.Item[] memory items, uint256[] memory nu) private view returns (bytes32[4] memory sum) {
        for (uint256 i = 0; i < items.length; ++i) {
            bytes memory message = abi.encodePacked(items[i].name, items[i].index);
            bytes memory hashed = Bls12381.hashToG1(message, "ASSAY-V1-TAG_BLS12381G1_XMD:SHA-256_SSWU_RO_");
            sum = add(sum, multiply(pointOf(hashed), nu[i]));
        }
    }

    function generator() internal pure returns (bytes32[4] memory) {
        return pointOf(Bls12381.G1);
    }

    function add(bytes32[4] memory a, bytes32[4] memory b) internal view returns (bytes32[4] memory) {
        return call(address(0x0b), abi.encodePacked(a, b));
    }

    /// For points of the subgroup, as the precompile wants them.
    function multiply(bytes32[4] memory point, uint256 scalar) internal view returns (bytes32[4] memory) {
        return call(address(0x0c), abi.encodePacked(point, scalar));
    }

    /// The part of a point that lies outside the subgroup: ORDER * point, by additions, which take any point of the curve.
    function torsion(bytes memory point, address adder) internal view returns (bytes memory sum) {
        sum = new bytes(point.length);
        for (uint256 bit = 1 << 254; bit > 0; bit >>= 1) {
            sum = bytesFrom(adder, abi.encodePacked(sum, sum));
            if (ORDER & bit != 0) sum = bytesFrom(adder, abi.encodePacked(sum, point));
        }
    }

    function pointOf(bytes memory data) internal pure returns (bytes32[4] memory) {
        return abi.decode(data, (bytes32[4]));
    }

    function call(address precompile, bytes memory input) private view returns (bytes32[4] memory) {
        return pointOf(bytesFrom(precompile, input));
    }

    function bytesFrom(address precompile, bytes memory input) internal view returns (bytes memory) {
        (bool ok, bytes memory output) = precompile.staticcall(input);
        require(ok, "precompile failed");
        return output;
    }

    function subtract(uint256 a, uint256 b) private pure returns (uint256) {
        return addmod(a, ORDER - b % ORDER, ORDER);
    }

    function inverse(uint256 a) private view returns (uint256) {
        bytes memory input = abi.encode(uint256(32), uint256(32), uint256(32), a, ORDER - 2, ORDER);
        return abi.decode(bytesFrom(address(0x05), input), (uint256));
    }
}

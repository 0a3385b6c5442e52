// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bls12381} from "./Bls12381.sol";

/// @title Rounds of a drand chain in the scheme of quicknet (bls-unchained-g1-rfc9380)
/// @notice A round has exactly one valid signature, so what is derived from it can be late, but not chosen. See https://drand.love.
library Drand {
    bytes internal constant DST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

    /// (p - 1) / 2, as the two words of its padded form: a larger y is the larger of the two.
    uint256 private constant HALF_P_HIGH = 0xd0088f51cbff34d258dd3db21a5d66b;
    uint256 private constant HALF_P_LOW = 0xb23ba5c279c2895fb39869507b587b120f55ffff58a9ffffdcff7fffffffd555;
    bytes1 private constant COMPRESSED = 0x80;
    bytes1 private constant LARGER_Y = 0x20;

    /// @notice The first round at or after a time, both in unix seconds; round 1 is at `genesis`.
    function roundAtOrAfter(uint256 time, uint64 genesis, uint64 period) internal pure returns (uint256) {
        uint256 elapsed = time > genesis ? time - genesis : 0;
        return (elapsed + period - 1) / period + 1;
    }

    /// @notice Whether the beacon gave this signature, 128 bytes in G1, for this round.
    function verify(bytes memory key, uint64 round, bytes calldata signature) internal view returns (bool) {
        return Bls12381.verify(key, sha256(abi.encodePacked(round)), DST, signature);
    }

    /// @notice drand's randomness: SHA-256 of the compressed signature. For a signature that verified.
    function randomness(bytes calldata signature) internal pure returns (bytes32) {
        bytes memory compressed = bytes.concat(signature[16:64]);
        (uint256 high, uint256 low) = abi.decode(signature[64:128], (uint256, uint256));
        bool larger = high > HALF_P_HIGH || (high == HALF_P_HIGH && low > HALF_P_LOW);
        compressed[0] |= larger ? COMPRESSED | LARGER_Y : COMPRESSED;
        return sha256(compressed);
    }
}

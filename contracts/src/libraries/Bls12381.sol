// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title BLS12-381 signatures of the min-sig kind, on the precompiles of EIP-2537
/// @notice Signatures and messages are points of G1 (128 bytes), keys are points of G2 (256 bytes), both in the padded
/// form of EIP-2537: every 48-byte field element is preceded by 16 zero bytes, an element of Fp2 is `c0 || c1`.
/// Hashing to the curve is RFC 9380, suite BLS12381G1_XMD:SHA-256_SSWU_RO_.
library Bls12381 {
    uint256 internal constant G1_LENGTH = 128;
    uint256 internal constant G2_LENGTH = 256;

    uint256 private constant SHA256 = 0x02;
    uint256 private constant MODEXP = 0x05;
    uint256 private constant G1_ADD = 0x0b;
    uint256 private constant G2_ADD = 0x0d;
    uint256 private constant PAIRING_CHECK = 0x0f;
    uint256 private constant MAP_FP_TO_G1 = 0x10;

    /// A precompile that dislikes its input burns all gas it was given. Two pairs cost 102,900 today.
    uint256 internal constant PAIRING_GAS_LIMIT = 150_000;

    /// The field's prime, as the two words of its padded form.
    uint256 private constant P_HIGH = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LOW = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

    /// The negated generator of G2, word by word. Source: the standard generator with y replaced by p - y.
    uint256 private constant NEG_G2_0 = 0x024aa2b2f08f0a91260805272dc51051;
    uint256 private constant NEG_G2_1 = 0xc6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8;
    uint256 private constant NEG_G2_2 = 0x13e02b6052719f607dacd3a088274f65;
    uint256 private constant NEG_G2_3 = 0x596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e;
    uint256 private constant NEG_G2_4 = 0x0d1b3cc2c7027888be51d9ef691d77bc;
    uint256 private constant NEG_G2_5 = 0xb679afda66c73f17f9ee3837a55024f78c71363275a75d75d86bab79f74782aa;
    uint256 private constant NEG_G2_6 = 0x13fa4d4a0ad8b1ce186ed5061789213d;
    uint256 private constant NEG_G2_7 = 0x993923066dddaf1040bc3ff59f825c78df74f2d75467e25e0f55f8a00fa030ed;

    /// @dev A precompile refused its input: a point off its curve, or a chain without EIP-2537.
    error PrecompileFailed();
    error InvalidLength();

    /// @notice Whether `signature` over `message` verifies under `key`.
    /// @dev False for a wrong length, for infinity in either place, and for any point outside its subgroup (the pairing
    /// precompile checks both). Never reverts for bad input and never spends more than the bounded gas on it.
    function verify(bytes memory key, bytes memory message, bytes memory dst, bytes memory signature) internal view returns (bool ok) {
        if (key.length != G2_LENGTH || signature.length != G1_LENGTH) return false;
        // The pairing of infinity with anything is one, so two of them would "verify" everything.
        if (isZero(key) || isZero(signature)) return false;

        bytes memory hashed = hashToG1(message, dst);
        // e(signature, -G2) * e(H(message), key) == 1
        assembly ("memory-safe") {
            let input := mload(0x40)
            mcopy(input, add(signature, 0x20), 128)
            mstore(add(input, 128), NEG_G2_0)
            mstore(add(input, 160), NEG_G2_1)
            mstore(add(input, 192), NEG_G2_2)
            mstore(add(input, 224), NEG_G2_3)
            mstore(add(input, 256), NEG_G2_4)
            mstore(add(input, 288), NEG_G2_5)
            mstore(add(input, 320), NEG_G2_6)
            mstore(add(input, 352), NEG_G2_7)
            mcopy(add(input, 384), add(hashed, 0x20), 128)
            mcopy(add(input, 512), add(key, 0x20), 256)
            mstore(0, 0)
            ok := staticcall(PAIRING_GAS_LIMIT, PAIRING_CHECK, input, 768, 0, 0x20)
            ok := and(ok, and(eq(returndatasize(), 0x20), eq(mload(0), 1)))
        }
    }

    /// @notice RFC 9380 `hash_to_curve` into G1.
    function hashToG1(bytes memory message, bytes memory dst) internal view returns (bytes memory point) {
        bytes memory uniform = expandMessage(message, dst);
        point = new bytes(256);
        bool ok;
        assembly ("memory-safe") {
            let halves := add(point, 0x20)
            // hash_to_field: the two 64-byte halves mod p, by MODEXP with exponent 1, straight into padded form.
            let input := mload(0x40)
            mstore(input, 64)
            mstore(add(input, 32), 1)
            mstore(add(input, 64), 64)
            mstore8(add(input, 160), 1)
            mstore(add(input, 161), P_HIGH)
            mstore(add(input, 193), P_LOW)

            mcopy(add(input, 96), add(uniform, 0x20), 64)
            ok := staticcall(gas(), MODEXP, input, 225, halves, 64)
            mcopy(add(input, 96), add(uniform, 0x60), 64)
            ok := and(ok, staticcall(gas(), MODEXP, input, 225, add(halves, 64), 64))

            // The map clears the cofactor of each half, and a sum of two points of the subgroup stays in it.
            ok := and(ok, staticcall(gas(), MAP_FP_TO_G1, add(halves, 64), 64, add(halves, 128), 128))
            ok := and(ok, staticcall(gas(), MAP_FP_TO_G1, halves, 64, halves, 128))
            ok := and(ok, staticcall(gas(), G1_ADD, halves, 256, halves, 128))
            ok := and(ok, eq(returndatasize(), 128))
            mstore(point, 128)
        }
        if (!ok) revert PrecompileFailed();
    }

    /// @notice RFC 9380 `expand_message_xmd` with SHA-256 to 128 bytes.
    function expandMessage(bytes memory message, bytes memory dst) internal view returns (bytes memory uniform) {
        if (dst.length > 255) revert InvalidLength();
        uniform = new bytes(128);
        bool ok;
        assembly ("memory-safe") {
            // Z_pad (64) || message || l_i_b_str (2) = 0x0080 || I2OSP(0, 1) || dst || I2OSP(len(dst), 1)
            let buffer := mload(0x40)
            let messageLength := mload(message)
            let dstLength := mload(dst)
            mstore(buffer, 0)
            mstore(add(buffer, 32), 0)
            mcopy(add(buffer, 64), add(message, 0x20), messageLength)
            let counter := add(add(buffer, 66), messageLength)
            mstore8(sub(counter, 2), 0)
            mstore8(sub(counter, 1), 128)
            mstore8(counter, 0)
            mcopy(add(counter, 1), add(dst, 0x20), dstLength)
            mstore8(add(add(counter, 1), dstLength), dstLength)

            let tail := add(dstLength, 2) // the counter byte, dst and its length
            ok := staticcall(gas(), SHA256, buffer, add(sub(counter, buffer), tail), 0, 32)
            let b0 := mload(0)

            // b_i = H((b0 xor b_(i-1)) || I2OSP(i, 1) || DST_prime); the message is no longer needed, so the word before
            // the counter byte is reused.
            let out := add(uniform, 0x20)
            let previous := 0
            for { let i := 1 } lt(i, 5) { i := add(i, 1) } {
                mstore(sub(counter, 32), xor(b0, previous))
                mstore8(counter, i)
                ok := and(ok, staticcall(gas(), SHA256, sub(counter, 32), add(32, tail), out, 32))
                previous := mload(out)
                out := add(out, 32)
            }
        }
        if (!ok) revert PrecompileFailed();
    }

    /// @notice `sum += point` in G2. Both are 256 bytes; no subgroup check is made.
    function addG2(bytes memory sum, bytes memory point) internal view {
        if (sum.length != G2_LENGTH || point.length != G2_LENGTH) revert InvalidLength();
        bool ok;
        assembly ("memory-safe") {
            let input := mload(0x40)
            mcopy(input, add(sum, 0x20), 256)
            mcopy(add(input, 256), add(point, 0x20), 256)
            ok := staticcall(gas(), G2_ADD, input, 512, add(sum, 0x20), 256)
            ok := and(ok, eq(returndatasize(), 256))
        }
        if (!ok) revert PrecompileFailed();
    }

    /// @notice `point = -point` in G2, in place. Infinity stays infinity.
    function negateG2(bytes memory point) internal pure {
        if (point.length != G2_LENGTH) revert InvalidLength();
        assembly ("memory-safe") {
            for { let word := add(point, 160) } lt(word, add(point, 288)) { word := add(word, 64) } {
                let high := mload(word)
                let low := mload(add(word, 32))
                // Zero is its own negative; p itself is no canonical element.
                if or(high, low) {
                    mstore(word, sub(sub(P_HIGH, high), gt(low, P_LOW)))
                    mstore(add(word, 32), sub(P_LOW, low))
                }
            }
        }
    }

    /// @notice Whether all bytes are zero, which is how EIP-2537 writes the point at infinity.
    function isZero(bytes memory point) internal pure returns (bool) {
        uint256 accumulated;
        assembly ("memory-safe") {
            let end := add(add(point, 0x20), mload(point))
            for { let word := add(point, 0x20) } lt(word, end) { word := add(word, 32) } {
                accumulated := or(accumulated, mload(word))
            }
        }
        return accumulated == 0;
    }
}

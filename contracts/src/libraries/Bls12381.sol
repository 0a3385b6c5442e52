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
    uint256 private constant G1_ADD = 0x0b;
    uint256 private constant G1_MSM = 0x0c;
    uint256 private constant G2_ADD = 0x0d;
    uint256 private constant PAIRING_CHECK = 0x0f;
    uint256 private constant MAP_FP_TO_G1 = 0x10;

    /// A precompile that dislikes its input burns all gas it was given. Two pairs cost 102,900 today.
    uint256 internal constant PAIRING_GAS_LIMIT = 150_000;

    /// The same bound for any number of pairs: for each of them, where it costs 32,600 today, and once more, for 37,700.
    uint256 private constant PAIR_GAS_LIMIT = 50_000;
    /// For one addition and one multiplication in G1, which cost 375 and 12,000 today.
    uint256 private constant ADD_GAS_LIMIT = 1_000;
    uint256 private constant MULTIPLY_GAS_LIMIT = 18_000;

    /// The order of G1, G2 and the group that pairings lead to.
    uint256 internal constant ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;

    /// The field's prime, as the two words of its padded form.
    uint256 private constant P_HIGH = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LOW = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

    /// (p - 1) / 2 likewise: of the two y that belong to an x, the one above it is the larger.
    uint256 private constant HALF_P_HIGH = 0xd0088f51cbff34d258dd3db21a5d66b;
    uint256 private constant HALF_P_LOW = 0xb23ba5c279c2895fb39869507b587b120f55ffff58a9ffffdcff7fffffffd555;

    /// What the top bits of a compressed point say.
    bytes1 private constant COMPRESSED = 0x80;
    bytes1 private constant INFINITY = 0x40;
    bytes1 private constant LARGER_Y = 0x20;

    /// floor(2^512 / p)
    uint256 private constant BARRETT = 0x9d835d2f3cc9e45ce28101b0cc7a6ba29;

    /// The generator of G1.
    bytes internal constant G1 =
        hex"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb0000000000000000000000000000000008b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1";

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
    /// @dev Less gas than the bound of a call: what would be refused for want of gas must not look like a wrong point.
    error NotEnoughGas();
    error InvalidLength();

    /// @notice Whether `signature` over the 32-byte `message` verifies under `key`.
    /// @dev False for a wrong length, for infinity in either place, and for any point outside its subgroup (the pairing
    /// precompile checks both). Never reverts for bad input and never spends more than the bounded gas on it.
    function verify(bytes memory key, bytes32 message, bytes memory dst, bytes calldata signature) internal view returns (bool ok) {
        if (key.length != G2_LENGTH || signature.length != G1_LENGTH) return false;
        // The pairing of infinity with anything is one, so two of them would "verify" everything.
        if (isInfinityG2(key)) return false;

        assembly ("memory-safe") {
            mstore(0, message)
        }
        uint256 hashed = hashToG1At(0, 32, dst);
        // e(signature, -G2) * e(H(message), key) == 1
        assembly ("memory-safe") {
            let input := mload(0x40)
            mcopy(add(input, 384), hashed, 128) // first: hashed lies in free memory, too
            calldatacopy(input, signature.offset, 128)
            let x := or(mload(input), mload(add(input, 32)))
            let signatureIsInfinity := iszero(or(x, or(mload(add(input, 64)), mload(add(input, 96)))))
            mstore(add(input, 128), NEG_G2_0)
            mstore(add(input, 160), NEG_G2_1)
            mstore(add(input, 192), NEG_G2_2)
            mstore(add(input, 224), NEG_G2_3)
            mstore(add(input, 256), NEG_G2_4)
            mstore(add(input, 288), NEG_G2_5)
            mstore(add(input, 320), NEG_G2_6)
            mstore(add(input, 352), NEG_G2_7)
            mcopy(add(input, 512), add(key, 0x20), 256)
            mstore(0, 0)
            ok := staticcall(PAIRING_GAS_LIMIT, PAIRING_CHECK, input, 768, 0, 0x20)
            ok := and(and(ok, iszero(signatureIsInfinity)), and(eq(returndatasize(), 0x20), eq(mload(0), 1)))
        }
    }

    /// @notice Whether `signature` is the sum of the signatures that `key` gives under two 32-byte messages.
    /// @dev The messages must differ. Then the sum shows that both were signed: who has it and only one signature subtracts, and has
    /// forged the other. False for bad input and bounded like `verify`, but reverts with less gas than the bounds.
    function verifySum(bytes memory key, bytes32 first, bytes32 second, bytes memory dst, bytes calldata signature)
        internal
        view
        returns (bool)
    {
        if (key.length != G2_LENGTH || signature.length != G1_LENGTH) return false;
        if (isInfinityG2(key)) return false;
        (bool ok, bytes32[4] memory sum) = addG1(hashWordToG1(first, dst), hashWordToG1(second, dst));
        // e(signature, -G2) * e(H(first) + H(second), key) == 1
        return ok && pairingIsOne(abi.encodePacked(signature, negatedG2(), sum, key));
    }

    function hashWordToG1(bytes32 message, bytes memory dst) private view returns (bytes32[4] memory point) {
        assembly ("memory-safe") {
            mstore(0, message)
        }
        uint256 hashed = hashToG1At(0, 32, dst);
        assembly ("memory-safe") {
            mcopy(point, hashed, 128)
        }
    }

    /// @notice RFC 9380 `hash_to_curve` into G1.
    function hashToG1(bytes memory message, bytes memory dst) internal view returns (bytes memory point) {
        uint256 messageAt;
        assembly ("memory-safe") {
            messageAt := add(message, 0x20)
        }
        uint256 hashed = hashToG1At(messageAt, message.length, dst);
        assembly ("memory-safe") {
            let free := mload(0x40)
            mcopy(add(free, 0x20), hashed, 128)
            mstore(free, 128)
            mstore(0x40, add(free, 160))
            point := free
        }
    }

    /// @dev Leaves the point's 128 bytes in memory that is not allocated; the caller copies them before allocating any.
    function hashToG1At(uint256 messageAt, uint256 messageLength, bytes memory dst) internal view returns (uint256 hashed) {
        if (dst.length > 255) revert InvalidLength();
        bool ok;
        assembly ("memory-safe") {
            // expand_message_xmd with SHA-256 to 128 bytes, of which the first half goes to b1, b2, the second to b3, b4:
            // Z_pad (64) || message || l_i_b_str (2) = 0x0080 || I2OSP(0, 1) || dst || I2OSP(len(dst), 1)
            hashed := mload(0x40)
            let buffer := add(hashed, 256)
            mstore(buffer, 0)
            mstore(add(buffer, 32), 0)
            mcopy(add(buffer, 64), messageAt, messageLength)
            let counter := add(add(buffer, 66), messageLength)
            mstore(sub(counter, 2), shl(240, 0x0080)) // and the counter, zero
            let dstLength := mload(dst)
            mcopy(add(counter, 1), add(dst, 0x20), dstLength)
            mstore8(add(add(counter, 1), dstLength), dstLength)
            ok := staticcall(gas(), SHA256, buffer, add(sub(counter, buffer), add(dstLength, 2)), 0, 32)
            let b0 := mload(0)

            // b_i = H((b0 xor b_(i-1)) || I2OSP(i, 1) || DST_prime); the message is no longer needed, so the word before
            // the counter byte is reused.
            let block_ := sub(counter, 32)
            let blockLength := add(dstLength, 34)
            mstore(block_, b0)
            mstore8(counter, 1)
            ok := and(ok, staticcall(gas(), SHA256, block_, blockLength, hashed, 32))
            mstore(block_, xor(b0, mload(hashed)))
            mstore8(counter, 2)
            ok := and(ok, staticcall(gas(), SHA256, block_, blockLength, add(hashed, 32), 32))
            mstore(block_, xor(b0, mload(add(hashed, 32))))
            mstore8(counter, 3)
            ok := and(ok, staticcall(gas(), SHA256, block_, blockLength, add(hashed, 64), 32))
            mstore(block_, xor(b0, mload(add(hashed, 64))))
            mstore8(counter, 4)
            ok := and(ok, staticcall(gas(), SHA256, block_, blockLength, add(hashed, 96), 32))
        }
        reduceAt(hashed);
        reduceAt(hashed + 64);
        // The map clears the cofactor of each half; their sum stays in the subgroup.
        assembly ("memory-safe") {
            ok := and(ok, staticcall(gas(), MAP_FP_TO_G1, add(hashed, 64), 64, add(hashed, 128), 128))
            ok := and(ok, staticcall(gas(), MAP_FP_TO_G1, hashed, 64, hashed, 128))
            ok := and(ok, staticcall(gas(), G1_ADD, hashed, 256, hashed, 128))
            ok := and(ok, eq(returndatasize(), 128))
        }
        if (!ok) revert PrecompileFailed();
    }

    /// @dev Replaces the 64 bytes x at this place of memory by x mod p, by Barrett: high * 2^256 + low = x, and the quotient
    /// taken from the high word alone is at most 2 too small.
    function reduceAt(uint256 element) internal pure {
        assembly ("memory-safe") {
            let high := mload(element)
            let low := mload(add(element, 32))
            let all := not(0)
            // quotient = high * BARRETT / 2^256
            let m := mulmod(high, BARRETT, all)
            let productLow := mul(high, BARRETT)
            let quotient := sub(sub(m, productLow), lt(m, productLow))
            // x - quotient * p
            m := mulmod(quotient, P_LOW, all)
            productLow := mul(quotient, P_LOW)
            let productHigh := add(sub(sub(m, productLow), lt(m, productLow)), mul(quotient, P_HIGH))
            high := sub(sub(high, productHigh), lt(low, productLow))
            low := sub(low, productLow)
            for {} 1 {} {
                // Subtract p while the difference stays positive.
                let nextHigh := sub(sub(high, P_HIGH), lt(low, P_LOW))
                if gt(nextHigh, high) { break }
                high := nextHigh
                low := sub(low, P_LOW)
            }
            mstore(element, high)
            mstore(add(element, 32), low)
        }
    }

    /// @notice The sum of scalar * point over `terms`: 128 bytes of a point of G1 and 32 of a scalar (any number), again and again.
    /// @dev For points that are good for certain: a bad one costs all gas and reverts. The precompile checks every subgroup.
    function sumOfProductsG1(bytes memory terms) internal view returns (bytes32[4] memory sum) {
        if (!callFor(G1_MSM, terms, gasleft(), sum)) revert PrecompileFailed();
    }

    /// @notice `scalar * point` in G1; not ok for a point off the curve, outside the subgroup or in another form than EIP-2537's.
    function multiplyG1(bytes32[4] memory point, uint256 scalar) internal view returns (bool ok, bytes32[4] memory product) {
        ok = callBounded(G1_MSM, abi.encodePacked(point, scalar), MULTIPLY_GAS_LIMIT, product);
    }

    /// @notice `a + b` in G1; not ok for a point off the curve or in another form than EIP-2537's. No subgroup check is made.
    function addG1(bytes32[4] memory a, bytes32[4] memory b) internal view returns (bool ok, bytes32[4] memory sum) {
        ok = callBounded(G1_ADD, abi.encodePacked(a, b), ADD_GAS_LIMIT, sum);
    }

    /// @notice Whether the product of all pairings is one. `pairs`: 128 bytes of a point of G1 and 256 of one of G2, again and again.
    /// @dev False for a point off its curve or outside its subgroup, of which the precompile checks every one. A bad point costs no
    /// more than the bound, and with less gas than that left this reverts: false is never for want of gas.
    function pairingIsOne(bytes memory pairs) internal view returns (bool one) {
        uint256 limit = (pairs.length / (G1_LENGTH + G2_LENGTH) + 1) * PAIR_GAS_LIMIT;
        requireGas(limit);
        bool ok;
        bool complete;
        assembly ("memory-safe") {
            mstore(0, 0)
            ok := staticcall(limit, PAIRING_CHECK, add(pairs, 0x20), mload(pairs), 0, 0x20)
            complete := eq(returndatasize(), 0x20)
            one := and(ok, eq(mload(0), 1))
        }
        if (ok && !complete) revert PrecompileFailed();
    }

    /// @notice The 48 bytes of a point of G1 in the ZCash form: x, and on top of it what it is and which y belongs to it.
    /// @dev For a point that is good for certain.
    function compressG1(bytes32[4] memory point) internal pure returns (bytes memory compressed) {
        (uint256 yHigh, uint256 yLow) = (uint256(point[2]), uint256(point[3]));
        compressed = abi.encodePacked(bytes16(point[0] << 128), point[1]);
        bytes1 flags = COMPRESSED;
        if ((point[0] | point[1] | point[2] | point[3]) == 0) flags |= INFINITY;
        if (yHigh > HALF_P_HIGH || (yHigh == HALF_P_HIGH && yLow > HALF_P_LOW)) flags |= LARGER_Y;
        compressed[0] |= flags;
    }

    /// @notice The negated generator of G2.
    function negatedG2() internal pure returns (bytes32[8] memory point) {
        assembly ("memory-safe") {
            mstore(point, NEG_G2_0)
            mstore(add(point, 32), NEG_G2_1)
            mstore(add(point, 64), NEG_G2_2)
            mstore(add(point, 96), NEG_G2_3)
            mstore(add(point, 128), NEG_G2_4)
            mstore(add(point, 160), NEG_G2_5)
            mstore(add(point, 192), NEG_G2_6)
            mstore(add(point, 224), NEG_G2_7)
        }
    }

    function callBounded(uint256 precompile, bytes memory input, uint256 limit, bytes32[4] memory result) private view returns (bool ok) {
        requireGas(limit);
        return callFor(precompile, input, limit, result);
    }

    /// @dev A precompile that answers with a point of G1. Not ok when it refuses; a chain without it reverts.
    function callFor(uint256 precompile, bytes memory input, uint256 limit, bytes32[4] memory result) private view returns (bool ok) {
        bool complete;
        assembly ("memory-safe") {
            ok := staticcall(limit, precompile, add(input, 0x20), mload(input), result, 128)
            complete := eq(returndatasize(), 128)
        }
        if (ok && !complete) revert PrecompileFailed();
    }

    /// @dev A call gets at most 63/64 of what is left; the last summand pays for the call itself.
    function requireGas(uint256 limit) private view {
        if (gasleft() < limit + limit / 63 + 1_000) revert NotEnoughGas();
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

    /// @notice EIP-2537 writes the point at infinity as zeros.
    function isInfinityG2(bytes memory point) internal pure returns (bool infinity) {
        assembly ("memory-safe") {
            let a := or(mload(add(point, 32)), mload(add(point, 64)))
            let b := or(mload(add(point, 96)), mload(add(point, 128)))
            let c := or(mload(add(point, 160)), mload(add(point, 192)))
            let d := or(mload(add(point, 224)), mload(add(point, 256)))
            infinity := iszero(or(or(a, b), or(c, d)))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bls12381} from "../src/libraries/Bls12381.sol";
import {BlsSigner} from "./utils/BlsSigner.sol";
import {BlsVerifier} from "./utils/BlsVerifier.sol";
import {Test} from "./utils/Test.sol";

contract Bls12381Test is Test {
    bytes internal constant DST = "ASSAY-V1-TEST_BLS12381G1_XMD:SHA-256_SSWU_RO_";
    string internal points;
    BlsVerifier internal verifier = new BlsVerifier();

    function setUp() public {
        points = vm.readFile("../tests/vectors/curve_points.json");
    }

    function test_hashToG1_matches_rfc9380() public view {
        string memory json = vm.readFile("../tests/vectors/rfc9380_g1.json");
        bytes memory dst = bytes(vm.parseJsonString(json, ".dst"));
        uint256 seen;
        for (string memory at_ = ".vectors[0]"; vm.keyExistsJson(json, at_); at_ = vectorAt(++seen)) {
            bytes memory message = bytes(vm.parseJsonString(json, string.concat(at_, ".message")));
            vm.assertEq(Bls12381.hashToG1(message, dst), vm.parseJsonBytes(json, string.concat(at_, ".point128")));
        }
        vm.assertEq(seen, 5);
    }

    // Referee: MODEXP (0x05), which the library avoids for its price.
    function testFuzz_reduce_is_mod_p(uint256 high, uint256 low) public view {
        checkReduce(high, low);
    }

    function test_reduce_at_the_edges() public view {
        (uint256 pHigh, uint256 pLow) = (uint256(bytes32(bytes(P))), uint256(bytes32(slice32(P))));
        checkReduce(0, 0);
        checkReduce(type(uint256).max, type(uint256).max);
        checkReduce(type(uint256).max, 0);
        checkReduce(pHigh, pLow - 1);
        checkReduce(pHigh, pLow);
        checkReduce(pHigh, pLow + 1);
        for (uint256 k = 1; k < 128; ++k) {
            // 2^k * p and its neighbours
            uint256 high = (pHigh << k) | (pLow >> (256 - k));
            checkReduce(high, (pLow << k) - 1);
            checkReduce(high, pLow << k);
            checkReduce(high, (pLow << k) + 1);
        }
    }

    bytes private constant P =
        hex"000000000000000000000000000000001a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";

    function slice32(bytes memory data) private pure returns (bytes32 second) {
        assembly ("memory-safe") {
            second := mload(add(data, 64))
        }
    }

    function checkReduce(uint256 high, uint256 low) private view {
        (bool ok, bytes memory expected) =
            address(0x05).staticcall(abi.encodePacked(uint256(64), uint256(1), uint256(64), high, low, uint8(1), P));
        vm.assertTrue(ok);
        bytes memory element = abi.encode(high, low);
        uint256 place;
        assembly ("memory-safe") {
            place := add(element, 32)
        }
        Bls12381.reduceAt(place);
        vm.assertEq(element, expected);
    }

    function vectorAt(uint256 i) private pure returns (string memory) {
        return string.concat(".vectors[", vm.toString(i), "]");
    }

    function testFuzz_verify_accepts_what_was_signed_and_nothing_else(uint256 seed, bytes32 message, bytes32 other) public view {
        vm.assume(message != other);
        uint256 sk = seed % (BlsSigner.ORDER - 1) + 1;
        bytes memory key = BlsSigner.publicKey(sk);
        bytes memory signature = BlsSigner.sign(sk, message, DST);
        vm.assertTrue(verify(key, message, signature));
        vm.assertFalse(verify(key, other, signature));
        vm.assertFalse(verifier.verify(key, message, BlsSigner.REPORT_DST, signature));
        vm.assertFalse(verify(BlsSigner.publicKey(sk == 1 ? 2 : sk - 1), message, signature));
    }

    // Defence: infinity is refused as key and as signature; both removed, nothing signs everything and this turns red.
    function test_infinity_signs_nothing() public view {
        vm.assertFalse(verify(new bytes(256), "m", new bytes(128)));
        vm.assertFalse(verify(BlsSigner.publicKey(5), "m", new bytes(128)));
        vm.assertFalse(verify(new bytes(256), "m", BlsSigner.sign(5, "m", DST)));
    }

    // Defence: the pairing precompile checks subgroups; replaced by something that does not, this turns red.
    function test_points_outside_the_subgroup_are_refused() public view {
        bytes memory wrongSignature = vm.parseJsonBytes(points, ".g1.wrongSubgroup");
        bytes memory wrongKey = vm.parseJsonBytes(points, ".g2.wrongSubgroup");
        vm.assertFalse(verify(BlsSigner.publicKey(5), "m", wrongSignature));
        vm.assertFalse(verify(wrongKey, "m", BlsSigner.sign(5, "m", DST)));
        // They are on their curves: the additions, which check that much, take them.
        (bool ok,) = address(0x0b).staticcall(abi.encodePacked(wrongSignature, wrongSignature));
        vm.assertTrue(ok);
        (ok,) = address(0x0d).staticcall(abi.encodePacked(wrongKey, wrongKey));
        vm.assertTrue(ok);
    }

    // Defence: gas for the pairing is bounded; unbounded, a bad point eats 63/64 of all gas and this turns red.
    function test_a_bad_point_costs_a_bounded_amount() public view {
        bytes memory offCurve = vm.parseJsonBytes(points, ".g1.offCurve");
        bytes memory key = BlsSigner.publicKey(5);
        uint256 before = gasleft();
        vm.assertFalse(verify(key, "m", offCurve));
        vm.assertLt(before - gasleft(), Bls12381.PAIRING_GAS_LIMIT + 30_000);
    }

    function test_wrong_lengths_are_refused() public view {
        bytes memory signature = BlsSigner.sign(5, "m", DST);
        vm.assertFalse(verify(BlsSigner.publicKey(5), "m", abi.encodePacked(signature, uint8(0))));
        vm.assertFalse(verify(abi.encodePacked(BlsSigner.publicKey(5), uint8(0)), "m", signature));
        vm.assertFalse(verify("", "m", ""));
    }

    function test_a_coordinate_with_a_dirty_top_is_refused() public view {
        bytes memory signature = BlsSigner.sign(5, "m", DST);
        signature[0] = 0x01;
        vm.assertFalse(verify(BlsSigner.publicKey(5), "m", signature));
    }

    function testFuzz_a_point_plus_its_negative_is_infinity(uint256 seed) public view {
        uint256 sk = seed % (BlsSigner.ORDER - 1) + 1;
        bytes memory key = BlsSigner.publicKey(sk);
        bytes memory negative = BlsSigner.publicKey(sk);
        Bls12381.negateG2(negative);
        vm.assertEq(negative, BlsSigner.publicKey(BlsSigner.ORDER - sk));
        Bls12381.addG2(key, negative);
        vm.assertTrue(Bls12381.isInfinityG2(key));
        Bls12381.negateG2(key);
        vm.assertTrue(Bls12381.isInfinityG2(key));
    }

    // Defence: an answer of no length is no answer; removed, a chain without the precompiles judges by what lies in memory, and this
    // turns red.
    /// forge-config: default.evm_version = "cancun"
    function test_a_chain_without_the_precompiles_reverts() public {
        for (uint256 i = 0; i < 5; ++i) {
            vm.expectRevert(Bls12381.PrecompileFailed.selector);
            this.callPrecompile(i);
        }
    }

    function callPrecompile(uint256 which) external view {
        bytes32[4] memory point;
        if (which == 0) Bls12381.multiplyG1(point, 1);
        if (which == 1) Bls12381.addG1(point, point);
        if (which == 2) Bls12381.sumOfProductsG1(new bytes(160));
        if (which == 3) Bls12381.pairingIsOne(new bytes(384));
        if (which == 4) Bls12381.hashToG1("m", DST);
    }

    function test_a_pairing_and_its_inverse_are_one() public view {
        bytes32[4] memory generator = abi.decode(Bls12381.G1, (bytes32[4]));
        // e(g1, -g2) * e(g1, g2) == 1
        bytes memory inverses = abi.encodePacked(generator, Bls12381.negatedG2(), generator, BlsSigner.publicKey(1));
        vm.assertTrue(Bls12381.pairingIsOne(inverses));
        inverses[inverses.length - 1] ^= 0x01;
        vm.assertFalse(Bls12381.pairingIsOne(inverses));
    }

    function verify(bytes memory key, bytes32 message, bytes memory signature) private view returns (bool) {
        return verifier.verify(key, message, DST, signature);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bls12381} from "../src/libraries/Bls12381.sol";
import {CompactProof} from "../src/libraries/CompactProof.sol";
import {CompactProver} from "./utils/CompactProver.sol";
import {CompactVerifier} from "./utils/CompactVerifier.sol";
import {Test} from "./utils/Test.sol";

contract CompactProofTest is Test {
    uint256 internal constant ORDER = Bls12381.ORDER;
    bytes32 internal constant SEED = keccak256("seed");

    /// A challenge and its proof.
    struct Case {
        CompactProof.Key key;
        CompactProof.Item[] items;
        bytes32 seed;
        uint256[] nu;
        uint256 r;
        CompactProof.Proof proof;
        bytes32[4] a;
    }

    CompactVerifier internal verifier = new CompactVerifier();
    string internal points;

    function setUp() public {
        points = vm.readFile("../tests/vectors/curve_points.json");
    }

    // ---- cases

    function secret() private pure returns (CompactProver.Secret memory) {
        return CompactProver.Secret({eps: uint256(keccak256("eps")) % ORDER, alpha: uint256(keccak256("alpha")) % ORDER, scalars: 4});
    }

    function items(CompactProof.Key memory key, uint64 providerId, uint256 count) private view returns (CompactProof.Item[] memory list) {
        list = new CompactProof.Item[](count);
        bytes32 name = CompactProof.name(verifier.tagKeyId(key), "object", 2, "root", 1 << 30, providerId);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = CompactProof.Item(name, uint64(uint256(keccak256(abi.encode(i))) % 8456));
        }
    }

    function proven(CompactProver.Secret memory s, CompactProof.Item[] memory list, bytes32 seed) private view returns (Case memory c) {
        c.key = CompactProver.key(s);
        c.items = list;
        c.seed = seed;
        (c.nu, c.r) = verifier.draw(seed, verifier.tagKeyId(c.key), list.length);
        (c.proof, c.a) = CompactProver.prove(s, list, c.nu, c.r);
    }

    function honest(uint256 count) private view returns (Case memory) {
        return proven(secret(), items(CompactProver.key(secret()), 7, count), SEED);
    }

    function accepts(Case memory c) private view returns (bool) {
        return verifier.verifyChallenge(c.key, c.items, c.seed, c.proof);
    }

    function acceptsWithA(Case memory c) private view returns (bool) {
        return verifier.verifyWithA(c.key, c.a, c.r, c.proof);
    }

    function assertRefused(Case memory c) private view {
        vm.assertFalse(accepts(c));
        vm.assertFalse(acceptsWithA(c));
    }

    // ---- what holds

    function test_an_honest_proof_is_accepted_in_every_form() public view {
        uint256[4] memory counts = [uint256(1), 2, 3, 30];
        for (uint256 i = 0; i < 4; ++i) {
            Case memory c = honest(counts[i]);
            vm.assertTrue(accepts(c));
            vm.assertTrue(verifier.verify(c.key, c.items, c.nu, c.r, c.proof));
            vm.assertTrue(acceptsWithA(c));
            vm.assertEq(abi.encode(verifier.commitment(c.items, c.nu, c.proof.y)), abi.encode(c.a));
        }
    }

    function testFuzz_an_honest_proof_is_accepted(uint256 eps, uint256 alpha, bytes32 seed, uint8 count, uint8 scalars) public view {
        CompactProver.Secret memory s = CompactProver.Secret(bound(eps, 1, ORDER - 1), bound(alpha, 1, ORDER - 1), bound(scalars, 1, 6));
        Case memory c = proven(s, items(CompactProver.key(s), 1, bound(count, 1, 6)), seed);
        vm.assertTrue(accepts(c));
        vm.assertTrue(acceptsWithA(c));
    }

    // Infinity as psi is right for constant blocks: refused, an owner that uploads them frames its provider, and this turns red.
    function test_constant_blocks_are_proven_by_psi_at_infinity() public view {
        CompactProver.Secret memory s = secret();
        s.scalars = 1;
        Case memory c = proven(s, items(CompactProver.key(s), 7, 3), SEED);
        vm.assertEq(abi.encode(c.proof.psi), new bytes(128));
        vm.assertTrue(accepts(c));
        vm.assertTrue(acceptsWithA(c));
    }

    function test_a_block_asked_for_twice_counts_twice() public view {
        Case memory c = honest(3);
        c.items[1] = c.items[0];
        c = proven(secret(), c.items, SEED);
        vm.assertTrue(accepts(c));
        CompactProof.Item[] memory once = new CompactProof.Item[](2);
        (once[0], once[1]) = (c.items[0], c.items[2]);
        uint256[] memory nu = new uint256[](2);
        (nu[0], nu[1]) = (c.nu[0] + c.nu[1], c.nu[2]);
        vm.assertTrue(verifier.verify(c.key, once, nu, c.r, c.proof));
    }

    /// r as a point of P may be zero, and any number stands for its rest.
    function test_r_counts_modulo_the_groups_order() public view {
        Case memory c = honest(3);
        vm.assertTrue(verifier.verify(c.key, c.items, c.nu, c.r + ORDER, c.proof));
        (c.proof, c.a) = CompactProver.prove(secret(), c.items, c.nu, 0);
        vm.assertTrue(verifier.verify(c.key, c.items, c.nu, 0, c.proof));
        vm.assertTrue(verifier.verify(c.key, c.items, c.nu, ORDER, c.proof));
    }

    // ---- what is drawn

    /// The rule in words: a stream of u64, four in each digest; two make a coefficient, the last eight make r.
    function testFuzz_draw_follows_the_stream(bytes32 seed, bytes32 keyId, uint8 count_) public view {
        uint256 count = bound(count_, 1, 40);
        (uint256[] memory nu, uint256 r) = verifier.draw(seed, keyId, count);
        vm.assertEq(nu.length, count);
        for (uint256 i = 0; i < count; ++i) {
            vm.assertEq(nu[i], (streamWord(seed, keyId, 2 * i) << 64) | streamWord(seed, keyId, 2 * i + 1));
        }
        bytes memory wide;
        for (uint256 k = 2 * count; k < 2 * count + 8; ++k) {
            wide = abi.encodePacked(wide, uint64(streamWord(seed, keyId, k)));
        }
        vm.assertEq(abi.encodePacked(r), modOrder(wide));
    }

    function streamWord(bytes32 seed, bytes32 keyId, uint256 k) private pure returns (uint256) {
        bytes32 digest = keccak256(abi.encodePacked(keccak256("assay.compact.v1"), seed, keyId, uint64(k / 4)));
        return uint64(uint256(digest) >> (192 - 64 * (k % 4)));
    }

    /// Referee: MODEXP.
    function modOrder(bytes memory wide) private view returns (bytes memory) {
        return CompactProver.bytesFrom(address(0x05), abi.encodePacked(wide.length, uint256(1), uint256(32), wide, uint8(1), ORDER));
    }

    // ---- attacks on what is proven

    // Defence: y stands in A, and psi ties it to P; removed, one flipped bit of a block goes unseen, and this turns red.
    function test_a_flipped_bit_of_a_block() public view {
        Case memory c = honest(3);
        c.proof.y = addmod(c.proof.y, c.nu[1], ORDER); // P of a block whose lowest bit is one more
        vm.assertFalse(accepts(c));
        (c.proof, c.a) = (honest(3).proof, verifier.commitment(c.items, c.nu, c.proof.y));
        vm.assertFalse(acceptsWithA(c));
    }

    // Defence: the index is hashed; removed, a provider proves a block it has in place of one it lost, and this turns red.
    function test_swapped_indices() public view {
        Case memory c = honest(3);
        vm.assertTrue(c.items[0].index != c.items[1].index);
        (c.items[0].index, c.items[1].index) = (c.items[1].index, c.items[0].index);
        vm.assertFalse(accepts(c));
    }

    // Defence: the pairing is with v and w of this very key; removed, anybody tags for himself, and this turns red.
    function test_another_tag_key() public view {
        CompactProver.Secret memory own = CompactProver.Secret(5, 6, 4);
        Case memory c = honest(3);
        (c.proof, c.a) = CompactProver.prove(own, c.items, c.nu, c.r);
        assertRefused(c);
        c.key.v = CompactProver.key(own).v;
        assertRefused(c);
        c = honest(3);
        c.key.v = CompactProver.key(own).v;
        assertRefused(c);
        c = honest(3);
        c.key.w = CompactProver.key(own).w;
        assertRefused(c);
    }

    // Defence: the provider's id is part of the name; removed, one provider's tags serve another, and this turns red.
    function test_another_providers_name() public view {
        Case memory mine = honest(3);
        Case memory other = proven(secret(), items(mine.key, 8, 3), SEED);
        vm.assertTrue(mine.items[0].name != other.items[0].name);
        vm.assertTrue(accepts(other));
        mine.proof = other.proof;
        vm.assertFalse(accepts(mine));
    }

    function testFuzz_every_field_of_a_claim_is_in_the_name(uint8 field, bytes32 other) public pure {
        bytes32[6] memory f = [bytes32("key"), "object", bytes32(uint256(2)), "root", bytes32(uint256(1 << 30)), bytes32(uint256(7))];
        bytes32 name = nameOf(f);
        uint256 at_ = field % 6;
        if (at_ == 2 || at_ > 3) other = bytes32(uint256(uint64(uint256(other))));
        vm.assume(other != f[at_]);
        f[at_] = other;
        vm.assertTrue(nameOf(f) != name);
    }

    function nameOf(bytes32[6] memory f) private pure returns (bytes32) {
        return CompactProof.name(f[0], f[1], uint64(uint256(f[2])), f[3], uint64(uint256(f[4])), uint64(uint256(f[5])));
    }

    // Defence: coefficients and r follow from the seed; removed, one proof lasts for ever, and this turns red.
    function test_replay_under_another_seed() public view {
        Case memory c = honest(3);
        c.seed = keccak256("another seed");
        vm.assertFalse(accepts(c));
        (c.nu, c.r) = verifier.draw(c.seed, verifier.tagKeyId(c.key), 3);
        c.a = verifier.commitment(c.items, c.nu, c.proof.y);
        vm.assertFalse(acceptsWithA(c));
    }

    // Defence: coefficients differ for every key; removed, a challenge is foreseen from that of another key, and this turns red.
    function test_coefficients_depend_on_the_key() public view {
        (uint256[] memory nu, uint256 r) = verifier.draw(SEED, "key", 1);
        (uint256[] memory otherNu, uint256 otherR) = verifier.draw(SEED, "other key", 1);
        vm.assertTrue(nu[0] != otherNu[0]);
        vm.assertTrue(r != otherR);
    }

    // Defence: nothing asked for is refused; removed, infinity and what is made of g1 alone answer it, and this turns red.
    function test_no_items() public {
        Case memory c = honest(1);
        vm.expectRevert(CompactProof.NoItems.selector);
        verifier.verifyChallenge(c.key, new CompactProof.Item[](0), c.seed, c.proof);
        vm.expectRevert(CompactProof.NoItems.selector);
        verifier.verify(c.key, new CompactProof.Item[](0), new uint256[](0), c.r, c.proof);
        vm.expectRevert(CompactProof.NoItems.selector);
        verifier.commitment(new CompactProof.Item[](0), new uint256[](0), c.proof.y);
        vm.expectRevert(CompactProof.NoItems.selector);
        verifier.draw(c.seed, "key", 0);
    }

    // Defence: a coefficient for each item; removed, memory that is none of theirs is taken for them, and this turns red.
    function test_other_than_a_coefficient_an_item() public {
        Case memory c = honest(3);
        for (uint256 n = 2; n <= 4; n += 2) {
            vm.expectRevert(Bls12381.InvalidLength.selector);
            verifier.verify(c.key, c.items, new uint256[](n), c.r, c.proof);
        }
    }

    /// What the form with A does not do, and says so: whoever chooses A forges without any data.
    function test_whoever_chooses_a_forges_and_a_dispute_sees_it() public view {
        Case memory c = honest(3);
        c.a = CompactProver.multiply(c.a, 3);
        c.proof.sigma = CompactProver.multiply(c.proof.sigma, 3);
        c.proof.psi = CompactProver.multiply(c.proof.psi, 3);
        vm.assertTrue(acceptsWithA(c));
        vm.assertTrue(keccak256(abi.encode(verifier.commitment(c.items, c.nu, c.proof.y))) != keccak256(abi.encode(c.a)));
        vm.assertFalse(accepts(c));
        // Nor does it compare y with A.
        c = honest(3);
        c.proof.y ^= 1;
        vm.assertTrue(acceptsWithA(c));
        vm.assertFalse(accepts(c));
    }

    // ---- attacks on the form

    // Defence: sigma at infinity is refused; removed, the key's owner makes proofs of nothing, and this turns red.
    function test_sigma_at_infinity() public view {
        Case memory c = honest(1);
        // With A - r * psi = -alpha * psi the equation holds for sigma = 0.
        bytes32[4] memory none;
        c.proof.sigma = none;
        c.a = CompactProver.multiply(c.proof.psi, addmod(c.r, ORDER - secret().alpha, ORDER));
        vm.assertFalse(acceptsWithA(c));
        (c.proof.psi, c.a) = (none, none);
        assertRefused(c);
    }

    // Defence: a key at infinity is refused; removed, e(A, v) is one for every A, whatever the items, and this turns red.
    function test_a_key_at_infinity() public view {
        Case memory c = honest(1);
        CompactProof.Key memory none;
        c.key.v = none.v;
        (c.proof.psi, c.proof.sigma) =
        (CompactProver.generator(), CompactProver.multiply(CompactProver.generator(), mulmod(secret().eps, secret().alpha, ORDER)));
        assertRefused(c);
        c = honest(1);
        c.key.w = none.w;
        c.proof.sigma = CompactProver.multiply(CompactProver.add(c.a, CompactProver.multiply(c.proof.psi, ORDER - c.r)), secret().eps);
        assertRefused(c);
        c.key = none;
        assertRefused(c);
    }

    // Defence: y < ORDER; removed, every proof has a second form, and this turns red.
    function test_y_plus_the_groups_order() public view {
        Case memory c = honest(3);
        c.proof.y += ORDER;
        assertRefused(c);
        c.proof.y = ORDER;
        assertRefused(c);
    }

    // Defence: the precompiles check subgroups. Additions, which take these points, in their place, every proof has as many forms as the
    // cofactor has divisors (the pairing does not see the difference), and this turns red.
    function test_points_outside_the_subgroup() public view {
        Case memory c = honest(1);
        bytes32[4] memory part = CompactProver.pointOf(CompactProver.torsion(vm.parseJsonBytes(points, ".g1.wrongSubgroup"), address(0x0b)));
        vm.assertTrue(keccak256(abi.encode(part)) != keccak256(new bytes(128)));
        bytes32[4] memory good = c.proof.sigma;
        c.proof.sigma = CompactProver.add(good, part);
        assertRefused(c);
        c.proof.sigma = part;
        assertRefused(c);
        c.proof.sigma = good;

        good = c.proof.psi;
        c.proof.psi = CompactProver.add(good, part);
        assertRefused(c);
        c.proof.psi = part;
        assertRefused(c);
        c.proof.psi = good;

        good = c.a;
        c.a = CompactProver.add(good, part);
        vm.assertFalse(acceptsWithA(c));
        c.a = part;
        vm.assertFalse(acceptsWithA(c));
        c.a = good;
        vm.assertTrue(acceptsWithA(c));
    }

    // Defence: the pairing checks G2, too, even where the other point is infinity.
    function test_a_key_outside_the_subgroup() public view {
        CompactProver.Secret memory s = secret();
        bytes memory part = CompactProver.torsion(vm.parseJsonBytes(points, ".g2.wrongSubgroup"), address(0x0d));
        for (s.scalars = 1; s.scalars <= 2; ++s.scalars) {
            Case memory c = proven(s, items(CompactProver.key(s), 7, 1), SEED);
            vm.assertTrue(acceptsWithA(c));
            bytes32[8] memory good = c.key.v;
            c.key.v = shifted(good, part);
            assertRefused(c);
            c.key.v = good;
            c.key.w = shifted(c.key.w, part);
            assertRefused(c);
        }
    }

    function shifted(bytes32[8] memory point, bytes memory by) private view returns (bytes32[8] memory) {
        return abi.decode(CompactProver.bytesFrom(address(0x0d), abi.encodePacked(point, by)), (bytes32[8]));
    }

    // Defence: points are taken in EIP-2537's one form; p added to a coordinate, or anything in its padding, is refused.
    function test_coordinates_in_another_form() public view {
        Case memory c = honest(1);
        uint256 pLow = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;
        uint256 pHigh = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
        for (uint256 i = 0; i < 4; i += 2) {
            c = honest(1);
            unchecked {
                uint256 low = uint256(c.proof.psi[i + 1]) + pLow;
                c.proof.psi[i] = bytes32(uint256(c.proof.psi[i]) + pHigh + (low < pLow ? 1 : 0));
                c.proof.psi[i + 1] = bytes32(low);
            }
            assertRefused(c);
        }
        c = honest(1);
        c.proof.sigma[0] |= bytes32(uint256(1) << 128);
        assertRefused(c);
    }

    /// Whatever bit of whatever argument is changed: refused, or not understood.
    function testFuzz_a_flipped_bit_of_any_argument(uint256 where) public view {
        Case memory c = honest(2);
        checkFlipped(abi.encodeCall(verifier.verifyChallenge, (c.key, c.items, c.seed, c.proof)), where, 0);
        checkFlipped(abi.encodeCall(verifier.verify, (c.key, c.items, c.nu, c.r, c.proof)), where, 0);
        // y comes last, and is checked with A: see test_whoever_chooses_a_forges.
        checkFlipped(abi.encodeCall(verifier.verifyWithA, (c.key, c.a, c.r, c.proof)), where, 32);
    }

    function checkFlipped(bytes memory call, uint256 where, uint256 spared) private view {
        vm.assertTrue(isAccepted(call));
        uint256 at_ = 4 + (where >> 3) % (call.length - 4 - spared);
        call[at_] ^= bytes1(uint8(1 << (where % 8)));
        vm.assertFalse(isAccepted(call));
    }

    function isAccepted(bytes memory call) private view returns (bool) {
        (bool ok, bytes memory result) = address(verifier).staticcall{gas: 2_000_000}(call);
        return ok && abi.decode(result, (bool));
    }

    // ---- gas

    // Defence: gas is asked for before each bounded call; removed, a sender with too little of it makes a good proof look wrong, and this
    // turns red.
    function test_a_good_proof_is_never_refused_for_want_of_gas() public view {
        Case memory c = honest(1);
        bytes memory call = abi.encodeCall(verifier.verifyChallenge, (c.key, c.items, c.seed, c.proof));
        uint256 accepted;
        for (uint256 given = 1_000; given <= 320_000; given += 1_000) {
            (bool ok, bytes memory result) = address(verifier).staticcall{gas: given}(call);
            if (ok && abi.decode(result, (bool))) ++accepted;
            else vm.assertFalse(ok);
        }
        vm.assertTrue(accepted > 0);
    }

    // Defence: each call with a stranger's point is bounded; unbounded, a bad point eats 63/64 of all gas, and this turns red.
    function test_bad_points_cost_a_bounded_amount() public view {
        bytes32[4] memory bad = CompactProver.pointOf(vm.parseJsonBytes(points, ".g1.offCurve"));
        Case memory c = honest(1);
        for (uint256 i = 0; i < 3; ++i) {
            Case memory changed = abi.decode(abi.encode(c), (Case));
            if (i == 0) changed.proof.sigma = bad;
            if (i == 1) changed.proof.psi = bad;
            if (i == 2) changed.a = bad;
            uint256 before = gasleft();
            vm.assertFalse(acceptsWithA(changed));
            vm.assertLt(before - gasleft(), 250_000);
        }
    }
}

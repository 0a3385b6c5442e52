// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bls12381} from "./Bls12381.sol";

/// @title Compact proofs of storage: 128 bytes for any number of blocks
/// @notice An owner tags each block i of a replica with sigma_i = eps * (H_i + f_i(alpha) * g1), where f_i has the block's scalars as
/// coefficients and H_i is the hash of the replica's name and i. A challenge draws a coefficient nu_i for each block asked for, and a
/// point r. The provider answers with sigma = sum nu_i * sigma_i, y = P(r) and psi = ((P(x) - y) / (x - r))(alpha) * g1, where
/// P = sum nu_i * f_i. With A = sum nu_i * H_i + y * g1 it must hold that
/// ```
/// e(sigma, g2) = e(A - r * psi, v) * e(psi, w)        v = eps * g2, w = eps * alpha * g2
/// ```
/// The byte-exact rules stand in docs/protocol.md; `tests/vectors/compact.json` pins them for Rust and Solidity alike.
///
/// Who knows eps and alpha proves what it likes: a proof says something about a provider only towards owners who are not the provider.
///
/// Subgroups: sigma, v and w are checked by the pairing, psi by its multiplication and again by the pairing. A goes through an addition,
/// which checks the curve alone, but with psi in the subgroup the sum is in it exactly when A is, and the pairing checks the sum. H_i is
/// a hash, and its map ends in the subgroup. All of them check curve and canonical form.
library CompactProof {
    bytes32 internal constant KEY_TAG = keccak256("assay.tagkey.v1");
    bytes32 internal constant NAME_TAG = keccak256("assay.tagname.v1");
    bytes32 internal constant CHALLENGE_TAG = keccak256("assay.compact.v1");
    bytes internal constant TAG_DST = "ASSAY-V1-TAG_BLS12381G1_XMD:SHA-256_SSWU_RO_";

    /// Bytes of a point of G1 and its scalar, as the precompile reads them.
    uint256 private constant TERM = 160;
    uint256 private constant TWO_TO_256 = type(uint256).max % Bls12381.ORDER + 1;

    /// @dev A challenge that asks for nothing is answered by anybody.
    error NoItems();

    /// The public part of an owner's tag key, in the padded form of EIP-2537. A contract keeps its `tagKeyId` and takes the key itself as
    /// calldata.
    struct Key {
        bytes32[8] v;
        bytes32[8] w;
    }

    /// One block asked for: which replica at which provider, and which of its blocks.
    struct Item {
        bytes32 name;
        uint64 index;
    }

    /// Two points of G1, and P(r) < ORDER.
    struct Proof {
        bytes32[4] sigma;
        bytes32[4] psi;
        uint256 y;
    }

    // ---- what is hashed

    /// @notice The name of a key in claims and challenges.
    function tagKeyId(Key calldata key) internal pure returns (bytes32) {
        return keccak256(abi.encode(KEY_TAG, key));
    }

    /// @notice The name under which a replica's blocks are tagged for one provider: the fields of its claim.
    function name(bytes32 keyId, bytes32 objectId, uint64 replicaIndex, bytes32 root, uint64 objectLength, uint64 providerId)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(NAME_TAG, keyId, objectId, replicaIndex, root, objectLength, providerId));
    }

    /// @notice The coefficients of `count` items and the point r < ORDER, from the challenge's seed.
    /// @dev A stream of numbers of 128 bits, two for each hash of prefix and counter: one for each item, then four that make r.
    function draw(bytes32 seed, bytes32 keyId, uint256 count) internal pure returns (uint256[] memory nu, uint256 r) {
        if (count == 0) revert NoItems();
        nu = new uint256[](count + 4);
        bytes32 word;
        for (uint256 i = 0; i < count + 4; ++i) {
            if (i % 2 == 0) word = keccak256(abi.encodePacked(CHALLENGE_TAG, seed, keyId, uint64(i / 2)));
            nu[i] = i % 2 == 0 ? uint256(word) >> 128 : uint128(uint256(word));
        }
        uint256 high = (nu[count] << 128) | nu[count + 1];
        uint256 low = (nu[count + 2] << 128) | nu[count + 3];
        r = addmod(mulmod(high, TWO_TO_256, Bls12381.ORDER), low, Bls12381.ORDER);
        assembly ("memory-safe") {
            mstore(nu, count)
        }
    }

    // ---- what is checked

    /// @notice Whether the proof answers the challenge of this seed for these items.
    /// @dev The caller vouches that the items are those the challenge asked for, and that their names are of this key (`name`).
    function verifyChallenge(Key calldata key, Item[] calldata items, bytes32 seed, Proof calldata proof) internal view returns (bool) {
        (uint256[] memory nu, uint256 r) = draw(seed, tagKeyId(key), items.length);
        return verify(key, items, nu, r, proof);
    }

    /// @notice The same with coefficients and point given. Everything is computed here: about 22,000 gas an item and 0.21 million besides,
    /// as whole transactions (snapshots/gas.json), so 0.66 million for 20 items and 0.88 for 30.
    /// @dev The caller vouches that `nu` and `r` were not known before: who knows them keeps this one proof in place of the data.
    /// False for whatever a prover can get wrong, never for want of gas: a call needs some 65,000 more than it spends, or reverts.
    function verify(Key calldata key, Item[] calldata items, uint256[] memory nu, uint256 r, Proof calldata proof)
        internal
        view
        returns (bool)
    {
        return isWellFormed(key, proof) && holds(key, commitment(items, nu, proof.y), r, proof);
    }

    /// @notice The optimistic form: `a` is what somebody posted. 0.19 million gas for any number of items.
    /// @dev **A is not checked.** Whoever chooses it forges: k * A with k * sigma and k * psi of one honest proof passes for every k. Use
    /// it only where `a` and `proof` are posted together, and nothing follows from them before anyone had the time to show that
    /// `commitment(items, nu, proof.y)` is another point. `proof.y` counts by A alone: here its form is checked, so that there is one y
    /// for an A, and a y that does not belong to A is for the dispute to see.
    function verifyWithA(Key calldata key, bytes32[4] memory a, uint256 r, Proof calldata proof) internal view returns (bool) {
        return isWellFormed(key, proof) && holds(key, a, r, proof);
    }

    /// @notice A = sum nu_i * H_i + y * g1: what a dispute compares with a posted A. An item given twice counts twice.
    function commitment(Item[] calldata items, uint256[] memory nu, uint256 y) internal view returns (bytes32[4] memory) {
        uint256 count = items.length;
        if (count == 0) revert NoItems();
        if (nu.length != count) revert Bls12381.InvalidLength();
        bytes memory dst = TAG_DST;
        bytes memory message = new bytes(40);
        bytes memory terms = new bytes(TERM * (count + 1));
        for (uint256 i = 0; i < count; ++i) {
            (bytes32 name_, uint256 index, uint256 scalar) = (items[i].name, items[i].index, nu[i]);
            uint256 messageAt;
            assembly ("memory-safe") {
                messageAt := add(message, 0x20)
                mstore(add(messageAt, 8), index) // its low 64 bits end the message; the name goes over the zeros before them
                mstore(messageAt, name_)
            }
            uint256 hashed = Bls12381.hashToG1At(messageAt, 40, dst);
            assembly ("memory-safe") {
                let term := add(add(terms, 0x20), mul(i, TERM))
                mcopy(term, hashed, 128)
                mstore(add(term, 128), scalar)
            }
        }
        bytes memory generator = Bls12381.G1;
        assembly ("memory-safe") {
            let term := add(add(terms, 0x20), mul(count, TERM))
            mcopy(term, add(generator, 0x20), 128)
            mstore(add(term, 128), y)
        }
        return Bls12381.sumOfProductsG1(terms);
    }

    /// @dev Infinity as sigma answers for no blocks at all, and as a key it makes pairings say nothing. As psi it is right: P is constant
    /// when the owner uploads constant blocks, and that must not be held against the provider.
    function isWellFormed(Key calldata key, Proof calldata proof) private pure returns (bool) {
        return proof.y < Bls12381.ORDER && !isInfinityG1(proof.sigma) && !isInfinityG2(key.v) && !isInfinityG2(key.w);
    }

    function holds(Key calldata key, bytes32[4] memory a, uint256 r, Proof calldata proof) private view returns (bool) {
        (bool ok, bytes32[4] memory product) = Bls12381.multiplyG1(proof.psi, Bls12381.ORDER - r % Bls12381.ORDER);
        if (!ok) return false;
        bytes32[4] memory left;
        (ok, left) = Bls12381.addG1(a, product);
        if (!ok) return false;
        // e(sigma, -g2) * e(A - r * psi, v) * e(psi, w) == 1
        return Bls12381.pairingIsOne(abi.encodePacked(proof.sigma, Bls12381.negatedG2(), left, key.v, proof.psi, key.w));
    }

    function isInfinityG1(bytes32[4] calldata point) private pure returns (bool) {
        return (point[0] | point[1] | point[2] | point[3]) == 0;
    }

    function isInfinityG2(bytes32[8] calldata point) private pure returns (bool) {
        bytes32 x = point[0] | point[1] | point[2] | point[3];
        return (x | point[4] | point[5] | point[6] | point[7]) == 0;
    }
}

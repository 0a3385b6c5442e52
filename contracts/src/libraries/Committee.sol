// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracleRegistry} from "../interfaces/IOracleRegistry.sol";
import {Bls12381} from "./Bls12381.sol";

/// @title A committee set, kept as contract bytecode
/// @notice Reading code costs one cold access however long it is, storage costs one per word. Members lie in chunks:
/// ```
/// 0x00 (STOP) || total weight (4) || members (2) || zeros (25) || aggregate key (256) || earlier chunks (2 x 20) || records
/// record = oracle id (8) || weight (2) || key without padding (192)
/// ```
/// Aggregate, weight and count run over this chunk and all before it, so the last chunk is the header of the whole set: when
/// everybody signed, its first 288 bytes are all that has to be read. Chunks are always full but the last, whoever builds
/// them, so that member `i` stands in chunk `i / CHUNK`.
library Committee {
    uint256 internal constant MAX_MEMBERS = 256;
    /// 96 records keep a chunk under the 24,576 bytes of EIP-170, and three chunks hold 256 members.
    uint256 internal constant CHUNK = 96;

    uint256 private constant EARLIER_AT = 288;
    uint256 private constant RECORDS_AT = 328;
    uint256 private constant RECORD = 202;

    error RegistryCallFailed();
    error BlobWriteFailed();
    /// @dev The bitmap names nobody, or someone who is not a member.
    error InvalidSigners(uint256 signers, uint256 members);
    error UnknownMember(uint256 index, uint256 members);

    struct Member {
        uint64 oracleId;
        uint16 weight;
        bytes blsKey;
    }

    /// @notice `registry.currentCommittee()`, without the cost of decoding: every report pays for this call.
    function current(address registry) internal view returns (uint64 setEpoch, address header) {
        bytes4 selector = IOracleRegistry.currentCommittee.selector;
        bool ok;
        assembly ("memory-safe") {
            mstore(0, selector)
            ok := staticcall(gas(), registry, 0, 4, 0, 64)
            ok := and(ok, gt(returndatasize(), 63))
            setEpoch := mload(0)
            header := mload(32)
        }
        if (!ok) revert RegistryCallFailed();
    }

    /// @notice What the last chunk says about the whole set up to its end.
    function totals(address header) internal view returns (bytes memory aggregate, uint256 weight, uint256 members) {
        uint256 word;
        assembly ("memory-safe") {
            // One read: the counts land where the length of `aggregate` belongs.
            aggregate := mload(0x40)
            extcodecopy(header, aggregate, 0, 288)
            word := mload(aggregate)
            mstore(aggregate, 256)
            mstore(0x40, add(aggregate, 288))
        }
        weight = (word >> 216) & type(uint32).max;
        members = (word >> 200) & type(uint16).max;
    }

    /// @notice The summed key and weight of the members in `signers`, bit `i` being member `i`.
    /// @dev Subtracts the absent from the stored aggregate: at most a third of them by weight. The result may be infinity when
    /// members chose keys that cancel; a verifier refuses it.
    function signersKey(address header, uint256 signers)
        internal
        view
        returns (bytes memory key, uint256 signedWeight, uint256 totalWeight)
    {
        uint256 members;
        (key, totalWeight, members) = totals(header);
        uint256 all = type(uint256).max >> (256 - members);
        if (signers == 0 || signers & ~all != 0) revert InvalidSigners(signers, members);

        signedWeight = totalWeight;
        uint256 absent = signers ^ all;
        if (absent == 0) return (key, signedWeight, totalWeight);

        bytes memory missing = new bytes(Bls12381.G2_LENGTH);
        bytes memory one = new bytes(Bls12381.G2_LENGTH);
        address chunk;
        for (uint256 i = 0; absent != 0; ++i) {
            if (i % CHUNK == 0) chunk = chunkOf(header, i / CHUNK, members);
            if (absent & 1 == 1) {
                (, uint16 weight) = readRecord(chunk, i % CHUNK, one);
                signedWeight -= weight;
                Bls12381.addG2(missing, one);
            }
            absent >>= 1;
        }
        Bls12381.negateG2(missing);
        Bls12381.addG2(key, missing);
    }

    /// @notice Every member, in order. For readers; walks the whole set.
    function read(address header) internal view returns (Member[] memory members) {
        (,, uint256 count) = totals(header);
        members = new Member[](count);
        for (uint256 i = 0; i < count; ++i) {
            bytes memory key = new bytes(Bls12381.G2_LENGTH);
            (uint64 id, uint16 weight) = readRecord(chunkOf(header, i / CHUNK, count), i % CHUNK, key);
            members[i] = Member(id, weight, key);
        }
    }

    /// @notice Member `index` of a set, with the key that it had in it.
    function member(address header, uint256 index) internal view returns (uint64 oracleId, uint16 weight, bytes memory key) {
        (,, uint256 members) = totals(header);
        if (index >= members) revert UnknownMember(index, members);
        key = new bytes(Bls12381.G2_LENGTH);
        (oracleId, weight) = readRecord(chunkOf(header, index / CHUNK, members), index % CHUNK, key);
    }

    /// @notice The weight of one member, found by halving, since ids ascend. Zero for who is no member: a member's is at least 1.
    function weightOf(address header, uint64 oracleId) internal view returns (uint16 weight) {
        (,, uint256 members) = totals(header);
        bytes memory key = new bytes(Bls12381.G2_LENGTH);
        (uint256 low, uint256 high) = (0, members);
        while (low < high) {
            uint256 middle = (low + high) / 2;
            (uint64 id, uint16 found) = readRecord(chunkOf(header, middle / CHUNK, members), middle % CHUNK, key);
            if (id == oracleId) return found;
            if (id < oracleId) low = middle + 1;
            else high = middle;
        }
    }

    /// @notice Writes one chunk. The sums already include its `records`.
    function writeChunk(bytes memory aggregate, uint256 weight, uint256 members, address[2] memory earlier, bytes memory records)
        internal
        returns (address)
    {
        return writeBlob(abi.encodePacked(uint32(weight), uint16(members), bytes25(0), aggregate, earlier[0], earlier[1], records));
    }

    /// @notice Room for the records of one chunk, none written yet.
    function emptyRecords() internal pure returns (bytes memory records) {
        records = new bytes(CHUNK * RECORD);
        assembly ("memory-safe") {
            mstore(records, 0)
        }
    }

    /// @notice Writes one more record into `emptyRecords`; the caller counts to CHUNK.
    function append(bytes memory records, uint64 oracleId, uint16 weight, bytes memory key) internal pure {
        assembly ("memory-safe") {
            let end := add(add(records, 0x20), mload(records))
            mstore(end, or(shl(192, oracleId), shl(176, weight)))
            mcopy(add(end, 10), add(key, 0x30), 48)
            mcopy(add(end, 58), add(key, 0x70), 48)
            mcopy(add(end, 106), add(key, 0xb0), 48)
            mcopy(add(end, 154), add(key, 0xf0), 48)
            mstore(records, add(mload(records), RECORD))
        }
    }

    /// @notice Stores bytes as code, behind a STOP so that nobody can run them.
    function writeBlob(bytes memory data) internal returns (address blob) {
        // PUSH2 size, DUP1, PUSH1 10, RETURNDATASIZE (0), CODECOPY, RETURNDATASIZE, RETURN
        bytes memory creation = abi.encodePacked(hex"61", uint16(data.length + 1), hex"80600a3d393df3", hex"00", data);
        assembly ("memory-safe") {
            blob := create(0, add(creation, 0x20), mload(creation))
        }
        if (blob == address(0)) revert BlobWriteFailed();
    }

    /// @notice The 192 bytes of a key without its padding.
    function packKey(bytes memory key) internal pure returns (bytes memory packed) {
        if (key.length != Bls12381.G2_LENGTH) revert Bls12381.InvalidLength();
        packed = new bytes(192);
        assembly ("memory-safe") {
            for { let i := 0 } lt(i, 4) { i := add(i, 1) } {
                mcopy(add(add(packed, 0x20), mul(i, 48)), add(add(key, 0x30), mul(i, 64)), 48)
            }
        }
    }

    /// @notice Reads 192 packed key bytes at `offset` of a blob into the padded `key`, whose padding is zero already.
    function readKey(address blob, uint256 offset, bytes memory key) internal view {
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            extcodecopy(blob, buffer, offset, 192)
            for { let i := 0 } lt(i, 4) { i := add(i, 1) } {
                mcopy(add(add(key, 0x30), mul(i, 64)), add(buffer, mul(i, 48)), 48)
            }
        }
    }

    function readRecord(address chunk, uint256 index, bytes memory key) private view returns (uint64 oracleId, uint16 weight) {
        uint256 word;
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            extcodecopy(chunk, buffer, add(RECORDS_AT, mul(index, RECORD)), RECORD)
            word := mload(buffer)
            mcopy(add(key, 0x30), add(buffer, 10), 48)
            mcopy(add(key, 0x70), add(buffer, 58), 48)
            mcopy(add(key, 0xb0), add(buffer, 106), 48)
            mcopy(add(key, 0xf0), add(buffer, 154), 48)
        }
        oracleId = uint64(word >> 192);
        weight = uint16(word >> 176);
    }

    function chunkOf(address header, uint256 chunk, uint256 members) private view returns (address found) {
        if (chunk == (members - 1) / CHUNK) return header;
        assembly ("memory-safe") {
            extcodecopy(header, 0, add(EARLIER_AT, mul(chunk, 20)), 32)
            found := shr(96, mload(0))
        }
    }
}

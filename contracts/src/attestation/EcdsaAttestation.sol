// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IAttestationVerifier, ICommitteeSets} from "../interfaces/IAttestationVerifier.sol";
import {Committee} from "../libraries/Committee.sol";

/// @title Signatures of single members, for chains without EIP-2537 and for small committees
/// @notice The owner, a timelock, keeps the list of members: addresses with weights, no stake. A set is immutable and lies as
/// bytecode: `0x00 (STOP) || total weight (4) || records`, where `record = address (20) || weight (2)`, addresses ascending.
/// An attestation is 64 bytes for each signer, in the order of the bitmap: `r || vs` of EIP-2098.
contract EcdsaAttestation is IAttestationVerifier, ICommitteeSets, Ownable2Step {
    uint256 private constant MAX_MEMBERS = 256;
    uint256 private constant HEADER = 5;
    uint256 private constant RECORD = 22;
    uint256 private constant SIGNATURE = 64;

    struct Member {
        address signer;
        uint16 weight;
    }

    struct Set {
        address header;
        uint48 sinceBlock;
        uint48 since;
    }

    event MembersSet(uint64 indexed setEpoch, Member[] members, uint256 totalWeight);

    /// None, or more than 256.
    error InvalidMemberCount(uint256 count);
    /// Without weight, or not above the member before it: nobody is a member twice, nor the zero address.
    error InvalidMember(uint256 index);
    error UnknownSet(uint64 setEpoch);

    uint64 private _setEpoch;
    mapping(uint64 setEpoch => Set) private _sets;

    constructor(address owner_) Ownable(owner_) {}

    /// @notice Makes the next committee set, current from now on. The owner only.
    /// @param members by ascending address; member `i` is bit `i` of a bitmap.
    function setMembers(Member[] calldata members) external onlyOwner returns (uint64 setEpoch) {
        uint256 count = members.length;
        if (count == 0 || count > MAX_MEMBERS) revert InvalidMemberCount(count);
        uint256 total;
        address previous;
        bytes memory records;
        for (uint256 i = 0; i < count; ++i) {
            Member calldata member = members[i];
            if (member.signer <= previous || member.weight == 0) revert InvalidMember(i);
            previous = member.signer;
            total += member.weight;
            records = bytes.concat(records, abi.encodePacked(member.signer, member.weight));
        }

        setEpoch = ++_setEpoch;
        address header = Committee.writeBlob(abi.encodePacked(uint32(total), records));
        _sets[setEpoch] = Set(header, uint48(block.number), uint48(block.timestamp));
        emit MembersSet(setEpoch, members, total);
    }

    /// @inheritdoc ICommitteeSets
    function currentCommittee() external view returns (uint64 setEpoch, address header) {
        setEpoch = _setEpoch;
        header = _sets[setEpoch].header;
    }

    /// @inheritdoc ICommitteeSets
    function committeeOf(uint64 setEpoch) external view returns (address header, uint48 sinceBlock, uint48 since) {
        Set memory set = _known(setEpoch);
        return (set.header, set.sinceBlock, set.since);
    }

    /// @inheritdoc IAttestationVerifier
    /// @dev A signature with a high s is none, so that each has one form only.
    function verify(bytes32 message, uint64 setEpoch, uint256 signers, bytes calldata attestation)
        external
        view
        returns (uint256 signedWeight, uint256 totalWeight)
    {
        bytes memory set = _known(setEpoch).header.code;
        uint256 members = (set.length - HEADER) / RECORD;
        if (signers == 0 || signers & ~(type(uint256).max >> (256 - members)) != 0) revert Committee.InvalidSigners(signers, members);
        totalWeight = _word(set, 1) >> 224;

        uint256 offset;
        for (uint256 i = 0; signers != 0; ++i) {
            if (signers & 1 == 1) {
                if (attestation.length < offset + SIGNATURE) return (0, totalWeight);
                uint256 record = _word(set, HEADER + i * RECORD);
                bytes32 r = bytes32(attestation[offset:]);
                bytes32 vs = bytes32(attestation[offset + 32:]);
                (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(message, r, vs);
                if (failure != ECDSA.RecoverError.NoError || signer != address(uint160(record >> 96))) return (0, totalWeight);
                signedWeight += uint16(record >> 80);
                offset += SIGNATURE;
            }
            signers >>= 1;
        }
        if (attestation.length != offset) return (0, totalWeight);
    }

    function _known(uint64 setEpoch) private view returns (Set memory set) {
        set = _sets[setEpoch];
        if (set.header == address(0)) revert UnknownSet(setEpoch);
    }

    /// The 32 bytes at `offset`, beyond the end whatever lies there.
    function _word(bytes memory from, uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(from, 0x20), offset))
        }
    }
}

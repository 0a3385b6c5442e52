// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {IOracleRegistry} from "../interfaces/IOracleRegistry.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";
import {IWithheldCourt} from "../interfaces/IWithheldCourt.sol";
import {ReportLib} from "../libraries/ReportLib.sol";
import {StandardTree} from "../libraries/StandardTree.sol";
import {Statements} from "../libraries/Statements.sol";
import {DisputeCourt} from "./DisputeCourt.sol";

/// @title Withheld data
/// @notice See IWithheldCourt for what it promises.
contract WithheldCourt is DisputeCourt, IWithheldCourt {
    using ReportLib for Report;

    uint8 public constant WITHHELD = 1;
    uint8 public constant FALSE_DENIAL = 2;

    bytes32 private constant SEAT = keccak256("seat");
    bytes32 private constant LIST = keccak256("list");
    bytes32 private constant OBSERVATION = keccak256("observation");

    mapping(bytes32 id => bool) public denied;

    constructor(ISlaSettlement settlement, uint256 slashPpm_, Terms memory t) DisputeCourt(settlement, slashPpm_, t) {}

    // ---- the observation in a seat

    /// @inheritdoc IWithheldCourt
    function demandSeat(Report calldata report, uint64 providerId, bytes32[] calldata vector, uint256 seat, bytes32[] calldata proof)
        external
    {
        bytes32 leaf = Statements.leaf(providerId, keccak256(abi.encodePacked(vector)));
        if (!MerkleProof.verifyCalldata(proof, report.obsRoot, leaf)) revert InvalidProof();
        if (vector[seat] == 0) revert EmptySeat(seat);
        _open(report, seatId(report.digest(), providerId, vector[seat]));
    }

    /// @inheritdoc IWithheldCourt
    function answerSeat(Report calldata report, uint64 providerId, bytes32 word, IncludedCommit calldata included, Opening calldata opening)
        external
    {
        _checkIncluded(report, included);
        if (keccak256(opening.words) != word) revert InvalidOpening();
        _checkOpening(providerId, included.commit, opening);
        _answered(seatId(report.digest(), providerId, word));
    }

    /// @inheritdoc IWithheldCourt
    function closeSeat(Report calldata report, uint64 parentEpoch, uint64 providerId, bytes32 word) external {
        _closeWithVoid(report, parentEpoch, seatId(report.digest(), providerId, word));
    }

    // ---- a list

    /// @inheritdoc IWithheldCourt
    function demandList(Report calldata report, List list) external {
        _open(report, listId(report.digest(), list));
    }

    /// @inheritdoc IWithheldCourt
    function answerList(Report calldata report, List list, Entry[] calldata entries) external {
        bytes32[] memory leaves = new bytes32[](entries.length);
        for (uint256 i = 0; i < entries.length; ++i) {
            leaves[i] = Statements.leaf(entries[i].id, entries[i].word);
        }
        bytes32 root = StandardTree.root(leaves);
        if (root != (list == List.Data ? report.dataDigest : report.bitVotesRoot)) revert InvalidList(root);
        _answered(listId(report.digest(), list));
    }

    /// @inheritdoc IWithheldCourt
    function closeList(Report calldata report, uint64 parentEpoch, List list) external {
        _closeWithVoid(report, parentEpoch, listId(report.digest(), list));
    }

    // ---- an oracle's observation

    /// @inheritdoc IWithheldCourt
    function demandObservation(Report calldata report, uint64 providerId, IncludedCommit calldata included) external {
        _checkIncluded(report, included);
        _open(report, observationId(report.digest(), providerId, included.commit));
    }

    /// @inheritdoc IWithheldCourt
    function answerObservation(Report calldata report, uint64 providerId, Statements.Commit calldata commit, Opening calldata opening)
        external
    {
        _checkOpening(providerId, commit, opening);
        _answered(observationId(report.digest(), providerId, commit));
    }

    /// @inheritdoc IWithheldCourt
    function deny(Report calldata report, uint64 providerId, Statements.Commit calldata commit) external {
        IOracleRegistry.Oracle memory o = ORACLES.oracle(commit.oracleId);
        if (msg.sender != o.operator && msg.sender != o.transmitter) revert NotTheOracle(msg.sender);
        bytes32 id = observationId(report.digest(), providerId, commit);
        _refute(id);
        denied[id] = true;
        emit Denied(id, commit.oracleId, providerId);
    }

    /// @inheritdoc IWithheldCourt
    function punishSilence(Report calldata report, uint64 providerId, Statements.Commit calldata commit) external {
        address challenger = _uphold(observationId(report.digest(), providerId, commit));
        // Silent on many demands of one epoch, slashed once: the bonds still go back.
        if (!punished(commit.oracleId, report.epoch, WITHHELD)) _punish(commit.oracleId, report.epoch, WITHHELD, challenger);
    }

    /// @inheritdoc IWithheldCourt
    function punishDenial(Report calldata report, uint64 providerId, Statements.Commit calldata commit, Opening calldata opening) external {
        bytes32 id = observationId(report.digest(), providerId, commit);
        if (!denied[id]) revert NotDenied(id);
        _checkOpening(providerId, commit, opening);
        _punish(commit.oracleId, report.epoch, FALSE_DENIAL, msg.sender);
    }

    // ---- ids of disputes

    function seatId(bytes32 reportDigest, uint64 providerId, bytes32 word) public pure returns (bytes32) {
        return keccak256(abi.encode(SEAT, reportDigest, providerId, word));
    }

    function listId(bytes32 reportDigest, List list) public pure returns (bytes32) {
        return keccak256(abi.encode(LIST, reportDigest, list));
    }

    function observationId(bytes32 reportDigest, uint64 providerId, Statements.Commit calldata commit) public view returns (bytes32) {
        return keccak256(abi.encode(OBSERVATION, reportDigest, providerId, Statements.commitDigest(address(SETTLEMENT), commit)));
    }

    // ---- inside

    function _answered(bytes32 id) private {
        _refute(id);
        emit Answered(id);
    }

    function _closeWithVoid(Report calldata report, uint64 parentEpoch, bytes32 id) private {
        _uphold(id);
        if (_canVoid(report, id)) _void(report, parentEpoch);
    }

    function _checkIncluded(Report calldata report, IncludedCommit calldata included) private view {
        uint64 oracleId = included.commit.oracleId;
        bytes32 leaf = Statements.leaf(oracleId, Statements.commitDigest(address(SETTLEMENT), included.commit));
        if (!MerkleProof.verifyCalldata(included.proof, report.dataDigest, leaf)) revert NotIncluded(oracleId);
    }

    /// An observation of this provider, by the commit's oracle and in its epoch, under the commit's root.
    function _checkOpening(uint64 providerId, Statements.Commit calldata commit, Opening calldata opening) private pure {
        bytes calldata words = opening.words;
        if (words.length < 128) revert InvalidOpening();
        (bytes32 tag, uint256 epoch, uint256 provider, uint256 oracleId) = abi.decode(words[:128], (bytes32, uint256, uint256, uint256));
        if (tag != Statements.OBSERVATION_TAG || epoch != commit.epoch) revert InvalidOpening();
        if (provider != providerId || oracleId != commit.oracleId) revert InvalidOpening();
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encodePacked(words, opening.salt))));
        if (!MerkleProof.verifyCalldata(opening.proof, commit.root, leaf)) revert InvalidOpening();
    }
}

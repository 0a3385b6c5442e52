// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {IOmissionCourt} from "../interfaces/IOmissionCourt.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";
import {Bls12381} from "../libraries/Bls12381.sol";
import {Committee} from "../libraries/Committee.sol";
import {ReportLib} from "../libraries/ReportLib.sol";
import {StandardTree} from "../libraries/StandardTree.sol";
import {Statements} from "../libraries/Statements.sol";
import {DisputeCourt} from "./DisputeCourt.sol";

/// @title Omission
/// @notice See IOmissionCourt for what it promises.
contract OmissionCourt is DisputeCourt, IOmissionCourt {
    using ReportLib for Report;

    struct Tally {
        uint256 voters;
        uint256 weight;
    }

    mapping(bytes32 id => Tally) private _tallies;

    constructor(ISlaSettlement settlement, Terms memory t) DisputeCourt(settlement, 0, t) {}

    /// @inheritdoc IOmissionCourt
    function countVotes(Report calldata report, uint64 oracleId, bytes32 commitDigest, BitVote[] calldata votes) external {
        bytes32 digest = report.digest();
        Tally storage counted = _tallies[idOf(digest, oracleId, commitDigest)];
        (uint256 voters, uint256 weight) = (counted.voters, counted.weight);
        for (uint256 i = 0; i < votes.length; ++i) {
            (uint64 voterId, uint16 voterWeight,) = _member(report.setEpoch, votes[i].member);
            uint256 bit = 1 << votes[i].member;
            if (voters & bit != 0) continue;
            _checkVote(report, voterId, oracleId, commitDigest, votes[i]);
            voters |= bit;
            weight += voterWeight;
        }
        (counted.voters, counted.weight) = (voters, weight);
        emit VotesCounted(digest, oracleId, commitDigest, voters, weight);
    }

    /// @inheritdoc IOmissionCourt
    function tally(bytes32 reportDigest, uint64 oracleId, bytes32 commitDigest) external view returns (uint256 voters, uint256 weight) {
        Tally storage counted = _tallies[idOf(reportDigest, oracleId, commitDigest)];
        return (counted.voters, counted.weight);
    }

    /// @inheritdoc IOmissionCourt
    function convictSubstitution(
        Report calldata report,
        uint64 parentEpoch,
        uint64 oracleId,
        bytes32 commitDigest,
        bytes32 otherDigest,
        bytes32[] calldata proof
    ) external {
        _checkCounted(report, oracleId, commitDigest);
        if (otherDigest == commitDigest) revert NoContradiction();
        if (!MerkleProof.verifyCalldata(proof, report.dataDigest, Statements.leaf(oracleId, otherDigest))) revert InvalidProof();
        _convict(report, parentEpoch, msg.sender);
    }

    /// @inheritdoc IOmissionCourt
    function open(Report calldata report, uint64 oracleId, bytes32 commitDigest, Included[] calldata included) external {
        _checkCounted(report, oracleId, commitDigest);
        bytes32[] memory leaves = new bytes32[](included.length);
        for (uint256 i = 0; i < included.length; ++i) {
            if (included[i].oracleId == oracleId) revert IsIncluded(oracleId);
            leaves[i] = Statements.leaf(included[i].oracleId, included[i].commitDigest);
        }
        bytes32 root = StandardTree.root(leaves);
        if (root != report.dataDigest) revert InvalidLeaves(root);
        _open(report, idOf(report.digest(), oracleId, commitDigest));
    }

    /// @inheritdoc IOmissionCourt
    function refuteByCommits(
        Report calldata report,
        uint64 oracleId,
        bytes32 commitDigest,
        uint256 member,
        Statements.Commit calldata first,
        Statements.Commit calldata second,
        bytes calldata signature
    ) external {
        (uint64 author,, bytes memory key) = _member(report.setEpoch, member);
        if (author != oracleId || first.oracleId != oracleId || second.oracleId != oracleId) revert NotOneAuthor();
        if (first.epoch != report.epoch || second.epoch != report.epoch) revert NotOneAuthor();
        bytes32 firstDigest = Statements.commitDigest(address(SETTLEMENT), first);
        bytes32 secondDigest = Statements.commitDigest(address(SETTLEMENT), second);
        if (firstDigest == secondDigest) revert NoContradiction();
        if (!Bls12381.verifySum(key, firstDigest, secondDigest, Statements.COMMIT_DST, signature)) revert InvalidSignature();
        _refute(idOf(report.digest(), oracleId, commitDigest));
    }

    /// @inheritdoc IOmissionCourt
    function refuteByVotes(Report calldata report, uint64 oracleId, bytes32 commitDigest, bytes32 otherDigest) external {
        if (otherDigest == commitDigest) revert NoContradiction();
        _checkCounted(report, oracleId, otherDigest);
        _refute(idOf(report.digest(), oracleId, commitDigest));
    }

    /// @inheritdoc IOmissionCourt
    function uphold(Report calldata report, uint64 parentEpoch, uint64 oracleId, bytes32 commitDigest) external {
        bytes32 id = idOf(report.digest(), oracleId, commitDigest);
        address challenger = _uphold(id);
        if (_canVoid(report, id)) _convict(report, parentEpoch, challenger);
    }

    /// @inheritdoc IOmissionCourt
    function idOf(bytes32 reportDigest, uint64 oracleId, bytes32 commitDigest) public pure returns (bytes32) {
        return keccak256(abi.encode(reportDigest, oracleId, commitDigest));
    }

    function _checkVote(Report calldata report, uint64 voterId, uint64 oracleId, bytes32 commitDigest, BitVote calldata vote) private view {
        bytes32 digest = Statements.bitVoteDigest(address(SETTLEMENT), report.epoch, voterId, vote.held);
        bool isCast = MerkleProof.verifyCalldata(vote.proof, report.bitVotesRoot, Statements.leaf(voterId, digest));
        bool names = vote.held[2 * vote.pair] == bytes32(uint256(oracleId)) && vote.held[2 * vote.pair + 1] == commitDigest;
        if (!isCast || !names) revert InvalidVote(vote.member);
    }

    /// More than 1/3 of the set's weight votes for it.
    function _checkCounted(Report calldata report, uint64 oracleId, bytes32 commitDigest) private view {
        (address header,,) = ORACLES.committeeOf(report.setEpoch);
        (, uint256 totalWeight,) = Committee.totals(header);
        uint256 weight = _tallies[idOf(report.digest(), oracleId, commitDigest)].weight;
        if (3 * weight <= totalWeight) revert NotCounted(weight, totalWeight);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Statements} from "../libraries/Statements.sol";
import {IDisputeCourt} from "./IDisputeCourt.sol";
import {Report} from "./ISlaSettlement.sol";

/// @title Voids reports that leave out a commit which their own bit-votes count
/// @notice A report commits to the bit-votes that it rests on (`bitVotesRoot`) and to the commits that it includes (`dataDigest`). A commit
/// that more than 1/3 of weight votes for must be included, unless another commit of the same oracle is voted for likewise, or the
/// proposal carried two of its commits. The chain knows no proposals, so the exceptions are for those to show who signed the report.
///
/// 1. Anyone counts votes for (oracle, commit), in as many calls as it takes. 2. Anyone disputes the report with all leaves of
/// `dataDigest`. 3. Until the deadline anyone refutes it by two commits that the oracle signed, or by another commit that was counted.
/// 4. After it the report is convicted.
/// @dev Nobody is slashed here; the signers of a convicted report are in ISignersCourt. Votes are judged as the report has them: those
/// that it leaves out, and statements behind a root that nobody shows, are no evidence here (see IWithheldCourt for the latter).
interface IOmissionCourt is IDisputeCourt {
    struct BitVote {
        uint256 member; // of the report's set
        bytes32[] held; // all of the vote: pairs of words, an oracle id and the digest of its commit
        uint256 pair; // the one in question
        bytes32[] proof; // of the vote under bitVotesRoot
    }

    struct Included {
        uint64 oracleId;
        bytes32 commitDigest;
    }

    event VotesCounted(bytes32 indexed reportDigest, uint64 indexed oracleId, bytes32 indexed commitDigest, uint256 voters, uint256 weight);

    error InvalidVote(uint256 member);
    /// No more than 1/3 of weight votes for it, as far as votes were counted.
    error NotCounted(uint256 weight, uint256 totalWeight);
    /// Not all leaves of `dataDigest`, and no others.
    error InvalidLeaves(bytes32 root);
    error IsIncluded(uint64 oracleId);
    error InvalidProof();
    error NoContradiction();
    error NotOneAuthor();
    error InvalidSignature();

    /// @notice Counts votes for one commit of one oracle. Anyone may, in any order; a member counts once.
    function countVotes(Report calldata report, uint64 oracleId, bytes32 commitDigest, BitVote[] calldata votes) external;

    /// @notice What was counted so far: a bitmap of members, and their weight.
    function tally(bytes32 reportDigest, uint64 oracleId, bytes32 commitDigest) external view returns (uint256 voters, uint256 weight);

    /// @notice Convicts at once a report that includes another commit of the oracle than the one that was counted: no exception allows it.
    /// @param proof that `(oracleId, otherDigest)` is a leaf of `dataDigest`.
    function convictSubstitution(
        Report calldata report,
        uint64 parentEpoch,
        uint64 oracleId,
        bytes32 commitDigest,
        bytes32 otherDigest,
        bytes32[] calldata proof
    ) external;

    /// @notice Opens a dispute: the commit was counted, and no commit of its oracle is included. Takes the bond.
    /// @param included all leaves of `dataDigest`, ascending by the hash of the leaf; at most 256.
    function open(Report calldata report, uint64 oracleId, bytes32 commitDigest, Included[] calldata included) external;

    /// @notice Refutes by equivocation: the oracle signed two commits. The bond goes to the caller.
    /// @param member the oracle's place in the report's set.
    /// @param signature the sum of both signatures (see IEquivocationCourt).
    function refuteByCommits(
        Report calldata report,
        uint64 oracleId,
        bytes32 commitDigest,
        uint256 member,
        Statements.Commit calldata first,
        Statements.Commit calldata second,
        bytes calldata signature
    ) external;

    /// @notice Refutes by another commit of the oracle that more than 1/3 of weight votes for. The bond goes to the caller.
    function refuteByVotes(Report calldata report, uint64 oracleId, bytes32 commitDigest, bytes32 otherDigest) external;

    /// @notice Convicts the report of a dispute that nobody refuted in time. Anyone may.
    /// @param parentEpoch of the report that `report.parentDigest` names.
    function uphold(Report calldata report, uint64 parentEpoch, uint64 oracleId, bytes32 commitDigest) external;

    /// @notice The dispute's id.
    function idOf(bytes32 reportDigest, uint64 oracleId, bytes32 commitDigest) external pure returns (bytes32);
}

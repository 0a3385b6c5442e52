// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Statements} from "../libraries/Statements.sol";
import {IDisputeCourt} from "./IDisputeCourt.sol";
import {Report} from "./ISlaSettlement.sol";

/// @title Forces what stands behind a report into the open
/// @notice A report is a function of data that every committee member holds. If a corrupt committee keeps them, nobody can show what is
/// wrong with it. So anyone may demand them on chain, against a bond that pays whoever answers. Three demands, each with its own
/// consequence when nobody answers in time:
///
/// | demand | answer | consequence |
/// |---|---|---|
/// | the observation in one seat of a provider's panel (`obsRoot`) | the observation, under an included commit | the report is void |
/// | all leaves of `dataDigest` or `bitVotesRoot` | the list | the report is void |
/// | the observation of one provider by one included oracle | the observation, or the oracle's denial | the oracle is slashed |
///
/// The first two fall on the report, since every honest member has its data and can answer. The third falls on the oracle alone: nobody
/// can show what is not in a tree, so an oracle that was not on the panel says so by a transaction of its operator or transmitter. Who
/// finds the observation after all shows it, and the denial is slashed. A demand to an oracle voids no report: otherwise one
/// member could void any report by keeping silent about a provider that it never observed.
/// @dev Signers are not convicted: they cannot know what is withheld later. An oracle must watch this contract as it watches the others.
interface IWithheldCourt is IDisputeCourt {
    enum List {
        Data,
        BitVotes
    }

    /// An observation as it stands under its commit.
    struct Opening {
        bytes words; // of the observation, without the salt
        bytes32 salt;
        bytes32[] proof; // under the commit's root
    }

    /// A commit that the report includes.
    struct IncludedCommit {
        Statements.Commit commit;
        bytes32[] proof; // of (oracle, commit digest) under dataDigest
    }

    /// One leaf `(id, word)` of a list.
    struct Entry {
        uint64 id;
        bytes32 word;
    }

    event Answered(bytes32 indexed id);
    event Denied(bytes32 indexed id, uint64 indexed oracleId, uint64 indexed providerId);

    error NotIncluded(uint64 oracleId);
    error EmptySeat(uint256 seat);
    error InvalidProof();
    /// Not the observation that was asked for.
    error InvalidOpening();
    error InvalidList(bytes32 root);
    error NotTheOracle(address caller);
    error NotDenied(bytes32 id);

    // ---- the observation in a seat

    /// @notice Demands what stands in a seat of a provider's panel. Takes the bond.
    /// @param vector the panel's observation words, zero for an absent member.
    /// @param proof of (provider, hash of the vector) under `obsRoot`.
    function demandSeat(Report calldata report, uint64 providerId, bytes32[] calldata vector, uint256 seat, bytes32[] calldata proof)
        external;

    /// @notice Answers. Anyone may; the bond goes to the caller.
    function answerSeat(Report calldata report, uint64 providerId, bytes32 word, IncludedCommit calldata included, Opening calldata opening)
        external;

    /// @notice Voids a report whose seat stayed unanswered. Anyone may.
    function closeSeat(Report calldata report, uint64 parentEpoch, uint64 providerId, bytes32 word) external;

    // ---- a list

    /// @notice Demands all leaves of a root. Takes the bond.
    function demandList(Report calldata report, List list) external;

    /// @notice Answers. Anyone may; the bond goes to the caller.
    /// @param entries ascending by the hash of the leaf; at most one for each oracle.
    function answerList(Report calldata report, List list, Entry[] calldata entries) external;

    /// @notice Voids a report whose list stayed unanswered. Anyone may.
    function closeList(Report calldata report, uint64 parentEpoch, List list) external;

    // ---- an oracle's observation

    /// @notice Demands what an included oracle committed to about a provider. Takes the bond.
    function demandObservation(Report calldata report, uint64 providerId, IncludedCommit calldata included) external;

    /// @notice Answers. Anyone may; the bond goes to the caller.
    function answerObservation(Report calldata report, uint64 providerId, Statements.Commit calldata commit, Opening calldata opening)
        external;

    /// @notice States that the commit has no observation of this provider. Only the oracle's operator or transmitter; it gets the bond.
    function deny(Report calldata report, uint64 providerId, Statements.Commit calldata commit) external;

    /// @notice Slashes an oracle that neither answered nor denied (offence 1); the reward is the challenger's. Anyone may.
    function punishSilence(Report calldata report, uint64 providerId, Statements.Commit calldata commit) external;

    /// @notice Slashes an oracle that denied an observation which its commit has (offence 2); the reward is the caller's. Anyone may.
    function punishDenial(Report calldata report, uint64 providerId, Statements.Commit calldata commit, Opening calldata opening) external;
}

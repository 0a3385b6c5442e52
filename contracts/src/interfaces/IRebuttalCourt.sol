// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CompactProof} from "../libraries/CompactProof.sol";
import {ICourt} from "./ICourt.sol";
import {Report} from "./ISlaSettlement.sol";

/// @title Rebuts a silence by a compact storage proof
/// @notice Like `SlaSettlement.rebut`, which takes slices: a provider that is to be slashed for silence (reason 3) answers the challenge in
/// the open, until the slash window is over. Here the answer is one proof for all samples, which must all lie under one tag key. Two ways:
///
/// - `rebut`: the contract verifies the proof.
/// - `post`: nobody verifies it, against a bond. Until the end of `contestSeconds` anyone takes the bond, and the rebuttal with it, by
///   showing that the proof does not hold.
///
/// Both stop the slash at once; a contested one may be executed again. Late answers are late: the verdict stays.
///
/// **What the contract does not know** is whether items, seed and key are those of the challenge: the seed comes out of a merlin transcript,
/// and the names out of claims that only the registry's root binds. It need not, for the same reason that it need not hash BLAKE3
/// (docs/decisions/0006): the answer is the one that oracles take, under the provider's receipt key. A proof for other blocks, or under a
/// key of the provider's own, is a wrong answer to this challenge, signed, and whoever sees it in CompactAnswer has a fact: the oracles
/// slash it as reason 1 in a later report.
interface IRebuttalCourt is ICourt {
    /// The slash leaf that is rebutted.
    struct Silence {
        uint64 providerId;
        uint256 amount;
        bytes32[] proof; // under slashRoot
    }

    struct Answer {
        bytes32 challengeDigest;
        bytes32 seed; // of the challenge
        CompactProof.Key key;
        CompactProof.Item[] items; // 30 to 40, in the order of the challenge's samples
        CompactProof.Proof proof;
        bytes signature; // of the receipt key, over the answer as for every storage answer
    }

    /// The signed part, byte for byte as oracles take it.
    event CompactAnswer(
        uint64 indexed providerId, uint64 indexed epoch, bytes32 challengeDigest, bytes payload, bytes signature, bool verified
    );
    event Contested(bytes32 indexed id, address indexed contester);
    event Released(bytes32 indexed id, address indexed poster);

    error InvalidTerms();
    error UnknownReport(uint64 epoch);
    error RebuttalTooLate(uint256 closedAt);
    error InvalidProof();
    error WrongSampleCount(uint256 given);
    error InvalidAnswerSignature();
    /// The compact proof does not hold.
    error InvalidAnswer();
    /// It does, so the contest fails.
    error AnswerHolds();
    error NotPosted(bytes32 id);
    error ContestOver(uint256 since);
    error ContestRuns(uint256 until);

    /// @notice Rebuts with a proof that is verified now. Anyone may send it. About a million gas for 30 samples.
    function rebut(Report calldata report, Silence calldata silence, Answer calldata answer) external;

    /// @notice Rebuts with a proof that is verified only if somebody contests it. Anyone may send it; takes the bond.
    function post(Report calldata report, Silence calldata silence, Answer calldata answer) external returns (bytes32 id);

    /// @notice Shows that a posted proof does not hold: the slash can be executed again, the bond is the caller's. Anyone may.
    /// @param answer as it was posted; it stands in the posting transaction's calldata.
    function contest(uint64 providerId, uint64 epoch, Answer calldata answer) external;

    /// @notice Gives the bond back to who posted, when nobody contested in time. Anyone may.
    function release(bytes32 id) external;

    /// @notice Zeros when nothing is posted under this id, or no more.
    function posted(bytes32 id) external view returns (address poster, uint64 until);
    function bond() external view returns (uint256);
    function contestSeconds() external view returns (uint64);
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Statements} from "../libraries/Statements.sol";
import {ICourt} from "./ICourt.sol";

/// @title Slashes oracles that signed two statements where one is allowed
/// @notice One key, one place, two digests: two reports in one view of an epoch, two commits in an epoch, two bit-votes in an epoch.
/// Anyone may prove it, and is paid at once. Which of the two was counted, or whether any was, does not matter.
///
/// The key is the one that the member had in the named set, so that changing it later does not help. Any set with that key will do: a
/// statement binds the oracle's id and the epoch, and is punished once, whichever set it is shown with.
///
/// Two checkpoints of one verdict log would be the same offence. The protocol has no signed checkpoints yet: a commit carries the log's
/// head, and two commits that differ in it are two commits.
/// @dev `signature` is the sum of both signatures, 128 bytes in G1. The sum proves as much as the two do: the messages differ, so who
/// has sk * (H(a) + H(b)) without the signer's help for b subtracts sk * H(a) and has forged sk * H(b).
interface IEquivocationCourt is ICourt {
    /// The same digest twice.
    error NoContradiction();
    /// The statements are of two oracles, of two epochs, or not of the member.
    error NotOneAuthor();
    /// The signature is not the sum of the member's own under both.
    error InvalidSignature();

    /// @notice Offence 1: two reports signed in one view.
    /// @param member its place in the set, as in a signer bitmap.
    function punishReports(
        uint64 setEpoch,
        uint256 member,
        uint64 epoch,
        uint64 view_,
        bytes32 firstDigest,
        bytes32 secondDigest,
        bytes calldata signature
    ) external;

    /// @notice Offence 2: two commits signed in one epoch.
    function punishCommits(
        uint64 setEpoch,
        uint256 member,
        Statements.Commit calldata first,
        Statements.Commit calldata second,
        bytes calldata signature
    ) external;

    /// @notice Offence 3: two bit-votes signed in one epoch.
    /// @param firstHeld pairs of words, an oracle id and the digest of its commit, as in the vote.
    function punishBitVotes(
        uint64 setEpoch,
        uint256 member,
        uint64 epoch,
        bytes32[] calldata firstHeld,
        bytes32[] calldata secondHeld,
        bytes calldata signature
    ) external;
}

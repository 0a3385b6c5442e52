// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Verdict} from "./ISlaOracle.sol";
import {Report} from "./ISlaSettlement.sol";

/// @title Whether a provider may be booked: states that its verdicts drive
/// @notice Anyone presents a provider's verdicts, epoch after epoch, none left out. Passed, degraded and failed epochs count;
/// insufficient and inconclusive ones, and epochs without a report, are neutral.
/// ```
/// 0 registered -> 1 active                 with the first epoch that counts
/// 1 active     -> 2 warned                 a failed epoch, or two of the last three degraded
/// 2 warned     -> 3 suspended              two of the last three failed; before the warning nothing counts
/// 2 warned     -> 1 active                 three passed in a row
/// 3 suspended  -> 2 warned | 4 ejected     the owner's review, ejection not before the grace is over; without one, anyone ejects
/// ```
/// An epoch that a committee of fewer than `minPanel` oracles failed counts as degraded: small panels warn, they never suspend.
interface IProviderStanding {
    /// Fixed for ever.
    struct Terms {
        uint64 graceSeconds; // from suspension to the earliest ejection
        uint64 reviewSeconds; // from suspension to the ejection by anyone
        uint64 presentSeconds; // from acceptance until an epoch that nobody presented is passed over
        uint64 minPanel; // oracles that a committee needs to fail an epoch
    }

    event StateChanged(uint64 indexed providerId, uint64 indexed epoch, uint8 from, uint8 to);
    event Presented(uint64 indexed providerId, uint64 indexed epoch, uint8 outcome);
    event Skipped(uint64 indexed providerId, uint64 from, uint64 next);

    error ZeroAddress();
    error InvalidTerms();
    error EpochAlreadyCounted(uint64 nextEpoch);
    /// The report can still be voided, or something holds it.
    error NotMatured(uint64 epoch);
    error InvalidOutcome(uint8 outcome);
    /// This epoch can still have a verdict.
    error EpochNotSkippable(uint64 epoch);
    error NotSuspended(uint64 providerId);
    error GraceNotOver(uint256 until);
    error ReviewNotOver(uint256 until);
    error AlreadyEjected(uint64 providerId);

    /// @notice Counts a provider's verdict. Anyone may call; the epoch must be `nextEpoch`, or all from there to it be skippable.
    /// @dev Open once rewards and slashes of the report are: nothing can void it any more. Costs one check for each skipped epoch.
    function present(Report calldata report, Verdict calldata v, bytes32[] calldata proof) external;

    /// @notice Passes over at most `most` epochs that are skippable: one that can have no report any more, or one whose verdict
    /// nobody presented within `presentSeconds` of its acceptance (the report has none for this provider). Anyone may call.
    /// @return next the epoch that is next now.
    function skip(uint64 providerId, uint64 most) external returns (uint64 next);

    /// @notice Decides on a suspended provider. Owner. A reinstated one is warned, and its epochs until now are neutral.
    function review(uint64 providerId, bool reinstate) external;

    /// @notice Ejects a provider whose suspension nobody reviewed for `reviewSeconds`. Anyone may call.
    function expire(uint64 providerId) external;

    /// @return 0 registered, 1 active, 2 warned, 3 suspended, 4 ejected.
    function stateOf(uint64 providerId) external view returns (uint8);

    /// @notice The epoch whose verdict counts next. The first is the first whose reference block surely lies after the registration.
    /// @dev Reverts with UnknownProvider.
    function nextEpoch(uint64 providerId) external view returns (uint64);

    /// @notice Unix seconds, of the last time; 0 when it never was.
    function suspendedAt(uint64 providerId) external view returns (uint64);

    function graceSeconds() external view returns (uint64);
    function reviewSeconds() external view returns (uint64);
    function presentSeconds() external view returns (uint64);
    function minPanel() external view returns (uint64);
}

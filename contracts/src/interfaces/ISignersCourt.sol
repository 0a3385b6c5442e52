// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICourt} from "./ICourt.sol";
import {Report} from "./ISlaSettlement.sol";

/// @title Slashes those who signed a report that another court proved wrong
/// @notice Every signer computes the report before it signs, so whoever signed a wrong one did not, or lied. But a wrong report may also
/// come from a fault in the software that all of them run. So the slash is a share of each stake, and waits: during the review the owner
/// (a timelock) can cancel it for the whole report. A timelock needs a delay well below the review. Nobody but the owner can stop it.
///
/// 1. A court convicts the report and voids it. 2. Anyone opens the review. 3. After it anyone slashes, in as many calls as it takes,
/// with any certificates of the report: all of them count, each signer once. The reward goes to who convicted the report.
interface ISignersCourt is ICourt {
    event ReviewOpened(uint64 indexed epoch, bytes32 indexed digest, address indexed court, address challenger, uint64 until);
    event ReviewCancelled(bytes32 indexed digest);

    /// Not a court that the settlement allows.
    error NotACourt(address court);
    error NotConvicted(bytes32 digest);
    error AlreadyReviewed(bytes32 digest);
    error NotReviewed(bytes32 digest);
    error ReviewRuns(uint256 until);
    error Cancelled(bytes32 digest);
    error ReviewOver(uint256 since);
    /// The report's own set did not sign this, or not by more than two thirds.
    error InvalidCertificate();

    /// @notice Opens the review of a convicted report. Anyone may. Reverts when it was opened before.
    /// @param court where the report was convicted.
    function openReview(Report calldata report, address court) external;

    /// @notice Cancels the slash of everybody who signed this report, for good. Owner only, until the review ends.
    function cancelReview(bytes32 reportDigest) external;

    /// @notice Slashes signers of a report whose review is over. Anyone may; call again for those who are left.
    /// @param signers a certificate's bitmap, bit i = member i of the set `report.setEpoch`.
    /// @param most signers to slash in this call, about 50,000 gas each.
    /// @return slashed how many were; fewer than `most` when no others are left in this certificate.
    function slashSigners(Report calldata report, uint256 signers, bytes calldata signature, uint256 most)
        external
        returns (uint256 slashed);

    /// @notice Zeros when no review was opened.
    function review(bytes32 reportDigest) external view returns (address challenger, uint64 until, bool cancelled);
}

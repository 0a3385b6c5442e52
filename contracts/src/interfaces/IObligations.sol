// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What a provider still owes to those who booked it
interface IObligations {
    /// @notice Until when (unix seconds) bookings bind the provider. In the past, or 0, when nothing does.
    function obligedUntil(uint64 providerId) external view returns (uint256 time);
}

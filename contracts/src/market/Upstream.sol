// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProviderRegistry} from "../interfaces/IProviderRegistry.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";

/// @notice What the market asks of the contracts it stands on.
interface IMarketSettlement is ISlaSettlement {
    function isSettled(uint64 epoch) external view returns (uint8 state);
    function maturesAt(Report calldata report) external view returns (uint256 rewardsAt, uint256 slashesAt);
    function escapeOpen() external view returns (bool);
}

interface IMarketProviders is IProviderRegistry {
    function capacityOf(uint64 providerId) external view returns (uint64 gib);
}

interface IMarketStanding {
    function stateOf(uint64 providerId) external view returns (uint8);
}

interface IObligations {
    function obligedUntil(uint64 providerId) external view returns (uint256 time);
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Report} from "./ISlaSettlement.sol";

/// @title What registries ask the settlement
/// @notice A part of ISlaSettlement, which says what each function promises.
interface ISettlementState {
    function isCourt(address court) external view returns (bool);
    function escapeOpen() external view returns (bool);
    function isSettled(uint64 epoch) external view returns (uint8 state);
    function maturesAt(Report calldata report) external view returns (uint256 rewardsAt, uint256 slashesAt);
}

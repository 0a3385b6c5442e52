// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracleRegistry} from "./IOracleRegistry.sol";

/// @notice What courts ask of the registry of oracles.
interface ICourtRegistry is IOracleRegistry {
    function slash(uint64 oracleId, uint256 amount, address beneficiary, uint256 reward) external returns (uint256 slashed);
    function stakeOf(uint64 oracleId) external view returns (uint256);
}

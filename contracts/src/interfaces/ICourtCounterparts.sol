// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracleRegistry} from "./IOracleRegistry.sol";
import {ISlaSettlement, Report} from "./ISlaSettlement.sol";

/// @notice What courts ask of the settlement.
interface ICourtSettlement is ISlaSettlement {
    function isCourt(address) external view returns (bool);
    function voidReport(Report calldata report, uint64 parentEpoch) external;
    function hold(uint64 epoch, uint64 until) external;
    function certified(Report calldata report, uint256 signers, bytes calldata signature) external view returns (bool);
}

/// @notice What courts ask of the registry of oracles.
interface ICourtRegistry is IOracleRegistry {
    function slash(uint64 oracleId, uint256 amount, address beneficiary, uint256 reward) external returns (uint256 slashed);
    function stakeOf(uint64 oracleId) external view returns (uint256);
}

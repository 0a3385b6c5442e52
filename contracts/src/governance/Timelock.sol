// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

// For its artifact: deployments put their contracts under OpenZeppelin's timelock as it is.
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

import {IKeeper} from "../src/interfaces/IKeeper.sol";
import {ISlaSettlement} from "../src/interfaces/ISlaSettlement.sol";
import {Governance, Parameters} from "./Parameters.sol";
import {FIRST_COURT, PARTS, Part, Plan} from "./Plan.sol";

/// The calls of one operation of the timelock.
struct Operation {
    address[] targets;
    uint256[] values;
    bytes[] payloads;
}

/// @title The timelock's first operation
/// @notice It allows the courts, sets the tips, and hands the timelock to its governors: after it the deployer has no role and every
/// operation waits. All of it or nothing: no state between is ever on the chain.
library Opening {
    uint256 private constant TIPS = 4;
    uint256 private constant HANDOVER = 7;

    function operation(Parameters memory p, address[PARTS] memory addressOf, address deployer) internal pure returns (Operation memory op) {
        uint256 courts = PARTS - FIRST_COURT;
        uint256 length = courts + TIPS + HANDOVER;
        op = Operation(new address[](length), new uint256[](length), new bytes[](length));
        for (uint256 i = 0; i < courts; ++i) {
            op.targets[i] = addressOf[uint256(Part.SlaSettlement)];
            op.payloads[i] = abi.encodeCall(ISlaSettlement.setCourt, (addressOf[FIRST_COURT + i], true));
        }
        for (uint256 i = 0; i < TIPS; ++i) {
            op.targets[courts + i] = addressOf[uint256(Part.Keeper)];
            op.payloads[courts + i] = abi.encodeCall(IKeeper.setTariff, (IKeeper.Action(i), p.tips[i].tip, p.tips[i].perDay));
        }
        bytes[HANDOVER] memory handover = _handover(p.governance, deployer);
        for (uint256 i = 0; i < HANDOVER; ++i) {
            op.targets[courts + TIPS + i] = addressOf[uint256(Part.Timelock)];
            op.payloads[courts + TIPS + i] = handover[i];
        }
    }

    function proposerRole() internal pure returns (bytes32) {
        return keccak256("PROPOSER_ROLE");
    }

    function executorRole() internal pure returns (bytes32) {
        return keccak256("EXECUTOR_ROLE");
    }

    function cancellerRole() internal pure returns (bytes32) {
        return keccak256("CANCELLER_ROLE");
    }

    function _handover(Governance memory g, address deployer) private pure returns (bytes[HANDOVER] memory calls) {
        calls[0] = abi.encodeCall(IAccessControl.grantRole, (proposerRole(), g.proposer));
        calls[1] = abi.encodeCall(IAccessControl.grantRole, (cancellerRole(), g.proposer));
        calls[2] = abi.encodeCall(IAccessControl.grantRole, (executorRole(), g.executor));
        calls[3] = abi.encodeCall(IAccessControl.revokeRole, (proposerRole(), deployer));
        calls[4] = abi.encodeCall(IAccessControl.revokeRole, (cancellerRole(), deployer));
        calls[5] = abi.encodeCall(IAccessControl.revokeRole, (executorRole(), deployer));
        calls[6] = abi.encodeCall(TimelockController.updateDelay, (g.delay));
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

import {IOracleRegistry} from "../src/interfaces/IOracleRegistry.sol";
import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";
import {AddressBook, Deployment} from "./AddressBook.sol";
import {Opening, Operation} from "./Opening.sol";
import {Parameters, ParametersJson} from "./Parameters.sol";
import {PARTS, Part, Plan} from "./Plan.sol";
import {Preflight, Surroundings} from "./Preflight.sol";
import {vm} from "./ScriptVm.sol";

/// @title Deploys the protocol
/// @notice Reads the parameters from the file PARAMETERS and writes the address book to BOOK. docs/DEPLOYMENT.md says how to run it.
/// The settlement's owner is the timelock from its first block on; the registries are handed over once they know settlement and
/// market. Nothing is left to accept, and the sender keeps no power.
contract Deploy {
    /// What `Preflight` found, a line each.
    error UnfitParameters(string findings);

    function run() external {
        string memory json = vm.readFile(vm.envString("PARAMETERS"));
        Parameters memory p = ParametersJson.read(json, "");
        _preflight(p, msg.sender);

        Deployment memory d;
        (d.chainId, d.fromBlock, d.deployer) = (block.chainid, block.number, msg.sender);
        vm.startBroadcast();
        _create(d, p);
        _wire(d);
        _open(d, p);
        vm.stopBroadcast();
        AddressBook.write(vm.envString("BOOK"), d, json);
    }

    function _preflight(Parameters memory p, address deployer) private view {
        Surroundings memory s = Surroundings(block.chainid, block.timestamp, deployer, p.token.code.length != 0);
        string[] memory findings = Preflight.findings(p, s);
        if (findings.length == 0) return;
        string memory lines = "";
        for (uint256 i = 0; i < findings.length; ++i) {
            lines = string.concat(lines, "\n- ", findings[i]);
        }
        revert UnfitParameters(lines);
    }

    function _create(Deployment memory d, Parameters memory p) private {
        for (uint256 i = 0; i < PARTS; ++i) {
            if (i == uint256(Part.Token) && p.token != address(0)) {
                d.addressOf[i] = p.token;
            } else {
                d.arguments[i] = Plan.arguments(Part(i), p, d.addressOf, d.deployer);
                d.addressOf[i] = Plan.create(Part(i), d.arguments[i]);
            }
            d.codeHashes[i] = d.addressOf[i].codehash;
        }
    }

    function _wire(Deployment memory d) private {
        address timelock = d.addressOf[uint256(Part.Timelock)];
        address settlement = d.addressOf[uint256(Part.SlaSettlement)];
        address oracles = d.addressOf[uint256(Part.OracleRegistry)];
        address providers = d.addressOf[uint256(Part.ProviderRegistry)];
        IOracleRegistry(oracles).setSettlement(settlement);
        IProviderRegistry(providers).setSettlement(settlement);
        IProviderRegistry(providers).setMarket(d.addressOf[uint256(Part.CapacityMarket)]);
        Ownable(oracles).transferOwnership(timelock);
        Ownable(providers).transferOwnership(timelock);
    }

    function _open(Deployment memory d, Parameters memory p) private {
        TimelockController timelock = TimelockController(payable(d.addressOf[uint256(Part.Timelock)]));
        Operation memory op = Opening.operation(p, d.addressOf, d.deployer);
        timelock.scheduleBatch(op.targets, op.values, op.payloads, 0, 0, 0);
        timelock.executeBatch(op.targets, op.values, op.payloads, 0, 0);
    }
}

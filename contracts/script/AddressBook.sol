// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PARTS, Part, Plan} from "./Plan.sol";
import {vm} from "./ScriptVm.sol";

/// What a deployment leaves behind.
struct Deployment {
    uint256 chainId;
    uint256 fromBlock; // no contract is older
    address deployer;
    address[PARTS] addressOf;
    bytes[PARTS] arguments;
    bytes32[PARTS] codeHashes;
}

/// @title The address book of a deployment, as JSON
/// @notice It repeats the parameters, so that the checker needs nothing else.
library AddressBook {
    string private constant COMPILER = "solc 0.8.37, via IR, 1,000,000 runs, prague";

    function write(string memory path, Deployment memory d, string memory parameters) internal {
        string memory contracts = "";
        for (uint256 i = 0; i < PARTS; ++i) {
            string memory end = i + 1 == PARTS ? "\n" : ",\n";
            contracts = string.concat(contracts, _entry(d, i), end);
        }
        vm.writeFile(
            path,
            string.concat(
                '{\n  "chainId": ',
                vm.toString(d.chainId),
                ',\n  "fromBlock": ',
                vm.toString(d.fromBlock),
                ',\n  "deployer": "',
                vm.toString(d.deployer),
                '",\n  "compiler": "',
                COMPILER,
                '",\n  "paramsHash": "',
                vm.toString(vm.parseJsonBytes32(parameters, ".settlement.paramsHash")),
                '",\n  "contracts": {\n',
                contracts,
                '  },\n  "parameters": ',
                parameters,
                "\n}\n"
            )
        );
    }

    function read(string memory json) internal pure returns (Deployment memory d) {
        d.chainId = vm.parseJsonUint(json, ".chainId");
        d.fromBlock = vm.parseJsonUint(json, ".fromBlock");
        d.deployer = vm.parseJsonAddress(json, ".deployer");
        for (uint256 i = 0; i < PARTS; ++i) {
            string memory entry = string.concat(".contracts.", Plan.name(Part(i)));
            d.addressOf[i] = vm.parseJsonAddress(json, string.concat(entry, ".address"));
            d.arguments[i] = vm.parseJsonBytes(json, string.concat(entry, ".constructorArguments"));
            d.codeHashes[i] = vm.parseJsonBytes32(json, string.concat(entry, ".codeHash"));
        }
    }

    function _entry(Deployment memory d, uint256 i) private pure returns (string memory) {
        return string.concat(
            '    "',
            Plan.name(Part(i)),
            '": {"address": "',
            vm.toString(d.addressOf[i]),
            '", "codeHash": "',
            vm.toString(d.codeHashes[i]),
            '", "constructorArguments": "',
            vm.toString(d.arguments[i]),
            '"}'
        );
    }
}

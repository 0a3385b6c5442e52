// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProviderRegistry} from "../../src/interfaces/IProviderRegistry.sol";
import {ISlaSettlement} from "../../src/interfaces/ISlaSettlement.sol";

/// What the aggregation court reads, for as many committees as a comparison wants: the header of set `n` lies at address `n`.
contract JudgementWorld {
    uint16 internal constant CLASS = 100;

    function config() external view returns (ISlaSettlement.Config memory c) {
        c.oracleRegistry = address(this);
        c.providerRegistry = address(this);
    }

    function committeeOf(uint64 setEpoch) external pure returns (address header, uint48, uint48) {
        return (address(uint160(setEpoch)), 0, 0);
    }

    function provider(uint64) external pure returns (IProviderRegistry.Provider memory p) {
        p.classId = CLASS;
    }

    /// Every call by itself: whether it went through, and its first word.
    function callAll(address target, bytes[] calldata calls) external view returns (bool[] memory ok, bytes32[] memory words) {
        ok = new bool[](calls.length);
        words = new bytes32[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            bytes memory answer;
            (ok[i], answer) = target.staticcall(calls[i]);
            words[i] = bytes32(answer);
        }
    }
}

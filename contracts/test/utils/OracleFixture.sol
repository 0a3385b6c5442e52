// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {OracleRegistry} from "../../src/OracleRegistry.sol";
import {Committee} from "../../src/libraries/Committee.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {Fixture} from "./Fixture.sol";

/// Oracles of several operators.
abstract contract OracleFixture is Fixture {
    function keyOf(uint256 index) internal view returns (bytes memory) {
        return BlsSigner.publicKey(BlsSigner.secret(index));
    }

    function popOf(uint256 index, address operator) internal view returns (bytes memory) {
        return BlsSigner.sign(BlsSigner.secret(index), oracles.popMessage(operator, keyOf(index)), BlsSigner.POP_DST);
    }

    function registerOracleOf(address operator, uint256 index, uint256 stake) internal returns (uint64 id) {
        bytes memory key = keyOf(index);
        bytes memory pop = popOf(index, operator);
        token.mint(operator, stake);
        vm.startPrank(operator);
        token.approve(address(oracles), type(uint256).max);
        id = oracles.register(key, pop, "http://oracle", operator, operator, 1, stake);
        vm.stopPrank();
    }

    /// Members of the current set.
    function members() internal view returns (Committee.Member[] memory) {
        return oracles.committee(oracles.currentSet());
    }

    /// Asserts that these are the ids of the current set.
    function assertMembers(uint64[] memory expected) internal view {
        Committee.Member[] memory found = members();
        vm.assertEq(found.length, expected.length);
        for (uint256 i = 0; i < expected.length; ++i) {
            vm.assertEq(found[i].oracleId, expected[i]);
        }
    }

    function ids(uint64 a) internal pure returns (uint64[] memory list) {
        list = new uint64[](1);
        list[0] = a;
    }

    function ids(uint64 a, uint64 b) internal pure returns (uint64[] memory list) {
        list = new uint64[](2);
        (list[0], list[1]) = (a, b);
    }

    function ids(uint64 a, uint64 b, uint64 c) internal pure returns (uint64[] memory list) {
        list = new uint64[](3);
        (list[0], list[1], list[2]) = (a, b, c);
    }
}

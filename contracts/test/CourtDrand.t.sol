// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Drand} from "../src/libraries/Drand.sol";
import {Test} from "./utils/Test.sol";

contract DrandHarness {
    function verify(bytes memory key, uint64 round, bytes calldata signature) external view returns (bool) {
        return Drand.verify(key, round, signature);
    }

    function randomness(bytes calldata signature) external pure returns (bytes32) {
        return Drand.randomness(signature);
    }
}

/// Real rounds of quicknet, decompressed; randomness as drand publishes it.
contract CourtDrandTest is Test {
    bytes internal constant QUICKNET =
        hex"000000000000000000000000000000000d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a0000000000000000000000000000000003cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d106451000000000000000000000000000000000e5db2b6bfbb01c867749cadffca88b36c24f3012ba09fc4d3022c5c37dce0f977d3adb5d183c7477c442b1f045152730000000000000000000000000000000001a714f2edb74119a2f2b0d5a7c75ba902d163700a61bc224ededd8e63aef7be1aaf8e93d7a9718b047ccddb3eb5d68b";
    bytes internal constant ROUND_1000 =
        hex"00000000000000000000000000000000144679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e390000000000000000000000000000000011f92e4521ef54f047b64b85fa98db2d46f0f44add1f60b93f8a0dbddd63b34f238657c2d93aed18b90bddd60a01b6d2";
    bytes internal constant ROUND_657413 =
        hex"000000000000000000000000000000001713718a38ae728dfd477991af2822e08d2f305e47718cef9f7848ce4050e7be41076862b98fad56e91a6b85b89cd97b00000000000000000000000000000000116c5214fdfb7ba78de63a90904f73c935e28a89e5c815c43a49dfc8058ed0d2b7de6f98eae4a917bb868989bd0302b7";

    DrandHarness internal drand = new DrandHarness();

    function test_real_quicknet_rounds_verify() public view {
        vm.assertTrue(drand.verify(QUICKNET, 1000, ROUND_1000));
        vm.assertTrue(drand.verify(QUICKNET, 657_413, ROUND_657413));
        vm.assertFalse(drand.verify(QUICKNET, 1001, ROUND_1000));
    }

    function test_randomness_is_what_drand_publishes() public view {
        vm.assertEq(drand.randomness(ROUND_1000), 0xfe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd);
        vm.assertEq(drand.randomness(ROUND_657413), 0xfc1873a13f3545aeade8401532ef5519920652eee6b0d2b19ca12643b87b3587);
    }
}

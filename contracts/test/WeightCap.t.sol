// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {OracleRegistry} from "../src/OracleRegistry.sol";
import {IOracleRegistry} from "../src/interfaces/IOracleRegistry.sol";
import {Committee} from "../src/libraries/Committee.sol";
import {WeightCap} from "../src/libraries/WeightCap.sol";
import {OracleFixture} from "./utils/OracleFixture.sol";

contract WeightCapTest is OracleFixture {
    address internal constant WHALE = address(0x5001);

    // Defence: all oracles of an operator are capped together, against what then counts; capped one by one, or against the sum of
    // all stakes, an operator with enough stake signs reports alone, and this turns red.
    function test_an_operators_oracles_are_scaled_down_together() public {
        deploy();
        oracles = new OracleRegistry(token, 1e18, 0, capped(333_333));
        registerOracleOf(WHALE, 0, 600e18);
        registerOracleOf(address(0x5002), 1, 60e18);
        registerOracleOf(WHALE, 2, 300e18);
        registerOracleOf(address(0x5003), 3, 40e18);
        registerOracleOf(address(0x5004), 4, 50e18);
        oracles.buildSnapshot(5);
        Committee.Member[] memory found = members();
        (, uint256 total,) = Committee.totals(currentHeader());
        uint256 whale = uint256(found[0].weight) + found[2].weight;
        vm.assertLe(3 * whale, total);
        vm.assertLe(total, 3 * whale + 15); // and no lower than need be
        vm.assertLe(2 * uint256(found[2].weight), found[0].weight);
        vm.assertEq(found[1].weight, 65535); // the largest that counts: 60 of 150, beside 50 and 25
        vm.assertEq(found[3].weight, 43690);
    }

    function test_too_few_operators_count_alike() public {
        deploy();
        oracles = new OracleRegistry(token, 1e18, 0, capped(333_333));
        registerOracleOf(WHALE, 0, 900e18);
        registerOracleOf(address(0x5002), 1, 10e18);
        oracles.buildSnapshot(2);
        vm.assertEq(members()[0].weight, 65535);
        vm.assertEq(members()[1].weight, 65535);
    }

    // Defence: what an operator has active follows every change; stale, a slash or an exit leaves the cap at the wrong height.
    function test_the_cap_follows_exits_and_stake() public {
        deploy();
        oracles = new OracleRegistry(token, 1e18, 0, capped(500_000));
        registerOracleOf(WHALE, 0, 300e18);
        registerOracleOf(WHALE, 1, 300e18);
        registerOracleOf(address(0x5002), 2, 100e18);
        registerOracleOf(address(0x5003), 3, 100e18);
        oracles.buildSnapshot(4);
        vm.assertEq(members()[0].weight, 65535);
        vm.assertEq(members()[2].weight, 65535);
        token.mint(WHALE, 100e18);
        vm.startPrank(WHALE);
        oracles.addStake(1, 100e18);
        oracles.requestExit(2);
        vm.stopPrank();
        oracles.buildSnapshot(4);
        vm.assertEq(members()[0].weight, 65535); // 200 of 400
        vm.assertEq(members()[1].weight, 32767);
        vm.assertEq(members()[2].weight, 32767);
    }

    function testFuzz_no_operator_counts_more_than_the_cap(uint96[12] calldata given, uint8 operators, uint32 ppm) public pure {
        uint256 count = bound(operators, 1, 12);
        ppm = uint32(bound(ppm, 50_000, 999_999));
        (uint256[] memory stakes, uint256[] memory sums) = (new uint256[](12), new uint256[](12));
        uint256[] memory ofOperator = new uint256[](count);
        for (uint256 i = 0; i < 12; ++i) {
            stakes[i] = uint256(given[i]) + 1e18;
            ofOperator[i % count] += stakes[i];
        }
        for (uint256 i = 0; i < 12; ++i) {
            sums[i] = ofOperator[i % count];
        }
        uint256 level = WeightCap.level(stakes, sums, ppm);

        (uint256 total, uint256 largest, uint256 smallest) = (0, 0, type(uint256).max);
        for (uint256 i = 0; i < count; ++i) {
            uint256 counted = WeightCap.counted(ofOperator[i], ofOperator[i], level);
            total += counted;
            if (counted > largest) largest = counted;
            if (counted < smallest) smallest = counted;
        }
        // Two units for the roundings of the level.
        bool withinCap = (largest - 2) * 1e6 <= total * ppm;
        vm.assertTrue(withinCap || (count * ppm < 1e6 && largest == smallest));
    }

    function capped(uint32 ppm) private pure returns (IOracleRegistry.Terms memory terms) {
        terms = oracleTerms();
        terms.operatorCapPpm = ppm;
    }

    function currentHeader() private view returns (address header) {
        (, header) = oracles.currentCommittee();
    }
}

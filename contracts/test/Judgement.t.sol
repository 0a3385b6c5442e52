// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JudgementTable} from "../src/libraries/JudgementTable.sol";
import {Test} from "./utils/Test.sol";

/// The critical counts that Rust and Solidity share (tests/vectors/judgement.json).
contract JudgementTest is Test {
    string internal json = vm.readFile("../tests/vectors/judgement.json");

    // Defence: one table. Were an entry another one here, a failure that Rust sees would be none on chain, or the other way round.
    function test_every_critical_count_is_that_of_rust() public view {
        uint256 previous;
        uint256 tables;
        for (string memory table = tableAt(0); vm.keyExistsJson(json, table); table = tableAt(++tables)) {
            uint256 allowedPpm = vm.parseJsonUint(json, string.concat(table, ".allowedPpm"));
            uint256 bad = 1;
            for (string memory entry = entryAt(table, 0); vm.keyExistsJson(json, entry); entry = entryAt(table, bad - 1)) {
                uint256 largest = vm.parseJsonUint(json, entry);
                assertLargest(allowedPpm, bad, largest);
                // What lies between two tables takes the next larger one.
                assertLargest(previous + 1, bad, largest);
                ++bad;
            }
            vm.assertTrue(JudgementTable.isSignificant(allowedPpm, bad, type(uint64).max));
            vm.assertFalse(JudgementTable.isSignificant(allowedPpm, 0, 0));
            previous = allowedPpm;
        }
        vm.assertEq(tables, 5);
        vm.assertFalse(JudgementTable.isSignificant(previous + 1, 1_000, 1));
    }

    function assertLargest(uint256 allowedPpm, uint256 bad, uint256 largest) private pure {
        vm.assertTrue(JudgementTable.isSignificant(allowedPpm, bad, largest));
        vm.assertFalse(JudgementTable.isSignificant(allowedPpm, bad, largest + 1));
    }

    function tableAt(uint256 i) private pure returns (string memory) {
        return string.concat(".criticalCounts[", vm.toString(i), "]");
    }

    function entryAt(string memory table, uint256 i) private pure returns (string memory) {
        return string.concat(table, ".largest[", vm.toString(i), "]");
    }
}

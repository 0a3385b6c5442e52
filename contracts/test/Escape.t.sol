// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {Chained} from "./utils/Chained.sol";

contract EscapeTest is Chained {
    function assertOpensAt(uint256 time) private {
        vm.warp(time - 1);
        vm.assertFalse(settlement.escapeOpen());
        vm.warp(time);
        vm.assertTrue(settlement.escapeOpen());
    }

    function test_without_any_report_it_opens_seven_days_after_genesis() public {
        vm.assertEq(settlement.escapeDelay(), ESCAPE_DELAY);
        vm.warp(GENESIS - 1);
        vm.assertFalse(settlement.escapeOpen());
        assertOpensAt(GENESIS + ESCAPE_DELAY);
    }

    // Defence: a standing report shuts the way out, and the clock starts at its acceptance; removed, this turns red.
    function test_every_report_starts_the_clock_again() public {
        Report memory first = accept(0, 0, 1e18);
        assertOpensAt(endOf(0) + ESCAPE_DELAY);
        uint64 epoch = oldestOpen();
        accept(epoch, digestOf(first), 2e18);
        vm.assertFalse(settlement.escapeOpen());
        (, uint64 acceptedAt) = settlement.acceptedReport(epoch);
        assertOpensAt(acceptedAt + ESCAPE_DELAY);
    }

    // Defence: a voided report is none; counted, a guardian that voids every report keeps everybody inside and this turns red.
    function test_a_voided_report_does_not_start_the_clock() public {
        Report memory first = accept(0, 0, 1e18);
        vm.warp(endOf(0) + ESCAPE_DELAY - LENGTH);
        Report memory second = accept(oldestOpen(), digestOf(first), 2e18);
        voidAs(GUARDIAN, second, 0);
        assertOpensAt(endOf(0) + ESCAPE_DELAY);
    }

    // Defence: the clock runs in a pause; stopped by it, the guardian keeps everybody inside and this turns red.
    function test_a_pause_does_not_stop_the_clock() public {
        accept(0, 0, 1e18);
        vm.prank(GUARDIAN);
        settlement.pausePosting();
        assertOpensAt(endOf(0) + ESCAPE_DELAY);
    }

    // Defence: a court's void starts the clock again. Without it one that reaches further back than the delay opens the way out at once, and
    // who signed the wrong report is gone before the review of it ends.
    function test_a_courts_void_starts_the_clock() public {
        Report memory first = accept(0, 0, 1e18);
        vm.warp(endOf(0) + ESCAPE_DELAY - LENGTH);
        Report memory second = accept(oldestOpen(), digestOf(first), 2e18);
        vm.warp(endOf(0) + ESCAPE_DELAY + LENGTH);
        voidAs(COURT, second, 0);
        vm.assertFalse(settlement.escapeOpen());
        assertOpensAt(endOf(0) + ESCAPE_DELAY + LENGTH + ESCAPE_DELAY);
    }
}

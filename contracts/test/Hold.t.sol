// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {Chained} from "./utils/Chained.sol";

contract HoldTest is Chained {
    /// 1,024 epochs: here less than 14 days.
    uint256 internal constant LIMIT = 1024 * LENGTH;

    // Defence: claims and slashes ask for the hold; removed, this turns red.
    function test_a_held_report_pays_and_slashes_nobody() public {
        Report memory first = accept(0, 0, 1e18);
        uint256 until = endOf(0) + 500;
        vm.expectEmit(address(settlement));
        emit ISlaSettlement.HoldSet(0, uint64(until), COURT);
        holdAs(COURT, 0, until);
        vm.assertEq(settlement.heldUntil(0), until);
        (uint256 rewardsAt, uint256 slashesAt) = settlement.maturesAt(first);
        vm.assertEq(rewardsAt, type(uint256).max);
        vm.assertEq(slashesAt, type(uint256).max);

        vm.warp(until - 1);
        claimFails(first, 1e18, with(ISlaSettlement.WindowOpen.selector, until));
        slashFails(first, with(ISlaSettlement.WindowOpen.selector, until));
        vm.warp(until);
        claimOf(first, 1e18);
        slashOf(first);
        vm.assertEq(settlement.heldUntil(0), 0);
        (rewardsAt, slashesAt) = settlement.maturesAt(first);
        vm.assertEq(rewardsAt, endOf(0) + rewardWindow);
        vm.assertEq(slashesAt, endOf(0) + slashWindow);
    }

    // Defence: a hold covers later reports, accepted already or not yet; for its own epoch alone, the next cumulative leaf pays what
    // is held and this turns red.
    function test_later_cumulative_leaves_do_not_pay_what_is_held() public {
        Report[] memory chain = acceptChain(3);
        uint256 until = block.timestamp + 1_000;
        holdAs(COURT, 1, until);
        Report memory later = accept(3, digestOf(chain[2]), 4e18);
        vm.warp(endOf(3) + slashWindow);
        claimOf(chain[0], 1e18);
        claimFails(chain[1], 2e18, with(ISlaSettlement.WindowOpen.selector, until));
        claimFails(chain[2], 3e18, with(ISlaSettlement.WindowOpen.selector, until));
        claimFails(later, 4e18, with(ISlaSettlement.WindowOpen.selector, until));
        slashOf(chain[0]);
        slashFails(later, with(ISlaSettlement.WindowOpen.selector, until));
    }

    // Defence: only courts hold; removed, this turns red.
    function test_a_stranger_holds_nothing() public {
        accept(0, 0, 1e18);
        holdFails(STRANGER, 0, block.timestamp + 1, abi.encodeWithSelector(ISlaSettlement.OnlyCourt.selector, STRANGER));
        holdFails(GUARDIAN, 0, block.timestamp + 1, abi.encodeWithSelector(ISlaSettlement.OnlyCourt.selector, GUARDIAN));
        holdFails(address(this), 0, block.timestamp + 1, abi.encodeWithSelector(ISlaSettlement.OnlyCourt.selector, address(this)));
    }

    // Defence: a hold ends at a bound of its report; removed, a court freezes money for ever and this turns red.
    function test_nothing_is_held_for_ever() public {
        accept(0, 0, 1e18);
        uint256 latest = endOf(0) + LIMIT;
        holdFails(COURT, 0, latest + 1, abi.encodeWithSelector(ISlaSettlement.InvalidHold.selector, latest + 1, latest));
        holdFails(COURT, 0, block.timestamp, abi.encodeWithSelector(ISlaSettlement.InvalidHold.selector, block.timestamp, latest));
        holdAs(COURT, 0, latest);
        vm.warp(latest - 1);
        holdFails(COURT, 0, latest + 1, abi.encodeWithSelector(ISlaSettlement.InvalidHold.selector, latest + 1, latest));
        vm.warp(latest);
        holdFails(COURT, 0, latest + 1, with(ISlaSettlement.ReportFinal.selector, endOf(0) + slashWindow));
    }

    // Defence: 14 days bound a hold where epochs are long; removed, this turns red.
    function test_fourteen_days_where_epochs_are_days() public {
        HoldOfDays other = new HoldOfDays();
        other.setUp();
        other.check();
    }

    // Defence: the bound is each report's own; without it, holds of later reports keep the first one held and this turns red.
    function test_a_chain_of_holds_does_not_hold_the_first_report_for_ever() public {
        Report memory first = accept(0, 0, 1e18);
        holdAs(COURT, 0, endOf(0) + LIMIT);
        vm.warp(validUntil(899) + 1); // 900 epochs later, and still held
        Report memory late = accept(900, digestOf(first), 2e18);
        (, uint64 acceptedAt) = settlement.acceptedReport(900);
        holdAs(COURT, 900, acceptedAt + LIMIT);
        vm.assertEq(settlement.heldUntil(0), endOf(0) + LIMIT);
        vm.assertEq(settlement.heldUntil(900), acceptedAt + LIMIT);
        vm.warp(endOf(0) + LIMIT);
        claimOf(first, 1e18);
        claimFails(late, 2e18, with(ISlaSettlement.WindowOpen.selector, acceptedAt + LIMIT));
    }

    // Defence: what courts may not void any more they may not hold; removed, this turns red.
    function test_a_late_hold() public {
        Report memory first = accept(0, 0, 1e18);
        uint256 finalAt = endOf(0) + slashWindow;
        vm.warp(finalAt);
        holdFails(COURT, 0, finalAt + 10, with(ISlaSettlement.ReportFinal.selector, finalAt));
        claimOf(first, 1e18);
        holdFails(COURT, 1, finalAt + 10, with(ISlaSettlement.UnknownReport.selector, 1));
    }

    // Defence: a court may void what it holds; removed, a dispute longer than the windows is for nothing and this turns red.
    function test_a_court_voids_what_it_holds() public {
        Report memory first = accept(0, 0, 1e18);
        uint256 until = endOf(0) + slashWindow + 100;
        holdAs(COURT, 0, until);
        vm.warp(until - 1);
        voidFails(GUARDIAN, first, 0, with(ISlaSettlement.ReportFinal.selector, endOf(0) + rewardWindow)); // its time is over, held or not
        voidAs(COURT, first, 0);
        assertLast(false, 0, 0);
    }

    function test_a_void_ends_the_hold_of_what_is_void() public {
        Report[] memory chain = acceptChain(2);
        holdAs(COURT, 1, block.timestamp + 1_000);
        voidAs(COURT, chain[1], 0);
        Report memory other = accept(1, digestOf(chain[0]), 9e18);
        vm.assertEq(settlement.heldUntil(1), 0);
        // one of an earlier epoch stays
        holdAs(COURT, 0, block.timestamp + 1_000);
        voidAs(COURT, other, 0);
        vm.assertEq(settlement.heldUntil(0), block.timestamp + 1_000);
    }

    function test_holds_become_one_that_covers_both() public {
        acceptChain(3);
        uint256 now_ = block.timestamp;
        holdAs(COURT, 1, now_ + 100);
        holdAs(COURT, 2, now_ + 50); // inside the first
        vm.assertEq(settlement.heldUntil(2), now_ + 100);
        holdAs(COURT, 0, now_ + 20);
        vm.assertEq(settlement.heldUntil(0), now_ + 100);
        vm.warp(now_ + 100); // over: the next one stands alone
        holdAs(COURT, 2, now_ + 101);
        vm.assertEq(settlement.heldUntil(1), 0);
        vm.assertEq(settlement.heldUntil(2), now_ + 101);
        vm.assertEq(settlement.heldUntil(3), 0);
    }
}

/// Epochs of a day.
contract HoldOfDays is Chained {
    uint64 private constant DAY = 1 days;

    function config() internal view override returns (ISlaSettlement.Config memory c) {
        c = super.config();
        c.epochLength = DAY;
        c.validEpochs = 3;
    }

    function check() external {
        vm.warp(GENESIS + DAY);
        Report memory r = draft(0, 0, 1e18);
        r.validUntil = GENESIS + 4 * DAY;
        submit(r, ALL);
        uint256 latest = GENESIS + DAY + 14 days;
        holdFails(COURT, 0, latest + 1, abi.encodeWithSelector(ISlaSettlement.InvalidHold.selector, latest + 1, latest));
        holdAs(COURT, 0, latest);
    }
}

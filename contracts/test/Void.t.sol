// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {Chained} from "./utils/Chained.sol";

contract VoidTest is Chained {
    // ---- what it does

    // Defence: later reports build on what is void; left standing, this turns red.
    function test_a_void_takes_the_report_and_all_later_ones_back() public {
        Report[] memory chain = acceptChain(4);
        vm.expectEmit(address(settlement));
        emit ISlaSettlement.ReportVoided(1, digestOf(chain[1]), 3, GUARDIAN);
        voidAs(GUARDIAN, chain[1], 0);

        assertLast(true, 0, digestOf(chain[0]));
        vm.assertTrue(settlement.voided(digestOf(chain[1])));
        vm.assertFalse(settlement.voided(digestOf(chain[2])));
        vm.assertEq(settlement.isSettled(0), 1);
        vm.warp(endOf(3) + slashWindow);
        claimOf(chain[0], 1e18);
        slashOf(chain[0]);
        for (uint64 e = 1; e < 4; ++e) {
            (bytes32 digest, uint64 acceptedAt) = settlement.acceptedReport(e);
            vm.assertEq(digest, bytes32(0));
            vm.assertEq(acceptedAt, 0);
            claimFails(chain[e], (uint256(e) + 1) * 1e18, with(ISlaSettlement.UnknownReport.selector, e));
            slashFails(chain[e], with(ISlaSettlement.UnknownReport.selector, e));
            vm.expectRevert(with(ISlaSettlement.UnknownReport.selector, e));
            settlement.maturesAt(chain[e]);
        }
    }

    function test_the_first_report_can_be_voided() public {
        Report memory first = accept(0, 0, 1e18);
        voidAs(GUARDIAN, first, 99); // without a parent, its epoch says nothing
        assertLast(false, 0, 0);
        submitExpecting(first, ALL, abi.encodeWithSelector(ISlaSettlement.AlreadyVoided.selector, digestOf(first)));
        Report memory other = draft(0, bytes32(uint256(1) << 32), 1e18); // the filler of the empty slot is no parent
        submitExpecting(other, ALL, with(ISlaSettlement.WrongParent.selector, 0));
        other = draft(0, 0, 2e18);
        submit(other, ALL);
        assertLast(true, 0, digestOf(other));
    }

    // Defence: a voided report is remembered until its parent has another child; removed, anyone posts it again in the next block and
    // this turns red.
    function test_a_voided_report_does_not_come_back() public {
        Report[] memory chain = acceptChain(3);
        voidAs(GUARDIAN, chain[1], 0);
        submitExpecting(chain[1], ALL, abi.encodeWithSelector(ISlaSettlement.AlreadyVoided.selector, digestOf(chain[1])));
        submitExpecting(chain[2], ALL, with(ISlaSettlement.EarlierEpochOpen.selector, validUntil(1)));
        // another one for the epoch is welcome, and the old child of the voided one is not its child
        Report memory other = draft(1, digestOf(chain[0]), 5e18);
        other.view_ = 1;
        submit(other, ALL);
        submitExpecting(chain[1], ALL, with(ISlaSettlement.EpochAlreadySettled.selector, 2));
        submitExpecting(chain[2], ALL, with(ISlaSettlement.WrongParent.selector, uint256(stored(digestOf(other)))));
        submit(draft(2, digestOf(other), 6e18), ALL);
    }

    // Defence: every voided child of the last report is remembered, not the latest alone; else this turns red.
    function test_voids_one_after_the_other() public {
        Report[] memory chain = acceptChain(3);
        voidAs(GUARDIAN, chain[2], 1);
        submitExpecting(chain[2], ALL, abi.encodeWithSelector(ISlaSettlement.AlreadyVoided.selector, digestOf(chain[2])));
        voidAs(GUARDIAN, chain[1], 0);
        Report memory other = draft(1, digestOf(chain[0]), 5e18);
        submit(other, ALL);
        voidAs(GUARDIAN, other, 0);
        submitExpecting(chain[1], ALL, abi.encodeWithSelector(ISlaSettlement.AlreadyVoided.selector, digestOf(chain[1])));
        submitExpecting(other, ALL, abi.encodeWithSelector(ISlaSettlement.AlreadyVoided.selector, digestOf(other)));
        assertLast(true, 0, digestOf(chain[0]));
    }

    function test_skipped_epochs_before_and_after_a_voided_one() public {
        Report memory first = accept(0, 0, 1e18);
        vm.warp(validUntil(1) + 1); // epoch 1 is lost
        Report memory third = accept(2, digestOf(first), 3e18);
        vm.assertEq(settlement.isSettled(1), 2);
        vm.assertEq(settlement.isSettled(3), 0);
        voidFails(GUARDIAN, third, 1, with(ISlaSettlement.WrongParentEpoch.selector, 1));
        voidAs(GUARDIAN, third, 0);
        vm.assertEq(settlement.isSettled(1), 2);
        vm.assertEq(settlement.isSettled(2), 0);
        vm.warp(validUntil(2) + 1);
        vm.assertEq(settlement.isSettled(2), 2);
        accept(3, digestOf(first), 4e18);
        assertLast(true, 3, digestOf(draft(3, digestOf(first), 4e18)));
    }

    // ---- who and until when

    // Defence: only the guardian and courts void; removed, this turns red.
    function test_a_stranger_voids_nothing() public {
        Report memory first = accept(0, 0, 1e18);
        bytes memory failure = abi.encodeWithSelector(ISlaSettlement.OnlyGuardianOrCourt.selector, STRANGER);
        voidFails(STRANGER, first, 0, failure);
        settlement.setCourt(COURT, false);
        voidFails(COURT, first, 0, abi.encodeWithSelector(ISlaSettlement.OnlyGuardianOrCourt.selector, COURT));
        failure = abi.encodeWithSelector(ISlaSettlement.OnlyGuardianOrCourt.selector, address(this)); // the owner is no judge either
        voidFails(address(this), first, 0, failure);
    }

    // Defence: the guardian's time ends when claims open, a court's when slashes do; removed, this turns red.
    function test_a_late_void() public {
        Report memory first = accept(0, 0, 1e18);
        uint256 rewardsAt = endOf(0) + rewardWindow;
        uint256 slashesAt = endOf(0) + slashWindow;
        vm.warp(rewardsAt);
        voidFails(GUARDIAN, first, 0, with(ISlaSettlement.ReportFinal.selector, rewardsAt));
        vm.warp(slashesAt);
        voidFails(COURT, first, 0, with(ISlaSettlement.ReportFinal.selector, slashesAt));
        vm.warp(slashesAt - 1);
        voidAs(COURT, first, 0);
    }

    function test_the_guardian_voids_in_its_last_second() public {
        Report memory first = accept(0, 0, 1e18);
        vm.warp(endOf(0) + rewardWindow - 1);
        claimFails(first, 1e18, with(ISlaSettlement.WindowOpen.selector, endOf(0) + rewardWindow));
        voidAs(GUARDIAN, first, 0);
    }

    // Defence: only what stands can be voided; removed, this turns red.
    function test_voiding_what_was_not_accepted() public {
        Report memory first = accept(0, 0, 1e18);
        voidFails(GUARDIAN, draft(0, 0, 2e18), 0, with(ISlaSettlement.UnknownReport.selector, 0));
        voidFails(GUARDIAN, draft(1, digestOf(first), 2e18), 0, with(ISlaSettlement.UnknownReport.selector, 1));
        voidAs(GUARDIAN, first, 0);
        voidFails(GUARDIAN, first, 0, with(ISlaSettlement.UnknownReport.selector, 0));
    }

    // Defence: the parent is looked up and compared; removed, the chain is bent to an epoch of choice and this turns red.
    function test_another_parent_than_the_reports_own() public {
        Report[] memory chain = acceptChain(4);
        for (uint64 e = 0; e < 5; ++e) {
            if (e != 2) voidFails(GUARDIAN, chain[3], e, with(ISlaSettlement.WrongParentEpoch.selector, e));
        }
        voidAs(GUARDIAN, chain[3], 2);
    }

    // ---- money

    // Defence: what was paid counts against later leaves, whatever was voided; reset by a void, this turns red.
    function test_a_void_after_a_claim_pays_nobody_twice() public {
        Report memory first = accept(0, 0, 5e18);
        vm.warp(endOf(0) + rewardWindow);
        claimOf(first, 5e18);
        voidAs(COURT, first, 0);

        vm.warp(validUntil(0) + 1); // too late for another one of epoch 0
        Report memory lower = accept(1, 0, 3e18);
        Report memory higher = accept(2, digestOf(lower), 7e18);
        vm.warp(block.timestamp + rewardWindow);
        claimFails(lower, 3e18, with(ISlaSettlement.NothingToClaim.selector, 0));
        claimOf(higher, 7e18);
        vm.assertEq(token.balanceOf(PAID), 7e18);
        claimFails(first, 5e18, with(ISlaSettlement.UnknownReport.selector, 0));
    }

    // Defence: one slash per provider and epoch outlives a void; reset by it, this turns red.
    function test_a_void_after_a_slash_slashes_nobody_twice() public {
        (rewardWindow, slashWindow) = (60, 20); // slashes first
        setUp();
        Report memory first = accept(0, 0, 1e18);
        vm.warp(endOf(0) + slashWindow);
        slashOf(first);
        voidAs(GUARDIAN, first, 0);
        Report memory other = accept(0, 0, 2e18);
        vm.warp(block.timestamp + slashWindow);
        slashFails(other, abi.encodeWithSelector(ISlaSettlement.AlreadySlashed.selector, 1, 0));
        vm.assertEq(token.balanceOf(address(0xdEaD)), SLASH);
    }

    // ---- any order

    struct Standing {
        uint64 epoch;
        bytes32 digest;
        Report report;
    }

    Standing[] private model;

    /// The chain after any acceptances and voids is what a list says that is appended to and cut.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_acceptances_and_voids_in_any_order(uint256 seed) public {
        uint64 highest;
        for (uint64 round = 0; round < 10; ++round) {
            seed = uint256(keccak256(abi.encode(seed)));
            if (model.length != 0 && seed % 3 == 0) {
                voidSome(seed >> 8);
            } else {
                if (seed % 7 == 1) vm.warp(block.timestamp + (seed >> 8) % (6 * LENGTH)); // some epochs are lost
                uint64 epoch = nextOpen();
                acceptNext(epoch, round);
                if (epoch > highest) highest = epoch;
            }
            checkModel(highest);
        }
    }

    function voidSome(uint256 choice) private {
        uint256 at_ = model.length - 1 - choice % (model.length < 4 ? model.length : 4);
        Standing memory s = model[at_];
        (, uint64 acceptedAt) = settlement.acceptedReport(s.epoch);
        uint256 finalAt = acceptedAt + slashWindow;
        uint64 parentEpoch = at_ == 0 ? 0 : model[at_ - 1].epoch;
        if (block.timestamp >= finalAt) {
            voidFails(COURT, s.report, parentEpoch, with(ISlaSettlement.ReportFinal.selector, finalAt));
            return;
        }
        voidAs(COURT, s.report, parentEpoch);
        while (model.length > at_) model.pop();
    }

    /// The first epoch after the last standing report that is still open.
    function nextOpen() private view returns (uint64 epoch) {
        if (model.length != 0) epoch = model[model.length - 1].epoch + 1;
        while (block.timestamp > validUntil(epoch)) ++epoch;
    }

    function acceptNext(uint64 epoch, uint64 view_) private {
        Report memory r = draft(epoch, model.length == 0 ? bytes32(0) : model[model.length - 1].digest, 1e18);
        r.view_ = view_;
        if (block.timestamp < endOf(epoch)) vm.warp(endOf(epoch));
        submit(r, ALL);
        model.push(Standing(epoch, digestOf(r), r));
    }

    function checkModel(uint64 highest) private view {
        uint256 next;
        for (uint64 e = 0; e <= highest; ++e) {
            bool stands = next < model.length && model[next].epoch == e;
            (bytes32 digest,) = settlement.acceptedReport(e);
            vm.assertEq(digest, stands ? stored(model[next].digest) : bytes32(0));
            vm.assertEq(settlement.isSettled(e), stands ? 1 : block.timestamp > validUntil(e) ? 2 : 0);
            if (stands) ++next;
        }
        if (next == 0) assertLast(false, 0, 0);
        else assertLast(true, model[next - 1].epoch, model[next - 1].digest);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {Chained} from "./utils/Chained.sol";

contract PauseTest is Chained {
    function pause() private {
        vm.prank(GUARDIAN);
        settlement.pausePosting();
    }

    // Defence: a pause stops posting, of the first report and of any later one; removed, this turns red.
    function test_a_pause_stops_posting() public {
        vm.expectEmit(address(settlement));
        emit ISlaSettlement.PostingStopped(GUARDIAN);
        pause();
        vm.assertTrue(settlement.postingPaused());
        vm.warp(endOf(0));
        submitExpecting(draft(0, 0, 1e18), ALL, abi.encodeWithSelector(ISlaSettlement.PostingPaused.selector));
        settlement.resumePosting();
        vm.assertFalse(settlement.postingPaused());
        Report memory first = accept(0, 0, 1e18);
        pause();
        vm.warp(endOf(1));
        submitExpecting(draft(1, digestOf(first), 2e18), ALL, abi.encodeWithSelector(ISlaSettlement.PostingPaused.selector));
        assertLast(true, 0, digestOf(first));
        settlement.resumePosting();
        accept(1, digestOf(first), 2e18);
    }

    // Defence: a pause is of posting alone; claims and slashes included, it takes what was earned and this turns red.
    function test_claims_and_slashes_of_the_past_go_on() public {
        Report memory first = accept(0, 0, 1e18);
        pause();
        vm.warp(endOf(0) + slashWindow);
        claimOf(first, 1e18);
        slashOf(first);
        vm.assertEq(token.balanceOf(PAID), 1e18);
    }

    // Defence: the guardian alone pauses, the owner alone resumes; removed, this turns red.
    function test_strangers_neither_pause_nor_resume() public {
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.OnlyGuardian.selector, address(this)));
        settlement.pausePosting();
        vm.expectRevert(ISlaSettlement.PostingNotPaused.selector);
        settlement.resumePosting();
        pause();
        vm.expectRevert(ISlaSettlement.PostingPaused.selector);
        vm.prank(GUARDIAN);
        settlement.pausePosting(); // twice would lose what was set aside
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, GUARDIAN));
        vm.prank(GUARDIAN);
        settlement.resumePosting();
    }

    // Defence: a void in a pause changes what the pause set aside, and ends no pause; else this turns red.
    function test_a_void_in_a_pause() public {
        Report[] memory chain = acceptChain(3);
        pause();
        voidAs(GUARDIAN, chain[1], 0);
        assertLast(true, 0, digestOf(chain[0]));
        Report memory other = draft(1, digestOf(chain[0]), 5e18);
        submitExpecting(other, ALL, abi.encodeWithSelector(ISlaSettlement.PostingPaused.selector));
        settlement.resumePosting();
        submitExpecting(chain[1], ALL, abi.encodeWithSelector(ISlaSettlement.AlreadyVoided.selector, digestOf(chain[1])));
        submit(other, ALL);
        assertLast(true, 1, digestOf(other));
    }

    // Defence: the mark of a void outlives a pause; removed, this turns red.
    function test_a_pause_after_a_void() public {
        Report[] memory chain = acceptChain(2);
        voidAs(GUARDIAN, chain[1], 0);
        pause();
        assertLast(true, 0, digestOf(chain[0]));
        settlement.resumePosting();
        submitExpecting(chain[1], ALL, abi.encodeWithSelector(ISlaSettlement.AlreadyVoided.selector, digestOf(chain[1])));
    }

    function test_epochs_that_expire_in_a_pause_are_skipped() public {
        Report memory first = accept(0, 0, 1e18);
        pause();
        vm.warp(validUntil(1) + 1);
        vm.assertEq(settlement.isSettled(1), 2);
        vm.assertEq(settlement.isSettled(2), 0);
        settlement.resumePosting();
        accept(2, digestOf(first), 2e18);
    }

    // Defence: every other power is the owner's; given to the guardian, this turns red.
    function test_the_guardian_can_do_nothing_else() public {
        accept(0, 0, 1e18);
        bytes memory failure = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, GUARDIAN);
        bytes[5] memory calls = [
            abi.encodeCall(settlement.setGuardian, (GUARDIAN)),
            abi.encodeCall(settlement.setCourt, (GUARDIAN, true)),
            abi.encodeCall(settlement.resumePosting, ()),
            abi.encodeCall(settlement.transferOwnership, (GUARDIAN)),
            abi.encodeCall(settlement.renounceOwnership, ())
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.prank(GUARDIAN);
            (bool ok, bytes memory result) = address(settlement).call(calls[i]);
            vm.assertFalse(ok);
            vm.assertEq(result, failure);
        }
        holdFails(GUARDIAN, 0, block.timestamp + 1, abi.encodeWithSelector(ISlaSettlement.OnlyCourt.selector, GUARDIAN));
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, GUARDIAN));
        vm.prank(GUARDIAN);
        settlement.acceptOwnership();
    }

    // Defence: the owner replaces a guardian; removed, one that voids every report rules for ever and this turns red.
    function test_a_guardian_is_replaced() public {
        Report memory first = accept(0, 0, 1e18);
        settlement.setGuardian(address(0x9a4e));
        voidFails(GUARDIAN, first, 0, abi.encodeWithSelector(ISlaSettlement.OnlyGuardianOrCourt.selector, GUARDIAN));
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.OnlyGuardian.selector, GUARDIAN));
        vm.prank(GUARDIAN);
        settlement.pausePosting();
        voidAs(address(0x9a4e), first, 0);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracleRegistry} from "../src/interfaces/IOracleRegistry.sol";
import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {OracleFixture} from "./utils/OracleFixture.sol";

/// No report for a week: those who answer a roll call go on without the others.
contract OracleRecoveryTest is OracleFixture {
    uint256 internal constant OPEN = GENESIS + ESCAPE_DELAY;

    function setUp() public {
        deploy();
        for (uint256 i = 0; i < 4; ++i) {
            registerOracleOf(operator(uint64(i + 1)), i, STAKE);
        }
        oracles.buildSnapshot(4);
    }

    function operator(uint64 oracleId) private pure returns (address) {
        return address(uint160(0x5000 + oracleId));
    }

    function answer(uint64 oracleId) private {
        vm.prank(operator(oracleId));
        oracles.alive(oracleId);
    }

    function answerExpecting(uint64 oracleId, bytes memory failure) private {
        vm.prank(operator(oracleId));
        vm.expectRevert(failure);
        oracles.alive(oracleId);
    }

    /// The one epoch whose report can be accepted after the silence.
    function oldestOpen() private view returns (uint64) {
        return uint64((block.timestamp - GENESIS - 1) / LENGTH - VALID_EPOCHS);
    }

    function test_the_living_majority_goes_on() public {
        vm.warp(OPEN);
        for (uint64 id = 1; id <= 3; ++id) {
            answer(id);
        }
        IOracleRegistry.RollCall memory call = oracles.rollCall();
        vm.assertEq(call.number, 1);
        vm.assertEq(call.setEpoch, 1);
        vm.assertEq(call.closesAt, OPEN + ROLL_CALL);
        vm.assertEq(call.weight, 3 * 65535);

        vm.warp(OPEN + ROLL_CALL + 1);
        vm.expectEmit(address(oracles));
        emit IOracleRegistry.Recovered(1, 3);
        oracles.recover();
        oracles.buildSnapshot(4);
        assertMembers(ids(1, 2, 3));

        // and their report is taken: two of three would not have been two thirds of four
        submit(report(oldestOpen()), 7);
        vm.assertFalse(settlement.escapeOpen());

        vm.prank(operator(4));
        oracles.rejoin(4);
        oracles.buildSnapshot(4);
        vm.assertEq(members().length, 4);
    }

    // Defence: more than half of the whole old weight must answer; without it, a minority takes the committee over by silence.
    function test_half_is_no_majority() public {
        vm.warp(OPEN);
        answer(1);
        answer(2);
        vm.warp(OPEN + ROLL_CALL + 1);
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.NoMajority.selector, 2 * 65535));
        oracles.recover();
        // another roll call, in which the first answers do not count
        answer(3);
        vm.assertEq(oracles.rollCall().number, 2);
        vm.assertEq(oracles.rollCall().weight, 65535);
    }

    // Defence: everybody has until the end of the roll call; without it, a majority shuts the others out within a block.
    function test_recovery_waits_for_the_end_of_the_roll_call() public {
        vm.warp(OPEN);
        for (uint64 id = 1; id <= 4; ++id) {
            answer(id);
        }
        vm.warp(OPEN + ROLL_CALL);
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.RollCallOpen.selector, OPEN + ROLL_CALL));
        oracles.recover();
    }

    // Defence: only while the escape is open; without it, whoever is away for a week loses its place in a healthy committee.
    function test_a_committee_that_reports_cannot_be_recovered() public {
        answerExpecting(1, abi.encodeWithSelector(IOracleRegistry.EscapeClosed.selector));
        vm.warp(OPEN);
        for (uint64 id = 1; id <= 3; ++id) {
            answer(id);
        }
        submit(report(oldestOpen()), 0xf);
        vm.warp(OPEN + ROLL_CALL + 1);
        vm.expectRevert(IOracleRegistry.EscapeClosed.selector);
        oracles.recover();
    }

    // Defence: an answer counts once, from a member, in its own name; without any of these, one oracle outweighs all others.
    function test_only_members_answer_and_once() public {
        registerOracleOf(operator(5), 5, 100 * STAKE); // too late for the set that is called
        vm.warp(OPEN);
        answer(1);
        answerExpecting(1, abi.encodeWithSelector(IOracleRegistry.AlreadyAnswered.selector, 1));
        answerExpecting(5, abi.encodeWithSelector(IOracleRegistry.NotAMember.selector, 5));
        vm.prank(operator(1));
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.OnlyOperator.selector, 2));
        oracles.alive(2);
        vm.prank(operator(2));
        oracles.requestExit(2);
        answerExpecting(2, abi.encodeWithSelector(IOracleRegistry.NotAMember.selector, 2));
    }

    // Defence: a roll call is of the set that was current when it opened; taken anew, a registration voids it again and again.
    function test_a_new_set_does_not_end_the_roll_call() public {
        vm.warp(OPEN);
        for (uint64 id = 1; id <= 3; ++id) {
            answer(id);
        }
        registerOracleOf(operator(5), 5, 100 * STAKE);
        oracles.buildSnapshot(5);
        vm.warp(OPEN + ROLL_CALL + 1);
        oracles.recover();
        oracles.buildSnapshot(5);
        assertMembers(ids(1, 2, 3));
    }

    // Defence: a roll call that succeeded stays until it is used; without it, a straggler's answer wipes it away.
    function test_a_successful_roll_call_is_not_replaced() public {
        vm.warp(OPEN);
        for (uint64 id = 1; id <= 3; ++id) {
            answer(id);
        }
        vm.warp(OPEN + ROLL_CALL + 1);
        answerExpecting(4, abi.encodeWithSelector(IOracleRegistry.RecoveryDue.selector));
        oracles.recover();
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.NoMajority.selector, 0));
        oracles.recover();
        answer(1);
        vm.assertEq(oracles.rollCall().number, 2);
    }

    function test_a_set_under_construction_is_finished_first() public {
        for (uint256 i = 4; i < 98; ++i) {
            registerOracleOf(operator(uint64(i + 1)), i, STAKE);
        }
        vm.warp(OPEN);
        for (uint64 id = 1; id <= 3; ++id) {
            answer(id);
        }
        vm.warp(OPEN + ROLL_CALL + 1);
        vm.assertFalse(oracles.buildSnapshot(1));
        vm.expectRevert(IOracleRegistry.SetUnderConstruction.selector);
        oracles.recover();
        vm.assertTrue(oracles.buildSnapshot(1));
        oracles.recover();
        vm.assertEq(oracles.activeCount(), 3);
        oracles.buildSnapshot(1);
        assertMembers(ids(1, 2, 3));
    }

    function test_a_transmitter_answers_too() public {
        vm.prank(operator(1));
        oracles.setTransmitter(1, address(0x77));
        vm.warp(OPEN);
        vm.prank(address(0x77));
        oracles.alive(1);
        vm.assertEq(oracles.rollCall().weight, 65535);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RebuttalCourt} from "../src/courts/RebuttalCourt.sol";
import {IRebuttalCourt} from "../src/interfaces/IRebuttalCourt.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {CompactAnswers} from "./utils/CompactAnswers.sol";
import {CompactProver} from "./utils/CompactProver.sol";

contract CourtRebuttalTest is CompactAnswers {
    RebuttalCourt internal court;
    Report internal r;

    function setUp() public {
        deployCourts();
        court = new RebuttalCourt(settlement, BOND, CONTEST);
        allow(address(court));
        registerProvider();
        r = report(0);
        r.slashRoot = silenceLeaf(1, 0);
        post(r);
    }

    function expectSlashed(bool possible) private {
        vm.warp(endOf(0) + SLASH_WINDOW);
        if (!possible) vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.AlreadyRebutted.selector, uint64(1), uint64(0)));
        settlement.executeSlash(r, 1, 3, silenceRoot(CHALLENGE), AMOUNT, new bytes32[](0));
        vm.assertEq(settlement.slashExecuted(1, 0), possible);
    }

    function expectRefused(IRebuttalCourt.Answer memory answer, bytes memory failure) private {
        vm.expectRevert(failure);
        court.rebut(r, silence(1), answer);
        vm.assertFalse(settlement.rebutted(1, 0));
    }

    function postAnswer(IRebuttalCourt.Answer memory answer) private returns (bytes32 id) {
        vm.prank(CHALLENGER);
        id = court.post(r, silence(1), answer);
    }

    // ---- verified at once

    function test_a_proof_stops_the_slash() public {
        IRebuttalCourt.Answer memory answer = compactAnswer(1, 30);
        vm.expectEmit(address(court));
        emit IRebuttalCourt.CompactAnswer(1, 0, CHALLENGE, payloadOf(answer), answer.signature, true);
        court.rebut(r, silence(1), answer);
        vm.assertTrue(settlement.rebutted(1, 0));
        expectSlashed(false);
    }

    function test_as_many_samples_as_a_challenge_may_have() public {
        court.rebut(r, silence(1), compactAnswer(1, 40));
        expectSlashed(false);
    }

    /// Defence: the proof is verified; without it any signed bytes stop a slash.
    function test_a_proof_that_does_not_hold() public {
        IRebuttalCourt.Answer memory answer = compactAnswer(1, 30);
        answer.proof.y ^= 1;
        signAnswer(answer, 1);
        expectRefused(answer, abi.encodeWithSelector(IRebuttalCourt.InvalidAnswer.selector));
        answer = compactAnswer(1, 30);
        answer.items[0].index += 1;
        expectRefused(answer, abi.encodeWithSelector(IRebuttalCourt.InvalidAnswer.selector));
        expectSlashed(true);
    }

    /// Defence: the answer is under the receipt key; without it nobody can be held to a proof of other blocks than were asked for.
    function test_an_answer_that_the_provider_did_not_sign() public {
        bytes memory failure = abi.encodeWithSelector(IRebuttalCourt.InvalidAnswerSignature.selector);
        IRebuttalCourt.Answer memory answer = compactAnswer(1, 30);
        answer.signature = signAs(0xb0b, answerMessage(answer, 1));
        expectRefused(answer, failure);
        signAnswer(answer, 2); // for another provider
        expectRefused(answer, failure);
        answer = compactAnswer(1, 30);
        bytes memory signature = answer.signature;
        answer.proof = compactAnswer(1, 31).proof; // of another proof
        answer.signature = signature;
        expectRefused(answer, failure);
    }

    function test_too_few_samples_too_many_and_another_challenge() public {
        expectRefused(compactAnswer(1, 29), abi.encodeWithSelector(IRebuttalCourt.WrongSampleCount.selector, 29));
        expectRefused(compactAnswer(1, 41), abi.encodeWithSelector(IRebuttalCourt.WrongSampleCount.selector, 41));
        IRebuttalCourt.Answer memory answer = compactAnswer(1, 30);
        answer.challengeDigest = "another";
        signAnswer(answer, 1);
        expectRefused(answer, abi.encodeWithSelector(IRebuttalCourt.InvalidProof.selector));
    }

    function test_when_and_of_what() public {
        IRebuttalCourt.Answer memory answer = compactAnswer(1, 30);
        Report memory other = r;
        other.view_ = 1;
        vm.expectRevert(abi.encodeWithSelector(IRebuttalCourt.UnknownReport.selector, uint64(0)));
        court.rebut(other, silence(1), answer);
        court.rebut(r, silence(1), answer);
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.AlreadyRebutted.selector, uint64(1), uint64(0)));
        court.rebut(r, silence(1), answer);
        vm.warp(endOf(0) + SLASH_WINDOW);
        vm.expectRevert(abi.encodeWithSelector(IRebuttalCourt.RebuttalTooLate.selector, endOf(0) + SLASH_WINDOW));
        court.rebut(r, silence(1), answer);
    }

    /// Defence: only courts mark; without it a provider stops its own slash by a call.
    function test_a_stranger_marks_nothing() public {
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.OnlyCourt.selector, STRANGER));
        vm.prank(STRANGER);
        settlement.markRebutted(1, 0, true);
    }

    // ---- verified when contested

    function test_a_posted_proof_that_nobody_contests() public {
        uint256 balance = token.balanceOf(CHALLENGER);
        bytes32 id = postAnswer(compactAnswer(1, 30));
        vm.assertEq(balance - token.balanceOf(CHALLENGER), BOND);
        uint256 until = block.timestamp + CONTEST;
        vm.expectRevert(abi.encodeWithSelector(IRebuttalCourt.ContestRuns.selector, until));
        court.release(id);
        vm.warp(until + 1);
        court.release(id);
        vm.prank(CHALLENGER);
        court.withdraw();
        vm.assertEq(token.balanceOf(CHALLENGER), balance);
        vm.expectRevert(abi.encodeWithSelector(IRebuttalCourt.NotPosted.selector, id));
        court.release(id);
        expectSlashed(false);
    }

    /// Defence: a contest verifies; without it a bond buys any slash off.
    function test_a_posted_proof_that_does_not_hold() public {
        IRebuttalCourt.Answer memory answer = compactAnswer(1, 30);
        answer.proof.psi = CompactProver.generator();
        signAnswer(answer, 1);
        bytes32 id = postAnswer(answer);
        vm.assertTrue(settlement.rebutted(1, 0));
        vm.prank(RESPONDER);
        court.contest(1, 0, answer);
        vm.assertEq(court.credit(RESPONDER), BOND);
        vm.assertFalse(settlement.rebutted(1, 0));
        vm.expectRevert(abi.encodeWithSelector(IRebuttalCourt.NotPosted.selector, id));
        court.contest(1, 0, answer);
        expectSlashed(true);
    }

    /// Defence: a proof that holds is not contested away; without it the honest provider loses bond and stake.
    function test_a_posted_proof_that_holds_is_contested_in_vain() public {
        IRebuttalCourt.Answer memory answer = compactAnswer(1, 30);
        postAnswer(answer);
        vm.expectRevert(IRebuttalCourt.AnswerHolds.selector);
        court.contest(1, 0, answer);
        // Nor is one that was not posted: what is contested is the answer itself.
        answer.items[3].index += 1;
        bytes32 id = keccak256(abi.encode(uint64(1), uint64(0), answer));
        vm.expectRevert(abi.encodeWithSelector(IRebuttalCourt.NotPosted.selector, id));
        court.contest(1, 0, answer);
        uint256 until = block.timestamp + CONTEST;
        vm.warp(until + 1);
        answer.items[3].index -= 1;
        vm.expectRevert(abi.encodeWithSelector(IRebuttalCourt.ContestOver.selector, until));
        court.contest(1, 0, answer);
        vm.assertTrue(settlement.rebutted(1, 0));
    }

    /// After a contest the silence can be rebutted again, by what is right.
    function test_a_second_answer_after_a_contest() public {
        IRebuttalCourt.Answer memory wrong = compactAnswer(1, 30);
        wrong.proof.y ^= 1;
        signAnswer(wrong, 1);
        postAnswer(wrong);
        court.contest(1, 0, wrong);
        court.rebut(r, silence(1), compactAnswer(1, 30));
        expectSlashed(false);
    }
}

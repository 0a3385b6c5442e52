// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {ProviderStanding} from "../src/ProviderStanding.sol";
import {SlaOracle} from "../src/SlaOracle.sol";
import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";
import {IProviderStanding} from "../src/interfaces/IProviderStanding.sol";
import {ISlaOracle, Verdict} from "../src/interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {StandingRules} from "../src/libraries/StandingRules.sol";
import {Fixture} from "./utils/Fixture.sol";

/// A committee of four judges one provider, whose first epoch that counts is 1.
contract ProviderStandingTest is Fixture {
    using StandingRules for StandingRules.Standing;

    address internal constant COURT = address(0xc0);
    address internal constant REVIEWER = address(0x71e);
    uint64 internal constant GRACE = 100;
    uint64 internal constant REVIEW = 400;
    uint64 internal constant PRESENT = 2_000;
    uint64 internal constant MIN_PANEL = 4;

    uint8 internal constant PASS = 1;
    uint8 internal constant INSUFFICIENT = 2;
    uint8 internal constant INCONCLUSIVE = 3;
    uint8 internal constant DEGRADED = 4;
    uint8 internal constant FAIL = 5;

    uint8 internal constant REGISTERED = 0;
    uint8 internal constant ACTIVE = 1;
    uint8 internal constant WARNED = 2;
    uint8 internal constant SUSPENDED = 3;
    uint8 internal constant EJECTED = 4;

    ProviderStanding internal standing;
    ISlaOracle internal oracle;
    bytes32 internal parent;
    uint64 internal epoch; // the next to be reported

    function setUp() public {
        deployWithCommittee(4);
        settlement.setCourt(COURT, true);
        oracle = new SlaOracle(settlement);
        standing = newStanding(MIN_PANEL);
        registerProvider();
        accept(PASS); // epoch 0, which does not count
        finalize();
    }

    function newStanding(uint64 minPanel) private returns (ProviderStanding) {
        return new ProviderStanding(settlement, oracle, REVIEWER, IProviderStanding.Terms(GRACE, REVIEW, PRESENT, minPanel));
    }

    function verdictOf(uint64 of_, uint8 outcome) private pure returns (Verdict memory) {
        return Verdict(1, of_, outcome, 1_000_000, 1e18, 0, keccak256("dimensions"));
    }

    /// The next epoch's report, with this verdict and no other.
    function accept(uint8 outcome) private returns (Report memory r) {
        if (block.timestamp < endOf(epoch)) vm.warp(endOf(epoch));
        r = report(epoch);
        r.parentDigest = parent;
        r.resultRoot = keccak256(bytes.concat(keccak256(abi.encode(verdictOf(epoch, outcome)))));
        submit(r, 0xf);
        parent = digestOf(r);
        ++epoch;
    }

    function finalize() private {
        vm.warp(block.timestamp + SLASH_WINDOW);
    }

    function present(Report memory r, uint8 outcome) private {
        standing.present(r, verdictOf(r.epoch, outcome), new bytes32[](0));
    }

    function presentExpecting(Report memory r, uint8 outcome, bytes memory failure) private {
        Verdict memory v = verdictOf(r.epoch, outcome);
        vm.expectRevert(failure);
        standing.present(r, v, new bytes32[](0));
    }

    /// The next epoch is reported, final and presented; then the provider is in this state.
    function judge(uint8 outcome, uint8 state) private {
        Report memory r = accept(outcome);
        finalize();
        present(r, outcome);
        vm.assertEq(standing.stateOf(1), state);
    }

    function suspend() private {
        judge(FAIL, WARNED);
        judge(FAIL, WARNED);
        judge(FAIL, SUSPENDED);
    }

    function test_the_first_epoch_that_counts_makes_it_active() public {
        vm.assertEq(standing.stateOf(1), REGISTERED);
        vm.assertEq(standing.nextEpoch(1), 1);
        judge(INSUFFICIENT, REGISTERED);
        judge(PASS, ACTIVE);
        vm.assertEq(standing.nextEpoch(1), 3);
    }

    function test_a_failed_epoch_warns() public {
        judge(PASS, ACTIVE);
        Report memory r = accept(FAIL);
        finalize();
        vm.expectEmit(address(standing));
        emit IProviderStanding.Presented(1, 2, FAIL);
        vm.expectEmit(address(standing));
        emit IProviderStanding.StateChanged(1, 2, ACTIVE, WARNED);
        present(r, FAIL);
        vm.assertEq(standing.stateOf(1), WARNED);
    }

    function test_two_degraded_of_three_warn() public {
        judge(DEGRADED, ACTIVE);
        judge(PASS, ACTIVE);
        judge(PASS, ACTIVE);
        judge(DEGRADED, ACTIVE);
        judge(PASS, ACTIVE);
        judge(DEGRADED, WARNED);
    }

    function test_two_failed_of_three_suspend_whom_they_find_warned() public {
        judge(FAIL, WARNED);
        judge(FAIL, WARNED); // the first one warned, and counts no more
        judge(PASS, WARNED);
        judge(DEGRADED, WARNED);
        judge(FAIL, WARNED);
        judge(PASS, WARNED);
        judge(FAIL, SUSPENDED);
        vm.assertEq(standing.suspendedAt(1), block.timestamp);
    }

    function test_three_passed_in_a_row_end_a_warning() public {
        judge(FAIL, WARNED);
        judge(PASS, WARNED);
        judge(PASS, WARNED);
        judge(DEGRADED, WARNED);
        judge(PASS, WARNED);
        judge(PASS, WARNED);
        judge(PASS, ACTIVE);
    }

    function test_insufficient_and_inconclusive_epochs_are_neutral() public {
        judge(FAIL, WARNED);
        judge(PASS, WARNED);
        judge(INCONCLUSIVE, WARNED);
        judge(PASS, WARNED);
        judge(INSUFFICIENT, WARNED);
        judge(PASS, ACTIVE);
    }

    // Defence: every accepted epoch is presented before a later one; without it, a provider leaves out its bad epochs.
    function test_a_bad_epoch_cannot_be_left_out() public {
        judge(PASS, ACTIVE);
        Report memory bad = accept(FAIL);
        Report memory good = accept(PASS);
        finalize();
        presentExpecting(good, PASS, abi.encodeWithSelector(IProviderStanding.EpochNotSkippable.selector, 2));
        vm.expectRevert(abi.encodeWithSelector(IProviderStanding.EpochNotSkippable.selector, 2));
        standing.skip(1, 10);
        present(bad, FAIL);
        present(good, PASS);
        vm.assertEq(standing.stateOf(1), WARNED);
    }

    // Defence: the first epoch follows from the registration; taken from the first presentation, a provider begins after its bad epochs.
    function test_the_beginning_is_not_the_providers_choice() public {
        accept(FAIL);
        Report memory good = accept(PASS);
        finalize();
        presentExpecting(good, PASS, abi.encodeWithSelector(IProviderStanding.EpochNotSkippable.selector, 1));
        registerProvider();
        vm.assertEq(standing.nextEpoch(2), (block.timestamp - GENESIS) / LENGTH + 2);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.UnknownProvider.selector, 3));
        standing.nextEpoch(3);
    }

    // Defence: an epoch counts once; without it, one failed epoch suspends, and one good epoch clears.
    function test_an_epoch_counts_once() public {
        Report memory r = accept(FAIL);
        finalize();
        present(r, FAIL);
        presentExpecting(r, FAIL, abi.encodeWithSelector(IProviderStanding.EpochAlreadyCounted.selector, 2));
    }

    function test_an_epoch_without_a_report_is_passed_over() public {
        judge(PASS, ACTIVE);
        ++epoch; // nobody reports epoch 2
        vm.warp(uint256(validUntil(2)));
        vm.expectRevert(abi.encodeWithSelector(IProviderStanding.EpochNotSkippable.selector, 2));
        standing.skip(1, 10);
        vm.warp(uint256(validUntil(2)) + 1);
        judge(FAIL, WARNED);
        vm.assertEq(standing.nextEpoch(1), 4);
    }

    function test_skip_goes_as_far_as_it_may() public {
        vm.warp(uint256(validUntil(5)) + 1);
        vm.expectEmit(address(standing));
        emit IProviderStanding.Skipped(1, 1, 3);
        vm.assertEq(standing.skip(1, 2), 3);
        vm.assertEq(standing.skip(1, 10), 6);
        vm.expectRevert(abi.encodeWithSelector(IProviderStanding.EpochNotSkippable.selector, 6));
        standing.skip(1, 10);
    }

    // Defence: an epoch that nobody presents in time is passed over; without it, one report without the provider blocks it for ever.
    function test_a_report_without_the_provider_does_not_block_it() public {
        Report memory r = accept(PASS);
        uint256 acceptedAt = block.timestamp;
        vm.warp(acceptedAt + PRESENT - 1);
        vm.expectRevert(abi.encodeWithSelector(IProviderStanding.EpochNotSkippable.selector, 1));
        standing.skip(1, 1);
        vm.warp(acceptedAt + PRESENT);
        vm.assertEq(standing.skip(1, 1), 2);
        presentExpecting(r, PASS, abi.encodeWithSelector(IProviderStanding.EpochAlreadyCounted.selector, 2));
    }

    // Defence: nothing counts before both windows are over; without it, a verdict that is voided afterwards has suspended already.
    function test_a_verdict_counts_when_it_is_final() public {
        Report memory r = accept(FAIL);
        uint256 acceptedAt = block.timestamp;
        bytes memory failure = abi.encodeWithSelector(IProviderStanding.NotMatured.selector, 1);
        vm.warp(acceptedAt + SLASH_WINDOW - 1);
        presentExpecting(r, FAIL, failure);
        vm.prank(COURT);
        settlement.hold(1, uint64(acceptedAt + SLASH_WINDOW + 100));
        vm.warp(acceptedAt + SLASH_WINDOW);
        presentExpecting(r, FAIL, failure);
        vm.prank(COURT);
        settlement.voidReport(r, 0);
        presentExpecting(r, FAIL, abi.encodeWithSelector(ISlaSettlement.UnknownReport.selector, 1));
    }

    // Defence: the verdict must be in the report; without it, anyone suspends anyone.
    function test_a_forged_verdict_is_refused() public {
        Report memory r = accept(PASS);
        finalize();
        presentExpecting(r, FAIL, abi.encodeWithSelector(ISlaOracle.InvalidProof.selector));
    }

    function test_an_outcome_that_does_not_exist_is_refused() public {
        for (uint8 wrong = 0; wrong <= 6; wrong += 6) {
            Report memory r = accept(wrong);
            finalize();
            presentExpecting(r, wrong, abi.encodeWithSelector(IProviderStanding.InvalidOutcome.selector, wrong));
            vm.warp(block.timestamp + PRESENT);
            standing.skip(1, 1);
            while (validUntil(epoch) < block.timestamp) {
                ++epoch;
            }
        }
    }

    // Defence: a committee too small for a panel degrades at most; without it, one oracle of a few suspends a competitor.
    function test_a_small_committee_warns_and_never_suspends() public {
        standing = newStanding(MIN_PANEL + 1);
        judge(FAIL, ACTIVE);
        judge(FAIL, WARNED);
        judge(FAIL, WARNED);
        judge(FAIL, WARNED);
        judge(FAIL, WARNED);
    }

    function test_a_suspended_provider_is_reinstated_with_a_warning() public {
        suspend();
        Report memory during = accept(FAIL); // still of the time that the review is about
        vm.prank(REVIEWER);
        standing.review(1, true);
        vm.assertEq(standing.stateOf(1), WARNED);
        finalize();
        present(during, FAIL);
        judge(FAIL, WARNED);
        judge(FAIL, SUSPENDED);
    }

    function test_epochs_of_a_suspension_count_for_nothing() public {
        suspend();
        judge(PASS, SUSPENDED);
        judge(PASS, SUSPENDED);
        judge(PASS, SUSPENDED);
    }

    // Defence: no ejection before the grace is over; without it, the owner ejects before the provider was heard.
    function test_an_ejection_waits_for_the_grace() public {
        suspend();
        uint256 over = block.timestamp + GRACE;
        vm.warp(over - 1);
        vm.prank(REVIEWER);
        vm.expectRevert(abi.encodeWithSelector(IProviderStanding.GraceNotOver.selector, over));
        standing.review(1, false);
        vm.warp(over);
        vm.prank(REVIEWER);
        standing.review(1, false);
        vm.assertEq(standing.stateOf(1), EJECTED);
    }

    function test_without_a_review_anyone_ejects() public {
        suspend();
        uint256 over = block.timestamp + REVIEW;
        vm.warp(over - 1);
        vm.expectRevert(abi.encodeWithSelector(IProviderStanding.ReviewNotOver.selector, over));
        standing.expire(1);
        vm.warp(over);
        vm.prank(address(0xabc));
        standing.expire(1);
        vm.assertEq(standing.stateOf(1), EJECTED);
        vm.expectRevert(abi.encodeWithSelector(IProviderStanding.NotSuspended.selector, 1));
        standing.expire(1);
    }

    // Defence: an ejection is for ever, and a review only of the suspended; without it, an owner ejects or clears at will.
    function test_only_the_suspended_are_reviewed_and_by_the_owner() public {
        judge(FAIL, WARNED);
        vm.prank(REVIEWER);
        vm.expectRevert(abi.encodeWithSelector(IProviderStanding.NotSuspended.selector, 1));
        standing.review(1, true);
        judge(FAIL, WARNED);
        judge(FAIL, SUSPENDED);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this)));
        standing.review(1, true);
        vm.warp(block.timestamp + GRACE);
        vm.startPrank(REVIEWER);
        standing.review(1, false);
        vm.expectRevert(abi.encodeWithSelector(IProviderStanding.NotSuspended.selector, 1));
        standing.review(1, true);
        vm.stopPrank();
    }

    function test_impossible_terms_are_refused() public {
        vm.expectRevert(IProviderStanding.InvalidTerms.selector);
        new ProviderStanding(settlement, oracle, REVIEWER, IProviderStanding.Terms(GRACE, GRACE - 1, PRESENT, 4));
        vm.expectRevert(IProviderStanding.ZeroAddress.selector);
        new ProviderStanding(settlement, ISlaOracle(address(0)), REVIEWER, IProviderStanding.Terms(1, 1, 1, 1));
    }

    /// Any course of verdicts, against the rules written down once more in the plainest way.
    function testFuzz_the_states_follow_the_rules(uint8[24] calldata course) public view {
        StandingRules.Standing memory s;
        uint8[] memory counted = new uint8[](course.length);
        uint256 length = 0; // of those counted in the present state
        uint8 state = REGISTERED;
        for (uint256 i = 0; i < course.length; ++i) {
            uint8 outcome = course[i] % 5 + 1;
            s.count(outcome, 1);
            if (state == SUSPENDED || outcome == INSUFFICIENT || outcome == INCONCLUSIVE) continue;
            counted[length++] = outcome;
            uint8 before = state == REGISTERED ? ACTIVE : state;
            state = before;
            if (before == ACTIVE && (outcome == FAIL || ofLastThree(counted, length, DEGRADED) >= 2)) state = WARNED;
            if (before == WARNED && ofLastThree(counted, length, FAIL) >= 2) state = SUSPENDED;
            if (before == WARNED && ofLastThree(counted, length, PASS) == 3) state = ACTIVE;
            if (state != before) length = 0;
            vm.assertEq(s.state, state);
        }
    }

    function ofLastThree(uint8[] memory counted, uint256 length, uint8 outcome) private pure returns (uint256 times) {
        for (uint256 i = length < 3 ? 0 : length - 3; i < length; ++i) {
            if (counted[i] == outcome) ++times;
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICapacityMarket} from "../src/interfaces/ICapacityMarket.sol";
import {ISlaOracle, Verdict} from "../src/interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {SlaVerdicts} from "../src/libraries/SlaVerdicts.sol";
import {MarketFixture} from "./utils/MarketFixture.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

/// What an epoch's verdict does with a booking's money.
contract MarketSettleTest is MarketFixture {
    uint96 internal constant PRICE = 1_000_003;
    uint64 internal constant GIB = 10;
    uint256 internal constant EPOCH_COST = uint256(PRICE) * GIB;

    uint64 internal provider;
    uint64 internal bookingId;

    function setUp() public {
        deployMarket(0, 0);
        provider = listedProvider(1_000, PRICE);
        bookingId = book(provider, GIB, 4); // epochs 1 to 4
    }

    function settleExpecting(Report memory r, Verdict memory v, bytes memory failure) private {
        vm.expectRevert(failure);
        market.settle(bookingId, r, v, noProof());
    }

    function test_a_pass_pays_the_provider_the_oracles_and_the_treasury() public {
        accept(0, bytes32("none"));
        settleOne(bookingId, provider, 1, PASS, FULL);
        uint256 margin = EPOCH_COST / 10;
        ICapacityMarket.Accounts memory sums = market.accounts();
        vm.assertEq(market.earnings(provider), EPOCH_COST - margin);
        vm.assertEq(sums.oraclesDue, margin * 7 / 10);
        vm.assertEq(sums.oraclesDue + sums.treasuryDue, margin);
        vm.assertEq(market.credit(bookingId), 0);

        uint256 pool = settlement.pool();
        market.withdrawEarnings(provider);
        market.payOracles();
        market.payTreasury();
        vm.assertEq(token.balanceOf(recipientOf(provider)), EPOCH_COST - margin);
        vm.assertEq(settlement.pool() - pool, margin * 7 / 10);
        vm.assertEq(token.balanceOf(TREASURY), margin - margin * 7 / 10);
        vm.assertEq(token.balanceOf(address(market)), 3 * EPOCH_COST);
    }

    function test_a_bad_epoch_credits_the_builder_what_the_provider_lost() public {
        accept(0, bytes32("none"));
        settleOne(bookingId, provider, 1, DEGRADED, 333_333);
        uint256 earned = EPOCH_COST * 333_333 / 1_000_000;
        vm.assertEq(market.credit(bookingId), EPOCH_COST - earned);
        vm.assertEq(market.earnings(provider), earned - earned / 10);

        settleOne(bookingId, provider, 2, FAIL, 0);
        vm.assertEq(market.credit(bookingId), 2 * EPOCH_COST - earned);
        uint256 before = token.balanceOf(BUILDER);
        market.withdrawCredit(bookingId);
        vm.assertEq(token.balanceOf(BUILDER) - before, 2 * EPOCH_COST - earned);
        vm.assertEq(market.credit(bookingId), 0);
    }

    // Defence: a multiplier counts at most as one; without it a verdict above 1 pays more than the escrow and this turns red.
    function test_a_multiplier_above_one_pays_no_more_than_the_escrow() public {
        accept(0, bytes32("none"));
        settleOne(bookingId, provider, 1, PASS, 3 * FULL);
        vm.assertEq(market.earnings(provider), EPOCH_COST - EPOCH_COST / 10);
        vm.assertEq(market.booking(bookingId).escrow, 3 * EPOCH_COST);
    }

    // Defence: an epoch is settled once; without it, the second settling takes the other epochs' escrow.
    function test_double_settle() public {
        accept(0, bytes32("none"));
        Verdict memory v = verdictOf(provider, 1, PASS, FULL);
        Report memory r = acceptOne(v);
        market.settle(bookingId, r, v, noProof());
        bytes memory failure = abi.encodeWithSelector(ICapacityMarket.AlreadySettled.selector, bookingId, 1);
        settleExpecting(r, v, failure);
        vm.warp(block.timestamp + UNSETTLED_DELAY);
        vm.expectRevert(failure);
        market.refundUnsettled(bookingId, r);
    }

    // Defence: a verdict counts once it has matured; without it, one that is voided tomorrow pays today.
    function test_early_settle() public {
        accept(0, bytes32("none"));
        Verdict memory v = verdictOf(provider, 1, PASS, FULL);
        Report memory r = accept(1, resultLeaf(v));
        vm.warp(block.timestamp + REWARD_WINDOW - 1);
        settleExpecting(r, v, abi.encodeWithSelector(SlaVerdicts.VerdictNotMatured.selector, provider, 1));
    }

    // Defence: the booking's own provider's verdict decides; without it, a good neighbour's pays a bad provider.
    function test_another_providers_verdict() public {
        uint64 other = listedProvider(1_000, PRICE);
        accept(0, bytes32("none"));
        Verdict memory v = verdictOf(other, 1, PASS, FULL);
        settleExpecting(acceptOne(v), v, abi.encodeWithSelector(ICapacityMarket.WrongProvider.selector, bookingId, other));
    }

    // Defence: a leaf's epoch is its report's; without it, a committee's leaf about another epoch settles that one too.
    function test_a_verdict_about_another_epoch_than_its_reports() public {
        accept(0, bytes32("none"));
        Verdict memory v = verdictOf(provider, 2, PASS, FULL);
        Report memory r = accept(1, resultLeaf(v));
        vm.warp(block.timestamp + REWARD_WINDOW);
        settleExpecting(r, v, abi.encodeWithSelector(ISlaOracle.InvalidProof.selector));
    }

    // Defence: only booked epochs are paid; without it, verdicts of before and after draw on the escrow.
    function test_epochs_outside_the_booking() public {
        Verdict memory v = verdictOf(provider, 0, PASS, FULL);
        settleExpecting(acceptOne(v), v, abi.encodeWithSelector(ICapacityMarket.NotBooked.selector, bookingId, 0));
        vm.warp(validUntil(4) + 1); // epochs 1 to 4 have no reports
        v = verdictOf(provider, 5, PASS, FULL);
        settleExpecting(acceptOne(v), v, abi.encodeWithSelector(ICapacityMarket.NotBooked.selector, bookingId, 5));
    }

    function test_a_skipped_epoch_is_credited_in_full() public {
        vm.warp(validUntil(1));
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.NotSkipped.selector, 1));
        market.settleSkipped(bookingId, 1);
        vm.warp(validUntil(1) + 1);
        market.settleSkipped(bookingId, 1);
        vm.assertEq(market.credit(bookingId), EPOCH_COST);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.AlreadySettled.selector, bookingId, 1));
        market.settleSkipped(bookingId, 1);
    }

    // Defence: an epoch stays settled when its report is voided; without it, the next report of the epoch is paid once more.
    function test_a_void_after_the_settling() public {
        accept(0, bytes32("none"));
        bytes32 before = parent;
        Verdict memory v = verdictOf(provider, 1, PASS, FULL);
        Report memory r = acceptOne(v);
        market.settle(bookingId, r, v, noProof());
        settlement.setCourt(address(this), true);
        settlement.voidReport(r, 0);
        settleExpecting(r, v, abi.encodeWithSelector(ISlaSettlement.UnknownReport.selector, 1));

        parent = before;
        v = verdictOf(provider, 1, FAIL, 0);
        r = acceptOne(v);
        settleExpecting(r, v, abi.encodeWithSelector(ICapacityMarket.AlreadySettled.selector, bookingId, 1));
    }

    // Defence: an accepted epoch is not skipped; without it, a builder takes back a good epoch's money before its verdict matures.
    function test_an_accepted_epoch_is_not_skipped() public {
        accept(0, bytes32("none"));
        accept(1, bytes32("root"));
        vm.warp(validUntil(1) + 1);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.NotSkipped.selector, 1));
        market.settleSkipped(bookingId, 1);
    }

    // Defence: a refund waits until a verdict could long have been brought; without it, a builder is first.
    function test_a_report_without_the_provider_is_refunded_after_the_delay() public {
        accept(0, bytes32("none"));
        Report memory r = accept(1, bytes32("nobody"));
        uint256 opensAt = block.timestamp + REWARD_WINDOW + UNSETTLED_DELAY;
        vm.warp(opensAt - 1);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.RefundTooEarly.selector, opensAt));
        market.refundUnsettled(bookingId, r);
        vm.warp(opensAt);
        market.refundUnsettled(bookingId, r);
        vm.assertEq(market.credit(bookingId), EPOCH_COST);
    }

    // Defence: what a dispute holds is not refunded; without it, a builder gains by disputing every good verdict.
    function test_a_held_epoch_is_not_refunded() public {
        accept(0, bytes32("none"));
        Report memory r = accept(1, bytes32("nobody"));
        settlement.setCourt(address(this), true);
        settlement.hold(1, uint64(block.timestamp + 1_000));
        vm.warp(block.timestamp + REWARD_WINDOW + UNSETTLED_DELAY);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.RefundTooEarly.selector, type(uint256).max));
        market.refundUnsettled(bookingId, r);
    }

    // Defence: the report must be the accepted one; without it, an invented report of the epoch refunds it.
    function test_a_refund_by_a_report_nobody_accepted() public {
        accept(0, bytes32("none"));
        Report memory r = accept(1, bytes32("nobody"));
        vm.warp(block.timestamp + REWARD_WINDOW + UNSETTLED_DELAY);
        r.resultRoot = bytes32("another");
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.UnknownReport.selector, 1));
        market.refundUnsettled(bookingId, r);
    }

    function test_one_proof_settles_many_bookings_and_passes_over_the_rest() public {
        uint64 other = listedProvider(1_000, PRICE);
        uint64[] memory ids = new uint64[](5);
        ids[0] = bookingId;
        ids[1] = book(other, 1, 2); // another provider's
        ids[2] = book(provider, 5, 1);
        ids[3] = bookingId; // twice
        ids[4] = 99; // nobody's

        accept(0, bytes32("none"));
        Verdict[] memory verdicts = new Verdict[](2);
        verdicts[0] = verdictOf(provider, 1, DEGRADED, 500_000);
        verdicts[1] = verdictOf(other, 1, PASS, FULL);
        bytes32[] memory tree = resultTree(verdicts);
        Report memory r = accept(1, tree[0]);
        vm.warp(block.timestamp + REWARD_WINDOW);
        uint256 settled = market.settleMany(ids, r, verdicts[0], MerkleTree.proof(tree, resultLeaf(verdicts[0])));
        vm.assertEq(settled, 2);
        vm.assertTrue(market.isSettled(ids[0], 1));
        vm.assertFalse(market.isSettled(ids[1], 1));
        vm.assertTrue(market.isSettled(ids[2], 1));
        vm.assertEq(market.credit(ids[2]), 5 * uint256(PRICE) / 2 + 1); // the rounding is the builder's
    }

    function test_the_last_epoch_frees_the_capacity() public {
        uint64 short = book(provider, 100, 1);
        accept(0, bytes32("none"));
        vm.assertEq(market.freeOf(provider), 890);
        settleOne(short, provider, 1, PASS, FULL);
        vm.assertEq(market.freeOf(provider), 990);
        vm.assertTrue(market.booking(short).released);
    }

    function test_nothing_due_is_not_paid() public {
        bytes memory failure = abi.encodeWithSelector(ICapacityMarket.NothingDue.selector);
        vm.expectRevert(failure);
        market.withdrawCredit(bookingId);
        vm.expectRevert(failure);
        market.withdrawEarnings(provider);
        vm.expectRevert(failure);
        market.payOracles();
        vm.expectRevert(failure);
        market.payTreasury();
    }

    // Defence: the margin is the one of the day of the booking; without it, the owner takes from what was agreed.
    function test_new_fees_leave_old_bookings_alone() public {
        vm.prank(OWNER);
        market.setFees(fees(300_000, 0));
        accept(0, bytes32("none"));
        settleOne(bookingId, provider, 1, PASS, FULL);
        vm.assertEq(market.earnings(provider), EPOCH_COST - EPOCH_COST / 10);
    }

    /// What is divided adds up, and nobody gets more than his part, for any price, amount and verdict.
    function testFuzz_an_epoch_is_divided_to_the_last_unit(uint96 price, uint64 gib, uint32 multiplierPpm, uint24 margin, uint24 share)
        public
    {
        price = uint96(bound(price, 1, 1e24));
        gib = uint64(bound(gib, 1, 900));
        margin = uint24(bound(margin, 0, 300_000));
        vm.prank(OWNER);
        market.setFees(fees(margin, uint24(bound(share, 0, 1_000_000))));
        market.list(provider, 1_000, price);
        uint64 id = book(provider, gib, 1);
        uint256 cost = uint256(price) * gib;
        accept(0, bytes32("none"));
        settleOne(id, provider, 1, PASS, multiplierPpm);

        ICapacityMarket.Accounts memory sums = market.accounts();
        uint256 credited = market.credit(id);
        vm.assertEq(market.earnings(provider) + sums.oraclesDue + sums.treasuryDue + credited, cost);
        vm.assertEq(market.booking(id).escrow, 0);
        uint256 multiplier = multiplierPpm > FULL ? FULL : multiplierPpm;
        vm.assertEq(cost - credited, cost * multiplier / 1_000_000);
    }
}

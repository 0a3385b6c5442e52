// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PassEscrow} from "../src/examples/PassEscrow.sol";
import {ISlaOracle, Verdict} from "../src/interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {SlaVerdicts} from "../src/libraries/SlaVerdicts.sol";
import {MarketFixture} from "./utils/MarketFixture.sol";

contract ExamplesPassEscrowTest is MarketFixture {
    uint256 internal constant AMOUNT = 1e18;
    uint64 internal constant REFUNDABLE_AT = GENESIS + 500;
    address internal constant PAYEE = address(0x9a7ee);

    PassEscrow internal escrow;
    uint64 internal provider;
    uint256 internal dealId;

    function setUp() public {
        deployMarket(0, 0);
        provider = listedProvider(100, 1);
        escrow = new PassEscrow(token, oracle);
        vm.startPrank(BUILDER);
        token.approve(address(escrow), AMOUNT);
        dealId = escrow.deposit(provider, 1, PAYEE, AMOUNT, REFUNDABLE_AT);
        vm.stopPrank();
        accept(0, bytes32("none"));
    }

    function settleExpecting(Report memory r, Verdict memory v, bytes memory failure) private {
        vm.expectRevert(failure);
        escrow.settle(dealId, r, v, noProof());
    }

    function test_a_pass_pays_the_payee() public {
        Verdict memory v = verdictOf(provider, 1, PASS, FULL);
        Report memory r = acceptOne(v);
        escrow.settle(dealId, r, v, noProof());
        vm.assertEq(token.balanceOf(PAYEE), AMOUNT);
        // Defence: a deal is paid once; without it, this turns red and other deals' money goes.
        settleExpecting(r, v, abi.encodeWithSelector(PassEscrow.NothingInEscrow.selector, dealId));
        vm.warp(REFUNDABLE_AT);
        vm.expectRevert(abi.encodeWithSelector(PassEscrow.NothingInEscrow.selector, dealId));
        escrow.refund(dealId);
    }

    // Defence: only a pass pays; without it, any verdict does.
    function test_anything_else_goes_back_to_the_payer() public {
        for (uint8 outcome = 2; outcome <= 5; ++outcome) {
            uint64 epoch = outcome - 1;
            vm.startPrank(BUILDER);
            token.approve(address(escrow), AMOUNT);
            uint256 id = escrow.deposit(provider, epoch, PAYEE, AMOUNT, REFUNDABLE_AT);
            vm.stopPrank();
            uint256 before = token.balanceOf(BUILDER);
            Verdict memory v = verdictOf(provider, epoch, outcome, FULL);
            escrow.settle(id, acceptOne(v), v, noProof());
            vm.assertEq(token.balanceOf(BUILDER) - before, AMOUNT);
        }
        vm.assertEq(token.balanceOf(PAYEE), 0);
        vm.assertEq(token.balanceOf(address(escrow)), AMOUNT);
    }

    // Defence: a verdict must have matured; without it, one that is voided tomorrow pays today.
    function test_an_early_verdict() public {
        Verdict memory v = verdictOf(provider, 1, PASS, FULL);
        Report memory r = accept(1, resultLeaf(v));
        settleExpecting(r, v, abi.encodeWithSelector(SlaVerdicts.VerdictNotMatured.selector, provider, 1));
    }

    // Defence: the deal's own provider and epoch decide; without it, somebody else's pass pays.
    function test_a_verdict_about_something_else() public {
        Verdict memory v = verdictOf(provider + 1, 1, PASS, FULL);
        settleExpecting(acceptOne(v), v, abi.encodeWithSelector(SlaVerdicts.WrongVerdict.selector, provider + 1, 1));
        v = verdictOf(provider, 2, PASS, FULL);
        settleExpecting(acceptOne(v), v, abi.encodeWithSelector(SlaVerdicts.WrongVerdict.selector, provider, 2));
    }

    // Defence: the leaf is proven under an accepted report; without it, anybody writes his own verdict.
    function test_an_invented_verdict() public {
        Verdict memory v = verdictOf(provider, 1, FAIL, 0);
        Report memory r = acceptOne(v);
        v.outcome = PASS;
        settleExpecting(r, v, abi.encodeWithSelector(ISlaOracle.InvalidProof.selector));
        r.resultRoot = resultLeaf(v);
        settleExpecting(r, v, abi.encodeWithSelector(ISlaSettlement.UnknownReport.selector, 1));
    }

    // Defence: a refund waits for its date; without it, a payer takes the money back before the verdict matures.
    function test_without_a_verdict_the_payer_is_refunded_at_the_date() public {
        vm.warp(REFUNDABLE_AT - 1);
        vm.expectRevert(abi.encodeWithSelector(PassEscrow.RefundTooEarly.selector, REFUNDABLE_AT));
        escrow.refund(dealId);
        vm.warp(REFUNDABLE_AT);
        uint256 before = token.balanceOf(BUILDER);
        escrow.refund(dealId);
        vm.assertEq(token.balanceOf(BUILDER) - before, AMOUNT);
    }

    function test_deals_that_nobody_could_settle() public {
        bytes memory failure = abi.encodeWithSelector(PassEscrow.InvalidDeal.selector);
        vm.expectRevert(failure);
        escrow.deposit(provider, 1, address(0), AMOUNT, REFUNDABLE_AT);
        vm.expectRevert(failure);
        escrow.deposit(provider, 1, PAYEE, 0, REFUNDABLE_AT);
    }
}

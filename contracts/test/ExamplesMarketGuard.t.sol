// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MarketGuard} from "../src/examples/MarketGuard.sol";
import {Verdict} from "../src/interfaces/ISlaOracle.sol";
import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {MarketFixture} from "./utils/MarketFixture.sol";

contract ExamplesMarketGuardTest is MarketFixture {
    uint64 internal constant LOOKBACK = 3;
    uint256 internal constant MAX_STALENESS = 100;
    uint256 internal constant PRICE = 1e18;
    address internal constant SELLER = address(0x5e11);

    MarketGuard internal guard;
    uint64 internal provider;

    function setUp() public {
        deployMarket(0, 0);
        provider = listedProvider(100, 1);
        guard = new MarketGuard(token, oracle, LOOKBACK, MAX_STALENESS);
        vm.prank(SELLER);
        guard.offer(provider, PRICE);
        vm.prank(BUILDER);
        token.approve(address(guard), type(uint256).max);
    }

    function judge(uint64 epoch, uint8 outcome) private {
        Verdict memory v = verdictOf(provider, epoch, outcome, FULL);
        Report memory r = acceptOne(v);
        oracle.record(r, v, noProof());
    }

    function buyExpecting(bytes memory failure) private {
        vm.prank(BUILDER);
        vm.expectRevert(failure);
        guard.buy(provider, PRICE);
    }

    function test_a_provider_that_passed_is_sold() public {
        judge(0, PASS);
        vm.prank(BUILDER);
        guard.buy(provider, PRICE);
        vm.assertEq(token.balanceOf(SELLER), PRICE);
    }

    // Defence: the newest recorded verdict decides; without it, a seller shows an older good one.
    function test_a_bad_verdict_after_a_good_one() public {
        judge(0, PASS);
        judge(1, FAIL);
        buyExpecting(abi.encodeWithSelector(MarketGuard.VerdictBad.selector, provider, 1, FAIL));
        judge(2, DEGRADED);
        buyExpecting(abi.encodeWithSelector(MarketGuard.VerdictBad.selector, provider, 2, DEGRADED));
        judge(3, 3); // inconclusive: nobody's fault
        guard.check(provider);
    }

    // Defence: an old verdict says nothing about today; without it, a provider that left the reports is sold for ever.
    function test_a_stale_verdict() public {
        buyExpecting(abi.encodeWithSelector(MarketGuard.VerdictStale.selector, provider));
        judge(0, PASS);
        for (uint64 epoch = 1; epoch <= LOOKBACK; ++epoch) {
            accept(epoch, bytes32("others"));
            guard.check(provider);
        }
        accept(LOOKBACK + 1, bytes32("others"));
        buyExpecting(abi.encodeWithSelector(MarketGuard.VerdictStale.selector, provider));
    }

    // Defence: when reports stop, so do sales; without it, the last verdict before the silence is good for ever.
    function test_an_oracle_that_stands_still() public {
        judge(0, PASS);
        vm.warp(endOf(0) + MAX_STALENESS);
        guard.check(provider);
        vm.warp(endOf(0) + MAX_STALENESS + 1);
        buyExpecting(abi.encodeWithSelector(MarketGuard.OracleStandsStill.selector, MAX_STALENESS + 1));
    }

    // Defence: a record dies with its report; without it, a voided verdict goes on selling.
    function test_a_voided_verdict() public {
        Verdict memory v = verdictOf(provider, 0, PASS, FULL);
        Report memory r = acceptOne(v);
        oracle.record(r, v, noProof());
        settlement.setCourt(address(this), true);
        settlement.voidReport(r, 0);
        buyExpecting(abi.encodeWithSelector(MarketGuard.VerdictStale.selector, provider));
    }

    function test_offers_and_their_prices_are_the_sellers() public {
        judge(0, PASS);
        vm.expectRevert(abi.encodeWithSelector(MarketGuard.AlreadyOffered.selector, provider));
        guard.offer(provider, 1);
        vm.prank(SELLER);
        guard.offer(provider, PRICE + 1);
        buyExpecting(abi.encodeWithSelector(MarketGuard.PriceTooHigh.selector, PRICE + 1, PRICE));
        vm.expectRevert(abi.encodeWithSelector(MarketGuard.LookbackTooLong.selector, 17));
        new MarketGuard(token, oracle, 17, MAX_STALENESS);
    }
}

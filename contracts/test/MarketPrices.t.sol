// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICapacityMarket} from "../src/interfaces/ICapacityMarket.sol";
import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {MarketLens} from "../src/market/MarketLens.sol";
import {PriceBook} from "../src/market/PriceBook.sol";
import {MarketFixture} from "./utils/MarketFixture.sol";

/// Index, quote, subsidy, and who pays for what.
contract MarketPricesTest is MarketFixture {
    uint96 internal constant PRICE = 1_000_000;
    uint64 internal constant SUBSIDY_EPOCHS = 10;

    uint64 internal provider;

    function deploySubsidised(uint24 subsidyPpm) private {
        deployMarket(subsidyPpm, SUBSIDY_EPOCHS);
        provider = listedProvider(1_000, PRICE);
    }

    function index() private view returns (uint256 price, uint64 bookedGib) {
        (price, bookedGib,) = market.priceIndex(CLASS, REGION);
    }

    function test_the_index_weighs_by_gib_and_follows_bookings() public {
        deploySubsidised(0);
        uint64 dear = listedProvider(500, 3 * PRICE);
        (uint256 price, uint64 gib) = index();
        vm.assertEq(price, 0);
        book(provider, 100, 1);
        book(dear, 300, 3);
        (price, gib) = index();
        vm.assertEq(price, 2_500_000);
        vm.assertEq(gib, 400);
        (price, gib,) = market.priceIndex(CLASS, REGION + 1);
        vm.assertEq(price, 0);

        market.list(dear, 500, 5 * PRICE); // live bookings keep their price
        (price,) = index();
        vm.assertEq(price, 2_500_000);
        vm.prank(BUILDER);
        market.extend(2, 1, ANY_PRICE); // an extension agrees on the new one
        (price,) = index();
        vm.assertEq(price, 4_000_000);
        vm.warp(endOf(1));
        market.release(1);
        (price,) = index();
        vm.assertEq(price, 5_000_000);
    }

    function test_a_quote_follows_utilisation() public {
        deploySubsidised(0);
        quoteIs(500, PRICE); // no bookings: the asking price, at half of all
        quoteIs(800, 1_250_000);
        quoteIs(1_000, 2_000_000);
        quoteIs(650, 1_125_000);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, 1_001, 1_000));
        market.quote(CLASS, REGION, 1_001, 1);
        book(provider, 800, 4);
        quoteIs(100, 1_625_000);
        (, uint256 total) = market.quote(CLASS, REGION, 100, 3);
        vm.assertEq(total, 1_625_000 * 300);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, 201, 200));
        market.quote(CLASS, REGION, 201, 1);
        market.list(provider, 700, PRICE); // less than is booked
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, 1, 0));
        market.quote(CLASS, REGION, 1, 1);
    }

    function quoteIs(uint64 gib, uint256 expected) private view {
        (uint256 price,) = market.quote(CLASS, REGION, gib, 1);
        vm.assertEq(price, expected);
    }

    function testFuzz_the_curve_rises_without_steps(uint256 utilisation) public pure {
        utilisation = bound(utilisation, 0, 999_999);
        uint256 here = PriceBook.factor(utilisation);
        uint256 there = PriceBook.factor(utilisation + 1);
        vm.assertLe(here, there);
        vm.assertLe(there, here + 4);
        vm.assertTrue(here >= 1_000_000 && there <= 2_000_000);
    }

    function test_the_subsidy_declines_to_nothing() public {
        deploySubsidised(200_000);
        market.fundSubsidy(1e18);
        uint64 id = book(provider, 10, 11); // epochs 1 to 11
        uint256 margin = uint256(PRICE) * 10 / 10;
        accept(0, bytes32("none"));
        uint256 paid;
        for (uint64 epoch = 1; epoch <= 11; ++epoch) {
            settleOne(id, provider, epoch, PASS, FULL);
            uint256 expected = epoch < SUBSIDY_EPOCHS ? margin / 5 * (SUBSIDY_EPOCHS - epoch) / SUBSIDY_EPOCHS : 0;
            vm.assertEq(market.accounts().subsidyPaid - paid, expected);
            paid = market.accounts().subsidyPaid;
        }
        vm.assertEq(market.earnings(provider), 11 * (uint256(PRICE) * 10 - margin) + paid);
    }

    function test_the_subsidy_ends_with_its_fund() public {
        deploySubsidised(200_000);
        market.fundSubsidy(7);
        uint64 id = book(provider, 10, 2);
        accept(0, bytes32("none"));
        settleOne(id, provider, 1, PASS, FULL);
        settleOne(id, provider, 2, PASS, FULL);
        vm.assertEq(market.accounts().subsidyPaid, 7);
        vm.assertEq(market.accounts().subsidyFund, 0);
    }

    // Defence: a subsidy is at most the treasury's part of the margin; without it, whoever is provider, builder and all oracles in
    // one draws the fund by booking himself.
    function test_booking_oneself_never_pays() public {
        deploySubsidised(1_000_000);
        market.fundSubsidy(1e18);
        uint64 id = book(provider, 10, 1);
        uint256 cost = uint256(PRICE) * 10;
        accept(0, bytes32("none"));
        settleOne(id, provider, 1, PASS, FULL);
        vm.assertEq(market.accounts().subsidyPaid, cost / 10 * 3 / 10); // the rate alone would give nine tenths of the margin
        vm.assertLe(market.earnings(provider) + market.accounts().oraclesDue, cost);
    }

    function test_the_lens_tells_what_demand_pays_and_what_judging_costs() public {
        deploySubsidised(200_000);
        market.fundSubsidy(1e18);
        MarketLens lens = new MarketLens(market);
        vm.assertEq(lens.demand().sharePpm, 0);
        vm.assertEq(lens.referee(1).epochs, 0);
        settlement.fund(2_000_000);

        // oracle 1 earns 600,000 and the provider 400,000 of the pool in epoch 0
        Reward[] memory rewards = new Reward[](2);
        rewards[0] = Reward(1, 1, address(0x0a), 600_000);
        rewards[1] = Reward(0, provider, recipientOf(provider), 400_000);
        bytes32[] memory tree = rewardTree(rewards);
        Report memory r = acceptWith(0, bytes32("none"), tree[0]);
        uint64 id = book(provider, 10, 1); // epoch 2
        vm.warp(block.timestamp + REWARD_WINDOW);
        claim(r, tree, rewards[0]);
        claim(r, tree, rewards[1]);
        MarketLens.Demand memory d = lens.demand();
        vm.assertEq(d.claimed, 1_000_000);
        vm.assertEq(d.sharePpm, 0); // so far the pool's founders pay

        accept(1, bytes32("none"));
        settleOne(id, provider, 2, PASS, FULL);
        market.payOracles();
        d = lens.demand();
        vm.assertEq(d.paidFromEscrows, 9_000_000);
        vm.assertEq(d.marginToPool, 700_000);
        vm.assertEq(d.subsidies, 160_000);
        vm.assertEq(d.sharePpm, uint256(9_700_000) * 1_000_000 / 10_160_000);

        MarketLens.Referee memory f = lens.referee(3e9);
        vm.assertEq(f.oraclePay, 600_000);
        vm.assertEq(f.epochs, 3);
        vm.assertEq(f.providers, 1);
        vm.assertEq(f.payPerProviderEpoch, 200_000);
        vm.assertEq(f.gasWeiPerProviderEpoch, 200_000 * 3e9);
        vm.assertEq(f.payPerTbEpoch, uint256(600_000) * 1e12 / (10 << 30)); // ten GiB-epochs were settled
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {CapacityMarket} from "../src/CapacityMarket.sol";
import {ICapacityMarket} from "../src/interfaces/ICapacityMarket.sol";
import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";
import {Deposit} from "../src/libraries/Deposit.sol";
import {Bookings, Term} from "../src/market/Bookings.sol";
import {MarketFixture} from "./utils/MarketFixture.sol";

/// Offers, bookings, extensions and ends.
contract MarketBookingTest is MarketFixture {
    uint96 internal constant PRICE = 1_000_003;
    bytes4 private constant TOO_LARGE = SafeCast.SafeCastOverflowedUintDowncast.selector;

    uint64 internal provider;

    function setUp() public {
        deployMarket(0, 0);
        provider = listedProvider(1_000, PRICE);
    }

    function bookExpecting(uint64 providerId, uint64 gib, uint32 epochs, uint96 maxPrice, bytes memory failure) private {
        vm.prank(BUILDER);
        vm.expectRevert(failure);
        market.book(providerId, gib, epochs, maxPrice);
    }

    function extendExpecting(uint64 bookingId, uint32 epochs, uint96 maxPrice, bytes memory failure) private {
        vm.prank(BUILDER);
        vm.expectRevert(failure);
        market.extend(bookingId, epochs, maxPrice);
    }

    function extend(uint64 bookingId, uint32 epochs) private {
        vm.prank(BUILDER);
        market.extend(bookingId, epochs, ANY_PRICE);
    }

    function end(uint64 bookingId) private returns (uint64) {
        vm.prank(BUILDER);
        return market.end(bookingId);
    }

    function test_a_booking_takes_its_price_and_nothing_else() public {
        uint256 before = token.balanceOf(BUILDER);
        vm.expectEmit(address(market));
        emit ICapacityMarket.Booked(1, provider, BUILDER, 10, PRICE, 1, 5);
        uint64 id = book(provider, 10, 4);
        vm.assertEq(before - token.balanceOf(BUILDER), uint256(PRICE) * 10 * 4);
        vm.assertEq(token.balanceOf(address(market)), uint256(PRICE) * 10 * 4);

        ICapacityMarket.BookingView memory b = market.booking(id);
        vm.assertEq(b.builder, BUILDER);
        vm.assertEq(b.escrow, uint256(PRICE) * 40);
        vm.assertEq(b.terms.length, 1);
        vm.assertEq(b.terms[0].start, 1);
        vm.assertEq(b.terms[0].end, 5);
        vm.assertEq(market.freeOf(provider), 990);
    }

    function test_a_booking_starts_with_the_next_epoch() public {
        vm.warp(GENESIS - 1);
        vm.assertEq(market.nextEpoch(), 0);
        vm.warp(GENESIS + 3 * LENGTH - 1);
        vm.assertEq(market.nextEpoch(), 3);
        vm.warp(GENESIS + 3 * LENGTH);
        vm.assertEq(market.nextEpoch(), 4);
    }

    // Defence: the price that the builder saw is the most that he pays; without it, a provider raises it in front of him.
    function test_a_price_raised_in_front_of_a_booking() public {
        market.list(provider, 1_000, PRICE + 1);
        bookExpecting(provider, 1, 1, PRICE, abi.encodeWithSelector(ICapacityMarket.PriceTooHigh.selector, PRICE + 1, PRICE));
    }

    // Defence: an extension has the same guard; without it, a provider raises the price for whoever depends on him.
    function test_a_price_raised_in_front_of_an_extension() public {
        uint64 id = book(provider, 10, 4);
        market.list(provider, 1_000, PRICE * 2);
        extendExpecting(id, 1, PRICE, abi.encodeWithSelector(ICapacityMarket.PriceTooHigh.selector, PRICE * 2, PRICE));
    }

    function test_only_the_operator_offers_and_only_what_its_stake_backs() public {
        vm.prank(BUILDER);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.OnlyOperator.selector, provider));
        market.list(provider, 1, 1);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, 1_001, 1_000));
        market.list(provider, 1_001, PRICE);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.ZeroPrice.selector));
        market.list(provider, 1, 0);
    }

    // Defence: an offer has a limit; without it, the sums of all offers overflow and nobody else can offer, book or settle.
    function test_an_offer_beyond_all_sums() public {
        uint64 most = type(uint32).max;
        providers.addStake(provider, 2 * uint256(most) * STAKE_PER_GIB);
        providers.declareCapacity(provider, 2 * most);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, most + 1, most));
        market.list(provider, most + 1, PRICE);
        market.list(provider, most, PRICE);
    }

    // Defence: capacity is booked once; without it, two builders pay for the same disk.
    function test_overbooking() public {
        book(provider, 600, 4);
        bookExpecting(provider, 401, 4, PRICE, abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, 401, 400));
        book(provider, 400, 4);
        vm.assertEq(market.freeOf(provider), 0);
    }

    // Defence: what is offered counts as far as stake backs it now; without it, a slashed provider goes on selling.
    function test_a_slashed_provider_sells_what_is_still_backed() public {
        uint64 id = book(provider, 600, 4);
        vm.prank(address(settlement));
        providers.slash(provider, 300 * STAKE_PER_GIB);
        bookExpecting(provider, 101, 4, PRICE, abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, 101, 100));
        vm.prank(address(settlement));
        providers.slash(provider, 200 * STAKE_PER_GIB);
        bookExpecting(provider, 1, 4, PRICE, abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, 1, 0));
        extendExpecting(id, 1, PRICE, abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, 600, 500));
    }

    // Defence: anyone takes the offer of a provider that leaves out of the lists. Without it the price counts capacity that nobody can book.
    function test_the_offer_of_a_provider_that_left_is_taken_out() public {
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.StillBookable.selector, provider));
        market.delist(provider);
        vm.prank(providers.provider(provider).operator);
        providers.requestExit(provider);
        vm.prank(address(0x57a6));
        market.delist(provider);
        vm.assertEq(market.listing(provider).gib, 0);
        vm.assertEq(market.area(CLASS, REGION).listedGib, 0);
    }

    // Defence: standing is asked at every booking; without it, a suspended provider sells to whoever does not look.
    function test_a_suspended_provider_is_not_booked() public {
        uint64 id = book(provider, 1, 40);
        accept(0, bytes32("none"));
        failEpochs(provider, 1); // warned
        extend(id, 1);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.StillBookable.selector, provider));
        market.delist(provider);

        failEpochs(provider, 2); // suspended
        bytes memory failure = abi.encodeWithSelector(ICapacityMarket.NotBookable.selector, provider);
        bookExpecting(provider, 1, 1, PRICE, failure);
        extendExpecting(id, 1, PRICE, failure);
        vm.assertEq(market.freeOf(provider), 0);

        vm.warp(block.timestamp + REVIEW);
        standing.expire(provider); // ejected
        bookExpecting(provider, 1, 1, PRICE, failure);
        extendExpecting(id, 1, PRICE, failure);
        market.delist(provider);
        vm.assertEq(market.listing(provider).gib, 0);
        vm.assertEq(market.area(CLASS, REGION).listedGib, 0);
    }

    // Defence: an exiting provider has no capacity; without it, it sells what nobody stands for when its stake is gone.
    function test_an_exiting_provider_is_not_booked_and_a_booked_one_does_not_exit() public {
        book(provider, 1, 3);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.StillObliged.selector, endOf(3)));
        providers.requestExit(provider);
        vm.warp(endOf(3));
        providers.requestExit(provider);
        bookExpecting(provider, 1, 1, PRICE, abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, 1, 0));
    }

    function test_epochs_have_a_horizon() public {
        bytes4 selector = ICapacityMarket.InvalidEpochs.selector;
        bookExpecting(provider, 1, 0, PRICE, abi.encodeWithSelector(selector, 1, 1 + HORIZON));
        bookExpecting(provider, 1, uint32(HORIZON) + 1, PRICE, abi.encodeWithSelector(selector, 2 + HORIZON, 1 + HORIZON));
        uint64 id = book(provider, 1, uint32(HORIZON));
        extendExpecting(id, 1, PRICE, abi.encodeWithSelector(selector, 2 + HORIZON, 1 + HORIZON));
        bookExpecting(provider, 0, 1, PRICE, abi.encodeWithSelector(ICapacityMarket.ZeroGib.selector));
    }

    function test_an_extension_at_the_same_price_lengthens_the_term_at_another_adds_one() public {
        uint64 id = book(provider, 10, 4);
        extend(id, 2);
        vm.assertEq(market.booking(id).terms.length, 1);
        vm.assertEq(market.booking(id).terms[0].end, 7);

        market.list(provider, 1_000, PRICE * 3);
        extend(id, 5);
        Term[] memory terms = market.booking(id).terms;
        vm.assertEq(terms.length, 2);
        vm.assertEq(terms[1].start, 7);
        vm.assertEq(terms[1].end, 12);
        vm.assertEq(market.booking(id).escrow, uint256(PRICE) * 10 * 6 + uint256(PRICE) * 3 * 10 * 5);
        vm.assertEq(market.freeOf(provider), 990);

        // each epoch at its own price
        accept(0, bytes32("none"));
        settleOne(id, provider, 1, PASS, 0);
        vm.assertEq(market.credit(id), uint256(PRICE) * 10);
        for (uint64 e = 2; e < 7; ++e) {
            accept(e, bytes32("none"));
        }
        settleOne(id, provider, 7, PASS, 0);
        vm.assertEq(market.credit(id), uint256(PRICE) * 40);
    }

    // Defence: terms are counted; without it, finding an epoch's term costs more gas than a block has.
    function test_terms_are_bounded() public {
        uint64 id = book(provider, 1, 1);
        for (uint96 i = 1; i < 8; ++i) {
            market.list(provider, 1_000, PRICE + i);
            extend(id, 1);
        }
        market.list(provider, 1_000, PRICE);
        extendExpecting(id, 1, PRICE, abi.encodeWithSelector(Bookings.TooManyTerms.selector));
        vm.assertEq(market.booking(id).terms.length, 8);
    }

    function test_a_booking_that_is_over_is_not_extended() public {
        uint64 id = book(provider, 10, 2); // epochs 1 and 2
        vm.warp(GENESIS + 3 * LENGTH - 1);
        extend(id, 1);
        vm.warp(GENESIS + 4 * LENGTH);
        extendExpecting(id, 1, PRICE, abi.encodeWithSelector(ICapacityMarket.BookingOver.selector, id));
    }

    function test_a_provider_that_takes_its_offer_back_is_not_bound_for_longer() public {
        uint64 id = book(provider, 10, 2);
        market.list(provider, 9, PRICE);
        extendExpecting(id, 1, PRICE, abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, 10, 9));
    }

    function test_ending_credits_the_rest_after_the_notice() public {
        uint64 id = book(provider, 10, 8); // epochs 1 to 8
        vm.warp(GENESIS + 2 * LENGTH); // in epoch 2: 3 and 4 are the notice
        vm.assertEq(end(id), 5);
        vm.assertEq(market.credit(id), uint256(PRICE) * 10 * 4);
        vm.assertEq(market.booking(id).escrow, uint256(PRICE) * 10 * 4);
        vm.prank(BUILDER);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.NothingToEnd.selector, id));
        market.end(id);
    }

    function test_ending_drops_the_terms_that_never_begin() public {
        uint64 id = book(provider, 10, 4);
        market.list(provider, 1_000, PRICE * 3);
        extend(id, 5);
        market.list(provider, 1_000, PRICE * 7);
        extend(id, 1);
        vm.assertEq(end(id), 3);
        vm.assertEq(market.booking(id).terms.length, 1);
        vm.assertEq(market.booking(id).escrow, uint256(PRICE) * 10 * 2);
        vm.assertEq(market.credit(id), uint256(PRICE) * 10 * (2 + 3 * 5 + 7));
        (uint256 price,,) = market.priceIndex(CLASS, REGION);
        vm.assertEq(price, PRICE);
    }

    // Defence: ending needs notice; without it, a builder locks capacity that others want and pays for none of it.
    function test_ending_at_once() public {
        uint64 id = book(provider, 1_000, uint32(HORIZON));
        vm.assertEq(end(id), 3);
        vm.assertEq(market.booking(id).escrow, uint256(PRICE) * 1_000 * NOTICE);
    }

    function test_no_notice_towards_a_suspended_provider() public {
        uint64 id = book(provider, 10, 20); // epochs 1 to 20
        accept(0, bytes32("none"));
        failEpochs(provider, 3); // epochs 1 to 3; it is epoch 4
        vm.assertEq(end(id), 5);
        vm.assertEq(market.credit(id), uint256(PRICE) * 10 * 16);
    }

    function test_no_notice_while_nothing_is_judged() public {
        uint64 id = book(provider, 10, uint32(HORIZON));
        vm.warp(GENESIS + ESCAPE_DELAY - 1);
        vm.assertFalse(settlement.escapeOpen());
        vm.warp(GENESIS + ESCAPE_DELAY);
        vm.assertTrue(settlement.escapeOpen());
        uint64 next = market.nextEpoch();
        vm.assertEq(end(id), next);
        vm.assertEq(market.credit(id), uint256(PRICE) * 10 * (HORIZON + 1 - next));
    }

    function test_strangers_neither_end_nor_extend() public {
        uint64 id = book(provider, 10, 8);
        bytes memory failure = abi.encodeWithSelector(ICapacityMarket.OnlyBuilder.selector, id);
        vm.expectRevert(failure);
        market.end(id);
        vm.expectRevert(failure);
        market.extend(id, 1, ANY_PRICE);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.UnknownBooking.selector, 2));
        market.end(2);
    }

    function test_capacity_is_free_when_a_booking_is_over() public {
        uint64 id = book(provider, 10, 2);
        vm.warp(GENESIS + 3 * LENGTH - 1);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.BookingNotOver.selector, id));
        market.release(id);
        vm.warp(GENESIS + 3 * LENGTH);
        market.release(id);
        vm.assertEq(market.freeOf(provider), 1_000);
        // Defence: capacity is freed once; without it, this turns red and the provider can be overbooked.
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.AlreadyReleased.selector, id));
        market.release(id);
    }

    function test_a_provider_is_obliged_until_its_last_booking_ends() public {
        vm.assertEq(market.obligedUntil(provider), 0);
        uint64 id = book(provider, 10, 2);
        book(provider, 10, 7);
        vm.assertEq(market.obligedUntil(provider), endOf(7));
        extend(id, 9);
        vm.assertEq(market.obligedUntil(provider), endOf(11));
        vm.warp(endOf(11));
        market.release(1);
        vm.assertEq(market.obligedUntil(provider), endOf(11));
        market.release(2);
        vm.assertEq(market.obligedUntil(provider), 0);
    }

    function candidates(uint64 a, uint64 b, uint64 c) private pure returns (uint64[] memory list) {
        list = new uint64[](3);
        (list[0], list[1], list[2]) = (a, b, c);
    }

    function cheapestExpecting(uint64 gib, uint96 maxPrice, uint64[] memory list, bytes memory failure) private {
        vm.prank(BUILDER);
        vm.expectRevert(failure);
        market.bookCheapest(CLASS, REGION, gib, 2, maxPrice, list);
    }

    function test_the_cheapest_are_filled_first() public {
        uint64 cheap = listedProvider(100, 10);
        uint64 same = listedProvider(50, 10);
        uint256 before = token.balanceOf(BUILDER);
        vm.prank(BUILDER);
        (uint64 firstId, uint64 count) = market.bookCheapest(CLASS, REGION, 170, 2, PRICE, candidates(cheap, same, provider));
        vm.assertEq(firstId, 1);
        vm.assertEq(count, 3);
        vm.assertEq(before - token.balanceOf(BUILDER), 2 * (150 * 10 + 20 * uint256(PRICE)));
        vm.assertEq(market.booking(1).gib, 100);
        vm.assertEq(market.booking(2).providerId, same);
        vm.assertEq(market.booking(3).gib, 20);

        // full ones are passed over
        vm.prank(BUILDER);
        (firstId, count) = market.bookCheapest(CLASS, REGION, 1, 2, PRICE, candidates(cheap, same, provider));
        vm.assertEq(count, 1);
        vm.assertEq(market.booking(firstId).providerId, provider);
    }

    // Defence: candidates ascend by (price, id); without it, a dear one goes first, or the same one counts twice.
    function test_candidates_must_ascend() public {
        uint64 cheap = listedProvider(100, 10);
        uint64 same = listedProvider(50, 10);
        bytes4 selector = ICapacityMarket.NotAscending.selector;
        cheapestExpecting(1_001, PRICE, candidates(provider, cheap, same), abi.encodeWithSelector(selector, cheap));
        cheapestExpecting(150, PRICE, candidates(same, cheap, provider), abi.encodeWithSelector(selector, cheap));
        cheapestExpecting(150, PRICE, candidates(cheap, cheap, provider), abi.encodeWithSelector(selector, cheap));
    }

    function test_candidates_are_of_the_area_bookable_within_the_price_and_enough() public {
        uint64 cheap = listedProvider(100, 10);
        uint64 same = listedProvider(50, 10);
        uint64[] memory list = candidates(cheap, same, provider);
        cheapestExpecting(151, PRICE - 1, list, abi.encodeWithSelector(ICapacityMarket.PriceTooHigh.selector, PRICE, PRICE - 1));
        cheapestExpecting(1_151, PRICE, list, abi.encodeWithSelector(ICapacityMarket.NotEnoughCapacity.selector, 1_151, 1_150));
        vm.prank(BUILDER);
        vm.expectRevert(abi.encodeWithSelector(ICapacityMarket.WrongArea.selector, cheap));
        market.bookCheapest(CLASS, REGION + 1, 1, 2, PRICE, list);
        accept(0, bytes32("none"));
        failEpochs(cheap, 3);
        cheapestExpecting(1, PRICE, list, abi.encodeWithSelector(ICapacityMarket.NotBookable.selector, cheap));
        cheapestExpecting(1, PRICE, new uint64[](17), abi.encodeWithSelector(ICapacityMarket.TooManyCandidates.selector, 17, 16));
    }

    // Defence: what arrives is counted; without it, a token that keeps a fee leaves escrows without cover.
    function test_a_token_that_takes_a_fee_is_refused() public {
        FeeToken fee = new FeeToken();
        vm.etch(address(token), address(fee).code);
        bookExpecting(provider, 100, 1, PRICE, abi.encodeWithSelector(Deposit.DepositDiffers.selector, 100 * PRICE, 99 * PRICE));
        vm.expectRevert(abi.encodeWithSelector(Deposit.DepositDiffers.selector, 100, 99));
        market.fundSubsidy(100);
    }

    // Defence: an escrow fits its field with the credit beside it; without it, a settlement overflows and the epoch is stuck.
    function test_an_escrow_beyond_its_field() public {
        uint96 tenth = type(uint96).max / 10;
        market.list(provider, 1_000, tenth);
        bookExpecting(provider, 1, 11, tenth, abi.encodeWithSelector(TOO_LARGE, 96, 11 * uint256(tenth)));
        uint64 id = book(provider, 1, 10);
        vm.warp(validUntil(1) + 1);
        market.settleSkipped(id, 1);
        extendExpecting(id, 1, tenth, abi.encodeWithSelector(TOO_LARGE, 96, 11 * uint256(tenth)));
        market.withdrawCredit(id);
        extend(id, 1);
        vm.assertEq(market.booking(id).escrow, 10 * uint256(tenth));
    }

    function test_configurations_that_cannot_work() public {
        bytes memory failure = abi.encodeWithSelector(ICapacityMarket.InvalidConfig.selector);
        ICapacityMarket.Config memory c = marketConfig(0, 0);
        c.horizonEpochs = 0;
        configExpecting(c, failure);
        c = marketConfig(0, 0);
        c.noticeEpochs = HORIZON + 1;
        configExpecting(c, failure);
        c = marketConfig(1_000_001, 1);
        configExpecting(c, failure);
        c = marketConfig(0, 0);
        c.maxMarginPpm = MARGIN - 1;
        configExpecting(c, abi.encodeWithSelector(ICapacityMarket.InvalidFees.selector));
    }

    function configExpecting(ICapacityMarket.Config memory c, bytes memory failure) private {
        vm.expectRevert(failure);
        new CapacityMarket(c, fees(MARGIN, ORACLE_SHARE), OWNER);
    }

    function test_the_owner_sets_fees_within_limits_and_nobody_else() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this)));
        market.setFees(fees(1, 1));
        vm.startPrank(OWNER);
        bytes memory failure = abi.encodeWithSelector(ICapacityMarket.InvalidFees.selector);
        vm.expectRevert(failure);
        market.setFees(fees(300_001, 0));
        vm.expectRevert(failure);
        market.setFees(fees(0, 1_000_001));
        ICapacityMarket.Fees memory nowhere = fees(0, 0);
        nowhere.treasury = address(0);
        vm.expectRevert(failure);
        market.setFees(nowhere);
        market.setFees(fees(300_000, 1_000_000));
        vm.stopPrank();
        vm.assertEq(market.fees().marginPpm, 300_000);
    }
}

/// Keeps a hundredth of every transfer.
contract FeeToken is ERC20("Fee", "FEE") {
    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value - value / 100);
        if (from != address(0)) super._update(from, address(0xfee), value / 100);
    }
}

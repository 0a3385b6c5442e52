// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {ProviderRegistry} from "../src/ProviderRegistry.sol";
import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";
import {MarketFixture} from "./utils/MarketFixture.sol";

/// Leaving, with a market whose bookings bind the provider, and the terms that a provider may change.
contract ProviderExitTest is MarketFixture {
    uint64 internal id;

    function setUp() public {
        deployMarket(0, 0);
        id = listedProvider(1_000, 1_000);
    }

    function requestExpecting(bytes memory failure) private {
        vm.expectRevert(failure);
        providers.requestExit(id);
    }

    function withdrawExpecting(bytes memory failure) private {
        vm.expectRevert(failure);
        providers.withdraw(id);
    }

    function obliged() private view returns (bytes memory) {
        return abi.encodeWithSelector(IProviderRegistry.StillObliged.selector, market.obligedUntil(id));
    }

    function test_an_exit_unbonds_and_pays_once() public {
        withdrawExpecting(abi.encodeWithSelector(IProviderRegistry.NotExiting.selector, id));
        vm.expectEmit(address(providers));
        emit IProviderRegistry.ExitRequested(id, block.timestamp + UNBONDING);
        providers.requestExit(id);
        vm.assertFalse(providers.provider(id).active);
        vm.assertEq(providers.capacityOf(id), 0);
        requestExpecting(abi.encodeWithSelector(IProviderRegistry.NotActive.selector, id));
        vm.warp(GENESIS + UNBONDING - 1);
        withdrawExpecting(abi.encodeWithSelector(IProviderRegistry.StillBonded.selector, GENESIS + UNBONDING));
        vm.warp(GENESIS + UNBONDING);
        uint256 before = token.balanceOf(address(this));
        providers.withdraw(id);
        vm.assertEq(token.balanceOf(address(this)), before + 1_000 * STAKE_PER_GIB);
        withdrawExpecting(abi.encodeWithSelector(IProviderRegistry.AlreadyWithdrawn.selector, id));
        vm.assertEq(token.balanceOf(address(providers)), 0);
    }

    // Defence: bookings bind; without it, a provider takes its stake and leaves its builders' data behind.
    function test_no_exit_while_bookings_bind() public {
        book(id, 10, 4);
        uint256 until = market.obligedUntil(id);
        requestExpecting(obliged());
        vm.warp(until - 1);
        requestExpecting(obliged());
        vm.warp(until);
        providers.requestExit(id);
    }

    // Defence: who exits has nothing to book; without it, new bookings keep the provider bound for ever, or are never served.
    function test_who_exits_is_booked_no_more() public {
        providers.requestExit(id);
        vm.prank(BUILDER);
        (bool booked,) = address(market).call(abi.encodeCall(market.book, (id, 10, 4, ANY_PRICE)));
        vm.assertFalse(booked);
        vm.assertEq(market.obligedUntil(id), 0);
    }

    // Defence: stake is slashed until it is paid out; without it, an exit escapes the last epochs' slashes.
    function test_an_exit_does_not_escape_a_slash() public {
        providers.requestExit(id);
        vm.warp(GENESIS + UNBONDING - 1);
        vm.prank(address(settlement));
        vm.assertEq(providers.slash(id, 100e18), 100e18);
        vm.warp(GENESIS + UNBONDING);
        uint256 before = token.balanceOf(address(this));
        providers.withdraw(id);
        vm.assertEq(token.balanceOf(address(this)), before + 900e18);
    }

    function test_the_escape_opens_exits_whatever_binds() public {
        book(id, 10, 29_000);
        requestExpecting(obliged());
        vm.warp(GENESIS + ESCAPE_DELAY);
        providers.requestExit(id);
        providers.withdraw(id);
        vm.assertEq(token.balanceOf(address(providers)), 0);
    }

    function test_exits_are_the_operators() public {
        bytes memory failure = abi.encodeWithSelector(IProviderRegistry.OnlyOperator.selector, id);
        vm.startPrank(address(0xbad));
        requestExpecting(failure);
        withdrawExpecting(failure);
        vm.expectRevert(failure);
        providers.declareCapacity(id, 1);
        vm.expectRevert(failure);
        providers.addStake(id, 1);
        vm.expectRevert(failure);
        providers.setEndpoint(id, "x");
        vm.expectRevert(failure);
        providers.setRecipient(id, address(1));
        vm.expectRevert(failure);
        providers.setReceiptKey(id, address(1));
        vm.stopPrank();
    }

    // Defence: the unbonding outlasts every report about the provider, its windows and the evidence; shorter, it is refused.
    function test_a_short_unbonding_is_refused() public {
        uint64 least = (2 + VALID_EPOCHS) * LENGTH + SLASH_WINDOW + EVIDENCE;
        IProviderRegistry.Terms memory terms = providerTerms();
        terms.unbondingSeconds = least - 1;
        ProviderRegistry hasty = new ProviderRegistry(token, 1, terms);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.UnbondingTooShort.selector, least - 1, least));
        hasty.setSettlement(address(settlement));
        terms.unbondingSeconds = least;
        new ProviderRegistry(token, 1, terms).setSettlement(address(settlement));
    }

    function test_the_market_is_set_once_by_the_owner() public {
        vm.expectRevert(IProviderRegistry.MarketAlreadySet.selector);
        providers.setMarket(address(1));
        ProviderRegistry fresh = new ProviderRegistry(token, 1, providerTerms());
        vm.expectRevert(IProviderRegistry.ZeroAddress.selector);
        fresh.setMarket(address(0));
        vm.prank(address(0xbad));
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(0xbad)));
        fresh.setMarket(address(1));
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ProviderRegistry} from "../src/ProviderRegistry.sol";
import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";
import {Deposit} from "../src/libraries/Deposit.sol";
import {Fixture} from "./utils/Fixture.sol";
import {HostileToken, IHook} from "./utils/HostileToken.sol";

/// A delegator that withdraws again from within its withdrawal.
contract GreedyDelegator is IHook {
    ProviderRegistry private immutable REGISTRY;
    uint256 public refused;

    constructor(ProviderRegistry registry) {
        REGISTRY = registry;
    }

    function delegateAll(HostileToken token) external {
        uint256 amount = token.balanceOf(address(this));
        token.approve(address(REGISTRY), amount);
        REGISTRY.undelegate(1, REGISTRY.delegate(1, amount));
    }

    function withdraw() external {
        REGISTRY.withdrawDelegation(1);
    }

    function onTransfer() external {
        try REGISTRY.withdrawDelegation(1) {}
        catch {
            ++refused;
        }
    }
}

/// Stakes of others behind a provider.
contract DelegationTest is Fixture {
    address internal constant ALICE = address(0xa1);
    address internal constant BOB = address(0xb2);
    address internal constant BURN = address(0xdEaD);

    function setUp() public {
        deploy();
        registerProvider();
        endow(ALICE);
        endow(BOB);
    }

    function endow(address who) private {
        token.mint(who, 1e30);
        vm.prank(who);
        token.approve(address(providers), type(uint256).max);
    }

    function delegate(address who, uint256 amount) private returns (uint256) {
        vm.prank(who);
        return providers.delegate(1, amount);
    }

    function undelegate(address who, uint256 shares) private {
        vm.prank(who);
        providers.undelegate(1, shares);
    }

    function withdraw(address who) private returns (uint256) {
        vm.prank(who);
        return providers.withdrawDelegation(1);
    }

    function withdrawExpecting(address who, bytes memory failure) private {
        vm.prank(who);
        vm.expectRevert(failure);
        providers.withdrawDelegation(1);
    }

    function slash(uint256 amount) private returns (uint256) {
        vm.prank(address(settlement));
        return providers.slash(1, amount);
    }

    function delegated() private view returns (uint256 amount) {
        (, amount) = providers.stakeTotalOf(1);
    }

    function test_delegated_stake_comes_back_after_the_unbonding() public {
        vm.expectEmit(address(providers));
        emit IProviderRegistry.Delegated(1, ALICE, 50e18, 50e18);
        vm.assertEq(delegate(ALICE, 50e18), 50e18);
        vm.assertEq(providers.stakeOf(1), STAKE + 50e18);
        vm.assertEq(providers.provider(1).stake, STAKE);
        vm.assertEq(delegated(), 50e18);

        undelegate(ALICE, 20e18);
        IProviderRegistry.Delegation memory d = providers.delegation(1, ALICE);
        vm.assertEq(d.shares, 30e18);
        vm.assertEq(d.leaving, 20e18);
        vm.assertEq(d.withdrawableAt, GENESIS + UNBONDING);
        vm.warp(GENESIS + UNBONDING - 1);
        withdrawExpecting(ALICE, abi.encodeWithSelector(IProviderRegistry.StillBonded.selector, GENESIS + UNBONDING));
        vm.warp(GENESIS + UNBONDING);
        vm.assertEq(withdraw(ALICE), 20e18);
        withdrawExpecting(ALICE, abi.encodeWithSelector(IProviderRegistry.NothingLeaving.selector));
        vm.assertEq(delegated(), 30e18);
        vm.assertEq(token.balanceOf(address(providers)), STAKE + 30e18);
    }

    // Defence: the own stake stands in front; in another order, a provider gambles with the stakes of others.
    function test_a_slash_takes_the_own_stake_first_and_then_all_delegators_alike() public {
        delegate(ALICE, 30e18);
        delegate(BOB, 10e18);
        vm.assertEq(slash(STAKE), STAKE);
        vm.assertEq(delegated(), 40e18);
        vm.assertEq(slash(20e18), 20e18);
        vm.assertEq(delegated(), 20e18);
        undelegate(ALICE, 30e18);
        undelegate(BOB, 10e18);
        vm.warp(GENESIS + UNBONDING);
        vm.assertEq(withdraw(ALICE), 15e18);
        vm.assertEq(withdraw(BOB), 5e18);
        vm.assertEq(token.balanceOf(BURN), STAKE + 20e18);
        vm.assertEq(token.balanceOf(address(providers)), 0);
    }

    // Defence: leaving shares stay in the pool; taken out at the request, who sees a slash coming lets the others pay it.
    function test_who_is_leaving_is_slashed_with_the_others() public {
        delegate(ALICE, 10e18);
        delegate(BOB, 10e18);
        undelegate(ALICE, 10e18);
        slash(STAKE + 10e18);
        vm.warp(GENESIS + UNBONDING);
        vm.assertEq(withdraw(ALICE), 5e18);
    }

    // Defence: new shares are bought at the price that slashes left; at par, the newcomer pays for slashes before its time.
    function test_a_newcomer_does_not_pay_for_the_past() public {
        delegate(ALICE, 30e18);
        slash(STAKE + 15e18);
        vm.assertEq(delegate(BOB, 15e18), 30e18);
        undelegate(BOB, 30e18);
        vm.warp(GENESIS + UNBONDING);
        vm.assertEq(withdraw(BOB), 15e18);
    }

    // Defence: a pool that lost all takes no new stake while old shares remain; without it, the old ones own what is new.
    function test_a_pool_that_lost_all_takes_nothing() public {
        delegate(ALICE, 30e18);
        slash(STAKE + 30e18);
        vm.prank(BOB);
        vm.expectRevert(IProviderRegistry.NoShares.selector);
        providers.delegate(1, 1e18);
        undelegate(ALICE, 30e18);
        vm.warp(GENESIS + UNBONDING);
        vm.assertEq(withdraw(ALICE), 0);
        vm.assertEq(delegate(BOB, 1e18), 1e18);
    }

    // Defence: tokens given away do not count; counted, the first delegator raises the price of a share until others get none.
    function test_gifts_do_not_move_the_price() public {
        delegate(ALICE, 1);
        vm.prank(ALICE);
        token.transfer(address(providers), 1e24);
        vm.assertEq(delegate(BOB, 10), 10);
    }

    function test_nothing_is_no_delegation() public {
        vm.prank(ALICE);
        vm.expectRevert(IProviderRegistry.NoShares.selector);
        providers.delegate(1, 0);
        vm.expectRevert(IProviderRegistry.ZeroAmount.selector);
        providers.undelegate(1, 0);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.TooFewShares.selector, 1, 0));
        providers.undelegate(1, 1);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.UnknownProvider.selector, 2));
        providers.delegate(2, 1);
        providers.requestExit(1);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.NotActive.selector, 1));
        providers.delegate(1, 1);
    }

    // Defence: asking for more starts the time anew; without it, one small old request unbonds everything at once.
    function test_a_later_request_unbonds_later() public {
        delegate(ALICE, 10e18);
        undelegate(ALICE, 1);
        vm.warp(GENESIS + UNBONDING - 1);
        undelegate(ALICE, 5e18);
        vm.warp(GENESIS + UNBONDING);
        withdrawExpecting(ALICE, abi.encodeWithSelector(IProviderRegistry.StillBonded.selector, GENESIS + 2 * UNBONDING - 1));
    }

    function test_the_escape_opens_delegations_at_once() public {
        delegate(ALICE, 10e18);
        undelegate(ALICE, 10e18);
        vm.warp(GENESIS + ESCAPE_DELAY);
        undelegateNothing();
        vm.assertEq(withdraw(ALICE), 10e18);
    }

    function undelegateNothing() private {
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.TooFewShares.selector, 1, 0));
        providers.undelegate(1, 1);
    }

    function test_delegated_stake_backs_capacity_until_it_leaves() public {
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.StakeTooLow.selector, STAKE, 150 * STAKE_PER_GIB));
        providers.declareCapacity(1, 150);
        delegate(ALICE, 50 * STAKE_PER_GIB);
        providers.declareCapacity(1, 150);
        vm.assertEq(providers.capacityOf(1), 150);
        undelegate(ALICE, 20e18);
        vm.assertEq(providers.capacityOf(1), 130);
        vm.assertEq(delegated(), 50e18);
        slash(10e18);
        vm.assertEq(providers.capacityOf(1), 120);
        slash(90e18 + 25e18);
        vm.assertEq(providers.capacityOf(1), 15);
    }

    /// Whoever goes in and out gains nothing, and nobody else loses, whatever was slashed in between.
    // Defence: both roundings favour the pool; either the other way, this turns red.
    function testFuzz_roundings_favour_those_who_stay(uint96 first, uint96 second, uint96 slashed) public {
        first = uint96(bound(first, 1, type(uint96).max - 1));
        second = uint96(bound(second, 1, type(uint96).max - 1));
        delegate(ALICE, first);
        slash(STAKE + bound(slashed, 0, first - 1));
        uint256 before = delegated();
        (, uint256 sharesBefore,) = providers.poolOf(1);
        if (uint256(second) * sharesBefore / before == 0) return;
        uint256 shares = delegate(BOB, second);
        undelegate(BOB, shares);
        vm.warp(GENESIS + UNBONDING);
        vm.assertLe(withdraw(BOB), second);
        vm.assertLe(before, delegated());
        undelegate(ALICE, first);
        vm.warp(GENESIS + 2 * UNBONDING);
        withdraw(ALICE);
        (uint256 assets, uint256 left, uint256 leaving) = providers.poolOf(1);
        vm.assertEq(assets + left + leaving, 0);
        vm.assertEq(token.balanceOf(address(providers)), 0);
    }

    // Defence: what arrived is compared with what is credited; without it, a fee on transfers is paid from others' stakes.
    function test_a_token_that_keeps_a_fee_is_refused() public {
        HostileToken hostile = hostileRegistry();
        hostile.setFee(1);
        vm.expectRevert(abi.encodeWithSelector(Deposit.DepositDiffers.selector, 10, 9));
        providers.delegate(1, 10);
        vm.expectRevert(abi.encodeWithSelector(Deposit.DepositDiffers.selector, 10, 9));
        providers.addStake(1, 10);
        vm.expectRevert(abi.encodeWithSelector(Deposit.DepositDiffers.selector, STAKE, STAKE - 1));
        registerProvider();
    }

    // Defence: shares are gone before tokens move; without it, a delegator is paid twice from within.
    function test_a_reentrant_token_pays_once() public {
        HostileToken hostile = hostileRegistry();
        providers.undelegate(1, providers.delegate(1, 10e18)); // what there is to take
        GreedyDelegator greedy = new GreedyDelegator(providers);
        hostile.mint(address(greedy), 10e18);
        greedy.delegateAll(hostile);
        vm.warp(GENESIS + UNBONDING);
        hostile.setHook(greedy);
        greedy.withdraw();
        vm.assertEq(greedy.refused(), 1);
        vm.assertEq(hostile.balanceOf(address(greedy)), 10e18);
        vm.assertEq(hostile.balanceOf(address(providers)), STAKE + 10e18);
    }

    /// A registry that takes a hostile token, with one provider.
    function hostileRegistry() private returns (HostileToken hostile) {
        hostile = new HostileToken();
        providers = new ProviderRegistry(hostile, 1, providerTerms());
        hostile.mint(address(this), 1e30);
        hostile.approve(address(providers), type(uint256).max);
        registerProvider();
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import {CapacityMarket} from "../src/CapacityMarket.sol";
import {ICapacityMarket} from "../src/interfaces/ICapacityMarket.sol";
import {Deposit} from "../src/libraries/Deposit.sol";
import {MarketFixture} from "./utils/MarketFixture.sol";

/// A token that calls whoever sends or receives, and what a hostile one makes of it.
contract MarketReentrancyTest is MarketFixture {
    uint96 internal constant PRICE = 1_000_000;

    uint64 internal provider;
    Intruder internal intruder;

    function setUp() public {
        deployMarket(0, 0);
        provider = listedProvider(1_000, PRICE);
        vm.etch(address(token), address(new CallingToken()).code);
        intruder = new Intruder(market);
        token.mint(address(intruder), 1e18);
        vm.prank(address(intruder));
        token.approve(address(market), type(uint256).max);
        CallingToken(address(token)).watch(address(intruder));
    }

    // Defence: a credit is gone before it is sent; without it, it is drawn as often as there is money of others.
    function test_a_builder_that_draws_its_credit_while_it_is_paid() public {
        book(provider, 100, 1); // another's escrow
        vm.prank(address(intruder));
        uint64 id = market.book(provider, 10, 1, PRICE);
        vm.warp(validUntil(1) + 1);
        market.settleSkipped(id, 1);
        uint256 before = token.balanceOf(address(intruder));
        intruder.arm(abi.encodeCall(market.withdrawCredit, (id)));
        market.withdrawCredit(id);
        vm.assertEq(token.balanceOf(address(intruder)) - before, uint256(PRICE) * 10);
        vm.assertEq(bytes32(intruder.failure()), bytes32(abi.encodeWithSelector(ICapacityMarket.NothingDue.selector)));
    }

    // Defence: earnings are gone before they are sent; without it, this turns red.
    function test_a_provider_that_draws_its_earnings_while_it_is_paid() public {
        uint64 id = book(provider, 100, 2);
        providers.setRecipient(provider, address(intruder));
        accept(0, bytes32("none"));
        settleOne(id, provider, 1, PASS, FULL);
        uint256 due = market.earnings(provider);
        uint256 before = token.balanceOf(address(intruder));
        intruder.arm(abi.encodeCall(market.withdrawEarnings, (provider)));
        market.withdrawEarnings(provider);
        vm.assertEq(token.balanceOf(address(intruder)) - before, due);
        vm.assertEq(bytes32(intruder.failure()), bytes32(abi.encodeWithSelector(ICapacityMarket.NothingDue.selector)));
    }

    // Defence: a deposit is what arrived during it, neither more nor less; without it, tokens that come in twice at once hide a fee.
    function test_a_deposit_inside_a_deposit() public {
        intruder.arm(abi.encodeCall(market.fundSubsidy, (5)));
        vm.prank(address(intruder));
        vm.expectRevert(abi.encodeWithSelector(Deposit.DepositDiffers.selector, uint256(PRICE) * 10, uint256(PRICE) * 10 + 5));
        market.book(provider, 10, 1, PRICE);
    }

    // Defence: everybody draws for himself; without it, a recipient that refuses stops the pay of others.
    function test_a_recipient_that_refuses_stops_nobody_else() public {
        uint64 id = book(provider, 100, 2);
        providers.setRecipient(provider, address(intruder));
        intruder.refuse();
        accept(0, bytes32("none"));
        settleOne(id, provider, 1, PASS, FULL / 2);
        vm.expectRevert(bytes("refused"));
        market.withdrawEarnings(provider);
        market.withdrawCredit(id);
        market.payOracles();
        market.payTreasury();
        vm.assertTrue(market.earnings(provider) > 0);
    }
}

/// Calls a watched account whenever tokens leave or reach it.
contract CallingToken is ERC20("Calling", "CALL") {
    mapping(address => bool) private _watched;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function watch(address account) external {
        _watched[account] = true;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (_watched[from]) Intruder(from).moved();
        if (_watched[to]) Intruder(to).moved();
    }
}

contract Intruder {
    CapacityMarket private immutable MARKET;
    bytes private _call;
    bool private _refuses;
    bytes public failure;

    constructor(CapacityMarket market) {
        MARKET = market;
    }

    /// The call that the next movement of tokens brings, once.
    function arm(bytes calldata call_) external {
        _call = call_;
    }

    function refuse() external {
        _refuses = true;
    }

    function moved() external {
        require(!_refuses, "refused");
        bytes memory call_ = _call;
        if (call_.length == 0) return;
        delete _call;
        (bool done, bytes memory reason) = address(MARKET).call(call_);
        if (!done) failure = reason;
    }
}

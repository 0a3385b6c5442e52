// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Committee} from "../src/libraries/Committee.sol";
import {IOracleRegistry} from "../src/interfaces/IOracleRegistry.sol";
import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";
import {Fixture} from "./utils/Fixture.sol";

/// Three providers and three delegators do anything in any order. Counts what went in and out on its own.
contract ProviderHandler is Fixture {
    uint256 public paidIn;
    uint256 public paidOut;
    uint256[4] public exits; // by provider

    constructor() {
        deploy();
        for (uint256 i = 0; i < 3; ++i) {
            registerProvider();
            address who = delegator(i);
            token.mint(who, type(uint128).max);
            vm.prank(who);
            token.approve(address(providers), type(uint256).max);
        }
        paidIn = 3 * STAKE;
    }

    function delegator(uint256 i) public pure returns (address) {
        return address(uint160(0xd000 + i % 3));
    }

    function addStake(uint64 id, uint96 amount) external {
        id = id % 3 + 1;
        if (amount == 0 || !providers.provider(id).active) return;
        providers.addStake(id, amount);
        paidIn += amount;
    }

    function delegate(uint256 who, uint64 id, uint96 amount) external {
        id = id % 3 + 1;
        (uint256 assets, uint256 shares,) = providers.poolOf(id);
        if (!providers.provider(id).active || amount == 0) return;
        if (shares != 0 && (assets == 0 || uint256(amount) * shares / assets == 0)) return;
        if (shares > type(uint120).max) return; // a price this low is not reached by honest slashes
        vm.prank(delegator(who));
        providers.delegate(id, amount);
        paidIn += amount;
    }

    function undelegate(uint256 who, uint64 id, uint256 part) external {
        id = id % 3 + 1;
        uint256 held = providers.delegation(id, delegator(who)).shares;
        if (held == 0) return;
        vm.prank(delegator(who));
        providers.undelegate(id, bound(part, 1, held));
    }

    function withdrawDelegation(uint256 who, uint64 id) external {
        id = id % 3 + 1;
        IProviderRegistry.Delegation memory d = providers.delegation(id, delegator(who));
        if (d.leaving == 0 || block.timestamp < d.withdrawableAt) return;
        vm.prank(delegator(who));
        paidOut += providers.withdrawDelegation(id);
    }

    function slash(uint64 id, uint96 amount) external {
        vm.prank(address(settlement));
        providers.slash(id % 3 + 1, amount);
    }

    function requestExit(uint64 id) external {
        id = id % 3 + 1;
        if (providers.provider(id).active) providers.requestExit(id);
    }

    /// Tries whether it may or not.
    function withdraw(uint64 id) external {
        id = id % 3 + 1;
        uint256 stake = providers.provider(id).stake;
        try providers.withdraw(id) {
            paidOut += stake;
            ++exits[id];
        } catch {}
    }

    function wait_(uint16 time) external {
        vm.warp(block.timestamp + time);
    }

    function checkMoney() external view {
        uint256 held = token.balanceOf(address(providers));
        vm.assertEq(held + paidOut + token.balanceOf(address(0xdEaD)), paidIn);
        uint256 owned = 0;
        for (uint64 id = 1; id <= 3; ++id) {
            (uint256 own, uint256 delegated) = providers.stakeTotalOf(id);
            vm.assertEq(providers.stakeOf(id), own + delegated);
            owned += own + delegated;
        }
        vm.assertEq(held, owned);
    }

    function checkShares() external view {
        for (uint64 id = 1; id <= 3; ++id) {
            (uint256 assets, uint256 shares, uint256 leaving) = providers.poolOf(id);
            (uint256 held, uint256 going) = (0, 0);
            for (uint256 i = 0; i < 3; ++i) {
                IProviderRegistry.Delegation memory d = providers.delegation(id, delegator(i));
                held += d.shares;
                going += d.leaving;
            }
            vm.assertEq(shares, held + going);
            vm.assertEq(leaving, going);
            if (shares == 0) vm.assertEq(assets, 0);
            vm.assertLe(exits[id], 1);
        }
    }
}

/// Up to eight oracles come, go, and are slashed. Sets are built whenever one may be.
contract OracleHandler is Fixture {
    address internal constant COURT = address(0xc0);
    address internal constant CHALLENGER = address(0xc1);

    uint256 public paidIn;
    uint256 public paidOut;
    uint256[9] public exits; // by oracle

    constructor() {
        deployWithCommittee(2);
        settlement.setCourt(COURT, true);
        paidIn = 2 * STAKE;
    }

    function register(uint64 stake) external {
        uint64 count = oracles.oracleCount();
        if (count == 8) return;
        uint256 amount = 1e18 + uint256(stake);
        registerOracle(count, amount);
        paidIn += amount;
    }

    function addStake(uint64 id, uint64 amount) external {
        id = anyone(id);
        if (amount == 0) return;
        try oracles.addStake(id, amount) {
            paidIn += amount;
        } catch {}
    }

    function slash(uint64 id, uint128 amount, uint128 reward) external {
        id = anyone(id);
        vm.prank(COURT);
        oracles.slash(id, amount, CHALLENGER, bound(reward, 0, amount));
    }

    function requestExit(uint64 id) external {
        try oracles.requestExit(anyone(id)) {} catch {}
    }

    function rejoin(uint64 id) external {
        try oracles.rejoin(anyone(id)) {} catch {}
    }

    /// Tries whether it may or not.
    function withdraw(uint64 id) external {
        id = anyone(id);
        uint256 stake = oracles.stakeOf(id);
        try oracles.withdraw(id) {
            paidOut += stake;
            ++exits[id];
        } catch {}
    }

    function build() external {
        try oracles.buildSnapshot(256) {
            checkCommittee();
        } catch {}
    }

    function wait_(uint16 time) external {
        vm.warp(block.timestamp + time);
    }

    function anyone(uint64 id) private view returns (uint64) {
        return id % oracles.oracleCount() + 1;
    }

    /// A fresh set is exactly the active, in ascending order, with their present keys.
    function checkCommittee() private view {
        Committee.Member[] memory members = oracles.committee(oracles.currentSet());
        uint256 found = 0;
        for (uint64 id = 1; id <= oracles.oracleCount(); ++id) {
            IOracleRegistry.Oracle memory o = oracles.oracle(id);
            if (!o.active) continue;
            vm.assertEq(members[found].oracleId, id);
            vm.assertEq(members[found].blsKey, o.blsKey);
            vm.assertLe(1e18, o.stake);
            ++found;
        }
        vm.assertEq(found, members.length);
    }

    function checkMoney() external view {
        uint256 held = token.balanceOf(address(oracles));
        uint256 out = paidOut + token.balanceOf(address(0xdEaD)) + token.balanceOf(CHALLENGER);
        vm.assertEq(held + out, paidIn);
        uint256 owned = 0;
        for (uint64 id = 1; id <= oracles.oracleCount(); ++id) {
            owned += oracles.stakeOf(id);
        }
        vm.assertEq(held, owned);
    }

    function checkPlaces() external view {
        uint256 active = 0;
        for (uint64 id = 1; id <= oracles.oracleCount(); ++id) {
            if (oracles.oracle(id).active) ++active;
            vm.assertLe(exits[id], 1);
        }
        vm.assertEq(oracles.activeCount(), active);
    }
}

contract RegistryInvariant is Fixture {
    ProviderHandler internal ofProviders;
    OracleHandler internal ofOracles;
    address[] internal targets;

    function setUp() public {
        ofProviders = new ProviderHandler();
        ofOracles = new OracleHandler();
        targets.push(address(ofProviders));
        targets.push(address(ofOracles));
    }

    function targetContracts() public view returns (address[] memory) {
        return targets;
    }

    // Defence: every token is a stake of somebody, and moves once; an exit or redemption paid twice turns this red.
    function invariant_balances_are_deposits_less_withdrawals_and_slashes() public view {
        ofProviders.checkMoney();
        ofOracles.checkMoney();
    }

    // Defence: shares are moved, never copied, and exits are paid once; without it, this turns red.
    function invariant_shares_and_places_are_conserved() public view {
        ofProviders.checkShares();
        ofOracles.checkPlaces();
    }
}

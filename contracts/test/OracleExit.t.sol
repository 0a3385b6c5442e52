// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {OracleRegistry} from "../src/OracleRegistry.sol";
import {IOracleRegistry} from "../src/interfaces/IOracleRegistry.sol";
import {Deposit} from "../src/libraries/Deposit.sol";
import {HostileToken, IHook} from "./utils/HostileToken.sol";
import {OracleFixture} from "./utils/OracleFixture.sol";

/// An operator that withdraws again from within its withdrawal.
contract GreedyOperator is IHook {
    OracleRegistry private immutable REGISTRY;
    uint64 private id;
    uint256 public refused;

    constructor(OracleRegistry registry) {
        REGISTRY = registry;
    }

    function register(HostileToken token, bytes calldata key, bytes calldata pop, uint256 stake) external {
        token.approve(address(REGISTRY), stake);
        id = REGISTRY.register(key, pop, "http://oracle", address(this), address(this), 1, stake);
    }

    function exit() external {
        REGISTRY.requestExit(id);
    }

    function withdraw() external {
        REGISTRY.withdraw(id);
    }

    function onTransfer() external {
        try REGISTRY.withdraw(id) {}
        catch {
            ++refused;
        }
    }
}

/// Leaving, unbonding, and being slashed on the way.
contract OracleExitTest is OracleFixture {
    address internal constant COURT = address(0xc0);
    address internal constant CHALLENGER = address(0xc1);
    address internal constant BURN = address(0xdEaD);
    uint256 internal constant NEVER = type(uint256).max;

    function setUp() public {
        deployWithCommittee(3);
        settlement.setCourt(COURT, true);
    }

    function slash(uint64 oracleId, uint256 amount, uint256 reward) private returns (uint256) {
        vm.prank(COURT);
        return oracles.slash(oracleId, amount, CHALLENGER, reward);
    }

    function withdrawExpecting(uint64 oracleId, bytes memory failure) private {
        vm.expectRevert(failure);
        oracles.withdraw(oracleId);
    }

    function stillBonded(uint256 until) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IOracleRegistry.StillBonded.selector, until);
    }

    function test_an_exit_takes_effect_in_the_next_set_and_unbonds_from_there() public {
        vm.expectEmit(address(oracles));
        emit IOracleRegistry.ExitRequested(2, 2);
        oracles.requestExit(2);
        vm.assertFalse(oracles.oracle(2).active);
        vm.assertEq(oracles.activeCount(), 2);
        assertMembers(ids(1, 2, 3));
        vm.assertEq(oracles.withdrawableAt(2), NEVER);

        vm.warp(GENESIS + 30);
        oracles.buildSnapshot(3);
        assertMembers(ids(1, 3));
        vm.assertEq(oracles.withdrawableAt(2), GENESIS + 30 + UNBONDING);
        vm.warp(GENESIS + 30 + UNBONDING);
        uint256 before = token.balanceOf(address(this));
        oracles.withdraw(2);
        vm.assertEq(token.balanceOf(address(this)), before + STAKE);
        vm.assertEq(oracles.stakeOf(2), 0);
        vm.assertEq(token.balanceOf(address(oracles)), 2 * STAKE);
    }

    // Defence: the unbonding starts with the first set without the oracle; counted from the request, it signs on with nothing at stake.
    function test_a_member_of_the_current_set_stays_bonded() public {
        oracles.requestExit(2);
        vm.warp(GENESIS + 6 days);
        withdrawExpecting(2, stillBonded(NEVER));
        oracles.buildSnapshot(3);
        withdrawExpecting(2, stillBonded(GENESIS + 6 days + UNBONDING));
    }

    // Defence: a set that was begun before the exit still holds the oracle; without the extra set, it is paid out as a member.
    function test_an_exit_while_a_set_is_built_waits_for_the_one_after() public {
        for (uint256 i = 3; i < 98; ++i) {
            registerOracle(i, STAKE);
        }
        vm.assertFalse(oracles.buildSnapshot(1));
        oracles.requestExit(98);
        vm.assertTrue(oracles.buildSnapshot(1));
        vm.assertEq(members().length, 98);
        vm.assertEq(oracles.withdrawableAt(98), NEVER);
        vm.assertTrue(oracles.buildSnapshot(98));
        vm.assertEq(members().length, 97);
        vm.assertEq(oracles.withdrawableAt(98), block.timestamp + UNBONDING);
    }

    function test_who_was_never_in_a_set_unbonds_at_once() public {
        deploy();
        registerOracle(0, STAKE);
        oracles.requestExit(1);
        vm.assertEq(oracles.withdrawableAt(1), GENESIS + UNBONDING);
    }

    // Defence: an exit is paid once; without it, the second withdrawal takes another's stake.
    function test_no_double_exit() public {
        oracles.requestExit(2);
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.AlreadyExiting.selector, 2));
        oracles.requestExit(2);
        oracles.buildSnapshot(3);
        vm.warp(GENESIS + UNBONDING);
        oracles.withdraw(2);
        withdrawExpecting(2, abi.encodeWithSelector(IOracleRegistry.AlreadyWithdrawn.selector, 2));
        withdrawExpecting(1, abi.encodeWithSelector(IOracleRegistry.NotExiting.selector, 1));
    }

    // Defence: who exits comes back by no way; without it, a withdrawn oracle without stake renews sets, or votes, for gas alone.
    function test_who_exits_changes_the_committee_no_more() public {
        oracles.requestExit(2);
        bytes memory failure = abi.encodeWithSelector(IOracleRegistry.AlreadyExiting.selector, 2);
        vm.expectRevert(failure);
        oracles.rejoin(2);
        vm.expectRevert(failure);
        oracles.addStake(2, 1);
        bytes memory key = keyOf(50);
        bytes memory pop = popOf(50, address(this));
        vm.expectRevert(failure);
        oracles.rotateKey(2, key, pop);
    }

    function test_the_escape_opens_exits_at_once() public {
        oracles.requestExit(1);
        withdrawExpecting(1, stillBonded(NEVER));
        vm.warp(GENESIS + ESCAPE_DELAY - 1);
        withdrawExpecting(1, stillBonded(NEVER));
        vm.warp(GENESIS + ESCAPE_DELAY);
        oracles.withdraw(1);
        vm.assertEq(token.balanceOf(address(oracles)), 2 * STAKE);
    }

    function test_a_slash_pays_the_challenger_and_burns_the_rest() public {
        vm.expectEmit(address(oracles));
        emit IOracleRegistry.OracleSlashed(2, COURT, 40e18, CHALLENGER, 4e18);
        vm.assertEq(slash(2, 40e18, 4e18), 40e18);
        vm.assertEq(oracles.stakeOf(2), STAKE - 40e18);
        vm.assertEq(token.balanceOf(CHALLENGER), 4e18);
        vm.assertEq(token.balanceOf(BURN), 36e18);
        oracles.buildSnapshot(3);
        vm.assertEq(members()[1].weight, 60 * 65535 / 100);
    }

    // Defence: a court slashes who is unbonding; without it, whoever hurries leaves unpunished.
    function test_an_exit_does_not_escape_a_slash() public {
        oracles.requestExit(2);
        oracles.buildSnapshot(3);
        slash(2, 30e18, 0);
        vm.warp(GENESIS + UNBONDING);
        uint256 before = token.balanceOf(address(this));
        oracles.withdraw(2);
        vm.assertEq(token.balanceOf(address(this)), before + 70e18);
        vm.assertEq(slash(2, 30e18, 1e18), 0);
        vm.assertEq(token.balanceOf(CHALLENGER), 0);
    }

    // Defence: a reward shrinks with what is left to slash; without it, the last of a stake goes whole to the oracle's own challenger.
    function test_a_reward_is_in_proportion_to_what_was_slashed() public {
        slash(2, 90e18, 0);
        vm.assertEq(slash(2, 100e18, 10e18), 10e18);
        vm.assertEq(token.balanceOf(CHALLENGER), 1e18);
        vm.assertEq(token.balanceOf(BURN), 99e18);
    }

    // Defence: courts alone slash; without it, anyone takes any stake.
    function test_a_stranger_cannot_slash() public {
        vm.expectRevert(IOracleRegistry.OnlyCourt.selector);
        oracles.slash(2, 1, CHALLENGER, 1);
        OracleRegistry fresh = new OracleRegistry(token, 1, 0, oracleTerms());
        vm.prank(COURT);
        vm.expectRevert(IOracleRegistry.OnlyCourt.selector);
        fresh.slash(2, 1, CHALLENGER, 1);
    }

    function test_a_reward_above_the_slash_is_refused() public {
        vm.prank(COURT);
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.RewardExceedsSlash.selector, 2, 1));
        oracles.slash(2, 1, CHALLENGER, 2);
    }

    function testFuzz_a_slash_takes_at_most_the_stake(uint256 amount, uint256 reward) public {
        amount = bound(amount, 0, type(uint128).max);
        reward = bound(reward, 0, amount);
        uint256 expected = amount < STAKE ? amount : STAKE;
        vm.assertEq(slash(2, amount, reward), expected);
        vm.assertEq(oracles.stakeOf(2), STAKE - expected);
        vm.assertEq(token.balanceOf(CHALLENGER) + token.balanceOf(BURN), expected);
        vm.assertLe(token.balanceOf(CHALLENGER), reward);
        vm.assertEq(token.balanceOf(address(oracles)), 3 * STAKE - expected);
    }

    // Defence: below the minimum an oracle is not in the next set; without it, a slashed one votes on with next to nothing at stake.
    function test_below_the_minimum_an_oracle_leaves_the_next_set_until_it_rejoins() public {
        slash(2, STAKE - 1e18 + 1, 0);
        oracles.buildSnapshot(3);
        assertMembers(ids(1, 3));
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.StakeTooLow.selector, 1e18 - 1, 1e18));
        oracles.rejoin(2);
        oracles.addStake(2, 1);
        vm.assertFalse(oracles.oracle(2).active);
        oracles.rejoin(2);
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.AlreadyActive.selector, 2));
        oracles.rejoin(2);
        oracles.buildSnapshot(3);
        assertMembers(ids(1, 2, 3));
        vm.assertEq(members()[1].weight, 655);
    }

    function test_added_stake_weighs_in_the_next_set() public {
        vm.expectRevert(IOracleRegistry.NothingRequested.selector);
        oracles.addStake(2, 0);
        oracles.addStake(2, STAKE);
        vm.assertEq(members()[0].weight, 65535);
        oracles.buildSnapshot(3);
        vm.assertEq(members()[0].weight, 32767);
        vm.assertEq(members()[1].weight, 65535);
    }

    // Defence: places are counted among the active; counted among all who ever registered, exits never free one.
    function test_an_exit_frees_a_place_and_no_id_comes_twice() public {
        for (uint256 i = 3; i < 256; ++i) {
            registerOracle(i, STAKE);
        }
        bytes memory key = keyOf(256);
        bytes memory pop = popOf(256, address(this));
        vm.expectRevert(IOracleRegistry.RegistryFull.selector);
        oracles.register(key, pop, "http://oracle", address(1), address(1), 1, STAKE);
        oracles.requestExit(100);
        vm.assertEq(oracles.register(key, pop, "http://oracle", address(1), address(1), 1, STAKE), 257);
        while (!oracles.buildSnapshot(256)) {}
        vm.assertEq(members().length, 256);
        vm.assertEq(members()[98].oracleId, 99);
        vm.assertEq(members()[99].oracleId, 101);
        vm.assertEq(members()[255].oracleId, 257);

        slash(1, STAKE, 0);
        registerOracle(257, STAKE);
        oracles.addStake(1, STAKE);
        vm.expectRevert(IOracleRegistry.RegistryFull.selector);
        oracles.rejoin(1);
    }

    // Defence: the unbonding outlasts every report that a member may still sign, its windows and the evidence; shorter, it is refused.
    function test_a_short_unbonding_is_refused() public {
        uint64 least = (2 + VALID_EPOCHS) * LENGTH + SLASH_WINDOW + EVIDENCE;
        IOracleRegistry.Terms memory terms = IOracleRegistry.Terms(least - 1, EVIDENCE, ROLL_CALL, 1_000_000);
        OracleRegistry hasty = new OracleRegistry(token, 1, 0, terms);
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.UnbondingTooShort.selector, least - 1, least));
        hasty.setSettlement(address(settlement));
        terms.unbondingSeconds = least;
        new OracleRegistry(token, 1, 0, terms).setSettlement(address(settlement));
    }

    function test_the_settlement_is_set_once_by_the_owner() public {
        vm.expectRevert(IOracleRegistry.SettlementAlreadySet.selector);
        oracles.setSettlement(address(settlement));
        OracleRegistry fresh = new OracleRegistry(token, 1, 0, oracleTerms());
        vm.expectRevert(IOracleRegistry.ZeroAddress.selector);
        fresh.setSettlement(address(0));
        vm.prank(address(0xbad));
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(0xbad)));
        fresh.setSettlement(address(settlement));
    }

    function test_impossible_terms_are_refused() public {
        IOracleRegistry.Terms[3] memory wrong = [oracleTerms(), oracleTerms(), oracleTerms()];
        wrong[0].operatorCapPpm = 0;
        wrong[1].operatorCapPpm = 1_000_001;
        wrong[2].rollCallSeconds = 0;
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(IOracleRegistry.InvalidTerms.selector);
            new OracleRegistry(token, 1, 0, wrong[i]);
        }
    }

    // Defence: what arrived is compared with what is credited; without it, a fee on transfers is paid from others' stakes.
    function test_a_token_that_keeps_a_fee_is_refused() public {
        HostileToken hostile = hostileRegistry();
        hostile.setFee(1);
        hostile.mint(address(this), STAKE);
        hostile.approve(address(oracles), STAKE);
        bytes memory key = keyOf(0);
        bytes memory pop = popOf(0, address(this));
        vm.expectRevert(abi.encodeWithSelector(Deposit.DepositDiffers.selector, STAKE, STAKE - 1));
        oracles.register(key, pop, "http://oracle", address(1), address(1), 1, STAKE);
    }

    // Defence: a withdrawal is written down before tokens move; without it, the operator takes the others' stakes from within.
    function test_a_reentrant_token_is_paid_once() public {
        HostileToken hostile = hostileRegistry();
        hostile.mint(address(oracles), 10 * STAKE);
        GreedyOperator greedy = new GreedyOperator(oracles);
        hostile.mint(address(greedy), STAKE);
        greedy.register(hostile, keyOf(0), popOf(0, address(greedy)), STAKE);
        greedy.exit();
        vm.warp(GENESIS + UNBONDING);
        hostile.setHook(greedy);
        greedy.withdraw();
        vm.assertEq(greedy.refused(), 1);
        vm.assertEq(hostile.balanceOf(address(greedy)), STAKE);
        vm.assertEq(hostile.balanceOf(address(oracles)), 10 * STAKE);
    }

    /// A fresh registry that takes a hostile token.
    function hostileRegistry() private returns (HostileToken hostile) {
        hostile = new HostileToken();
        oracles = new OracleRegistry(hostile, 1, 0, oracleTerms());
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {Keeper} from "../src/Keeper.sol";
import {TestToken} from "../src/TestToken.sol";
import {ICapacityMarket} from "../src/interfaces/ICapacityMarket.sol";
import {IKeeper} from "../src/interfaces/IKeeper.sol";
import {Verdict} from "../src/interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {Fixture} from "./utils/Fixture.sol";
import {HookToken, ITokenReceiver} from "./utils/HookToken.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

contract KeeperTest is Fixture {
    uint256 internal constant ALL = 0xf;
    uint128 internal constant TIP = 1e17;
    uint256 internal constant FUNDS = 100e18;
    address internal constant HELPER = address(0x4e1);

    Keeper internal keeper;
    Reward[] internal rewards;

    function setUp() public {
        deployWithCommittee(4);
        settlement.fund(1_000e18);
        registerProvider();
        registerProvider();
        keeper = new Keeper(settlement, ICapacityMarket(address(0)), address(this));
        token.mint(address(keeper), FUNDS);
        keeper.setTariff(IKeeper.Action.Report, TIP, 10);
        keeper.setTariff(IKeeper.Action.Claim, TIP, 10);
        keeper.setTariff(IKeeper.Action.Slash, TIP, 10);
        for (uint64 i = 1; i <= 5; ++i) {
            rewards.push(Reward(0, i, address(uint160(0x1000 + i)), i * 1e18));
        }
    }

    function newToken() internal override returns (TestToken) {
        return new HookToken();
    }

    function draft(uint64 epoch, bytes32 parent) private view returns (Report memory r) {
        r = report(epoch);
        r.parentDigest = parent;
        r.rewardRoot = rewardTree(rewards)[0];
        r.slashRoot = slashTree(epoch)[0];
    }

    function slashTree(uint64 epoch) private pure returns (bytes32[] memory) {
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = slashLeaf(1, epoch, 1e18);
        leaves[1] = slashLeaf(2, epoch, 1e18);
        return MerkleTree.build(leaves);
    }

    function accept(uint64 epoch, bytes32 parent) private returns (Report memory r) {
        vm.warp(endOf(epoch));
        r = draft(epoch, parent);
        submit(r, ALL);
        vm.warp(endOf(epoch) + SLASH_WINDOW);
    }

    function claims(uint256 from, uint256 count) internal view returns (IKeeper.RewardClaim[] memory list) {
        bytes32[] memory tree = rewardTree(rewards);
        list = new IKeeper.RewardClaim[](count);
        for (uint256 i = 0; i < count; ++i) {
            Reward memory w = rewards[from + i];
            list[i] = IKeeper.RewardClaim(w.kind, w.id, w.recipient, w.cumulative, MerkleTree.proof(tree, rewardLeaf(w)));
        }
    }

    function slashes(uint64 epoch) private pure returns (IKeeper.DueSlash[] memory list) {
        list = new IKeeper.DueSlash[](2);
        for (uint64 id = 1; id <= 2; ++id) {
            bytes32[] memory proof = MerkleTree.proof(slashTree(epoch), slashLeaf(id, epoch, 1e18));
            list[id - 1] = IKeeper.DueSlash(id, 1, "facts", 1e18, proof);
        }
    }

    function claimAs(address who, Report memory r, IKeeper.RewardClaim[] memory list) private returns (uint256 done, uint256 tip) {
        vm.prank(who);
        return keeper.claimMany(r, list);
    }

    function assertTips(uint256 count) private view {
        vm.assertEq(token.balanceOf(HELPER), count * TIP);
        vm.assertEq(token.balanceOf(address(keeper)), FUNDS - count * TIP);
    }

    // ---- reports

    // Defence: the tip follows the acceptance; paid before or without it, this turns red.
    function test_who_posts_a_report_is_tipped_once() public {
        vm.warp(endOf(0));
        Report memory r = draft(0, 0);
        bytes memory signature = signReport(r, ALL);
        vm.expectRevert(ISlaSettlement.InvalidCertificate.selector);
        vm.prank(HELPER);
        keeper.submitReport(r, ALL, new bytes(128));
        assertTips(0);

        vm.expectEmit(address(keeper));
        emit IKeeper.Tipped(IKeeper.Action.Report, HELPER, 1, TIP);
        vm.prank(HELPER);
        vm.assertEq(keeper.submitReport(r, ALL, signature), TIP);
        assertTips(1);
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.EpochAlreadySettled.selector, 1));
        vm.prank(HELPER);
        keeper.submitReport(r, ALL, signature);
        assertTips(1);
    }

    // ---- claims

    // Defence: an item that fails is skipped, reported and not tipped; without it, one paid leaf stops a batch and this turns red.
    function test_items_that_fail_do_not_stop_the_batch() public {
        Report memory r = accept(0, 0);
        claim(r, rewardTree(rewards), rewards[1]); // paid already
        IKeeper.RewardClaim[] memory list = claims(0, 5);
        list[3].cumulative += 1; // no leaf
        vm.expectEmit(address(keeper));
        emit IKeeper.Skipped(IKeeper.Action.Claim, 1, abi.encodeWithSelector(ISlaSettlement.NothingToClaim.selector));
        vm.expectEmit(address(keeper));
        emit IKeeper.Skipped(IKeeper.Action.Claim, 3, abi.encodeWithSelector(ISlaSettlement.InvalidProof.selector));
        (uint256 done, uint256 tip) = claimAs(HELPER, r, list);
        vm.assertEq(done, 3);
        vm.assertEq(tip, 3 * TIP);
        assertTips(3);
        for (uint256 i = 0; i < 5; ++i) {
            vm.assertEq(token.balanceOf(rewards[i].recipient), i == 3 ? 0 : rewards[i].cumulative);
        }
    }

    // Defence: a batch that does nothing reverts; without it, empty calls are tipped or look like work and this turns red.
    function test_nothing_done_nothing_paid() public {
        vm.warp(endOf(0));
        Report memory r = draft(0, 0);
        submit(r, ALL);
        IKeeper.RewardClaim[] memory list = claims(0, 5);
        vm.expectRevert(IKeeper.NothingDone.selector);
        claimAs(HELPER, r, list); // too early
        vm.warp(endOf(0) + REWARD_WINDOW);
        vm.expectRevert(IKeeper.NothingDone.selector);
        claimAs(HELPER, r, new IKeeper.RewardClaim[](0));
        claimAs(HELPER, r, list);
        vm.expectRevert(IKeeper.NothingDone.selector);
        claimAs(HELPER, r, list); // twice
        assertTips(5);
    }

    function test_the_same_claim_twice_in_a_batch_is_one() public {
        Report memory r = accept(0, 0);
        IKeeper.RewardClaim[] memory list = claims(0, 2);
        list[1] = list[0];
        (uint256 done,) = claimAs(HELPER, r, list);
        vm.assertEq(done, 1);
        assertTips(1);
    }

    // Defence: a claim of less than its tip earns none; without it, dust is claimed for the tip and this turns red.
    function test_dust_is_claimed_without_a_tip() public {
        rewards[0].cumulative = TIP - 1;
        rewards[1].cumulative = TIP;
        Report memory r = accept(0, 0);
        (uint256 done, uint256 tip) = claimAs(HELPER, r, claims(0, 2));
        vm.assertEq(done, 2);
        vm.assertEq(tip, TIP);
        // what counts is what moves, not the leaf
        rewards[1].cumulative += TIP - 1;
        r = accept(1, digestOf(r));
        (done, tip) = claimAs(HELPER, r, claims(1, 1));
        vm.assertEq(done, 1);
        vm.assertEq(tip, 0);
    }

    // ---- limits

    // Defence: a day has so many tips; without it, one day empties the keeper and this turns red.
    function test_tips_end_for_the_day_and_work_goes_on() public {
        keeper.setTariff(IKeeper.Action.Claim, TIP, 3);
        Report memory r = accept(0, 0);
        claimAs(HELPER, r, claims(0, 2));
        (uint256 done, uint256 tip) = claimAs(HELPER, r, claims(2, 3));
        vm.assertEq(done, 3);
        vm.assertEq(tip, TIP);
        assertTips(3);
        vm.assertEq(keeper.tariff(IKeeper.Action.Claim).used, 3);

        rewards[0].cumulative += 1e18;
        rewards[1].cumulative += 1e18;
        r = accept(1, digestOf(r));
        (done, tip) = claimAs(HELPER, r, claims(0, 1));
        vm.assertEq(done, 1);
        vm.assertEq(tip, 0);
        vm.warp(block.timestamp + 1 days);
        vm.assertEq(keeper.tariff(IKeeper.Action.Claim).used, 0);
        (, tip) = claimAs(HELPER, r, claims(1, 1));
        vm.assertEq(tip, TIP);
        // setting a tariff anew does not forget what the day has had
        keeper.setTariff(IKeeper.Action.Claim, TIP, 1);
        vm.assertEq(keeper.tariff(IKeeper.Action.Claim).used, 1);
    }

    // Defence: a keeper without money still works; reverting instead, it stops the network and this turns red.
    function test_an_empty_keeper_does_the_work() public {
        keeper.withdraw(address(0x77), FUNDS - TIP - TIP / 2);
        Report memory r = accept(0, 0);
        (uint256 done, uint256 tip) = claimAs(HELPER, r, claims(0, 5));
        vm.assertEq(done, 5);
        vm.assertEq(tip, TIP); // whole tips only
        vm.assertEq(token.balanceOf(address(keeper)), TIP / 2);
        vm.assertEq(token.balanceOf(address(0x77)), FUNDS - TIP - TIP / 2);
    }

    function test_without_a_tariff_work_is_unpaid() public {
        keeper.setTariff(IKeeper.Action.Claim, 0, 10);
        Report memory r = accept(0, 0);
        (uint256 done, uint256 tip) = claimAs(HELPER, r, claims(0, 5));
        vm.assertEq(done, 5);
        vm.assertEq(tip, 0);
        assertTips(0);
    }

    // ---- slashes

    function test_who_executes_slashes_is_tipped_once() public {
        Report memory r = accept(0, 0);
        IKeeper.DueSlash[] memory list = slashes(0);
        list[0].amount += 1; // no leaf
        vm.prank(HELPER);
        (uint256 done, uint256 tip) = keeper.slashMany(r, list);
        vm.assertEq(done, 1);
        vm.assertEq(tip, TIP);
        vm.assertFalse(settlement.slashExecuted(1, 0));
        vm.assertTrue(settlement.slashExecuted(2, 0));
        vm.expectRevert(IKeeper.NothingDone.selector);
        vm.prank(HELPER);
        keeper.slashMany(r, list);
        assertTips(1);
    }

    // ---- roles and reentry

    // Defence: tips and funds are the owner's; without it, this turns red.
    function test_a_stranger_sets_and_takes_nothing() public {
        bytes memory failure = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, HELPER);
        vm.startPrank(HELPER);
        vm.expectRevert(failure);
        keeper.setTariff(IKeeper.Action.Claim, 1e18, 1_000);
        vm.expectRevert(failure);
        keeper.withdraw(HELPER, 1);
        vm.stopPrank();
        assertTips(0);
    }

    // Defence: nobody enters again while a batch is under way; without the guard, this turns red.
    function test_a_recipient_that_calls_back() public {
        Reentrant attacker = new Reentrant(keeper);
        HookToken(address(token)).callOnReceipt(address(attacker));
        Report memory r = accept(0, 0);
        attacker.attack(r, claims(0, 2), claims(2, 1));
        vm.assertEq(attacker.failure(), abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector));
        vm.assertEq(token.balanceOf(address(attacker)), 2 * TIP);
        vm.assertEq(settlement.claimed(0, 3), 0);
    }

    function test_without_a_market_nothing_is_settled() public {
        Report memory r = accept(0, 0);
        Verdict memory v;
        vm.expectRevert(IKeeper.NoMarket.selector);
        keeper.settleBookings(new uint64[](1), r, v, new bytes32[](0));
    }
}

/// Claims, and claims again when its tip arrives.
contract Reentrant is ITokenReceiver {
    Keeper private immutable KEEPER;
    bytes private _again;
    bytes public failure;

    constructor(Keeper keeper) {
        KEEPER = keeper;
    }

    function attack(Report calldata r, IKeeper.RewardClaim[] calldata first, IKeeper.RewardClaim[] calldata second) external {
        _again = abi.encodeCall(IKeeper.claimMany, (r, second));
        KEEPER.claimMany(r, first);
    }

    function onTokens() external {
        (, failure) = address(KEEPER).call(_again);
    }
}

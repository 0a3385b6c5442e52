// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {Fixture} from "./utils/Fixture.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

contract ClaimsTest is Fixture {
    uint256 internal constant ALL = 0xf;

    Report internal first;
    Reward[] internal rewards;

    function setUp() public {
        deployWithCommittee(4);
        settlement.fund(1_000e18);
        for (uint64 i = 1; i <= 5; ++i) {
            rewards.push(Reward(i % 2 == 0 ? 1 : 0, i, address(uint160(0x1000 + i)), i * 1e18 + i));
        }
        first = accept(0, 0, rewardTree(rewards)[0]);
        vm.warp(endOf(0) + REWARD_WINDOW);
    }

    function accept(uint64 epoch, bytes32 parent, bytes32 rewardRoot) private returns (Report memory r) {
        vm.warp(endOf(epoch));
        r = report(epoch);
        r.parentDigest = parent;
        r.rewardRoot = rewardRoot;
        submit(r, ALL);
    }

    function claimExpecting(Report memory r, Reward memory w, bytes32[] memory proof, bytes memory failure) private {
        vm.expectRevert(failure);
        settlement.claim(r, w.kind, w.id, w.recipient, w.cumulative, proof);
    }

    function proofOf(uint256 i) private view returns (bytes32[] memory) {
        return MerkleTree.proof(rewardTree(rewards), rewardLeaf(rewards[i]));
    }

    function test_anyone_claims_for_the_leafs_recipient() public {
        for (uint256 i = 0; i < rewards.length; ++i) {
            Reward memory w = rewards[i];
            bytes32[] memory proof = proofOf(i);
            vm.expectEmit(address(settlement));
            emit ISlaSettlement.Claimed(w.kind, w.id, w.recipient, w.cumulative, w.cumulative);
            vm.prank(address(0xabc));
            settlement.claim(first, w.kind, w.id, w.recipient, w.cumulative, proof);
            vm.assertEq(token.balanceOf(w.recipient), w.cumulative);
            vm.assertEq(settlement.claimed(w.kind, w.id), w.cumulative);
        }
        vm.assertEq(settlement.pool(), 1_000e18 - 15e18 - 15);
        vm.assertEq(token.balanceOf(address(0xabc)), 0);
    }

    // Defence: what was paid is remembered; removed, this turns red.
    function test_double_claim() public {
        claim(first, rewardTree(rewards), rewards[0]);
        claimExpecting(first, rewards[0], proofOf(0), abi.encodeWithSelector(ISlaSettlement.NothingToClaim.selector));
    }

    // Defence: rewards wait for the window; removed, this turns red.
    function test_early_claim() public {
        vm.warp(endOf(0) + REWARD_WINDOW - 1);
        claimExpecting(first, rewards[0], proofOf(0), abi.encodeWithSelector(ISlaSettlement.WindowOpen.selector, endOf(0) + REWARD_WINDOW));
    }

    // Defence: the report must hash to the stored digest; removed, anybody writes his own root and this turns red.
    function test_claim_against_a_report_nobody_accepted() public {
        Report memory r = first;
        r.rewardRoot = rewardLeaf(rewards[0]);
        claimExpecting(r, rewards[0], new bytes32[](0), abi.encodeWithSelector(ISlaSettlement.UnknownReport.selector, 0));
        r = report(7);
        claimExpecting(r, rewards[0], new bytes32[](0), abi.encodeWithSelector(ISlaSettlement.UnknownReport.selector, 7));
    }

    // Defence: the leaf binds kind, id, recipient, token and amount; without any of them, this turns red.
    function test_a_leaf_says_exactly_who_gets_what() public {
        bytes32[] memory proof = proofOf(0);
        bytes memory failure = abi.encodeWithSelector(ISlaSettlement.InvalidProof.selector);
        Reward memory w = rewards[0];
        w.kind = 1;
        claimExpecting(first, w, proof, failure);
        w = rewards[0];
        w.id += 1;
        claimExpecting(first, w, proof, failure);
        w = rewards[0];
        w.recipient = address(0xbad);
        claimExpecting(first, w, proof, failure);
        w = rewards[0];
        w.cumulative += 1;
        claimExpecting(first, w, proof, failure);
        claimExpecting(first, rewards[0], new bytes32[](0), failure);
    }

    // Defence: an empty proof proves only the root itself; with the zero root taken for "no check", this turns red.
    function test_the_empty_tree_pays_nobody() public {
        Report memory r = accept(1, digestOf(first), bytes32(0));
        vm.warp(endOf(1) + REWARD_WINDOW);
        claimExpecting(r, rewards[0], new bytes32[](0), abi.encodeWithSelector(ISlaSettlement.InvalidProof.selector));
    }

    // Defence: leaves are cumulative; paid in full each time, this turns red.
    function test_later_reports_pay_the_difference_and_old_ones_nothing() public {
        Reward[] memory later = new Reward[](5);
        for (uint256 i = 0; i < 5; ++i) {
            later[i] = Reward(rewards[i].kind, rewards[i].id, rewards[i].recipient, rewards[i].cumulative + 7e18);
        }
        bytes32[] memory laterTree = rewardTree(later);
        Report memory second = accept(1, digestOf(first), laterTree[0]);
        vm.warp(endOf(1) + REWARD_WINDOW);

        claim(first, rewardTree(rewards), rewards[0]);
        claim(second, laterTree, later[0]);
        vm.assertEq(token.balanceOf(rewards[0].recipient), later[0].cumulative);
        // the other order: the newest leaf pays all, the older one nothing
        claim(second, laterTree, later[1]);
        vm.assertEq(token.balanceOf(rewards[1].recipient), later[1].cumulative);
        claimExpecting(first, rewards[1], proofOf(1), abi.encodeWithSelector(ISlaSettlement.NothingToClaim.selector));
    }

    // Defence: the pool holds what was funded and nothing else pays; with stakes in the same place, this turns red.
    function test_an_empty_pool_pays_nothing_and_forgets_nothing() public {
        Reward[] memory big = new Reward[](1);
        big[0] = Reward(0, 99, address(0x99), 1_000e18 + 1);
        bytes32[] memory tree = rewardTree(big);
        Report memory r = accept(1, digestOf(first), tree[0]);
        vm.warp(endOf(1) + REWARD_WINDOW);
        claimExpecting(
            r,
            big[0],
            new bytes32[](0),
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, address(settlement), 1_000e18, 1_000e18 + 1)
        );
        vm.assertEq(settlement.claimed(0, 99), 0);
        settlement.fund(1);
        claim(r, tree, big[0]);
        vm.assertEq(settlement.pool(), 0);
    }

    // Defence: all claims together stay within the epochs' budgets, whatever a corrupt committee puts into a leaf; without it, one leaf
    // empties the pool.
    function test_leaves_beyond_all_budgets_are_not_paid() public {
        Reward[] memory greedy = new Reward[](2);
        greedy[0] = Reward(0, 98, address(0x98), 1_500e18);
        greedy[1] = Reward(0, 99, address(0x99), 500e18 + 1);
        bytes32[] memory tree = rewardTree(greedy);
        Report memory r = accept(1, digestOf(first), tree[0]);
        vm.warp(endOf(1) + REWARD_WINDOW);
        settlement.fund(10_000e18);
        claim(r, tree, greedy[0]);
        claimExpecting(
            r,
            greedy[1],
            MerkleTree.proof(tree, rewardLeaf(greedy[1])),
            abi.encodeWithSelector(ISlaSettlement.ClaimsExceedBudgets.selector, 2_000e18 + 1, 2 * BUDGET)
        );
        vm.assertEq(settlement.claimedTotal(), 1_500e18);
        vm.assertEq(token.balanceOf(address(0x99)), 0);
    }

    function testFuzz_cumulative_claims_add_up(uint96[6] memory earned, uint8 skip) public {
        uint256 total;
        bytes32 parent = digestOf(first);
        uint256 funded = settlement.pool();
        for (uint64 e = 0; e < 6; ++e) {
            uint256 more = bound(earned[e], 0, BUDGET);
            total += more;
            settlement.fund(more);
            funded += more;
            Reward[] memory list = new Reward[](2);
            list[0] = Reward(0, 50, address(0x50), total);
            list[1] = Reward(1, 50, address(0x51), total / 2);
            bytes32[] memory tree = rewardTree(list);
            Report memory r = accept(e + 1, parent, tree[0]);
            parent = digestOf(r);
            vm.warp(endOf(e + 1) + REWARD_WINDOW);
            if ((skip >> e) & 1 == 1 || total == settlement.claimed(0, 50)) continue;
            claim(r, tree, list[0]);
            vm.assertEq(token.balanceOf(address(0x50)), total);
            vm.assertEq(settlement.pool(), funded - total);
        }
    }

    function testFuzz_every_leaf_of_a_tree_can_be_claimed(uint8 size, uint256 salt) public {
        uint256 n = bound(size, 1, 24);
        Reward[] memory list = new Reward[](n);
        for (uint256 i = 0; i < n; ++i) {
            list[i] = Reward(0, uint64(100 + i), address(uint160(0x2000 + i)), 1 + uint256(keccak256(abi.encode(salt, i))) % 1e18);
        }
        bytes32[] memory tree = rewardTree(list);
        Report memory r = accept(1, digestOf(first), tree[0]);
        vm.warp(endOf(1) + REWARD_WINDOW);
        for (uint256 i = 0; i < n; ++i) {
            claim(r, tree, list[i]);
            vm.assertEq(token.balanceOf(list[i].recipient), list[i].cumulative);
        }
    }
}

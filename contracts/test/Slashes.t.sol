// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {Fixture} from "./utils/Fixture.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

contract SlashesTest is Fixture {
    uint256 internal constant CAP = STAKE * SLASH_CAP_PPM / 1e6;

    function setUp() public {
        deployWithCommittee(4);
        registerProvider();
        registerProvider();
    }

    /// A report of this epoch whose slash tree has one leaf for each of two providers.
    function accept(uint64 epoch, bytes32 parent, uint256 amount, bool secure) private returns (Report memory r) {
        vm.warp(endOf(epoch));
        r = report(epoch);
        r.parentDigest = parent;
        r.seedSecure = secure;
        r.slashRoot = tree(epoch, amount)[0];
        submit(r, 0xf);
    }

    function tree(uint64 epoch, uint256 amount) private pure returns (bytes32[] memory) {
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = slashLeaf(1, epoch, amount);
        leaves[1] = slashLeaf(2, epoch, amount);
        return MerkleTree.build(leaves);
    }

    function execute(Report memory r, uint64 providerId, uint256 amount) private {
        bytes32[] memory proof = MerkleTree.proof(tree(r.epoch, amount), slashLeaf(providerId, r.epoch, amount));
        settlement.executeSlash(r, providerId, 1, "facts", amount, proof);
    }

    function executeExpecting(Report memory r, uint64 providerId, uint256 amount, bytes memory failure) private {
        bytes32[] memory proof = MerkleTree.proof(tree(r.epoch, amount), slashLeaf(providerId, r.epoch, amount));
        vm.expectRevert(failure);
        settlement.executeSlash(r, providerId, 1, "facts", amount, proof);
    }

    function test_anyone_executes_a_slash_and_the_stake_burns() public {
        Report memory r = accept(0, 0, 3e18, true);
        vm.warp(endOf(0) + SLASH_WINDOW);
        vm.assertFalse(settlement.slashExecuted(2, 0));
        bytes32[] memory proof = MerkleTree.proof(tree(0, 3e18), slashLeaf(2, 0, 3e18));
        vm.expectEmit(address(settlement));
        emit ISlaSettlement.Slashed(2, 0, 1, "facts", 3e18);
        vm.prank(address(0xabc));
        settlement.executeSlash(r, 2, 1, "facts", 3e18, proof);
        vm.assertTrue(settlement.slashExecuted(2, 0));
        vm.assertFalse(settlement.slashExecuted(1, 0));
        vm.assertEq(providers.provider(2).stake, STAKE - 3e18);
        vm.assertEq(providers.provider(1).stake, STAKE);
        vm.assertEq(token.balanceOf(address(0xdEaD)), 3e18);
    }

    // Defence: one slash per provider and epoch; removed, this turns red.
    function test_double_slash() public {
        Report memory r = accept(0, 0, 3e18, true);
        vm.warp(endOf(0) + SLASH_WINDOW);
        execute(r, 1, 3e18);
        executeExpecting(r, 1, 3e18, abi.encodeWithSelector(ISlaSettlement.AlreadySlashed.selector, 1, 0));
        execute(r, 2, 3e18);
    }

    // Defence: slashes wait for their own, longer window; removed, this turns red.
    function test_early_slash() public {
        Report memory r = accept(0, 0, 3e18, true);
        vm.warp(endOf(0) + SLASH_WINDOW - 1);
        executeExpecting(r, 1, 3e18, abi.encodeWithSelector(ISlaSettlement.WindowOpen.selector, endOf(0) + SLASH_WINDOW));
    }

    // Defence: an epoch without the beacon cannot slash; removed, this turns red.
    function test_insecure_seed_cannot_slash() public {
        Report memory r = accept(0, 0, 3e18, false);
        vm.warp(endOf(0) + SLASH_WINDOW);
        executeExpecting(r, 1, 3e18, abi.encodeWithSelector(ISlaSettlement.InsecureSeed.selector));
    }

    // Defence: the leaf names the epoch, the report's own; removed, this turns red.
    function test_a_leaf_of_another_epoch() public {
        Report memory first = accept(0, 0, 3e18, true);
        vm.warp(endOf(1));
        Report memory r = report(1);
        r.parentDigest = digestOf(first);
        r.slashRoot = first.slashRoot; // the committee republishes the old tree
        submit(r, 0xf);
        vm.warp(endOf(1) + SLASH_WINDOW);
        bytes32[] memory proof = MerkleTree.proof(tree(0, 3e18), slashLeaf(1, 0, 3e18));
        vm.expectRevert(ISlaSettlement.InvalidProof.selector);
        settlement.executeSlash(r, 1, 1, "facts", 3e18, proof);
    }

    // Defence: the report must hash to the stored digest; removed, this turns red.
    function test_slash_against_a_report_nobody_accepted() public {
        Report memory r = accept(0, 0, 3e18, true);
        vm.warp(endOf(0) + SLASH_WINDOW);
        r.slashRoot = tree(0, 4e18)[0];
        executeExpecting(r, 1, 4e18, abi.encodeWithSelector(ISlaSettlement.UnknownReport.selector, 0));
    }

    // Defence: a slash is capped by the stake it finds; removed, this turns red.
    function testFuzz_slashes_are_capped(uint256 amount) public {
        Report memory r = accept(0, 0, amount, true);
        vm.warp(endOf(0) + SLASH_WINDOW);
        execute(r, 1, amount);
        uint256 expected = amount < CAP ? amount : CAP;
        vm.assertEq(providers.stakeOf(1), STAKE - expected);

        r = accept(1, digestOf(r), amount, true);
        vm.warp(endOf(1) + SLASH_WINDOW);
        execute(r, 1, amount);
        uint256 secondCap = (STAKE - expected) * SLASH_CAP_PPM / 1e6;
        uint256 second = amount < secondCap ? amount : secondCap;
        vm.assertEq(providers.stakeOf(1), STAKE - expected - second);
        vm.assertEq(token.balanceOf(address(0xdEaD)), expected + second);
    }
}

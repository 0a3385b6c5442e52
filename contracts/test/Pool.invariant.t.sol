// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {Fixture} from "./utils/Fixture.sol";

/// Funds, reports and claims in any order and amount. Counts what went in and out on its own.
contract PoolHandler is Fixture {
    uint256 public funded;
    uint256 public paid;
    uint256 public claims;
    uint256[3] public earned;

    uint64 internal epoch;
    Report internal last;
    Reward[] internal leaves;

    constructor() {
        deployWithCommittee(3);
    }

    function fund(uint96 amount) external {
        settlement.fund(amount);
        funded += amount;
    }

    function settleEpoch(uint64[3] calldata rewards) external {
        delete leaves;
        for (uint64 i = 0; i < 3; ++i) {
            earned[i] += rewards[i];
            leaves.push(Reward(uint8(i % 2), i, address(uint160(0x100 + i)), earned[i]));
        }
        vm.warp(endOf(epoch));
        Report memory r = report(epoch);
        r.parentDigest = epoch == 0 ? bytes32(0) : digestOf(last);
        r.rewardRoot = rewardTree(leaves)[0];
        submit(r, 7);
        last = r;
        ++epoch;
        vm.warp(endOf(epoch - 1) + REWARD_WINDOW);
    }

    function claimOne(uint256 which) external {
        if (epoch == 0) return;
        Reward memory w = leaves[which % 3];
        uint256 due = w.cumulative - settlement.claimed(w.kind, w.id);
        if (due == 0 || due > settlement.pool()) return;
        claim(last, rewardTree(leaves), w);
        paid += due;
        ++claims;
    }

    function pool() external view returns (uint256) {
        return settlement.pool();
    }

    function received() external view returns (uint256 sum) {
        for (uint160 i = 0; i < 3; ++i) {
            sum += token.balanceOf(address(0x100 + i));
        }
    }

    function earnedTotal() external view returns (uint256) {
        return earned[0] + earned[1] + earned[2];
    }

    function stakesUntouched() external view returns (bool) {
        return token.balanceOf(address(oracles)) == 3 * STAKE;
    }
}

contract PoolInvariant is Fixture {
    PoolHandler internal handler;
    address[] internal targets;

    function setUp() public {
        handler = new PoolHandler();
        targets.push(address(handler));
    }

    function targetContracts() public view returns (address[] memory) {
        return targets;
    }

    // Defence: claims are cumulative and paid from the pool alone; either removed, this turns red.
    function invariant_claims_never_exceed_what_was_funded_or_earned() public view {
        vm.assertLe(handler.paid(), handler.funded());
        vm.assertLe(handler.paid(), handler.earnedTotal());
        vm.assertEq(handler.received(), handler.paid());
        vm.assertEq(handler.pool(), handler.funded() - handler.paid());
        vm.assertTrue(handler.stakesUntouched());
    }
}

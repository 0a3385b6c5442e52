// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Bounds the share of one operator in the stake that counts
/// @notice An operator's stake counts up to a level L, which is chosen so that L is at most the capped share of all that counts.
library WeightCap {
    uint256 internal constant PPM = 1_000_000;
    uint256 private constant WHOLE = 1e18;

    /// @notice The level. When there are too few operators to meet the cap, the one at which all count alike.
    /// @param stakes of each oracle.
    /// @param operatorStakes for each oracle, the sum of the stakes of all its operator's oracles.
    /// @param capPpm 1 to 999,999.
    /// @dev With k operators above the level and `rest` staked by the others, L = cap * (rest + k * L). Every round lowers the level
    /// and so caps more operators. It ends: with more than 1 / cap of them at one level, none has more than the cap.
    function level(uint256[] memory stakes, uint256[] memory operatorStakes, uint256 capPpm) internal pure returns (uint256 found) {
        uint256 total = 0;
        for (uint256 i = 0; i < stakes.length; ++i) {
            total += stakes[i];
        }
        found = Math.mulDiv(total, capPpm, PPM);
        uint256 capped = 0;
        while (true) {
            (uint256 above, uint256 rest) = _split(stakes, operatorStakes, found);
            if (above == capped || above * capPpm >= PPM || rest == 0) return found;
            capped = above;
            found = Math.mulDiv(rest, capPpm, PPM - above * capPpm);
        }
    }

    /// @notice What counts of an oracle's stake: an operator's oracles are scaled down together.
    function counted(uint256 stake, uint256 operatorStake, uint256 level_) internal pure returns (uint256) {
        return operatorStake > level_ ? Math.mulDiv(stake, level_, operatorStake) : stake;
    }

    /// How many operators are above the level, and what all others staked. The parts that oracles are of their operators add up to
    /// one for each operator, less a rounding that is smaller than one in all.
    function _split(uint256[] memory stakes, uint256[] memory operatorStakes, uint256 level_)
        private
        pure
        returns (uint256 above, uint256 rest)
    {
        uint256 parts = 0;
        for (uint256 i = 0; i < stakes.length; ++i) {
            if (operatorStakes[i] > level_) parts += Math.mulDiv(stakes[i], WHOLE, operatorStakes[i]);
            else rest += stakes[i];
        }
        above = Math.ceilDiv(parts, WHOLE);
    }
}

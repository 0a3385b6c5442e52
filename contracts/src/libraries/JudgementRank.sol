// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JudgementPanel, Observation, Panel} from "./JudgementPanel.sol";

/// What one oracle says on one dimension. Packed, so that it orders as a number: the ratio bad / counted, then the larger count,
/// then the seat (which ascends by oracle); behind them the seat's votes.
type Ranked is uint256;

using JudgementRank for Ranked global;

/// @title Ranks of a panel
/// @notice Votes are summed up from the most lenient report on. What a panel withstands are f = (k - 1) / 3 of its k seats, or a third
/// of the weight when it is the whole set.
library JudgementRank {
    uint256 internal constant MAX_COUNT = type(uint64).max;

    // ratio (129 bits) | MAX_COUNT - counted (64) | index (8) | votes (16)
    uint256 private constant RATIO_AT = 88;
    uint256 private constant COUNTED_AT = 24;
    uint256 private constant INDEX_AT = 16;

    /// @param told place of the observation in the panel's `told`.
    /// @dev The ratio is exact: two different ones of 64-bit counts are more than 2^-128 apart. `0 < counted`, `bad <= counted`.
    function rankedOf(uint256 bad, uint256 counted, uint256 told, uint256 votes) internal pure returns (Ranked) {
        unchecked {
            uint256 ratio = (bad << 128) / counted;
            return Ranked.wrap(ratio << RATIO_AT | (MAX_COUNT - counted) << COUNTED_AT | told << INDEX_AT | votes);
        }
    }

    /// @notice The observation that this is of.
    function index(Ranked self) internal pure returns (uint256) {
        return (Ranked.unwrap(self) >> INDEX_AT) & type(uint8).max;
    }

    /// @notice Sorts the first `count` of `values`, ascending.
    function sort(uint256[] memory values, uint256 count) internal pure {
        assembly ("memory-safe") {
            let first := add(values, 0x20)
            let end := add(first, shl(5, count))
            for { let from := add(first, 0x20) } lt(from, end) { from := add(from, 0x20) } {
                let value := mload(from)
                let to := from
                for {} gt(to, first) { to := sub(to, 0x20) } {
                    let before := mload(sub(to, 0x20))
                    if iszero(gt(before, value)) { break }
                    mstore(to, before)
                }
                mstore(to, value)
            }
        }
    }

    /// @notice The sum of the votes of the first `count` values.
    function votesOf(uint256[] memory values, uint256 count) internal pure returns (uint256 votes) {
        for (uint256 i = 0; i < count; ++i) {
            votes += values[i] & type(uint16).max;
        }
    }

    /// @notice The first value at which the votes are at least half of all; 0 without any.
    function median(uint256[] memory values, uint256 count, uint256 all) internal pure returns (uint256) {
        uint256 votes;
        for (uint256 i = 0; i < count; ++i) {
            votes += values[i] & type(uint16).max;
            if (2 * votes >= all) return values[i];
        }
        return 0;
    }

    /// @notice The first value at which the votes are more than liars may have: rank f + 1. `none` when there are not so many.
    function lenient(Panel memory panel, uint256[] memory values, uint256 count) internal pure returns (bool none, Ranked) {
        uint256 votes;
        for (uint256 i = 0; i < count; ++i) {
            votes += values[i] & type(uint16).max;
            if (exceedsLiars(panel, votes)) return (false, Ranked.wrap(values[i]));
        }
        return (true, Ranked.wrap(0));
    }

    function exceedsLiars(Panel memory panel, uint256 votes) internal pure returns (bool) {
        return panel.totalWeight == 0 ? votes > faulty(panel) : 3 * votes > panel.totalWeight;
    }

    /// @notice Whether so many reporting votes are enough to judge by: 2f + 1 seats, or more than two thirds of the weight.
    function isEnough(Panel memory panel, uint256 votes) internal pure returns (bool) {
        return panel.totalWeight == 0 ? votes > 2 * faulty(panel) : 3 * votes > 2 * panel.totalWeight;
    }

    /// @notice Whether enough of a whole set witness the silence of one challenge, whichever.
    function isSilenceWitnessed(Panel memory panel) internal pure returns (bool) {
        for (uint256 i = 0; i < panel.told.length; ++i) {
            if (panel.told[i].word(JudgementPanel.WITNESS) != JudgementPanel.SILENT) continue;
            uint256 challenge = panel.told[i].word(JudgementPanel.WITNESSED);
            uint256 votes;
            for (uint256 j = i; j < panel.told.length; ++j) {
                Observation other = panel.told[j];
                bool isSame = other.word(JudgementPanel.WITNESSED) == challenge;
                if (isSame && other.word(JudgementPanel.WITNESS) == JudgementPanel.SILENT) votes += panel.votes[j];
            }
            if (isEnough(panel, votes)) return true;
        }
        return false;
    }

    function faulty(Panel memory panel) private pure returns (uint256) {
        return (panel.seats - 1) / 3;
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {JudgementPanel, Observation, Panel} from "./JudgementPanel.sol";
import {JudgementRank, Ranked} from "./JudgementRank.sol";
import {JudgementTable} from "./JudgementTable.sol";
import {Terms} from "./JudgementTerms.sol";

/// What follows from a panel, before the last epoch's multiplier.
struct Judged {
    uint256 outcome;
    bool isDecided; // some dimension has a grade other than insufficient and inconclusive
    bool isUndecided; // some dimension has one of these
    uint256 ownPpm; // the least multiplier over the decided ones
    bool storesNothing; // nobody was to ask for stored data: no reward
    bytes32 dimensions; // the word of the result leaf
}

/// @title From a panel's observations to one provider's verdict
/// @notice The arithmetic of core/src/verdict.rs, bit for bit: integers, rounding down, saturating at 64 bits where Rust does.
/// tests/tests/judgement.rs compares both on random panels.
library Judgement {
    uint256 internal constant PPM = 1_000_000;
    uint256 internal constant PASS = 1;
    uint256 internal constant INSUFFICIENT = 2;
    uint256 internal constant INCONCLUSIVE = 3;
    uint256 internal constant DEGRADED = 4;
    uint256 internal constant FAIL = 5;

    bytes32 private constant DIMENSIONS_TAG = keccak256("assay.dimensions.v1");
    uint256 private constant MAX_DIMENSIONS = 7;
    /// Tag, watched, three medians, four storage counts.
    uint256 private constant HEAD_WORDS = 9;
    uint256 private constant DIMENSION_WORDS = 9;

    /// Objectives of protocol version 1 (core/src/challenge/kinds).
    uint256 private constant STORAGE_DIMENSION = 5;
    uint256 private constant STORAGE_SAMPLES = 30;
    uint256 private constant ALLOWED_SILENT_PPM = 50_000;
    uint256 private constant ALLOWED_SHORTFALL_PPM = 50_000;

    enum Rule {
        Rate,
        Median,
        Facts
    }

    struct Goal {
        uint256 dimension;
        uint256 kind; // place of the counts that feed it
        uint256 otherKind; // of a second kind's, or 0
        uint256 ground;
        uint256 allowedPpm;
        uint256 minimum;
        uint256 designMilli;
        Rule rule;
    }

    /// One dimension's words, in their order.
    struct Dimension {
        uint256 id;
        uint256 grade;
        uint256 reporting;
        uint256 bad;
        uint256 counted;
        uint256 medianBad;
        uint256 medianCounted;
        uint256 burnPpm;
        uint256 multiplierPpm;
    }

    /// @notice Judges a panel whose observations are possible.
    /// @param isFaulty whether a fact or a witnessed silence is held against the provider.
    /// @param watched the provider's entry on the watch list from now on, which only enters the digest.
    function judge(Panel memory panel, Terms memory terms, bool isFaulty, bytes32 watched) internal pure returns (Judged memory judged) {
        Goal[] memory goals = goalsOf(terms);
        uint256[] memory words = new uint256[](HEAD_WORDS + DIMENSION_WORDS * goals.length);
        uint256[] memory scratch = new uint256[](panel.told.length);
        head(words, panel, watched, scratch);

        judged.ownPpm = type(uint256).max;
        for (uint256 i = 0; i < goals.length; ++i) {
            Goal memory goal = goals[i];
            Dimension memory d = judgeDimension(goal, panel, terms, isFaulty, scratch);
            if (goal.rule == Rule.Facts) judged.storesNothing = isNeverAsked(goal, panel);
            judged.outcome = Math.max(judged.outcome, d.grade);
            if (d.grade == INSUFFICIENT || d.grade == INCONCLUSIVE) {
                judged.isUndecided = true;
            } else {
                judged.isDecided = true;
                judged.ownPpm = Math.min(judged.ownPpm, d.multiplierPpm);
            }
            uint256 offset = 32 * (1 + HEAD_WORDS + DIMENSION_WORDS * i);
            assembly ("memory-safe") {
                mcopy(add(words, offset), d, mul(DIMENSION_WORDS, 32))
            }
        }
        judged.dimensions = keccak256(abi.encodePacked(words));
    }

    /// @notice Falls at once, rises by half the gap, and never rises while a dimension is undecided.
    function multiplier(Judged memory judged, uint256 previousPpm) internal pure returns (uint256) {
        if (!judged.isDecided) return previousPpm;
        if (judged.ownPpm <= previousPpm) return judged.ownPpm;
        return judged.isUndecided ? previousPpm : previousPpm + Math.ceilDiv(judged.ownPpm - previousPpm, 2);
    }

    /// @notice Whether some previous multiplier leads to this one.
    function isPossibleMultiplier(Judged memory judged, uint256 ppm) internal pure returns (bool) {
        if (!judged.isDecided) return ppm <= PPM;
        return ppm <= judged.ownPpm && (judged.isUndecided || ppm >= Math.ceilDiv(judged.ownPpm, 2));
    }

    /// @notice The reward before an epoch's budget scales it down.
    function fullReward(Judged memory judged, Terms memory terms, uint256 multiplierPpm) internal pure returns (uint256) {
        return judged.storesNothing ? 0 : share(share(terms.baseReward, terms.weightPpm), multiplierPpm);
    }

    /// @notice Whether the storage dimension in the words of a digest is failed by a fact: alone such a failure burns nothing.
    /// @param dimensions the words behind the tag.
    function statesFault(bytes calldata dimensions) internal pure returns (bool) {
        for (uint256 from = 32 * (HEAD_WORDS - 1); from + 32 * DIMENSION_WORDS <= dimensions.length; from += 32 * DIMENSION_WORDS) {
            if (wordAt(dimensions, from) != STORAGE_DIMENSION) continue;
            return wordAt(dimensions, from + 32) == FAIL && wordAt(dimensions, from + 32 * 7) == 0;
        }
        return false;
    }

    /// @notice The word that a result leaf has of these words.
    function digest(bytes calldata dimensions) internal pure returns (bytes32) {
        return keccak256(bytes.concat(DIMENSIONS_TAG, dimensions));
    }

    function wordAt(bytes calldata words, uint256 from) private pure returns (uint256) {
        return uint256(bytes32(words[from:from + 32]));
    }

    function goalsOf(Terms memory t) private pure returns (Goal[] memory goals) {
        goals = new Goal[](MAX_DIMENSIONS);
        (uint256 echo, uint256 block_) = (JudgementPanel.LATENCY_ECHO, JudgementPanel.LATENCY_BLOCK);
        uint256 design = Math.min(Math.max(t.designMilli, 1_000), 10_000);
        uint256 allowed = t.availabilityPpm < PPM ? PPM - t.availabilityPpm : 0;
        uint256 n;
        goals[n++] = Goal(1, JudgementPanel.AVAILABILITY, 0, 0, allowed, 1, design, Rule.Rate);
        if (t.t50 != 0) goals[n++] = Goal(2, echo, block_, 0, 500_000, 30, design, Rule.Rate);
        if (t.t95 != 0) goals[n++] = Goal(3, echo, block_, 1, 50_000, 90, design, Rule.Rate);
        if (t.t99 != 0) goals[n++] = Goal(4, echo, block_, 2, 10_000, 459, design, Rule.Rate);
        goals[n++] = Goal(STORAGE_DIMENSION, JudgementPanel.STORAGE, 0, 2, ALLOWED_SILENT_PPM, 1, 1_000 * STORAGE_SAMPLES, Rule.Facts);
        if (t.floorIn != 0) goals[n++] = Goal(6, JudgementPanel.INGRESS, 0, 0, ALLOWED_SHORTFALL_PPM, 1, design, Rule.Median);
        if (t.floorOut != 0) goals[n++] = Goal(7, JudgementPanel.EGRESS, 0, 0, ALLOWED_SHORTFALL_PPM, 1, design, Rule.Median);
        assembly ("memory-safe") {
            mstore(goals, n)
        }
    }

    function judgeDimension(Goal memory goal, Panel memory panel, Terms memory terms, bool isFaulty, uint256[] memory scratch)
        private
        pure
        returns (Dimension memory d)
    {
        uint256 count = rank(goal, panel, terms, scratch);
        uint256 votes = JudgementRank.votesOf(scratch, count);
        (bool none, Ranked lenient) = JudgementRank.lenient(panel, scratch, count);
        (uint256 lenientBad, uint256 lenientCounted) = none ? (0, 0) : numbers(goal, panel, lenient);
        if (count != 0) {
            (d.medianBad, d.medianCounted) = numbers(goal, panel, Ranked.wrap(JudgementRank.median(scratch, count, votes)));
        }
        d.id = goal.dimension;
        d.grade = INCONCLUSIVE;
        d.reporting = count;
        (d.bad, d.counted) = goal.rule == Rule.Median ? (d.medianBad, d.medianCounted) : (lenientBad, lenientCounted);
        d.multiplierPpm = PPM;

        if (goal.rule == Rule.Facts && isFaulty) {
            (d.grade, d.multiplierPpm) = (FAIL, 0);
        } else if (isNeverAsked(goal, panel)) {
            d.grade = INSUFFICIENT;
        } else if (JudgementRank.isEnough(panel, votes) && d.counted != 0) {
            if (d.counted < goal.minimum) {
                d.grade = INSUFFICIENT;
            } else {
                d.burnPpm = burn(d.bad, d.counted, goal.allowedPpm);
                d.multiplierPpm = multiplierOfBurn(d.burnPpm);
                d.grade = gradeOf(goal, d.bad, d.counted, isOver(lenientBad, lenientCounted, goal.allowedPpm));
            }
        }
    }

    /// Sorts the votes on a dimension into `reports`; whoever covered too little or erred too much has none.
    function rank(Goal memory goal, Panel memory panel, Terms memory terms, uint256[] memory reports) private pure returns (uint256 count) {
        for (uint256 i = 0; i < panel.told.length; ++i) {
            (uint256 scheduled, uint256 counted, uint256 bad) = sums(goal, panel.told[i]);
            if (counted == 0) continue;
            unchecked {
                // 64-bit values each
                if (counted * PPM < scheduled * terms.coveragePpm) continue;
                if (scheduled > counted && (scheduled - counted) * PPM > scheduled * terms.errorLimitPpm) continue;
                reports[count++] = Ranked.unwrap(JudgementRank.rankedOf(bad, counted, i, panel.votes[i]));
            }
        }
        JudgementRank.sort(reports, count);
    }

    function numbers(Goal memory goal, Panel memory panel, Ranked ranked) private pure returns (uint256 bad, uint256 counted) {
        (, counted, bad) = sums(goal, panel.told[ranked.index()]);
    }

    function sums(Goal memory goal, Observation told) private pure returns (uint256 scheduled, uint256 counted, uint256 bad) {
        uint256 kind = goal.kind;
        uint256 ground = goal.ground;
        scheduled = told.word(kind);
        counted = told.word(kind + 1);
        bad = told.word(kind + 3 + ground);
        kind = goal.otherKind;
        if (kind != 0) {
            scheduled = Math.min(scheduled + told.word(kind), JudgementRank.MAX_COUNT);
            counted = Math.min(counted + told.word(kind + 1), JudgementRank.MAX_COUNT);
            bad = Math.min(bad + told.word(kind + 3 + ground), JudgementRank.MAX_COUNT);
        }
    }

    /// Whether the schedule asks nothing of it, of nobody: what is not asked is no fault of the panel.
    function isNeverAsked(Goal memory goal, Panel memory panel) private pure returns (bool) {
        for (uint256 i = 0; i < panel.told.length; ++i) {
            (uint256 scheduled,,) = sums(goal, panel.told[i]);
            if (scheduled != 0) return false;
        }
        return panel.told.length != 0;
    }

    function gradeOf(Goal memory goal, uint256 bad, uint256 counted, bool isLenientOver) private pure returns (uint256) {
        if (!isOver(bad, counted, goal.allowedPpm)) return PASS;
        // Material: twice the allowance, or half-way from it to everything, whichever is less.
        uint256 material = Math.min(2 * goal.allowedPpm, (PPM + goal.allowedPpm) / 2);
        if (bad * PPM < counted * material) return DEGRADED;
        bool isCertain = goal.rule == Rule.Median ? isLenientOver : isCertainly(goal, bad, counted);
        return isCertain ? FAIL : DEGRADED;
    }

    function isOver(uint256 bad, uint256 counted, uint256 ppm) private pure returns (bool) {
        return bad * PPM > counted * ppm;
    }

    /// Whether a provider that just keeps its objective shows this many bad events with a probability below 10^-4.
    function isCertainly(Goal memory goal, uint256 bad, uint256 counted) private pure returns (bool) {
        uint256 independentBad = Math.min(bad * 1_000, JudgementRank.MAX_COUNT) / goal.designMilli;
        uint256 independent = Math.ceilDiv(Math.min(counted * 1_000, JudgementRank.MAX_COUNT), goal.designMilli);
        return JudgementTable.isSignificant(goal.allowedPpm, independentBad, independent);
    }

    /// Error budget burnt: (bad / counted) / allowed, in ppm.
    function burn(uint256 bad, uint256 counted, uint256 allowedPpm) private pure returns (uint256) {
        uint256 budget = counted * allowedPpm;
        return budget == 0 ? type(uint64).max : Math.min(bad * PPM * PPM / budget, type(uint64).max);
    }

    /// 1 up to a burn of 1, 0.5 at 2, 0 at 5, linear between.
    function multiplierOfBurn(uint256 burnPpm) private pure returns (uint256) {
        if (burnPpm <= PPM) return PPM;
        if (burnPpm <= 2 * PPM) return (3 * PPM - burnPpm) / 2;
        return burnPpm <= 5 * PPM ? (5 * PPM - burnPpm) / 6 : 0;
    }

    /// `amount * ppm / 10^6`, rounded down, at most 128 bits.
    function share(uint256 amount, uint256 ppm) private pure returns (uint256) {
        uint256 whole = Math.min(amount / PPM * ppm, type(uint128).max);
        return Math.min(whole + amount % PPM * ppm / PPM, type(uint128).max);
    }

    /// The words before the dimensions: what people read, and it is committed to all the same.
    function head(uint256[] memory words, Panel memory panel, bytes32 watched, uint256[] memory scratch) private pure {
        words[0] = uint256(DIMENSIONS_TAG);
        words[1] = uint256(watched);
        words[2] = medianReading(panel, JudgementPanel.LATENCY_ECHO, 7, scratch);
        words[3] = medianReading(panel, JudgementPanel.INGRESS, 5, scratch);
        words[4] = medianReading(panel, JudgementPanel.EGRESS, 5, scratch);
        for (uint256 i = 0; i < panel.told.length; ++i) {
            Observation told = panel.told[i];
            uint256 valid = told.word(JudgementPanel.STORAGE + 1);
            for (uint256 ground = 0; ground < 3; ++ground) {
                uint256 bad = told.word(JudgementPanel.STORAGE + 3 + ground);
                valid -= Math.min(bad, valid);
                words[6 + ground] = Math.min(words[6 + ground] + bad, JudgementRank.MAX_COUNT);
            }
            words[5] = Math.min(words[5] + valid, JudgementRank.MAX_COUNT);
        }
    }

    /// Median of a kind's first readings, over those who counted anything and read more than nothing.
    function medianReading(Panel memory panel, uint256 kind, uint256 offset, uint256[] memory scratch) private pure returns (uint256) {
        uint256 count;
        for (uint256 i = 0; i < panel.told.length; ++i) {
            uint256 reading = panel.told[i].word(kind + offset);
            if (reading != 0 && panel.told[i].word(kind + 1) != 0) scratch[count++] = reading << 16 | panel.votes[i];
        }
        JudgementRank.sort(scratch, count);
        return JudgementRank.median(scratch, count, JudgementRank.votesOf(scratch, count)) >> 16;
    }
}

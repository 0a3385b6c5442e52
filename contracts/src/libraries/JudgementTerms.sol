// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What a verdict needs of the parameters and of the provider's class. Shares in ppm, times in microseconds, floors in kbit/s.
struct Terms {
    uint256 panelSize;
    uint256 errorLimitPpm;
    uint256 coveragePpm;
    uint256 designMilli;
    uint256 baseReward;
    uint256 weightPpm;
    uint256 availabilityPpm;
    uint256 t50;
    uint256 t95;
    uint256 t99;
    uint256 floorIn;
    uint256 floorOut;
}

/// @title The words behind a report's `paramsHash`
/// @notice Their order stands in docs/protocol.md; a word's place counts from 0, which is the tag.
library JudgementTerms {
    uint256 private constant PANEL_SIZE = 14;
    uint256 private constant ERROR_LIMIT = 27;
    uint256 private constant COVERAGE = 28;
    uint256 private constant DESIGN_EFFECT = 40;
    uint256 private constant BASE_REWARD = 44;
    /// Classes follow one another: id, tag of the name, weight, availability, three thresholds, two floors.
    uint256 private constant CLASSES = 46;
    uint256 private constant CLASS_WORDS = 9;

    /// Not the words that the report names by hash.
    error WrongParamsPreimage(bytes32 given);
    error UnknownClass(uint16 classId);

    /// @notice Reads one class. Of two with one number the first counts.
    function read(bytes calldata words, bytes32 paramsHash, uint16 classId) internal pure returns (Terms memory terms) {
        bytes32 given = keccak256(words);
        if (given != paramsHash) revert WrongParamsPreimage(given);
        terms.panelSize = wordOf(words, PANEL_SIZE);
        terms.errorLimitPpm = wordOf(words, ERROR_LIMIT);
        terms.coveragePpm = wordOf(words, COVERAGE);
        terms.designMilli = wordOf(words, DESIGN_EFFECT);
        terms.baseReward = wordOf(words, BASE_REWARD);

        uint256 end = words.length / 32;
        for (uint256 i = CLASSES; i + CLASS_WORDS <= end; i += CLASS_WORDS) {
            if (wordOf(words, i) != classId) continue;
            terms.weightPpm = wordOf(words, i + 2);
            terms.availabilityPpm = wordOf(words, i + 3);
            terms.t50 = wordOf(words, i + 4);
            terms.t95 = wordOf(words, i + 5);
            terms.t99 = wordOf(words, i + 6);
            terms.floorIn = wordOf(words, i + 7);
            terms.floorOut = wordOf(words, i + 8);
            return terms;
        }
        revert UnknownClass(classId);
    }

    function wordOf(bytes calldata words, uint256 index) private pure returns (uint256) {
        return uint256(bytes32(words[32 * index:32 * index + 32]));
    }
}

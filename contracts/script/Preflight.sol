// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";
import {ISlaSettlement} from "../src/interfaces/ISlaSettlement.sol";
import {Parameters} from "./Parameters.sol";

/// What the chain says at the time of deployment.
struct Surroundings {
    uint256 chainId;
    uint256 timestamp;
    address deployer;
    bool tokenHasCode;
}

/// @title Finds what is wrong with parameters before anything is deployed
/// @notice Each finding is a sentence that names the key and says what to do. Some of them a constructor would refuse too, without
/// saying why; the others would be deployed, and fail when it matters.
library Preflight {
    uint256 internal constant DEVELOPMENT_CHAIN = 31337;
    uint256 private constant PPM = 1_000_000;
    uint256 private constant MAX_OPEN_EPOCHS = 1024; // of the settlement
    uint256 private constant MAX_HOLD = 14 days;
    uint256 private constant FARTHEST_GENESIS = 365 days;
    uint256 private constant MAX_FINDINGS = 64;

    struct Findings {
        uint256 count;
        string[] sentences;
    }

    function findings(Parameters memory p, Surroundings memory s) internal pure returns (string[] memory sentences) {
        Findings memory f = Findings(0, new string[](MAX_FINDINGS));
        _network(f, p, s);
        _governance(f, p, s);
        _placeholders(f, p, s);
        _times(f, p, s);
        _stakes(f, p, s);
        _courts(f, p);
        _standing(f, p);
        _market(f, p, s);

        sentences = new string[](f.count);
        for (uint256 i = 0; i < f.count; ++i) {
            sentences[i] = f.sentences[i];
        }
    }

    /// Longest that a court can make a report wait, from its acceptance.
    function longestHold(ISlaSettlement.Config memory c) internal pure returns (uint256) {
        return Math.min(MAX_HOLD, MAX_OPEN_EPOCHS * c.epochLength);
    }

    function _network(Findings memory f, Parameters memory p, Surroundings memory s) private pure {
        _require(f, p.chainId == s.chainId, "chainId is not that of the RPC: take the parameters of this network, or the RPC of theirs.");
        if (p.token == address(0)) {
            _require(f, s.chainId == DEVELOPMENT_CHAIN, "token is zero, which deploys a test token that anyone mints: name the real one.");
        } else {
            _require(f, s.tokenHasCode, "token is no contract on this chain: check its address.");
        }
    }

    function _governance(Findings memory f, Parameters memory p, Surroundings memory s) private pure {
        _require(f, p.governance.delay != 0, "governance.delaySeconds is zero: give users time to see a change before it acts.");
        _require(
            f, p.governance.proposer != address(0), "governance.proposer is zero: name who proposes changes, or none can ever be made."
        );
        _require(f, p.governance.guardian != address(0), "governance.guardian is zero: name who may void a wrong report at once.");
        bool isApart = s.deployer != p.governance.proposer && s.deployer != p.governance.executor && s.deployer != p.governance.guardian;
        _require(f, isApart, "governance names the deployer: use an account for deploying that has no power afterwards.");
        // The owner reviews through the timelock.
        _require(
            f,
            p.governance.delay < p.courts.reviewSeconds,
            "courts.reviewSeconds is not longer than governance.delaySeconds: the timelock could not cancel a slash in time."
        );
        _require(
            f,
            p.governance.delay + p.standing.graceSeconds < p.standing.reviewSeconds,
            "standing.reviewSeconds is not longer than graceSeconds + governance.delaySeconds: nobody could reinstate a provider in time."
        );
    }

    /// The example as it was copied: nobody has the keys of its addresses.
    function _placeholders(Findings memory f, Parameters memory p, Surroundings memory s) private pure {
        if (s.chainId == DEVELOPMENT_CHAIN) return;
        bool isNamed = !_isPlaceholder(abi.encodePacked(p.governance.proposer)) && !_isPlaceholder(abi.encodePacked(p.governance.executor))
            && !_isPlaceholder(abi.encodePacked(p.governance.guardian)) && !_isPlaceholder(abi.encodePacked(p.fees.treasury));
        _require(f, isNamed, "governance or market.treasury still has an address of the example: nobody holds its key; name your own.");
        bool isHashed = !_isPlaceholder(abi.encodePacked(p.settlement.paramsHash));
        _require(
            f, isHashed, "settlement.paramsHash is still the example's: take the hash of the network's parameters, as every node prints it."
        );
    }

    function _times(Findings memory f, Parameters memory p, Surroundings memory s) private pure {
        ISlaSettlement.Config memory c = p.settlement;
        _require(f, c.epochLength >= 2, "settlement.epochLength is below two seconds: choose longer epochs.");
        uint256 slotMs = p.courts.slotMs;
        bool isDivided = slotMs != 0 && uint256(c.epochLength) * 1000 % slotMs == 0;
        _require(f, isDivided, "courts.slotMs does not divide the epoch: take slot_ms of the network's parameters.");
        _require(
            f,
            c.genesis >= s.timestamp + c.epochLength,
            "settlement.genesis is less than one epoch ahead: choose a later one, to check the deployment and build the first committee."
        );
        _require(
            f,
            c.genesis < s.timestamp + FARTHEST_GENESIS,
            "settlement.genesis is more than a year ahead: it is in unix seconds, not milliseconds."
        );
        bool isWithinBounds = _longestWindow(c) < MAX_OPEN_EPOCHS * c.epochLength && c.validEpochs < MAX_OPEN_EPOCHS;
        _require(f, isWithinBounds, "settlement: windows and validEpochs must stay under 1,024 epochs: shorten them, or lengthen epochs.");
        _require(
            f,
            p.escapeDelay > p.courts.reviewSeconds,
            "settlement.escapeDelay is not longer than courts.reviewSeconds: signers of a convicted report could leave before they are slashed."
        );
        _require(
            f,
            p.escapeDelay > (1 + uint256(c.validEpochs)) * c.epochLength,
            "settlement.escapeDelay is within one report's validity: exits would open while a report can still come; lengthen it."
        );
        _require(f, c.epochBudget != 0, "settlement.epochBudget is zero: no report could pay.");
        _require(f, c.slashCapPpm != 0 && c.slashCapPpm <= PPM, "settlement.slashCapPpm must be from 1 to 1,000,000.");
        _require(f, c.paramsHash != 0, "settlement.paramsHash is zero: take the hash of the network's parameters, as every node prints it.");
    }

    function _stakes(Findings memory f, Parameters memory p, Surroundings memory s) private pure {
        ISlaSettlement.Config memory c = p.settlement;
        uint256 hold = longestHold(c);
        uint256 liability = (2 + uint256(c.validEpochs)) * c.epochLength + _longestWindow(c); // as libraries/Liability
        _require(
            f,
            p.oracles.evidenceSeconds >= hold,
            "oracles.evidenceSeconds is shorter than the longest hold (14 days or 1,024 epochs): lengthen it, or signers leave meanwhile."
        );
        _require(
            f,
            p.providers.evidenceSeconds >= hold,
            "providers.evidenceSeconds is shorter than the longest hold (14 days or 1,024 epochs): lengthen it, or providers leave meanwhile."
        );
        _require(
            f,
            p.oracles.unbondingSeconds >= liability + p.oracles.evidenceSeconds,
            "oracles.unbondingSeconds is shorter than (2 + validEpochs) epochs + the longer window + evidenceSeconds: lengthen it."
        );
        _require(
            f,
            p.providers.unbondingSeconds >= liability + p.providers.evidenceSeconds,
            "providers.unbondingSeconds is shorter than (2 + validEpochs) epochs + the longer window + evidenceSeconds: lengthen it."
        );
        // The last conviction comes with the end of a hold; the slash follows the review.
        _require(
            f,
            _longestWindow(c) + p.oracles.evidenceSeconds > Math.max(_longestWindow(c), hold) + p.courts.reviewSeconds,
            "oracles.evidenceSeconds ends before a review of signers can (courts.reviewSeconds): lengthen it, with unbondingSeconds."
        );
        _require(f, p.oracleMinStake != 0, "oracles.minStake is zero: a committee of strangers would cost nothing.");
        uint256 cap = p.oracles.operatorCapPpm;
        bool isCap = cap != 0 && cap <= PPM;
        _require(f, isCap, "oracles.operatorCapPpm must be from 1 to 1,000,000.");
        bool isSafe = cap * 3 < PPM || s.chainId == DEVELOPMENT_CHAIN;
        _require(f, isSafe, "oracles.operatorCapPpm lets one operator hold a third of the weight and stop every report: choose less.");
        _require(f, p.oracles.rollCallSeconds != 0, "oracles.rollCallSeconds is zero: nobody could answer a roll call.");
        _classes(f, p.providers.classes);
    }

    function _classes(Findings memory f, IProviderRegistry.ClassStake[] memory classes) private pure {
        _require(f, classes.length != 0, "providers.stakePerGib names no class: nobody could declare capacity.");
        for (uint256 i = 0; i < classes.length; ++i) {
            bool isUnique = true;
            for (uint256 j = 0; j < i; ++j) {
                isUnique = isUnique && classes[i].classId != classes[j].classId;
            }
            bool isClass = classes[i].classId != 0 && classes[i].perGib != 0 && isUnique;
            _require(f, isClass, "providers.stakePerGib: class ids and stakes must not be zero, nor an id be named twice.");
        }
    }

    function _courts(Findings memory f, Parameters memory p) private pure {
        _share(f, p.courts.aggregationSlashPpm, "courts.aggregationSlashPpm");
        _share(f, p.courts.completenessSlashPpm, "courts.completenessSlashPpm");
        _share(f, p.courts.equivocationSlashPpm, "courts.equivocationSlashPpm");
        _share(f, p.courts.seedSlashPpm, "courts.seedSlashPpm");
        _share(f, p.courts.signersSlashPpm, "courts.signersSlashPpm");
        _share(f, p.courts.withheldSlashPpm, "courts.withheldSlashPpm");
        bool isBacked = p.courts.dispute.bond != 0 && p.courts.dispute.responseSeconds != 0 && p.courts.dispute.voidSeconds != 0;
        _require(f, isBacked, "courts.dispute: bond, responseSeconds and voidSeconds must not be zero.");
        // Opened in a window's last second, it holds the report until it can be closed.
        _require(
            f,
            _longestWindow(p.settlement) + p.courts.dispute.responseSeconds + p.courts.dispute.voidSeconds <= longestHold(p.settlement),
            "courts.dispute: window + responseSeconds + voidSeconds exceed the longest hold (14 days or 1,024 epochs): late disputes would be refused."
        );
        bool isBeacon = p.courts.beacon.key.length == 256 && p.courts.beacon.period != 0;
        _require(f, isBeacon, "courts.beacon: the key has 256 bytes (G2, EIP-2537) and the period is not zero.");
        _require(
            f,
            p.courts.beacon.genesis <= p.settlement.genesis,
            "courts.beacon.genesis is after settlement.genesis: the first epochs would have no round; take the beacon's own, in unix seconds."
        );
    }

    function _standing(Findings memory f, Parameters memory p) private pure {
        _require(f, p.standing.minPanel != 0, "standing.minPanel is zero: a single oracle could fail a provider's epoch.");
        _require(
            f,
            p.standing.presentSeconds > _longestWindow(p.settlement) + longestHold(p.settlement),
            "standing.presentSeconds is not longer than the longer window + the longest hold: a held verdict could be passed over; lengthen it."
        );
    }

    function _market(Findings memory f, Parameters memory p, Surroundings memory s) private pure {
        bool isTerm = p.market.horizonEpochs != 0 && p.market.horizonEpochs <= type(uint32).max;
        _require(
            f,
            isTerm && p.market.noticeEpochs <= p.market.horizonEpochs,
            "market: horizonEpochs must be from noticeEpochs (and 1) to 2^32 - 1."
        );
        _require(
            f,
            p.market.unsettledDelay > longestHold(p.settlement),
            "market.unsettledDelay is not longer than the longest hold (14 days or 1,024 epochs): a builder could be refunded as it ends; lengthen it."
        );
        _require(f, p.market.maxMarginPpm <= PPM, "market.maxMarginPpm is more than everything.");
        _require(
            f, p.fees.marginPpm <= p.market.maxMarginPpm, "market.marginPpm is above maxMarginPpm: lower it, or raise the cap for good."
        );
        _require(f, p.fees.oracleSharePpm <= PPM, "market.oracleSharePpm is more than the whole margin.");
        _require(f, p.market.subsidyPpm <= PPM, "market.subsidyPpm is more than the margin: the pool would pay for bookings of oneself.");
        bool isSubsidy = (p.market.subsidyPpm == 0) == (p.market.subsidyEpochs == 0);
        _require(f, isSubsidy, "market: subsidyPpm and subsidyEpochs are both zero or neither.");
        bool isTreasury = p.fees.treasury != address(0) && p.fees.treasury != s.deployer;
        _require(f, isTreasury, "market.treasury is zero or the deployer: name who keeps the margin.");
    }

    function _share(Findings memory f, uint256 ppm, string memory key) private pure {
        _require(f, ppm != 0 && ppm <= PPM, string.concat(key, " must be from 1 to 1,000,000: a court that takes nothing deters nobody."));
    }

    function _longestWindow(ISlaSettlement.Config memory c) private pure returns (uint256) {
        return Math.max(c.rewardWindow, c.slashWindow);
    }

    /// A byte repeated to the end, as in the example's addresses and hash.
    function _isPlaceholder(bytes memory word) private pure returns (bool isPlaceholder) {
        isPlaceholder = word[0] != 0;
        for (uint256 i = 1; i < word.length; ++i) {
            isPlaceholder = isPlaceholder && word[i] == word[0];
        }
    }

    function _require(Findings memory f, bool holds, string memory sentence) private pure {
        if (!holds) f.sentences[f.count++] = sentence;
    }
}

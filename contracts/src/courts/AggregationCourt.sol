// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationCourt} from "../interfaces/IAggregationCourt.sol";
import {IProviderRegistry} from "../interfaces/IProviderRegistry.sol";
import {Verdict} from "../interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";
import {Committee} from "../libraries/Committee.sol";
import {Judged, Judgement} from "../libraries/Judgement.sol";
import {JudgementLeaf} from "../libraries/JudgementLeaf.sol";
import {JudgementPanel, Panel} from "../libraries/JudgementPanel.sol";
import {JudgementRank} from "../libraries/JudgementRank.sol";
import {JudgementTerms, Terms} from "../libraries/JudgementTerms.sol";
import {ReportLib} from "../libraries/ReportLib.sol";
import {Court} from "./Court.sol";

/// @title Wrong aggregation
/// @notice See IAggregationCourt for what it promises.
contract AggregationCourt is Court, IAggregationCourt {
    using ReportLib for Report;
    using Judgement for Judged;
    using JudgementRank for Panel;

    IProviderRegistry private immutable PROVIDERS;

    constructor(ISlaSettlement settlement, uint256 slashPpm_) Court(settlement, slashPpm_) {
        PROVIDERS = IProviderRegistry(settlement.config().providerRegistry);
    }

    /// @inheritdoc IAggregationCourt
    function disputeVerdict(Report calldata report, uint64 parentEpoch, Case calldata case_) external {
        Mismatch mismatch = _mismatch(report, case_);
        if (mismatch == Mismatch.None) revert NothingWrong();
        emit VerdictDisproven(report.epoch, case_.verdict.providerId, mismatch);
        _convict(report, parentEpoch, msg.sender);
    }

    /// @inheritdoc IAggregationCourt
    function mismatchOf(Report calldata report, Case calldata case_) external view returns (Mismatch) {
        return _mismatch(report, case_);
    }

    function _mismatch(Report calldata report, Case calldata case_) private view returns (Mismatch) {
        Verdict calldata verdict = case_.verdict;
        JudgementLeaf.check(report.resultRoot, JudgementLeaf.verdict(verdict), case_.verdictProof);
        if (verdict.epoch != report.epoch) return Mismatch.Epoch;

        uint16 classId = PROVIDERS.provider(verdict.providerId).classId;
        Terms memory terms = JudgementTerms.read(case_.params, report.paramsHash, classId);
        (bool isPossible, Panel memory panel) = _panel(report, case_, terms);
        if (!isPossible) return Mismatch.Observations;

        (bool isKnown, uint256 previousPpm) = _previous(report, case_);
        bytes calldata dimensions = case_.dimensions;
        if (dimensions.length != 0) {
            if (Judgement.digest(dimensions) != verdict.dimensions) revert WrongDimensionsPreimage();
            bool isFaulty = Judgement.statesFault(dimensions);
            Judged memory judged = Judgement.judge(panel, terms, isFaulty, bytes32(dimensions));
            if (judged.dimensions != verdict.dimensions) return Mismatch.Dimensions;
            if (isFaulty && !_isFaultPossible(panel)) return Mismatch.Fault;
            return _compare(report, verdict, judged, isFaulty, terms, isKnown, previousPpm);
        }
        // Nobody knows what the signers hashed: a verdict stands when it follows without a fault or with one.
        Judged memory spared = Judgement.judge(panel, terms, false, 0);
        Mismatch mismatch = _compare(report, verdict, spared, false, terms, isKnown, previousPpm);
        if (mismatch == Mismatch.None || !_isFaultPossible(panel)) return mismatch;
        Judged memory condemned = Judgement.judge(panel, terms, true, 0);
        return _compare(report, verdict, condemned, true, terms, isKnown, previousPpm);
    }

    function _compare(
        Report calldata report,
        Verdict calldata verdict,
        Judged memory judged,
        bool isFaulty,
        Terms memory terms,
        bool isPreviousKnown,
        uint256 previousPpm
    ) private pure returns (Mismatch) {
        uint256 ppm = verdict.multiplierPpm;
        if (verdict.outcome != judged.outcome) return Mismatch.Outcome;
        if (isPreviousKnown ? ppm != judged.multiplier(previousPpm) : !judged.isPossibleMultiplier(ppm)) return Mismatch.Multiplier;
        if (verdict.reward > judged.fullReward(terms, ppm)) return Mismatch.Reward;
        if (verdict.slash != 0 && !(isFaulty && report.seedSecure)) return Mismatch.Slash;
        return Mismatch.None;
    }

    /// The panel that the leaf of `obsRoot` names, unless no verified reveals give such a one.
    function _panel(Report calldata report, Case calldata case_, Terms memory terms)
        private
        view
        returns (bool isPossible, Panel memory panel)
    {
        uint64 providerId = case_.verdict.providerId;
        bytes32 vector;
        panel.seats = case_.seats;
        (panel.told, vector) = JudgementPanel.open(report.epoch, providerId, panel.seats, case_.present, case_.observations);
        JudgementLeaf.check(report.obsRoot, JudgementLeaf.panel(providerId, vector), case_.panelProof);

        panel.votes = new uint256[](panel.told.length);
        (address header,,) = ORACLES.committeeOf(report.setEpoch);
        (, uint256 totalWeight, uint256 members) = Committee.totals(header);
        if (panel.seats > members || panel.seats > terms.panelSize || JudgementPanel.isImpossible(panel.told)) return (false, panel);
        if (panel.seats == members) {
            panel.totalWeight = totalWeight;
            return (_weigh(panel, header, case_.present), panel);
        }
        for (uint256 i = 0; i < panel.votes.length; ++i) {
            panel.votes[i] = 1;
        }
        return (true, panel);
    }

    /// Gives every seat the weight of the member in its place; false when another oracle sits there.
    function _weigh(Panel memory panel, address header, uint256 present) private view returns (bool) {
        uint256 next;
        for (uint256 seat = 0; seat < panel.seats; ++seat) {
            if ((present >> seat) & 1 == 0) continue;
            (uint64 oracleId, uint16 weight,) = Committee.member(header, seat);
            if (panel.told[next].word(JudgementPanel.ORACLE) != oracleId) return false;
            panel.votes[next++] = weight;
        }
        return true;
    }

    /// Facts of a drawn panel's provider may come from anybody's reveal; those of the whole set's stand in its observations.
    function _isFaultPossible(Panel memory panel) private pure returns (bool) {
        return panel.totalWeight == 0 || JudgementPanel.namesFact(panel.told) || panel.isSilenceWitnessed();
    }

    /// The multiplier that the epoch began with, as far as it is known.
    function _previous(Report calldata report, Case calldata case_) private pure returns (bool isKnown, uint256 ppm) {
        if (report.parentDigest == 0) return (true, Judgement.PPM);
        if (!case_.hasPrevious) return (false, 0);
        Report calldata parent = case_.parent;
        Verdict calldata previous = case_.previous;
        if (parent.digest() != report.parentDigest) revert NotTheParent(report.parentDigest);
        JudgementLeaf.check(parent.resultRoot, JudgementLeaf.verdict(previous), case_.previousProof);
        if (previous.providerId != case_.verdict.providerId || previous.epoch != parent.epoch) revert NotOfProviderAndParent();
        return (true, previous.multiplierPpm);
    }
}

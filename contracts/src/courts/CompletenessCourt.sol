// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICompletenessCourt} from "../interfaces/ICompletenessCourt.sol";
import {Verdict} from "../interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";
import {JudgementLeaf} from "../libraries/JudgementLeaf.sol";
import {Court} from "./Court.sol";

/// @title One panel and one verdict for each provider
/// @notice See ICompletenessCourt for what it promises.
contract CompletenessCourt is Court, ICompletenessCourt {
    constructor(ISlaSettlement settlement, uint256 slashPpm_) Court(settlement, slashPpm_) {}

    /// @inheritdoc ICompletenessCourt
    function disputeTwoVerdicts(
        Report calldata report,
        uint64 parentEpoch,
        Verdict calldata first,
        bytes32[] calldata firstProof,
        Verdict calldata second,
        bytes32[] calldata secondProof
    ) external {
        bytes32 leaf = JudgementLeaf.verdict(first);
        bytes32 other = JudgementLeaf.verdict(second);
        JudgementLeaf.check(report.resultRoot, leaf, firstProof);
        JudgementLeaf.check(report.resultRoot, other, secondProof);
        if (first.providerId != second.providerId || leaf == other) revert NotTwoLeaves();
        _convict(report, parentEpoch, msg.sender);
    }

    /// @inheritdoc ICompletenessCourt
    function disputeTwoPanels(
        Report calldata report,
        uint64 parentEpoch,
        PanelLeaf calldata first,
        bytes32[] calldata firstProof,
        PanelLeaf calldata second,
        bytes32[] calldata secondProof
    ) external {
        JudgementLeaf.check(report.obsRoot, JudgementLeaf.panel(first.providerId, first.vector), firstProof);
        JudgementLeaf.check(report.obsRoot, JudgementLeaf.panel(second.providerId, second.vector), secondProof);
        if (first.providerId != second.providerId || first.vector == second.vector) revert NotTwoLeaves();
        _convict(report, parentEpoch, msg.sender);
    }

    /// @inheritdoc ICompletenessCourt
    function disputeMissingVerdict(
        Report calldata report,
        uint64 parentEpoch,
        PanelLeaf calldata panel,
        bytes32[] calldata panelProof,
        Verdict[] calldata verdicts
    ) external {
        JudgementLeaf.check(report.obsRoot, JudgementLeaf.panel(panel.providerId, panel.vector), panelProof);
        bytes32[] memory leaves = new bytes32[](verdicts.length);
        for (uint256 i = 0; i < verdicts.length; ++i) {
            if (verdicts[i].providerId == panel.providerId) revert LeafExists(panel.providerId);
            leaves[i] = JudgementLeaf.verdict(verdicts[i]);
        }
        if (JudgementLeaf.root(leaves) != report.resultRoot) revert NotAllLeaves();
        _convict(report, parentEpoch, msg.sender);
    }

    /// @inheritdoc ICompletenessCourt
    function disputeMissingPanel(
        Report calldata report,
        uint64 parentEpoch,
        Verdict calldata verdict,
        bytes32[] calldata verdictProof,
        PanelLeaf[] calldata panels
    ) external {
        JudgementLeaf.check(report.resultRoot, JudgementLeaf.verdict(verdict), verdictProof);
        bytes32[] memory leaves = new bytes32[](panels.length);
        for (uint256 i = 0; i < panels.length; ++i) {
            if (panels[i].providerId == verdict.providerId) revert LeafExists(verdict.providerId);
            leaves[i] = JudgementLeaf.panel(panels[i].providerId, panels[i].vector);
        }
        if (JudgementLeaf.root(leaves) != report.obsRoot) revert NotAllLeaves();
        _convict(report, parentEpoch, msg.sender);
    }
}

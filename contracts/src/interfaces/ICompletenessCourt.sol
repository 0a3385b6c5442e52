// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICourt} from "./ICourt.sol";
import {Verdict} from "./ISlaOracle.sol";
import {Report} from "./ISlaSettlement.sol";

/// @title Voids reports that do not have one panel and one verdict for each provider
/// @notice Every provider that is judged has one leaf under `obsRoot` and one under `resultRoot`. Two different leaves are shown by their
/// proofs; that one is missing, by the whole other tree. Anyone may call, without a bond: the proof is complete in itself.
/// A proof that does not lead to its root reverts with JudgementLeaf.InvalidProof; then as `SlaSettlement.voidReport` does.
/// @dev The same leaf twice says nothing twice, and is not an offence. `parentEpoch` is as for `SlaSettlement.voidReport`.
interface ICompletenessCourt is ICourt {
    struct PanelLeaf {
        uint64 providerId;
        bytes32 vector;
    }

    /// Two leaves of two providers, or the same one twice.
    error NotTwoLeaves();
    /// The other tree does have a leaf of this provider.
    error LeafExists(uint64 providerId);
    /// These are not all leaves of the report's tree.
    error NotAllLeaves();

    /// @notice Voids a report with two different verdicts on one provider.
    function disputeTwoVerdicts(
        Report calldata report,
        uint64 parentEpoch,
        Verdict calldata first,
        bytes32[] calldata firstProof,
        Verdict calldata second,
        bytes32[] calldata secondProof
    ) external;

    /// @notice Voids a report with two different panels of one provider.
    function disputeTwoPanels(
        Report calldata report,
        uint64 parentEpoch,
        PanelLeaf calldata first,
        bytes32[] calldata firstProof,
        PanelLeaf calldata second,
        bytes32[] calldata secondProof
    ) external;

    /// @notice Voids a report that has a provider's panel and no verdict on it.
    /// @param verdicts all leaves of `resultRoot`, ascending by their hash; at most 256, larger trees cannot be shown whole.
    function disputeMissingVerdict(
        Report calldata report,
        uint64 parentEpoch,
        PanelLeaf calldata panel,
        bytes32[] calldata panelProof,
        Verdict[] calldata verdicts
    ) external;

    /// @notice Voids a report that has a verdict without a panel.
    /// @param panels all leaves of `obsRoot`, likewise.
    function disputeMissingPanel(
        Report calldata report,
        uint64 parentEpoch,
        Verdict calldata verdict,
        bytes32[] calldata verdictProof,
        PanelLeaf[] calldata panels
    ) external;
}

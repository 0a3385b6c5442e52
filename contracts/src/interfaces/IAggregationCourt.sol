// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICourt} from "./ICourt.sol";
import {Verdict} from "./ISlaOracle.sol";
import {Report} from "./ISlaSettlement.sol";

/// @title Voids reports whose verdicts do not follow from what the report itself commits to
/// @notice A report commits to every panel's observations (`obsRoot`) and to every verdict (`resultRoot`). The court opens both for one
/// provider, judges again by the arithmetic of core/src/verdict.rs, and voids the report when the verdict is another one. Anyone may
/// call, without a bond: the proof is complete in itself. Who signed the report can be slashed afterwards (ICourt.convicted).
///
/// Not every input of a verdict is committed to. Taken from the posted leaf:
/// - which oracles were drawn: seats of a drawn panel are whom the leaf of `obsRoot` names, absent ones nobody in particular. Only a
///   panel as large as the committee set is known to be the whole of it, with the weights of the set;
/// - whether a fact is held against the provider, since facts stand in reveals: the words behind `dimensions` state it. Where the
///   panel is the whole set, a fact or witnessed silence that no observation knows of is disproven;
/// - the entry on the watch list;
/// - the amount of a slash, which is a share of a past stake: only that there is one without a fact, or in an epoch without secure
///   seeds, is disproven;
/// - by how much the epoch's budget scaled the reward down: only more than the full reward is disproven;
/// - the multiplier before this epoch, when the parent report has no verdict on the provider, or none is shown: then only a
///   multiplier that follows from none is disproven.
/// Not opened here: a leaf of `obsRoot` that nobody has a preimage of, or one of another layout than the standard kinds of protocol
/// version 1 have. Both are data withheld, and no verdict can be recomputed from them.
/// @dev The provider's class is read from the registry, which never changes it. Shapes that no honest report has revert; what is
/// opened by its hash but impossible (oracles that do not ascend, more bad than counted) is the signers' own fault.
interface IAggregationCourt is ICourt {
    /// The first thing that is wrong, in this order.
    enum Mismatch {
        None,
        Epoch, // the verdict is of another epoch than the report
        Observations, // no verified reveals give such a panel
        Dimensions, // a figure behind `dimensions`
        Fault, // a fact or silence that nobody of the whole set states
        Outcome,
        Multiplier,
        Reward, // more than the full one
        Slash // without a fact, or without secure seeds
    }

    struct Case {
        Verdict verdict; // a leaf of `resultRoot`
        bytes32[] verdictProof;
        uint256 seats; // of the panel, absent ones included
        uint256 present; // bit `i` = seat `i`, ascending by oracle, has an observation
        bytes observations; // of the present seats, packed as in JudgementPanel
        bytes32[] panelProof; // under `obsRoot`
        bytes params; // the words behind `paramsHash`
        bytes dimensions; // the words behind `verdict.dimensions` without the tag; empty when nobody has them
        bool hasPrevious; // whether the rest is filled in
        Report parent; // the report with `parentDigest`
        Verdict previous; // its verdict on the provider
        bytes32[] previousProof; // under its `resultRoot`
    }

    event VerdictDisproven(uint64 indexed epoch, uint64 indexed providerId, Mismatch mismatch);

    /// `previous` is of another provider, or of another epoch than the parent report.
    error NotOfProviderAndParent();
    /// `parent` is not the report that `parentDigest` names.
    error NotTheParent(bytes32 parentDigest);
    /// The words do not hash to the verdict's `dimensions`.
    error WrongDimensionsPreimage();
    /// The verdict follows from what is committed, as far as that can be known.
    error NothingWrong();

    /// @notice What is wrong about a verdict. A dry run of `disputeVerdict`, which does not ask whether the report was accepted.
    function mismatchOf(Report calldata report, Case calldata case_) external view returns (Mismatch);

    /// @notice Voids a report with a wrong verdict. Reverts with NothingWrong, and as `SlaSettlement.voidReport` does.
    /// @param parentEpoch as for `SlaSettlement.voidReport`.
    function disputeVerdict(Report calldata report, uint64 parentEpoch, Case calldata case_) external;
}

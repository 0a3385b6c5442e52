// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlaOracle, Verdict} from "../interfaces/ISlaOracle.sol";
import {Report} from "../interfaces/ISlaSettlement.sol";

/// @title Reading verdicts without the usual mistakes
/// @notice For consumers: a verdict counts only once it has matured, only for the provider and epoch that the consumer means, and a
/// multiplier never pays more than all.
library SlaVerdicts {
    uint256 internal constant PPM = 1_000_000;

    uint8 internal constant PASS = 1;
    uint8 internal constant INSUFFICIENT = 2;
    uint8 internal constant INCONCLUSIVE = 3;
    uint8 internal constant DEGRADED = 4;
    uint8 internal constant FAIL = 5;

    /// The verdict may still be voided: its window is open, or a dispute holds it.
    error VerdictNotMatured(uint64 providerId, uint64 epoch);
    /// A verdict about another provider or epoch than the consumer asks for.
    error WrongVerdict(uint64 providerId, uint64 epoch);
    /// Nobody recorded this verdict yet: see ISlaOracle.record.
    error VerdictNotRecorded(uint64 providerId, uint64 epoch);

    /// @notice A matured verdict, with its proof. Reverts as ISlaOracle.verdict does, or with VerdictNotMatured.
    function matured(ISlaOracle oracle, Report calldata report, Verdict calldata v, bytes32[] calldata proof)
        internal
        view
        returns (uint8 outcome, uint256 multiplierPpm)
    {
        if (v.epoch != report.epoch) revert WrongVerdict(v.providerId, v.epoch);
        bool ready;
        (outcome, multiplierPpm, ready) = oracle.verdict(report, v, proof);
        if (!ready) revert VerdictNotMatured(v.providerId, v.epoch);
        multiplierPpm = capped(multiplierPpm);
    }

    /// @notice The same, for the one provider and epoch that the consumer means.
    function maturedOf(
        ISlaOracle oracle,
        uint64 providerId,
        uint64 epoch,
        Report calldata report,
        Verdict calldata v,
        bytes32[] calldata proof
    ) internal view returns (uint8 outcome, uint256 multiplierPpm) {
        if (v.providerId != providerId || v.epoch != epoch) revert WrongVerdict(v.providerId, v.epoch);
        return matured(oracle, report, v, proof);
    }

    /// @notice A verdict that somebody recorded, without a proof.
    function recordedOf(ISlaOracle oracle, uint64 providerId, uint64 epoch) internal view returns (uint8 outcome, uint256 multiplierPpm) {
        bool known;
        (known, outcome, multiplierPpm) = oracle.recorded(providerId, epoch);
        if (!known) revert VerdictNotRecorded(providerId, epoch);
        multiplierPpm = capped(multiplierPpm);
    }

    /// @notice Passed, or nothing that speaks against the provider: too few probes or too few oracles are nobody's fault.
    function isClean(uint8 outcome) internal pure returns (bool) {
        return outcome == PASS || outcome == INSUFFICIENT || outcome == INCONCLUSIVE;
    }

    /// @notice What a multiplier leaves of an amount, rounded down.
    function share(uint256 amount, uint256 multiplierPpm) internal pure returns (uint256) {
        return amount * capped(multiplierPpm) / PPM;
    }

    function capped(uint256 multiplierPpm) private pure returns (uint256) {
        return multiplierPpm < PPM ? multiplierPpm : PPM;
    }
}

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

    /// @notice A matured verdict. Reverts as ISlaOracle.verdict does, or with VerdictNotMatured.
    function matured(ISlaOracle oracle, Report calldata report, Verdict calldata v, bytes32[] calldata proof)
        internal
        view
        returns (uint8 outcome, uint256 multiplierPpm)
    {
        bool ready;
        (outcome, multiplierPpm, ready) = oracle.verdict(report, v, proof);
        if (!ready) revert VerdictNotMatured(v.providerId, v.epoch);
        multiplierPpm = capped(multiplierPpm);
    }

    /// @notice The same, of the one provider and epoch that the consumer means.
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

    /// @notice A verdict that somebody recorded (ISlaOracle.record), without a proof.
    function recordedOf(ISlaOracle oracle, uint64 providerId, uint64 epoch)
        internal
        view
        returns (bool known, uint8 outcome, uint256 multiplierPpm)
    {
        (known, outcome, multiplierPpm) = oracle.recorded(providerId, epoch);
        multiplierPpm = capped(multiplierPpm);
    }

    /// @notice The newest recorded verdict among the last accepted epoch and the `lookback` before it, so that nobody can show an old
    /// good one where a newer bad one is recorded.
    function newestOf(ISlaOracle oracle, uint64 providerId, uint64 lookback)
        internal
        view
        returns (bool known, uint64 epoch, uint8 outcome, uint256 multiplierPpm)
    {
        (bool any, uint64 last,,) = oracle.latest();
        if (!any) return (false, 0, 0, 0);
        for (uint64 back = 0; back <= lookback && back <= last; ++back) {
            epoch = last - back;
            (known, outcome, multiplierPpm) = recordedOf(oracle, providerId, epoch);
            if (known) break;
        }
    }

    /// @notice Passed, or nothing that speaks against the provider: too few probes or too few oracles are nobody's fault.
    function isClean(uint8 outcome) internal pure returns (bool) {
        return outcome == PASS || outcome == INSUFFICIENT || outcome == INCONCLUSIVE;
    }

    function capped(uint256 multiplierPpm) private pure returns (uint256) {
        return multiplierPpm < PPM ? multiplierPpm : PPM;
    }
}

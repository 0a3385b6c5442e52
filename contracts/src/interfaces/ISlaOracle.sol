// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Report} from "./ISlaSettlement.sol";

/// @notice A leaf of `resultRoot`: one provider's epoch.
struct Verdict {
    uint64 providerId;
    uint64 epoch;
    uint8 outcome; // 1 pass, 2 insufficient, 3 inconclusive, 4 degraded, 5 fail
    uint32 multiplierPpm;
    uint256 reward;
    uint256 slash;
    bytes32 dimensions;
}

/// @title What other contracts read of the verdicts
interface ISlaOracle {
    /// Reverts UnknownReport (not accepted, or voided) / InvalidProof. matured: acceptedAt + rewardWindow is over and nothing holds it.
    function verdict(Report calldata report, Verdict calldata v, bytes32[] calldata proof)
        external
        view
        returns (uint8 outcome, uint32 multiplierPpm, bool matured);

    function latest() external view returns (bool any, uint64 epoch, bytes32 digest, uint64 acceptedAt);

    /// Seconds since the end of the last accepted epoch.
    function staleness() external view returns (uint256 secondsSince);

    /// Anyone; keeps a matured verdict so that it can be read without a proof.
    function record(Report calldata report, Verdict calldata v, bytes32[] calldata proof) external;

    function recorded(uint64 providerId, uint64 epoch) external view returns (bool known, uint8 outcome, uint32 multiplierPpm);
}

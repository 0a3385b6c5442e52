// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {ISlaOracle, Verdict} from "./interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "./interfaces/ISlaSettlement.sol";
import {ReportLib} from "./libraries/ReportLib.sol";

/// @title What consumers read of the settlement
/// @notice See ISlaOracle for what it promises. Holds no money and has no owner.
contract SlaOracle is ISlaOracle {
    /// One slot. The digest is that of the report the verdict was proven under, so that a void takes the record back.
    struct Record {
        bytes27 digest;
        uint8 outcome;
        uint32 multiplierPpm;
    }

    ISlaSettlement public immutable settlement;
    uint64 private immutable GENESIS;
    uint64 private immutable EPOCH_LENGTH;

    mapping(uint64 providerId => mapping(uint64 epoch => Record)) private _records;

    constructor(ISlaSettlement settlement_) {
        settlement = settlement_;
        ISlaSettlement.Config memory c = settlement_.config();
        GENESIS = c.genesis;
        EPOCH_LENGTH = c.epochLength;
    }

    /// @inheritdoc ISlaOracle
    function verdict(Report calldata report, Verdict calldata v, bytes32[] calldata proof)
        public
        view
        returns (uint8 outcome, uint32 multiplierPpm, bool matured)
    {
        (uint256 rewardsAt,) = settlement.maturesAt(report);
        if (v.epoch != report.epoch || !MerkleProof.verifyCalldata(proof, report.resultRoot, ReportLib.resultLeaf(v))) {
            revert InvalidProof();
        }
        return (v.outcome, v.multiplierPpm, block.timestamp >= rewardsAt);
    }

    /// @inheritdoc ISlaOracle
    function latest() public view returns (bool any, uint64 epoch, bytes32 digest, uint64 acceptedAt) {
        (any, epoch, digest) = settlement.lastAccepted();
        if (any) (, acceptedAt) = settlement.acceptedReport(epoch);
    }

    /// @inheritdoc ISlaOracle
    function staleness() external view returns (uint256 secondsSince) {
        (bool any, uint64 epoch,) = settlement.lastAccepted();
        uint256 since = any ? GENESIS + (uint256(epoch) + 1) * EPOCH_LENGTH : GENESIS;
        return block.timestamp < since ? 0 : block.timestamp - since;
    }

    /// @inheritdoc ISlaOracle
    function record(Report calldata report, Verdict calldata v, bytes32[] calldata proof) external {
        (uint8 outcome, uint32 multiplierPpm, bool matured) = verdict(report, v, proof);
        if (!matured) revert NotMatured(v.providerId, v.epoch);
        _records[v.providerId][v.epoch] = Record(bytes27(ReportLib.digest(report)), outcome, multiplierPpm);
        emit VerdictRecorded(v.providerId, v.epoch, outcome, multiplierPpm);
    }

    /// @inheritdoc ISlaOracle
    function recorded(uint64 providerId, uint64 epoch) external view returns (bool known, uint8 outcome, uint32 multiplierPpm) {
        Record memory kept = _records[providerId][epoch];
        (bytes32 digest, uint64 acceptedAt) = settlement.acceptedReport(epoch);
        known = acceptedAt != 0 && kept.digest == bytes27(digest) && settlement.heldUntil(epoch) == 0;
        if (known) (outcome, multiplierPpm) = (kept.outcome, kept.multiplierPpm);
    }
}

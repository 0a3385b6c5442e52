// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {SlaSettlement} from "../../src/SlaSettlement.sol";
import {ISlaOracle, Verdict} from "../../src/interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "../../src/interfaces/ISlaSettlement.sol";

contract MarketOracle is ISlaOracle {
    SlaSettlement private immutable SETTLEMENT;

    struct Recorded {
        bool known;
        uint8 outcome;
        uint32 multiplierPpm;
    }

    mapping(uint64 providerId => mapping(uint64 epoch => Recorded)) public recorded;

    constructor(SlaSettlement settlement) {
        SETTLEMENT = settlement;
    }

    function verdict(Report calldata report, Verdict calldata v, bytes32[] calldata proof) public view returns (uint8, uint32, bool) {
        (uint256 rewardsAt,) = SETTLEMENT.maturesAt(report);
        bytes32 leaf = keccak256(
            bytes.concat(keccak256(abi.encode(v.providerId, v.epoch, v.outcome, v.multiplierPpm, v.reward, v.slash, v.dimensions)))
        );
        if (!MerkleProof.verifyCalldata(proof, report.resultRoot, leaf)) revert InvalidProof();
        return (v.outcome, v.multiplierPpm, block.timestamp >= rewardsAt);
    }

    function latest() external view returns (bool any, uint64 epoch, bytes32 digest, uint64 acceptedAt) {
        (any, epoch, digest) = SETTLEMENT.lastAccepted();
        (, acceptedAt) = SETTLEMENT.acceptedReport(epoch);
    }

    function staleness() external view returns (uint256) {
        (, uint64 epoch,) = SETTLEMENT.lastAccepted();
        ISlaSettlement.Config memory c = SETTLEMENT.config();
        return block.timestamp - c.genesis - (uint256(epoch) + 1) * c.epochLength;
    }

    function record(Report calldata report, Verdict calldata v, bytes32[] calldata proof) external {
        (uint8 outcome, uint32 multiplierPpm, bool matured) = verdict(report, v, proof);
        if (!matured) revert NotMatured(v.providerId, v.epoch);
        recorded[v.providerId][v.epoch] = Recorded(true, outcome, multiplierPpm);
    }
}

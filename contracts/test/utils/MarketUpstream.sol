// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {ProviderRegistry} from "../../src/ProviderRegistry.sol";
import {SlaSettlement} from "../../src/SlaSettlement.sol";
import {ISlaOracle, Verdict} from "../../src/interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "../../src/interfaces/ISlaSettlement.sol";

/// The settlement, with what the market asks of it beside.
contract MarketSettlement is SlaSettlement {
    bool public escapeOpen;
    uint64 public heldEpoch = type(uint64).max;

    constructor(Config memory c) SlaSettlement(c) {}

    function openEscape() external {
        escapeOpen = true;
    }

    function holdEpoch(uint64 epoch) external {
        heldEpoch = epoch;
    }

    function isSettled(uint64 epoch) external view returns (uint8) {
        (bytes32 digest,) = this.acceptedReport(epoch);
        if (digest != 0) return 1;
        (bool any, uint64 last,) = this.lastAccepted();
        Config memory c = this.config();
        uint256 validUntil = c.genesis + (uint256(epoch) + 1 + c.validEpochs) * c.epochLength;
        return (any && last > epoch) || block.timestamp > validUntil ? 2 : 0;
    }

    function maturesAt(Report calldata report) external view returns (uint256, uint256) {
        (bytes32 digest, uint64 acceptedAt) = this.acceptedReport(report.epoch);
        if (digest == 0 || digest != bytes32(bytes28(keccak256(abi.encode(report))))) revert UnknownReport(report.epoch);
        if (heldEpoch == report.epoch) return (type(uint256).max, type(uint256).max);
        Config memory c = this.config();
        return (acceptedAt + c.rewardWindow, acceptedAt + c.slashWindow);
    }
}

contract MarketOracle is ISlaOracle {
    MarketSettlement private immutable SETTLEMENT;

    struct Recorded {
        bool known;
        uint8 outcome;
        uint32 multiplierPpm;
    }

    mapping(uint64 providerId => mapping(uint64 epoch => Recorded)) public recorded;

    error InvalidProof();
    error NotMatured();

    constructor(MarketSettlement settlement) {
        SETTLEMENT = settlement;
    }

    function verdict(Report calldata report, Verdict calldata v, bytes32[] calldata proof) public view returns (uint8, uint32, bool) {
        (uint256 rewardsAt,) = SETTLEMENT.maturesAt(report);
        bytes32 leaf = keccak256(
            bytes.concat(
                keccak256(abi.encode(v.providerId, v.epoch, v.outcome, v.multiplierPpm, v.reward, v.slash, v.dimensions))
            )
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
        if (!matured) revert NotMatured();
        recorded[v.providerId][v.epoch] = Recorded(true, outcome, multiplierPpm);
    }
}

contract MarketProviders is ProviderRegistry {
    mapping(uint64 providerId => uint64) public capacityOf;

    constructor(IERC20 token_, uint256 minStake_) ProviderRegistry(token_, minStake_) {}

    function setCapacity(uint64 providerId, uint64 gib) external {
        capacityOf[providerId] = gib;
    }
}

contract MarketStanding {
    mapping(uint64 providerId => uint8) public stateOf;

    function setState(uint64 providerId, uint8 state) external {
        stateOf[providerId] = state;
    }
}

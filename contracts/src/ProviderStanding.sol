// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {IOracleRegistry} from "./interfaces/IOracleRegistry.sol";
import {IProviderRegistry} from "./interfaces/IProviderRegistry.sol";
import {IProviderStanding} from "./interfaces/IProviderStanding.sol";
import {ISlaOracle, Verdict} from "./interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "./interfaces/ISlaSettlement.sol";
import {Committee} from "./libraries/Committee.sol";
import {StandingRules} from "./libraries/StandingRules.sol";

/// @title Provider standing
/// @notice See IProviderStanding for what it promises.
contract ProviderStanding is IProviderStanding, Ownable {
    using StandingRules for StandingRules.Standing;

    uint8 private constant SKIPPED = 2; // of ISlaSettlement.isSettled

    ISlaSettlement private immutable SETTLEMENT;
    ISlaOracle private immutable ORACLE;
    IOracleRegistry private immutable ORACLES;
    IProviderRegistry private immutable PROVIDERS;
    uint64 private immutable GENESIS;
    uint64 private immutable EPOCH_LENGTH;
    /// @inheritdoc IProviderStanding
    uint64 public immutable graceSeconds;
    /// @inheritdoc IProviderStanding
    uint64 public immutable reviewSeconds;
    /// @inheritdoc IProviderStanding
    uint64 public immutable presentSeconds;
    /// @inheritdoc IProviderStanding
    uint64 public immutable minPanel;

    mapping(uint64 providerId => StandingRules.Standing) private _standings;

    /// @param owner reviews suspensions: a timelock.
    constructor(ISlaSettlement settlement, ISlaOracle oracle, address owner, Terms memory terms) Ownable(owner) {
        if (address(settlement) == address(0) || address(oracle) == address(0)) revert ZeroAddress();
        if (terms.reviewSeconds < terms.graceSeconds) revert InvalidTerms();
        ISlaSettlement.Config memory c = settlement.config();
        SETTLEMENT = settlement;
        ORACLE = oracle;
        ORACLES = IOracleRegistry(c.oracleRegistry);
        PROVIDERS = IProviderRegistry(c.providerRegistry);
        GENESIS = c.genesis;
        EPOCH_LENGTH = c.epochLength;
        graceSeconds = terms.graceSeconds;
        reviewSeconds = terms.reviewSeconds;
        presentSeconds = terms.presentSeconds;
        minPanel = terms.minPanel;
    }

    /// @inheritdoc IProviderStanding
    function present(Report calldata report, Verdict calldata v, bytes32[] calldata proof) external {
        (uint8 outcome,, bool matured) = ORACLE.verdict(report, v, proof);
        (, uint256 slashesAt) = SETTLEMENT.maturesAt(report);
        if (!matured || block.timestamp < slashesAt) revert NotMatured(v.epoch);

        uint64 next = nextEpoch(v.providerId);
        if (v.epoch < next) revert EpochAlreadyCounted(next);
        for (uint64 epoch = next; epoch < v.epoch; ++epoch) {
            if (!_skippable(epoch)) revert EpochNotSkippable(epoch);
        }

        StandingRules.Standing memory standing = _standings[v.providerId];
        standing.next = v.epoch + 1;
        uint8 from = standing.state;
        standing.count(_judged(report, outcome), _endOf(v.epoch));
        _standings[v.providerId] = standing;
        emit Presented(v.providerId, v.epoch, outcome);
        if (standing.state != from) emit StateChanged(v.providerId, v.epoch, from, standing.state);
    }

    /// @inheritdoc IProviderStanding
    function skip(uint64 providerId, uint64 most) external returns (uint64 next) {
        uint64 from = nextEpoch(providerId);
        next = from;
        while (next - from < most && _skippable(next)) {
            ++next;
        }
        if (next == from) revert EpochNotSkippable(from);
        _standings[providerId].next = next;
        emit Skipped(providerId, from, next);
    }

    /// @inheritdoc IProviderStanding
    function review(uint64 providerId, bool reinstate) external onlyOwner {
        uint256 graceOver = _suspendedAt(providerId) + graceSeconds;
        if (!reinstate && block.timestamp < graceOver) revert GraceNotOver(graceOver);
        if (reinstate) _standings[providerId].reinstatedAt = uint64(block.timestamp);
        _move(providerId, reinstate ? StandingRules.WARNED : StandingRules.EJECTED);
    }

    /// @inheritdoc IProviderStanding
    function expire(uint64 providerId) external {
        uint256 reviewOver = _suspendedAt(providerId) + reviewSeconds;
        if (block.timestamp < reviewOver) revert ReviewNotOver(reviewOver);
        _move(providerId, StandingRules.EJECTED);
    }

    /// @inheritdoc IProviderStanding
    function stateOf(uint64 providerId) external view returns (uint8) {
        return _standings[providerId].state;
    }

    /// @inheritdoc IProviderStanding
    function suspendedAt(uint64 providerId) external view returns (uint64) {
        return _standings[providerId].suspendedAt;
    }

    /// @inheritdoc IProviderStanding
    function nextEpoch(uint64 providerId) public view returns (uint64) {
        uint64 next = _standings[providerId].next;
        if (next != 0) return next;
        // The reference block of an epoch lies less than an epoch before its start: from the second start after the registration
        // on, every epoch knows the provider.
        uint256 knownFrom = uint256(PROVIDERS.registeredAt(providerId)) + EPOCH_LENGTH;
        return knownFrom <= GENESIS ? 0 : uint64((knownFrom - GENESIS + EPOCH_LENGTH - 1) / EPOCH_LENGTH);
    }

    /// What the outcome counts as: a committee too small to fill a panel does not fail anybody.
    function _judged(Report calldata report, uint8 outcome) private view returns (uint8) {
        if (outcome != StandingRules.FAIL) return outcome;
        (address header,,) = ORACLES.committeeOf(report.setEpoch);
        (,, uint256 members) = Committee.totals(header);
        return members < minPanel ? StandingRules.DEGRADED : outcome;
    }

    function _skippable(uint64 epoch) private view returns (bool) {
        (, uint64 acceptedAt) = SETTLEMENT.acceptedReport(epoch);
        if (acceptedAt != 0) return block.timestamp >= uint256(acceptedAt) + presentSeconds;
        return SETTLEMENT.isSettled(epoch) == SKIPPED;
    }

    function _endOf(uint64 epoch) private view returns (uint256) {
        return GENESIS + (uint256(epoch) + 1) * EPOCH_LENGTH;
    }

    function _suspendedAt(uint64 providerId) private view returns (uint256) {
        StandingRules.Standing storage standing = _standings[providerId];
        if (standing.state != StandingRules.SUSPENDED) revert NotSuspended(providerId);
        return standing.suspendedAt;
    }

    function _move(uint64 providerId, uint8 to) private {
        StandingRules.Standing storage standing = _standings[providerId];
        emit StateChanged(providerId, standing.next - 1, standing.state, to);
        standing.state = to;
    }
}

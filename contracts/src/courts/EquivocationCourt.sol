// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEquivocationCourt} from "../interfaces/IEquivocationCourt.sol";
import {ISlaSettlement} from "../interfaces/ISlaSettlement.sol";
import {Bls12381} from "../libraries/Bls12381.sol";
import {ReportLib} from "../libraries/ReportLib.sol";
import {Statements} from "../libraries/Statements.sol";
import {Court} from "./Court.sol";

/// @title Equivocation
/// @notice See IEquivocationCourt for what it promises.
contract EquivocationCourt is Court, IEquivocationCourt {
    uint8 public constant TWO_REPORTS = 1;
    uint8 public constant TWO_COMMITS = 2;
    uint8 public constant TWO_BIT_VOTES = 3;

    constructor(ISlaSettlement settlement, uint256 slashPpm_) Court(settlement, slashPpm_) {}

    /// @inheritdoc IEquivocationCourt
    function punishReports(
        uint64 setEpoch,
        uint256 member,
        uint64 epoch,
        uint64 view_,
        bytes32 firstDigest,
        bytes32 secondDigest,
        bytes calldata signature
    ) external {
        (uint64 oracleId,, bytes memory key) = _member(setEpoch, member);
        bytes32 first = Statements.reportMessage(address(SETTLEMENT), epoch, view_, firstDigest);
        bytes32 second = Statements.reportMessage(address(SETTLEMENT), epoch, view_, secondDigest);
        _checkBoth(key, first, second, ReportLib.REPORT_DST, signature);
        _punish(oracleId, epoch, TWO_REPORTS, msg.sender);
    }

    /// @inheritdoc IEquivocationCourt
    function punishCommits(
        uint64 setEpoch,
        uint256 member,
        Statements.Commit calldata first,
        Statements.Commit calldata second,
        bytes calldata signature
    ) external {
        (uint64 oracleId,, bytes memory key) = _member(setEpoch, member);
        if (first.oracleId != oracleId || second.oracleId != oracleId || first.epoch != second.epoch) revert NotOneAuthor();
        bytes32 firstDigest = Statements.commitDigest(address(SETTLEMENT), first);
        bytes32 secondDigest = Statements.commitDigest(address(SETTLEMENT), second);
        _checkBoth(key, firstDigest, secondDigest, Statements.COMMIT_DST, signature);
        _punish(oracleId, first.epoch, TWO_COMMITS, msg.sender);
    }

    /// @inheritdoc IEquivocationCourt
    function punishBitVotes(
        uint64 setEpoch,
        uint256 member,
        uint64 epoch,
        bytes32[] calldata firstHeld,
        bytes32[] calldata secondHeld,
        bytes calldata signature
    ) external {
        (uint64 oracleId,, bytes memory key) = _member(setEpoch, member);
        bytes32 first = Statements.bitVoteDigest(address(SETTLEMENT), epoch, oracleId, firstHeld);
        bytes32 second = Statements.bitVoteDigest(address(SETTLEMENT), epoch, oracleId, secondHeld);
        _checkBoth(key, first, second, Statements.BIT_VOTE_DST, signature);
        _punish(oracleId, epoch, TWO_BIT_VOTES, msg.sender);
    }

    function _checkBoth(bytes memory key, bytes32 first, bytes32 second, bytes memory dst, bytes calldata signature) private view {
        if (first == second) revert NoContradiction();
        if (!Bls12381.verifySum(key, first, second, dst, signature)) revert InvalidSignature();
    }
}

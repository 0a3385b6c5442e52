// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {ICommitteeSets} from "../interfaces/IAttestationVerifier.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";
import {Committee} from "../libraries/Committee.sol";
import {ReportLib} from "../libraries/ReportLib.sol";
import {Stamp, StampLib} from "../libraries/Stamp.sol";

/// @title Which reports stand
/// @notice Accepts reports one after the other, takes them back, and says when what they say may be done. Moves no money. How a
/// certificate is checked is left to the contract that inherits.
abstract contract ReportChain is ISlaSettlement, Ownable2Step {
    using ReportLib for Report;

    /// Bounds the epochs that a void walks over, so that it fits into one transaction.
    uint256 private constant MAX_OPEN_EPOCHS = 1024;
    uint256 private constant MAX_HOLD = 14 days;
    /// Fills the slot of the last report from the start, so that the first report pays for an update and not for a new slot.
    bytes32 private constant NO_DIGEST = bytes32(uint256(1) << 32);

    /// Marks on the number of the last report. They make it larger than any epoch, so that they are seen by the comparison that
    /// every report makes anyway, and cost nothing while they are absent.
    uint256 private constant PAUSED = type(uint32).max;
    /// A child of the last report was voided: what comes next must not be it again.
    uint256 private constant CHILD_VOIDED = 1 << 31;

    address internal immutable ORACLES;
    uint64 internal immutable GENESIS;
    uint64 internal immutable EPOCH_LENGTH;
    uint64 internal immutable VALID_EPOCHS;
    uint64 internal immutable REWARD_WINDOW;
    uint64 internal immutable SLASH_WINDOW;
    uint256 internal immutable EPOCH_BUDGET;
    bytes32 internal immutable PARAMS_HASH;
    uint64 private immutable ESCAPE_DELAY;
    uint256 private immutable HOLD_LIMIT;

    struct Hold {
        uint64 fromEpoch;
        uint64 until;
    }

    /// The last report; its number is the next epoch, 0 when nothing was accepted yet, or marked.
    Stamp private _last = StampLib.stamp(NO_DIGEST, 0);
    /// What `_last` is without its mark, while posting is paused.
    Stamp private _beforePause;
    /// Its number is the seconds from genesis to acceptance, never 0 for an accepted report.
    mapping(uint64 epoch => Stamp) private _accepted;
    Hold private _hold;
    address public guardian;
    /// When a court last voided a report.
    uint64 private _convictedAt;
    mapping(bytes32 digest => bool) public voided;
    mapping(address court => bool) public isCourt;

    constructor(Config memory c, Roles memory roles) Ownable(roles.owner) {
        uint256 longest = Math.max(c.rewardWindow, c.slashWindow);
        // Epochs of two seconds leave the number of the last report a bit for its mark.
        if (c.oracleRegistry == address(0) || c.epochLength < 2) revert InvalidConfig();
        if (longest / c.epochLength >= MAX_OPEN_EPOCHS || c.validEpochs >= MAX_OPEN_EPOCHS) revert InvalidConfig();
        if (roles.escapeDelay <= (1 + c.validEpochs) * c.epochLength) revert InvalidConfig();
        ORACLES = c.oracleRegistry;
        GENESIS = c.genesis;
        EPOCH_LENGTH = c.epochLength;
        VALID_EPOCHS = c.validEpochs;
        REWARD_WINDOW = c.rewardWindow;
        SLASH_WINDOW = c.slashWindow;
        EPOCH_BUDGET = c.epochBudget;
        PARAMS_HASH = c.paramsHash;
        ESCAPE_DELAY = roles.escapeDelay;
        HOLD_LIMIT = Math.min(MAX_HOLD, MAX_OPEN_EPOCHS * c.epochLength);
        guardian = roles.guardian;
        emit GuardianSet(roles.guardian);
    }

    // ---- posting

    /// @inheritdoc ISlaSettlement
    function submitReport(Report calldata report, uint256 signers, bytes calldata signature) external {
        uint256 epoch = _checkAcceptable(report);
        bytes32 digest = report.digest();
        _checkCertificate(report, digest, signers, signature);

        // 32 bits last 136 years from genesis. An epoch has two seconds at least and is over: its number takes 31 bits.
        unchecked {
            _last = StampLib.stamp(digest, uint32(epoch + 1));
            _accepted[uint64(epoch)] = StampLib.stamp(digest, SafeCast.toUint32(block.timestamp - GENESIS));
        }
    }

    /// @inheritdoc ISlaSettlement
    function certified(Report calldata report, uint256 signers, bytes calldata signature) external view returns (bool valid) {
        (address header,,) = ICommitteeSets(ORACLES).committeeOf(report.setEpoch);
        (valid,,) = _verifyCertificate(header, report.setEpoch, report.message(report.digest()), signers, signature);
    }

    /// @inheritdoc ISlaSettlement
    function lastAccepted() external view returns (bool any, uint64 epoch, bytes32 digest) {
        (uint256 nextEpoch, Stamp last) = _tip();
        if (nextEpoch == 0) return (false, 0, 0);
        return (true, uint64(nextEpoch - 1), last.digest());
    }

    /// @inheritdoc ISlaSettlement
    function acceptedReport(uint64 epoch) external view returns (bytes32 digest, uint64 acceptedAt) {
        Stamp accepted = _accepted[epoch];
        if (accepted.number() == 0) return (0, 0);
        return (accepted.digest(), uint64(GENESIS + accepted.number()));
    }

    /// @inheritdoc ISlaSettlement
    function isSettled(uint64 epoch) external view returns (uint8 state) {
        if (_accepted[epoch].number() != 0) return 1;
        // A later report is accepted only once this one's time is over, so that time alone decides.
        return block.timestamp > _validUntil(epoch) ? 2 : 0;
    }

    /// @inheritdoc ISlaSettlement
    function maturesAt(Report calldata report) external view returns (uint256 rewardsAt, uint256 slashesAt) {
        uint256 acceptedAt = _acceptedAt(report);
        if (_heldUntil(report.epoch, acceptedAt) != 0) return (type(uint256).max, type(uint256).max);
        return (acceptedAt + REWARD_WINDOW, acceptedAt + SLASH_WINDOW);
    }

    /// @inheritdoc ISlaSettlement
    function heldUntil(uint64 epoch) external view returns (uint256) {
        uint256 number = _accepted[epoch].number();
        return number == 0 ? 0 : _heldUntil(epoch, GENESIS + number);
    }

    // ---- guardian and courts

    /// @inheritdoc ISlaSettlement
    function setGuardian(address guardian_) external onlyOwner {
        guardian = guardian_;
        emit GuardianSet(guardian_);
    }

    /// @inheritdoc ISlaSettlement
    function setCourt(address court, bool allowed) external onlyOwner {
        isCourt[court] = allowed;
        emit CourtSet(court, allowed);
    }

    /// @inheritdoc ISlaSettlement
    function pausePosting() external {
        if (msg.sender != guardian) revert OnlyGuardian(msg.sender);
        Stamp last = _last;
        if (last.number() == PAUSED) revert PostingPaused();
        _beforePause = last;
        _last = StampLib.stamp(last.digest(), uint32(PAUSED));
        emit PostingStopped(msg.sender);
    }

    /// @inheritdoc ISlaSettlement
    function resumePosting() external onlyOwner {
        if (!postingPaused()) revert PostingNotPaused();
        _last = _beforePause;
        _beforePause = StampLib.NONE;
        emit PostingResumed();
    }

    /// @inheritdoc ISlaSettlement
    function postingPaused() public view returns (bool) {
        return _last.number() == PAUSED;
    }

    /// @inheritdoc ISlaSettlement
    function voidReport(Report calldata report, uint64 parentEpoch) external {
        uint64 epoch = report.epoch;
        uint256 finalAt = _finalFor(msg.sender, epoch, _acceptedAt(report));
        if (block.timestamp >= finalAt) revert ReportFinal(finalAt);
        uint256 parentNumber = 0;
        bytes32 parentDigest = NO_DIGEST;
        if (report.parentDigest != 0) {
            Stamp parent = _accepted[parentEpoch];
            if (parent.number() == 0 || !parent.matches(report.parentDigest)) revert WrongParentEpoch(parentEpoch);
            parentDigest = report.parentDigest;
            parentNumber = uint256(parentEpoch) + 1;
        }

        (uint256 nextEpoch,) = _tip();
        // Every report after this one descends from it, and can only come back after it.
        for (uint256 e = epoch; e < nextEpoch; ++e) {
            _accepted[uint64(e)] = StampLib.NONE;
        }
        bytes32 digest = report.digest();
        voided[digest] = true;
        if (isCourt[msg.sender]) _convictedAt = uint64(block.timestamp);
        _setTip(StampLib.stamp(parentDigest, uint32(parentNumber | CHILD_VOIDED)));
        if (_hold.fromEpoch >= epoch) delete _hold; // what was held is gone
        emit ReportVoided(epoch, digest, uint64(nextEpoch - 1), msg.sender);
    }

    /// @inheritdoc ISlaSettlement
    function hold(uint64 epoch, uint64 until) external {
        if (!isCourt[msg.sender]) revert OnlyCourt(msg.sender);
        uint256 number = _accepted[epoch].number();
        if (number == 0) revert UnknownReport(epoch);
        uint256 acceptedAt = GENESIS + number;
        uint256 finalAt = _finalFor(msg.sender, epoch, acceptedAt);
        if (block.timestamp >= finalAt) revert ReportFinal(finalAt);
        uint256 latest = acceptedAt + HOLD_LIMIT;
        if (until <= block.timestamp || until > latest) revert InvalidHold(until, latest);

        Hold memory merged = _hold;
        if (merged.until <= block.timestamp) {
            merged = Hold(epoch, until);
        } else {
            if (epoch < merged.fromEpoch) merged.fromEpoch = epoch;
            if (until > merged.until) merged.until = until;
        }
        _hold = merged;
        emit HoldSet(merged.fromEpoch, merged.until, msg.sender);
    }

    // ---- the way out

    /// @inheritdoc ISlaSettlement
    function escapeOpen() external view returns (bool) {
        (uint256 nextEpoch,) = _tip();
        uint256 since = GENESIS + (nextEpoch == 0 ? 0 : _accepted[uint64(nextEpoch - 1)].number());
        // Only a court's: a guardian must not be able to keep it shut.
        return block.timestamp >= Math.max(since, _convictedAt) + ESCAPE_DELAY;
    }

    /// @inheritdoc ISlaSettlement
    function escapeDelay() external view returns (uint64) {
        return ESCAPE_DELAY;
    }

    // ---- for who inherits

    /// @dev Whether a quorum of the set signed the message, and the weights. `valid` is false, not a revert, for a certificate that
    /// does not hold; InvalidSigners for a bitmap that names no subset of the set.
    function _verifyCertificate(address header, uint64 setEpoch, bytes32 message, uint256 signers, bytes calldata signature)
        internal
        view
        virtual
        returns (bool valid, uint256 signedWeight, uint256 totalWeight);

    /// Strictly more than two thirds.
    function _isQuorum(uint256 signedWeight, uint256 totalWeight) internal pure returns (bool) {
        unchecked {
            return 3 * signedWeight > 2 * totalWeight; // 256 weights of 16 bits
        }
    }

    /// Reverts until `window` after the acceptance of this very report, and while it is held.
    function _checkMatured(Report calldata report, uint256 window) internal view {
        uint256 acceptedAt = _acceptedAt(report);
        uint256 opensAt = Math.max(acceptedAt + window, _heldUntil(report.epoch, acceptedAt));
        if (block.timestamp < opensAt) revert WindowOpen(opensAt);
    }

    /// When this very report was accepted; reverts when it was not.
    function _acceptedAt(Report calldata report) internal view returns (uint256) {
        Stamp accepted = _accepted[report.epoch];
        if (accepted.number() == 0 || !accepted.matches(report.digest())) revert UnknownReport(report.epoch);
        return GENESIS + accepted.number();
    }

    // ---- inside

    /// The report's epoch, read once; reverts unless its turn has come.
    function _checkAcceptable(Report calldata report) private view returns (uint256 epoch) {
        if (report.chainId != block.chainid) revert WrongChain(report.chainId);
        if (report.settlement != address(this)) revert WrongSettlement(report.settlement);
        if (report.paramsHash != PARAMS_HASH) revert WrongParams(report.paramsHash);

        epoch = report.epoch;
        uint256 endsAt;
        uint256 predecessorUntil;
        uint256 validUntil = _validUntil(epoch);
        unchecked {
            // Sums of products of 64-bit values: far below 2^256.
            endsAt = GENESIS + (epoch + 1) * EPOCH_LENGTH;
            predecessorUntil = validUntil - EPOCH_LENGTH;
        }
        if (block.timestamp < endsAt) revert EpochNotOver(endsAt);
        if (report.validUntil != validUntil) revert WrongValidUntil(validUntil);
        if (block.timestamp > validUntil) revert ReportExpired(validUntil);

        Stamp last = _last;
        uint256 nextEpoch = last.number();
        if (epoch < nextEpoch) nextEpoch = _checkMarked(report, nextEpoch);
        if (epoch != nextEpoch && block.timestamp <= predecessorUntil) revert EarlierEpochOpen(predecessorUntil);
        if (nextEpoch == 0) {
            if (report.parentDigest != 0) revert WrongParent(0);
        } else if (!last.matches(report.parentDigest)) {
            revert WrongParent(last.digest());
        }

        if (report.rewardTotal > EPOCH_BUDGET) revert BudgetExceeded(report.rewardTotal, EPOCH_BUDGET);
    }

    /// The next epoch behind a mark; reverts when there is no mark, or the mark forbids this report.
    function _checkMarked(Report calldata report, uint256 number) private view returns (uint256 nextEpoch) {
        if (number == PAUSED) revert PostingPaused();
        nextEpoch = number & ~CHILD_VOIDED;
        if (report.epoch < nextEpoch) revert EpochAlreadySettled(nextEpoch);
        bytes32 digest = report.digest();
        if (voided[digest]) revert AlreadyVoided(digest);
    }

    function _validUntil(uint256 epoch) private view returns (uint256) {
        unchecked {
            return GENESIS + (epoch + 1 + VALID_EPOCHS) * EPOCH_LENGTH;
        }
    }

    function _checkCertificate(Report calldata report, bytes32 digest, uint256 signers, bytes calldata signature) private {
        (uint64 setEpoch, address header) = Committee.current(ORACLES);
        if (setEpoch == 0) revert WrongSet(setEpoch);
        if (report.setEpoch != setEpoch) header = _headerBefore(setEpoch, report);
        (bool valid, uint256 signedWeight, uint256 totalWeight) =
            _verifyCertificate(header, report.setEpoch, report.message(digest), signers, signature);
        if (!valid) {
            if (!_isQuorum(signedWeight, totalWeight)) revert QuorumNotReached(signedWeight, totalWeight);
            revert InvalidCertificate();
        }
        emit ReportAccepted(report.epoch, digest, report.view_, signers, signedWeight, totalWeight);
    }

    /// The header of the set before `setEpoch`, if the report was under way when that one came.
    function _headerBefore(uint64 setEpoch, Report calldata report) private view returns (address header) {
        if (setEpoch == 1 || report.setEpoch != setEpoch - 1) revert WrongSet(setEpoch);
        (, uint256 sinceBlock, uint256 since) = ICommitteeSets(ORACLES).committeeOf(setEpoch);
        // The block is the old set's word, the time is not: an honest reference block lies less than an epoch before its epoch.
        uint256 startsAt = GENESIS + uint256(report.epoch) * EPOCH_LENGTH;
        if (report.refBlock >= sinceBlock || startsAt >= since + EPOCH_LENGTH) revert WrongSet(setEpoch);
        (header,,) = ICommitteeSets(ORACLES).committeeOf(setEpoch - 1);
    }

    /// The last standing report and the epoch after it, whatever marks it has. The stamp's number keeps the mark of a void.
    function _tip() private view returns (uint256 nextEpoch, Stamp last) {
        last = _last;
        if (last.number() == PAUSED) last = _beforePause;
        nextEpoch = last.number() & ~CHILD_VOIDED;
    }

    /// Posting stays paused if it is.
    function _setTip(Stamp tip) private {
        if (postingPaused()) {
            _beforePause = tip;
            tip = StampLib.stamp(tip.digest(), uint32(PAUSED));
        }
        _last = tip;
    }

    /// From when on this caller may void or hold a report no more.
    function _finalFor(address caller, uint64 epoch, uint256 acceptedAt) private view returns (uint256) {
        if (isCourt[caller]) {
            return Math.max(acceptedAt + Math.max(REWARD_WINDOW, SLASH_WINDOW), _heldUntil(epoch, acceptedAt));
        }
        if (caller != guardian) revert OnlyGuardianOrCourt(caller);
        return acceptedAt + REWARD_WINDOW;
    }

    /// 0 when nothing holds the report now.
    function _heldUntil(uint64 epoch, uint256 acceptedAt) private view returns (uint256 until) {
        Hold memory current = _hold;
        if (epoch < current.fromEpoch) return 0;
        until = Math.min(current.until, acceptedAt + HOLD_LIMIT);
        if (until <= block.timestamp) return 0;
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IOracleRegistry} from "./interfaces/IOracleRegistry.sol";
import {IProviderRegistry} from "./interfaces/IProviderRegistry.sol";
import {ISlaSettlement, Report} from "./interfaces/ISlaSettlement.sol";
import {Bls12381} from "./libraries/Bls12381.sol";
import {Committee} from "./libraries/Committee.sol";
import {ReportLib} from "./libraries/ReportLib.sol";
import {Stamp, StampLib} from "./libraries/Stamp.sol";
import {StorageAnswer} from "./libraries/StorageAnswer.sol";

/// @title Settlement
/// @notice See ISlaSettlement for what it promises.
contract SlaSettlement is ISlaSettlement {
    using SafeERC20 for IERC20;
    using ReportLib for Report;

    uint256 internal constant PPM = 1_000_000;
    /// The reason of a slash for silence, the only one that an answer rebuts.
    uint8 internal constant STORAGE_SILENT = 3;
    /// Fills the slot of the last report from the start, so that the first report pays for an update and not for a new slot.
    bytes32 private constant NO_DIGEST = bytes32(uint256(1) << 32);

    address private immutable TOKEN;
    address private immutable ORACLES;
    address private immutable PROVIDERS;
    uint64 private immutable GENESIS;
    uint64 private immutable EPOCH_LENGTH;
    uint64 private immutable VALID_EPOCHS;
    uint64 private immutable REWARD_WINDOW;
    uint64 private immutable SLASH_WINDOW;
    uint256 private immutable EPOCH_BUDGET;
    uint256 private immutable SLASH_CAP_PPM;
    bytes32 private immutable PARAMS_HASH;

    /// The last report; its number is the next epoch, 0 when nothing was accepted yet.
    Stamp private _last = StampLib.stamp(NO_DIGEST, 0);
    /// Its number is the seconds from genesis to acceptance, never 0 for an accepted report.
    mapping(uint64 epoch => Stamp) private _accepted;
    mapping(uint8 kind => mapping(uint64 id => uint256)) public claimed;
    mapping(uint64 providerId => mapping(uint64 epoch => bool)) public slashExecuted;
    mapping(uint64 providerId => mapping(uint64 epoch => bool)) public rebutted;

    constructor(Config memory c) {
        if (c.token == address(0) || c.oracleRegistry == address(0) || c.providerRegistry == address(0)) revert InvalidConfig();
        if (c.epochLength == 0 || c.slashCapPpm > PPM) revert InvalidConfig();
        TOKEN = c.token;
        ORACLES = c.oracleRegistry;
        PROVIDERS = c.providerRegistry;
        GENESIS = c.genesis;
        EPOCH_LENGTH = c.epochLength;
        VALID_EPOCHS = c.validEpochs;
        REWARD_WINDOW = c.rewardWindow;
        SLASH_WINDOW = c.slashWindow;
        EPOCH_BUDGET = c.epochBudget;
        SLASH_CAP_PPM = c.slashCapPpm;
        PARAMS_HASH = c.paramsHash;
    }

    /// @inheritdoc ISlaSettlement
    function submitReport(Report calldata report, uint256 signers, bytes calldata signature) external {
        uint256 epoch = _checkAcceptable(report);
        bytes32 digest = report.digest();
        _checkCertificate(report, digest, signers, signature);

        // 32 bits last 136 years from genesis, and no fewer epochs, since each has a second at least and is over.
        unchecked {
            _last = StampLib.stamp(digest, uint32(epoch + 1));
            _accepted[uint64(epoch)] = StampLib.stamp(digest, SafeCast.toUint32(block.timestamp - GENESIS));
        }
    }

    /// @inheritdoc ISlaSettlement
    function claim(Report calldata report, uint8 kind, uint64 id, address recipient, uint256 cumulative, bytes32[] calldata proof)
        external
    {
        _checkMatured(report, REWARD_WINDOW);
        bytes32 leaf = ReportLib.rewardLeaf(kind, id, recipient, TOKEN, cumulative);
        if (!MerkleProof.verifyCalldata(proof, report.rewardRoot, leaf)) revert InvalidProof();

        uint256 before = claimed[kind][id];
        if (cumulative <= before) revert NothingToClaim();
        claimed[kind][id] = cumulative;
        uint256 amount = cumulative - before;
        emit Claimed(kind, id, recipient, amount, cumulative);
        IERC20(TOKEN).safeTransfer(recipient, amount);
    }

    /// @inheritdoc ISlaSettlement
    function executeSlash(
        Report calldata report,
        uint64 providerId,
        uint8 reason,
        bytes32 factsRoot,
        uint256 amount,
        bytes32[] calldata proof
    ) external {
        uint64 epoch = report.epoch;
        _checkMatured(report, SLASH_WINDOW);
        if (!report.seedSecure) revert InsecureSeed();
        bytes32 leaf = ReportLib.slashLeaf(providerId, epoch, reason, factsRoot, amount);
        if (!MerkleProof.verifyCalldata(proof, report.slashRoot, leaf)) revert InvalidProof();
        if (reason == STORAGE_SILENT && rebutted[providerId][epoch]) revert AlreadyRebutted(providerId, epoch);
        if (slashExecuted[providerId][epoch]) revert AlreadySlashed(providerId, epoch);
        slashExecuted[providerId][epoch] = true;

        IProviderRegistry providers = IProviderRegistry(PROVIDERS);
        uint256 cap = Math.mulDiv(providers.stakeOf(providerId), SLASH_CAP_PPM, PPM);
        uint256 slashed = providers.slash(providerId, Math.min(amount, cap));
        emit Slashed(providerId, epoch, reason, factsRoot, slashed);
    }

    /// @inheritdoc ISlaSettlement
    function rebut(
        Report calldata report,
        uint64 providerId,
        bytes32 challengeDigest,
        uint256 amount,
        bytes32[] calldata proof,
        bytes calldata chunks,
        bytes[] calldata siblings,
        bytes calldata signature
    ) external {
        uint64 epoch = report.epoch;
        // Slashes are executed only after this window: what can be rebutted was not executed.
        uint256 closesAt = _acceptedAt(report) + SLASH_WINDOW;
        if (block.timestamp >= closesAt) revert RebuttalTooLate(closesAt);
        bytes32 factsRoot = StorageAnswer.silenceRoot(challengeDigest);
        bytes32 leaf = ReportLib.slashLeaf(providerId, epoch, STORAGE_SILENT, factsRoot, amount);
        if (!MerkleProof.verifyCalldata(proof, report.slashRoot, leaf)) revert InvalidProof();
        if (rebutted[providerId][epoch]) revert AlreadyRebutted(providerId, epoch);
        rebutted[providerId][epoch] = true;

        bytes32 message = StorageAnswer.message(providerId, challengeDigest, StorageAnswer.digest(chunks, siblings));
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(message, signature);
        address receiptKey = IProviderRegistry(PROVIDERS).provider(providerId).receiptKey;
        if (failure != ECDSA.RecoverError.NoError || signer != receiptKey) revert InvalidAnswerSignature();
        emit SlashRebutted(providerId, epoch, challengeDigest, chunks, siblings, signature);
    }

    /// @inheritdoc ISlaSettlement
    function fund(uint256 amount) external {
        emit Funded(msg.sender, amount);
        IERC20(TOKEN).safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc ISlaSettlement
    function pool() external view returns (uint256) {
        return IERC20(TOKEN).balanceOf(address(this)); // stakes lie in the registries, so all of it is the pool
    }

    /// @inheritdoc ISlaSettlement
    function config() external view returns (Config memory) {
        return Config({
            token: TOKEN,
            oracleRegistry: ORACLES,
            providerRegistry: PROVIDERS,
            genesis: GENESIS,
            epochLength: EPOCH_LENGTH,
            validEpochs: VALID_EPOCHS,
            rewardWindow: REWARD_WINDOW,
            slashWindow: SLASH_WINDOW,
            epochBudget: EPOCH_BUDGET,
            slashCapPpm: SLASH_CAP_PPM,
            paramsHash: PARAMS_HASH
        });
    }

    /// @inheritdoc ISlaSettlement
    function lastAccepted() external view returns (bool any, uint64 epoch, bytes32 digest) {
        Stamp last = _last;
        if (last.number() == 0) return (false, 0, 0);
        return (true, uint64(last.number() - 1), last.digest());
    }

    /// @inheritdoc ISlaSettlement
    function acceptedReport(uint64 epoch) external view returns (bytes32 digest, uint64 acceptedAt) {
        Stamp accepted = _accepted[epoch];
        if (accepted.number() == 0) return (0, 0);
        return (accepted.digest(), uint64(GENESIS + accepted.number()));
    }

    /// The report's epoch, read once; reverts unless its turn has come.
    function _checkAcceptable(Report calldata report) private view returns (uint256 epoch) {
        if (report.chainId != block.chainid) revert WrongChain(report.chainId);
        if (report.settlement != address(this)) revert WrongSettlement(report.settlement);
        if (report.paramsHash != PARAMS_HASH) revert WrongParams(report.paramsHash);

        epoch = report.epoch;
        uint256 endsAt;
        uint256 validUntil;
        uint256 predecessorUntil;
        unchecked {
            // Sums of products of 64-bit values: far below 2^256.
            endsAt = GENESIS + (epoch + 1) * EPOCH_LENGTH;
            predecessorUntil = GENESIS + (epoch + VALID_EPOCHS) * EPOCH_LENGTH;
            validUntil = predecessorUntil + EPOCH_LENGTH;
        }
        if (block.timestamp < endsAt) revert EpochNotOver(endsAt);
        if (report.validUntil != validUntil) revert WrongValidUntil(validUntil);
        if (block.timestamp > validUntil) revert ReportExpired(validUntil);

        Stamp last = _last;
        uint256 nextEpoch = last.number();
        if (epoch < nextEpoch) revert EpochAlreadySettled(nextEpoch);
        if (epoch != nextEpoch && block.timestamp <= predecessorUntil) revert EarlierEpochOpen(predecessorUntil);
        if (nextEpoch == 0) {
            if (report.parentDigest != 0) revert WrongParent(0);
        } else if (!last.matches(report.parentDigest)) {
            revert WrongParent(last.digest());
        }

        if (report.rewardTotal > EPOCH_BUDGET) revert BudgetExceeded(report.rewardTotal, EPOCH_BUDGET);
    }

    function _checkCertificate(Report calldata report, bytes32 digest, uint256 signers, bytes calldata signature) private {
        (uint64 setEpoch, address header) = Committee.current(ORACLES);
        if (setEpoch == 0) revert WrongSet(setEpoch);
        if (report.setEpoch != setEpoch) header = _headerBefore(setEpoch, report);
        (bytes memory key, uint256 signedWeight, uint256 totalWeight) = Committee.signersKey(header, signers);
        unchecked {
            // 256 weights of 16 bits
            if (3 * signedWeight <= 2 * totalWeight) revert QuorumNotReached(signedWeight, totalWeight);
        }

        if (!Bls12381.verify(key, report.message(digest), ReportLib.REPORT_DST, signature)) revert InvalidCertificate();
        emit ReportAccepted(report.epoch, digest, report.view_, signers, signedWeight, totalWeight);
    }

    /// The header of the set before `setEpoch`, if the report was under way when that one came.
    function _headerBefore(uint64 setEpoch, Report calldata report) private view returns (address header) {
        if (setEpoch == 1 || report.setEpoch != setEpoch - 1) revert WrongSet(setEpoch);
        (, uint256 sinceBlock, uint256 since) = IOracleRegistry(ORACLES).committeeOf(setEpoch);
        // The block is the old set's word, the time is not: an honest reference block lies less than an epoch before its epoch.
        uint256 startsAt = GENESIS + uint256(report.epoch) * EPOCH_LENGTH;
        if (report.refBlock >= sinceBlock || startsAt >= since + EPOCH_LENGTH) revert WrongSet(setEpoch);
        (header,,) = IOracleRegistry(ORACLES).committeeOf(setEpoch - 1);
    }

    function _checkMatured(Report calldata report, uint256 window) private view {
        uint256 opensAt = _acceptedAt(report) + window;
        if (block.timestamp < opensAt) revert WindowOpen(opensAt);
    }

    /// When this very report was accepted; reverts when it was not.
    function _acceptedAt(Report calldata report) private view returns (uint256) {
        Stamp accepted = _accepted[report.epoch];
        if (accepted.number() == 0 || !accepted.matches(report.digest())) revert UnknownReport(report.epoch);
        return GENESIS + accepted.number();
    }
}

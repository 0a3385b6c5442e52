// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IProviderRegistry} from "../interfaces/IProviderRegistry.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";
import {ReportLib} from "../libraries/ReportLib.sol";
import {StorageAnswer} from "../libraries/StorageAnswer.sol";
import {ReportChain} from "./ReportChain.sol";

/// @title What accepted reports do: rewards, slashes and the rebuttals of slashes
/// @notice See ISlaSettlement for what it promises.
abstract contract SettlementBase is ReportChain {
    using SafeERC20 for IERC20;

    uint256 internal constant PPM = 1_000_000;
    /// The reason of a slash for silence, the only one that an answer rebuts.
    uint8 internal constant STORAGE_SILENT = 3;

    address private immutable TOKEN;
    address private immutable PROVIDERS;
    uint256 private immutable SLASH_CAP_PPM;

    mapping(uint8 kind => mapping(uint64 id => uint256)) public claimed;
    uint256 public claimedTotal;
    mapping(uint64 providerId => mapping(uint64 epoch => bool)) public slashExecuted;
    mapping(uint64 providerId => mapping(uint64 epoch => bool)) public rebutted;

    constructor(Config memory c, Roles memory roles) ReportChain(c, roles) {
        if (c.token == address(0) || c.providerRegistry == address(0) || c.slashCapPpm > PPM) revert InvalidConfig();
        TOKEN = c.token;
        PROVIDERS = c.providerRegistry;
        SLASH_CAP_PPM = c.slashCapPpm;
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
        // A report states its total, and nobody adds its leaves up here: all claims together are held to what all reports may state.
        uint256 total = claimedTotal + amount;
        uint256 most = EPOCH_BUDGET * (uint256(report.epoch) + 1);
        if (total > most) revert ClaimsExceedBudgets(total, most);
        claimedTotal = total;
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
    function markRebutted(uint64 providerId, uint64 epoch, bool isRebutted) external {
        if (!isCourt[msg.sender]) revert OnlyCourt(msg.sender);
        if (isRebutted && rebutted[providerId][epoch]) revert AlreadyRebutted(providerId, epoch);
        rebutted[providerId][epoch] = isRebutted;
        emit RebuttalMarked(providerId, epoch, isRebutted, msg.sender);
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
}

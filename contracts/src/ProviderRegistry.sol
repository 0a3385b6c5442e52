// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IProviderRegistry} from "./interfaces/IProviderRegistry.sol";

/// @title Provider registry
/// @notice See IProviderRegistry for what it promises.
contract ProviderRegistry is IProviderRegistry, Ownable {
    using SafeERC20 for IERC20;

    bytes32 internal constant CLAIMS_TAG = keccak256("assay.claims.v1");
    uint256 internal constant MAX_ENDPOINT = 255;
    uint64 internal constant MAX_PROVIDERS = 4096;
    address internal constant BURN = 0x000000000000000000000000000000000000dEaD;

    IERC20 public immutable token;
    uint256 public immutable minStake;

    address public settlement;
    uint64 public providerCount;
    mapping(uint64 providerId => Provider) private _providers;

    /// The deployer owns the contract, and can do nothing but name the settlement once.
    constructor(IERC20 token_, uint256 minStake_) Ownable(msg.sender) {
        if (address(token_) == address(0)) revert ZeroAddress();
        token = token_;
        minStake = minStake_;
    }

    /// @inheritdoc IProviderRegistry
    function register(address receiptKey, string calldata endpoint, uint16 classId, uint64 region, address recipient, uint256 stake)
        external
        returns (uint64 providerId)
    {
        if (receiptKey == address(0) || recipient == address(0)) revert ZeroAddress();
        if (bytes(endpoint).length == 0 || bytes(endpoint).length > MAX_ENDPOINT) revert InvalidEndpoint();
        if (classId == 0) revert InvalidClass();
        if (stake < minStake) revert StakeTooLow(stake, minStake);
        if (providerCount == MAX_PROVIDERS) revert RegistryFull();

        providerId = ++providerCount;
        Provider storage entry = _providers[providerId];
        entry.operator = msg.sender;
        entry.recipient = recipient;
        entry.receiptKey = receiptKey;
        entry.classId = classId;
        entry.stake = stake;
        entry.region = region;
        entry.active = true;
        entry.endpoint = endpoint;
        emit ProviderRegistered(providerId, msg.sender, endpoint);
        token.safeTransferFrom(msg.sender, address(this), stake);
    }

    /// @inheritdoc IProviderRegistry
    function provider(uint64 providerId) external view returns (Provider memory) {
        return _known(providerId);
    }

    /// @inheritdoc IProviderRegistry
    function stakeOf(uint64 providerId) external view returns (uint256) {
        return _providers[providerId].stake;
    }

    /// @inheritdoc IProviderRegistry
    function publishClaims(uint64 providerId, uint64 sequence, bytes32 root, uint64 blocks, uint64 count, bytes calldata signature)
        external
    {
        Provider storage entry = _known(providerId);
        uint64 expected = entry.claimSequence + 1;
        if (sequence != expected) revert WrongSequence(sequence, expected);
        (address signer, ECDSA.RecoverError failure,) =
            ECDSA.tryRecoverCalldata(claimsDigest(providerId, sequence, root, blocks, count), signature);
        if (failure != ECDSA.RecoverError.NoError || signer != entry.receiptKey) revert InvalidClaimsSignature();

        entry.claimSequence = sequence;
        entry.claimRoot = root;
        entry.claimBlocks = blocks;
        entry.claimCount = count;
        emit ClaimsPublished(providerId, sequence, root, blocks, count);
    }

    /// @inheritdoc IProviderRegistry
    function claimsDigest(uint64 providerId, uint64 sequence, bytes32 root, uint64 blocks, uint64 count) public view returns (bytes32) {
        return keccak256(abi.encode(CLAIMS_TAG, block.chainid, address(this), providerId, sequence, root, blocks, count));
    }

    /// @inheritdoc IProviderRegistry
    function setSettlement(address settlement_) external onlyOwner {
        if (settlement_ == address(0)) revert ZeroAddress();
        if (settlement != address(0)) revert SettlementAlreadySet();
        settlement = settlement_;
        emit SettlementSet(settlement_);
    }

    /// @inheritdoc IProviderRegistry
    function slash(uint64 providerId, uint256 amount) external returns (uint256 slashed) {
        if (msg.sender != settlement) revert OnlySettlement();
        Provider storage entry = _known(providerId);
        slashed = Math.min(amount, entry.stake);
        entry.stake -= slashed;
        emit ProviderSlashed(providerId, slashed);
        token.safeTransfer(BURN, slashed);
    }

    function _known(uint64 providerId) private view returns (Provider storage entry) {
        entry = _providers[providerId];
        if (entry.operator == address(0)) revert UnknownProvider(providerId);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IObligations} from "./interfaces/IObligations.sol";
import {IProviderRegistry} from "./interfaces/IProviderRegistry.sol";
import {ISlaSettlement} from "./interfaces/ISlaSettlement.sol";
import {Deposit} from "./libraries/Deposit.sol";
import {Liability} from "./libraries/Liability.sol";
import {SharePool} from "./libraries/SharePool.sol";

/// @title Provider registry
/// @notice See IProviderRegistry for what it promises.
contract ProviderRegistry is IProviderRegistry, Ownable {
    using SafeERC20 for IERC20;
    using SharePool for SharePool.Pool;

    bytes32 internal constant CLAIMS_TAG = keccak256("assay.claims.v1");
    uint256 internal constant MAX_ENDPOINT = 255;
    uint64 internal constant MAX_PROVIDERS = 4096;
    address internal constant BURN = 0x000000000000000000000000000000000000dEaD;

    IERC20 public immutable token;
    uint256 public immutable minStake;
    /// @inheritdoc IProviderRegistry
    uint64 public immutable unbondingSeconds;
    /// @inheritdoc IProviderRegistry
    uint64 public immutable evidenceSeconds;

    /// What `Provider` leaves out. One slot.
    struct Record {
        uint64 registeredAt;
        uint64 declaredGib;
        uint64 withdrawableAt; // 0 = no exit was requested
        bool withdrawn;
    }

    struct PendingKey {
        address receiptKey;
        uint64 activeAt;
    }

    address public settlement;
    uint64 public providerCount;
    address public market;
    /// @inheritdoc IProviderRegistry
    uint64 public keyDelaySeconds;
    mapping(uint64 providerId => Provider) private _providers;
    mapping(uint64 providerId => Record) private _records;
    mapping(uint64 providerId => PendingKey) private _pendingKeys;
    mapping(uint64 providerId => SharePool.Pool) private _pools;
    mapping(uint64 providerId => mapping(address delegator => Delegation)) private _delegations;
    /// @inheritdoc IProviderRegistry
    mapping(uint16 classId => uint256) public stakePerGib;

    modifier onlyOperator(uint64 providerId) {
        if (msg.sender != _known(providerId).operator) revert OnlyOperator(providerId);
        _;
    }

    /// The deployer owns the contract, and can do nothing but name the settlement and the market once.
    constructor(IERC20 token_, uint256 minStake_, Terms memory terms) Ownable(msg.sender) {
        if (address(token_) == address(0)) revert ZeroAddress();
        token = token_;
        minStake = minStake_;
        unbondingSeconds = terms.unbondingSeconds;
        evidenceSeconds = terms.evidenceSeconds;
        for (uint256 i = 0; i < terms.classes.length; ++i) {
            ClassStake memory class = terms.classes[i];
            if (class.classId == 0 || class.perGib == 0 || stakePerGib[class.classId] != 0) revert InvalidClass();
            stakePerGib[class.classId] = class.perGib;
        }
    }

    /// @inheritdoc IProviderRegistry
    function register(address receiptKey, string calldata endpoint, uint16 classId, uint64 region, address recipient, uint256 stake)
        external
        returns (uint64 providerId)
    {
        if (receiptKey == address(0) || recipient == address(0)) revert ZeroAddress();
        _checkEndpoint(endpoint);
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
        _records[providerId].registeredAt = uint64(block.timestamp);
        emit ProviderRegistered(providerId, msg.sender, endpoint);
        Deposit.take(token, msg.sender, stake);
    }

    /// @inheritdoc IProviderRegistry
    function addStake(uint64 providerId, uint256 amount) external onlyOperator(providerId) {
        if (amount == 0) revert ZeroAmount();
        _active(providerId).stake += amount;
        emit StakeAdded(providerId, amount);
        Deposit.take(token, msg.sender, amount);
    }

    /// @inheritdoc IProviderRegistry
    function declareCapacity(uint64 providerId, uint64 gib) external onlyOperator(providerId) {
        Provider storage entry = _active(providerId);
        uint256 price = stakePerGib[entry.classId];
        if (price == 0) revert InvalidClass();
        (uint256 backing, uint256 wanted) = (_backing(providerId), gib * price);
        if (backing < wanted) revert StakeTooLow(backing, wanted);
        _records[providerId].declaredGib = gib;
        emit CapacityDeclared(providerId, gib);
    }

    /// @inheritdoc IProviderRegistry
    function setEndpoint(uint64 providerId, string calldata endpoint) external onlyOperator(providerId) {
        _checkEndpoint(endpoint);
        _providers[providerId].endpoint = endpoint;
        emit EndpointSet(providerId, endpoint);
    }

    /// @inheritdoc IProviderRegistry
    function setRecipient(uint64 providerId, address recipient) external onlyOperator(providerId) {
        if (recipient == address(0)) revert ZeroAddress();
        _providers[providerId].recipient = recipient;
        emit RecipientSet(providerId, recipient);
    }

    /// @inheritdoc IProviderRegistry
    function setReceiptKey(uint64 providerId, address receiptKey) external onlyOperator(providerId) {
        if (receiptKey == address(0)) revert ZeroAddress();
        _providers[providerId].receiptKey = _receiptKey(providerId);
        uint64 activeAt = uint64(block.timestamp) + keyDelaySeconds;
        _pendingKeys[providerId] = PendingKey(receiptKey, activeAt);
        emit ReceiptKeyAnnounced(providerId, receiptKey, activeAt);
    }

    /// @inheritdoc IProviderRegistry
    function requestExit(uint64 providerId) external onlyOperator(providerId) {
        Provider storage entry = _active(providerId);
        if (!_escapeOpen()) _checkObligations(providerId);
        entry.active = false;
        uint64 opensAt = uint64(block.timestamp) + unbondingSeconds;
        _records[providerId].withdrawableAt = opensAt;
        emit ExitRequested(providerId, opensAt);
    }

    /// @inheritdoc IProviderRegistry
    function withdraw(uint64 providerId) external onlyOperator(providerId) {
        Record storage record = _records[providerId];
        if (record.withdrawableAt == 0) revert NotExiting(providerId);
        if (record.withdrawn) revert AlreadyWithdrawn(providerId);
        if (!_escapeOpen()) {
            if (block.timestamp < record.withdrawableAt) revert StillBonded(record.withdrawableAt);
            _checkObligations(providerId);
        }

        record.withdrawn = true;
        Provider storage entry = _providers[providerId];
        uint256 amount = entry.stake;
        entry.stake = 0;
        emit Withdrawn(providerId, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IProviderRegistry
    function delegate(uint64 providerId, uint256 amount) external returns (uint256 shares) {
        _active(providerId);
        shares = _pools[providerId].deposit(amount);
        if (shares == 0) revert NoShares();
        _delegations[providerId][msg.sender].shares += shares;
        emit Delegated(providerId, msg.sender, amount, shares);
        Deposit.take(token, msg.sender, amount);
    }

    /// @inheritdoc IProviderRegistry
    function undelegate(uint64 providerId, uint256 shares) external {
        Delegation storage mine = _delegations[providerId][msg.sender];
        if (shares == 0) revert ZeroAmount();
        if (shares > mine.shares) revert TooFewShares(shares, mine.shares);
        mine.shares -= shares;
        mine.leaving += shares;
        mine.withdrawableAt = uint64(block.timestamp) + unbondingSeconds;
        _pools[providerId].leaving += shares;
        emit UndelegationRequested(providerId, msg.sender, shares, mine.withdrawableAt);
    }

    /// @inheritdoc IProviderRegistry
    function withdrawDelegation(uint64 providerId) external returns (uint256 amount) {
        Delegation storage mine = _delegations[providerId][msg.sender];
        uint256 shares = mine.leaving;
        if (shares == 0) revert NothingLeaving();
        if (block.timestamp < mine.withdrawableAt && !_escapeOpen()) revert StillBonded(mine.withdrawableAt);
        mine.leaving = 0;
        amount = _pools[providerId].redeem(shares);
        emit DelegationWithdrawn(providerId, msg.sender, shares, amount);
        token.safeTransfer(msg.sender, amount);
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
        if (failure != ECDSA.RecoverError.NoError || signer != _receiptKey(providerId)) revert InvalidClaimsSignature();

        entry.claimSequence = sequence;
        entry.claimRoot = root;
        entry.claimBlocks = blocks;
        entry.claimCount = count;
        emit ClaimsPublished(providerId, sequence, root, blocks, count);
    }

    /// @inheritdoc IProviderRegistry
    function setSettlement(address settlement_) external onlyOwner {
        if (settlement_ == address(0)) revert ZeroAddress();
        if (settlement != address(0)) revert SettlementAlreadySet();
        uint256 liability = Liability.period(settlement_);
        if (unbondingSeconds < liability + evidenceSeconds) revert UnbondingTooShort(unbondingSeconds, liability + evidenceSeconds);
        settlement = settlement_;
        keyDelaySeconds = SafeCast.toUint64(liability);
        emit SettlementSet(settlement_);
    }

    /// @inheritdoc IProviderRegistry
    function setMarket(address market_) external onlyOwner {
        if (market_ == address(0)) revert ZeroAddress();
        if (market != address(0)) revert MarketAlreadySet();
        market = market_;
        emit MarketSet(market_);
    }

    /// @inheritdoc IProviderRegistry
    function slash(uint64 providerId, uint256 amount) external returns (uint256 slashed) {
        if (msg.sender != settlement) revert OnlySettlement();
        Provider storage entry = _known(providerId);
        SharePool.Pool storage pool = _pools[providerId];
        uint256 own = Math.min(amount, entry.stake);
        uint256 delegated = Math.min(amount - own, pool.assets);
        slashed = own + delegated;
        entry.stake -= own;
        if (delegated != 0) pool.assets -= delegated;
        emit ProviderSlashed(providerId, slashed);
        token.safeTransfer(BURN, slashed);
    }

    /// @inheritdoc IProviderRegistry
    function provider(uint64 providerId) external view returns (Provider memory found) {
        found = _known(providerId);
        found.receiptKey = _receiptKey(providerId);
    }

    /// @inheritdoc IProviderRegistry
    function receiptKeyOf(uint64 providerId) external view returns (address) {
        return _receiptKey(providerId);
    }

    /// @inheritdoc IProviderRegistry
    function stakeOf(uint64 providerId) external view returns (uint256) {
        return _providers[providerId].stake + _pools[providerId].assets;
    }

    /// @inheritdoc IProviderRegistry
    function stakeTotalOf(uint64 providerId) external view returns (uint256 own, uint256 delegated) {
        return (_providers[providerId].stake, _pools[providerId].assets);
    }

    /// @inheritdoc IProviderRegistry
    function capacityOf(uint64 providerId) external view returns (uint64 gib) {
        Provider storage entry = _providers[providerId];
        gib = _records[providerId].declaredGib;
        if (!entry.active || gib == 0) return 0;
        return uint64(Math.min(gib, _backing(providerId) / stakePerGib[entry.classId]));
    }

    /// @inheritdoc IProviderRegistry
    function registeredAt(uint64 providerId) external view returns (uint64) {
        _known(providerId);
        return _records[providerId].registeredAt;
    }

    /// @inheritdoc IProviderRegistry
    function delegation(uint64 providerId, address delegator) external view returns (Delegation memory) {
        return _delegations[providerId][delegator];
    }

    /// @inheritdoc IProviderRegistry
    function poolOf(uint64 providerId) external view returns (uint256 assets, uint256 shares, uint256 leaving) {
        SharePool.Pool storage pool = _pools[providerId];
        return (pool.assets, pool.shares, pool.leaving);
    }

    /// @inheritdoc IProviderRegistry
    function claimsDigest(uint64 providerId, uint64 sequence, bytes32 root, uint64 blocks, uint64 count) public view returns (bytes32) {
        return keccak256(abi.encode(CLAIMS_TAG, block.chainid, address(this), providerId, sequence, root, blocks, count));
    }

    /// Stake that is not about to leave.
    function _backing(uint64 providerId) private view returns (uint256) {
        return _providers[providerId].stake + _pools[providerId].staying();
    }

    /// The key in force.
    function _receiptKey(uint64 providerId) private view returns (address) {
        PendingKey memory pending = _pendingKeys[providerId];
        bool inForce = pending.receiptKey != address(0) && block.timestamp >= pending.activeAt;
        return inForce ? pending.receiptKey : _providers[providerId].receiptKey;
    }

    function _checkObligations(uint64 providerId) private view {
        if (market == address(0)) return;
        uint256 until = IObligations(market).obligedUntil(providerId);
        if (block.timestamp < until) revert StillObliged(until);
    }

    function _checkEndpoint(string calldata endpoint) private pure {
        if (bytes(endpoint).length == 0 || bytes(endpoint).length > MAX_ENDPOINT) revert InvalidEndpoint();
    }

    function _escapeOpen() private view returns (bool) {
        return settlement != address(0) && ISlaSettlement(settlement).escapeOpen();
    }

    function _active(uint64 providerId) private view returns (Provider storage entry) {
        entry = _known(providerId);
        if (!entry.active) revert NotActive(providerId);
    }

    function _known(uint64 providerId) private view returns (Provider storage entry) {
        entry = _providers[providerId];
        if (entry.operator == address(0)) revert UnknownProvider(providerId);
    }
}

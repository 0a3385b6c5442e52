// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {CommitteeSets} from "./CommitteeSets.sol";
import {IOracleRegistry} from "./interfaces/IOracleRegistry.sol";
import {ISlaSettlement} from "./interfaces/ISlaSettlement.sol";
import {Bls12381} from "./libraries/Bls12381.sol";
import {Committee} from "./libraries/Committee.sol";
import {Deposit} from "./libraries/Deposit.sol";
import {Liability} from "./libraries/Liability.sol";
import {OrderedIds} from "./libraries/OrderedIds.sol";
import {Roster} from "./libraries/Roster.sol";
import {WeightCap} from "./libraries/WeightCap.sol";

/// @title Oracle registry
/// @notice See IOracleRegistry for what it promises.
contract OracleRegistry is CommitteeSets, Ownable {
    using SafeERC20 for IERC20;
    using OrderedIds for OrderedIds.List;

    bytes32 internal constant POP_TAG = keccak256("assay.pop.v1");
    bytes internal constant POP_DST = "ASSAY-V1-POP_BLS12381G1_XMD:SHA-256_SSWU_RO_";
    uint256 internal constant MAX_ENDPOINT = 255;
    uint256 internal constant MAX_WEIGHT = type(uint16).max;
    address internal constant BURN = 0x000000000000000000000000000000000000dEaD;

    IERC20 public immutable token;
    uint256 public immutable minStake;
    /// @inheritdoc IOracleRegistry
    uint64 public immutable unbondingSeconds;
    /// @inheritdoc IOracleRegistry
    uint64 public immutable evidenceSeconds;
    /// @inheritdoc IOracleRegistry
    uint64 public immutable rollCallSeconds;
    /// @inheritdoc IOracleRegistry
    uint32 public immutable operatorCapPpm;

    struct Entry {
        address operator;
        uint64 networkGroup;
        bool active; // in `_active`
        address transmitter;
        address recipient;
        address keyBlob; // the key's 192 unpadded bytes, as code
        uint256 stake;
        string endpoint;
        bytes32 logKey;
    }

    /// `withoutSet` is the first set that surely lacks the oracle, 0 when it was never in one.
    struct Exit {
        uint64 requestedAt; // 0 = not requested
        uint64 withoutSet;
        bool withdrawn;
    }

    uint64 public oracleCount;
    mapping(uint64 oracleId => Entry) private _oracles;
    mapping(uint64 oracleId => Exit) private _exits;
    mapping(bytes32 keyHash => bool) private _keyUsed;
    /// The members of the next set.
    OrderedIds.List private _active;
    /// What an operator's active oracles have staked together.
    mapping(address operator => uint256) private _operatorStake;

    address public settlement;
    RollCall private _rollCall;
    mapping(uint64 oracleId => uint64 number) private _answered;

    modifier onlyOperator(uint64 oracleId) {
        if (msg.sender != _registered(oracleId).operator) revert OnlyOperator(oracleId);
        _;
    }

    /// The deployer owns the contract, and can do nothing but name the settlement once.
    constructor(IERC20 token_, uint256 minStake_, uint64 minSetSeconds_, Terms memory terms)
        CommitteeSets(minSetSeconds_)
        Ownable(msg.sender)
    {
        if (address(token_) == address(0)) revert ZeroAddress();
        if (terms.operatorCapPpm == 0 || terms.operatorCapPpm > WeightCap.PPM || terms.rollCallSeconds == 0) revert InvalidTerms();
        token = token_;
        minStake = Math.max(minStake_, 1); // weights need a stake
        unbondingSeconds = terms.unbondingSeconds;
        evidenceSeconds = terms.evidenceSeconds;
        rollCallSeconds = terms.rollCallSeconds;
        operatorCapPpm = terms.operatorCapPpm;
    }

    /// @inheritdoc IOracleRegistry
    function register(
        bytes calldata blsKey,
        bytes calldata pop,
        string calldata endpoint,
        address transmitter,
        address recipient,
        uint64 networkGroup,
        uint256 stake
    ) external returns (uint64 oracleId) {
        if (transmitter == address(0) || recipient == address(0)) revert ZeroAddress();
        _checkEndpoint(endpoint);
        _checkLengths(blsKey, pop);
        if (stake < minStake) revert StakeTooLow(stake, minStake);
        if (_active.length == Committee.MAX_MEMBERS) revert RegistryFull();

        address keyBlob = _takeKey(blsKey, pop);
        oracleId = ++oracleCount;
        _oracles[oracleId] = Entry({
            operator: msg.sender,
            networkGroup: networkGroup,
            active: false,
            transmitter: transmitter,
            recipient: recipient,
            keyBlob: keyBlob,
            stake: stake,
            endpoint: endpoint,
            logKey: 0
        });
        _activate(oracleId);
        emit OracleRegistered(oracleId, msg.sender, endpoint);
        Deposit.take(token, msg.sender, stake);
    }

    /// @inheritdoc IOracleRegistry
    function rotateKey(uint64 oracleId, bytes calldata blsKey, bytes calldata pop) external onlyOperator(oracleId) {
        if (_exits[oracleId].requestedAt != 0) revert AlreadyExiting(oracleId);
        _checkLengths(blsKey, pop);
        Entry storage entry = _oracles[oracleId];
        entry.keyBlob = _takeKey(blsKey, pop);
        if (entry.active) _changed = true;
        emit KeyRotated(oracleId, keccak256(blsKey));
    }

    /// @inheritdoc IOracleRegistry
    function setEndpoint(uint64 oracleId, string calldata endpoint) external onlyOperator(oracleId) {
        _checkEndpoint(endpoint);
        _oracles[oracleId].endpoint = endpoint;
        emit EndpointSet(oracleId, endpoint);
    }

    /// @inheritdoc IOracleRegistry
    function setTransmitter(uint64 oracleId, address transmitter) external onlyOperator(oracleId) {
        if (transmitter == address(0)) revert ZeroAddress();
        _oracles[oracleId].transmitter = transmitter;
        emit TransmitterSet(oracleId, transmitter);
    }

    /// @inheritdoc IOracleRegistry
    function setRecipient(uint64 oracleId, address recipient) external onlyOperator(oracleId) {
        if (recipient == address(0)) revert ZeroAddress();
        _oracles[oracleId].recipient = recipient;
        emit RecipientSet(oracleId, recipient);
    }

    /// @inheritdoc IOracleRegistry
    function setLogKey(uint64 oracleId, bytes32 key) external onlyOperator(oracleId) {
        _oracles[oracleId].logKey = key;
        emit LogKeySet(oracleId, key);
    }

    /// @inheritdoc IOracleRegistry
    function addStake(uint64 oracleId, uint256 amount) external onlyOperator(oracleId) {
        if (amount == 0) revert NothingRequested();
        if (_exits[oracleId].requestedAt != 0) revert AlreadyExiting(oracleId);
        _setStake(oracleId, _oracles[oracleId].stake + amount);
        emit StakeAdded(oracleId, amount);
        Deposit.take(token, msg.sender, amount);
    }

    /// @inheritdoc IOracleRegistry
    function rejoin(uint64 oracleId) external onlyOperator(oracleId) {
        Entry storage entry = _oracles[oracleId];
        if (_exits[oracleId].requestedAt != 0) revert AlreadyExiting(oracleId);
        if (entry.active) revert AlreadyActive(oracleId);
        if (entry.stake < minStake) revert StakeTooLow(entry.stake, minStake);
        if (_active.length == Committee.MAX_MEMBERS) revert RegistryFull();
        _activate(oracleId);
    }

    /// @inheritdoc IOracleRegistry
    function requestExit(uint64 oracleId) external onlyOperator(oracleId) {
        if (_exits[oracleId].requestedAt != 0) revert AlreadyExiting(oracleId);
        uint64 withoutSet = 0;
        if (_underConstruction()) withoutSet = currentSet() + 2;
        else if (currentSet() != 0) withoutSet = currentSet() + 1;
        _exits[oracleId] = Exit(uint64(block.timestamp), withoutSet, false);
        if (_oracles[oracleId].active) _deactivate(oracleId);
        _changed = true; // else the set that the exit waits for might never come
        emit ExitRequested(oracleId, withoutSet);
    }

    /// @inheritdoc IOracleRegistry
    function withdraw(uint64 oracleId) external onlyOperator(oracleId) {
        Exit storage exit = _exits[oracleId];
        if (exit.requestedAt == 0) revert NotExiting(oracleId);
        if (exit.withdrawn) revert AlreadyWithdrawn(oracleId);
        uint256 opensAt = withdrawableAt(oracleId);
        if (block.timestamp < opensAt && !_escapeOpen()) revert StillBonded(opensAt);

        exit.withdrawn = true;
        Entry storage entry = _oracles[oracleId];
        uint256 amount = entry.stake;
        entry.stake = 0;
        emit Withdrawn(oracleId, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IOracleRegistry
    function slash(uint64 oracleId, uint256 amount, address beneficiary, uint256 reward) external returns (uint256 slashed) {
        if (settlement == address(0) || !ISlaSettlement(settlement).isCourt(msg.sender)) revert OnlyCourt();
        if (reward > amount) revert RewardExceedsSlash(reward, amount);
        Entry storage entry = _registered(oracleId);
        slashed = Math.min(amount, entry.stake);
        if (slashed == 0) return 0;

        // In proportion: who has little left does not get it back through a challenger of his own.
        uint256 paid = Math.mulDiv(reward, slashed, amount);
        _setStake(oracleId, entry.stake - slashed);
        if (entry.active && entry.stake < minStake) _deactivate(oracleId);
        emit OracleSlashed(oracleId, msg.sender, slashed, beneficiary, paid);
        if (paid != 0) token.safeTransfer(beneficiary, paid);
        token.safeTransfer(BURN, slashed - paid);
    }

    /// @inheritdoc IOracleRegistry
    function setSettlement(address settlement_) external onlyOwner {
        if (settlement_ == address(0)) revert ZeroAddress();
        if (settlement != address(0)) revert SettlementAlreadySet();
        uint256 least = Liability.period(settlement_) + evidenceSeconds;
        if (unbondingSeconds < least) revert UnbondingTooShort(unbondingSeconds, least);
        settlement = settlement_;
        emit SettlementSet(settlement_);
    }

    /// @inheritdoc IOracleRegistry
    function alive(uint64 oracleId) external {
        if (!_escapeOpen()) revert EscapeClosed();
        Entry storage entry = _registered(oracleId);
        if (msg.sender != entry.operator && msg.sender != entry.transmitter) revert OnlyOperator(oracleId);

        RollCall memory call = _rollCall;
        if (block.timestamp > call.closesAt) {
            if (_isMajority(call)) revert RecoveryDue();
            call = RollCall(call.number + 1, currentSet(), uint64(block.timestamp) + rollCallSeconds, 0);
        }
        if (_answered[oracleId] == call.number) revert AlreadyAnswered(oracleId);
        uint16 weight = Committee.weightOf(_headerOf(call.setEpoch), oracleId);
        if (weight == 0 || !entry.active) revert NotAMember(oracleId);

        _answered[oracleId] = call.number;
        call.weight += weight;
        _rollCall = call;
        emit Alive(oracleId, call.number, call.weight);
    }

    /// @inheritdoc IOracleRegistry
    function recover() external {
        if (!_escapeOpen()) revert EscapeClosed();
        RollCall memory call = _rollCall;
        if (block.timestamp <= call.closesAt) revert RollCallOpen(call.closesAt);
        if (!_isMajority(call)) revert NoMajority(call.weight);
        if (_underConstruction()) revert SetUnderConstruction();

        _rollCall.weight = 0;
        uint64 id = _active.next(0);
        while (id != 0) {
            uint64 next = _active.next(id);
            if (_answered[id] != call.number) _deactivate(id);
            id = next;
        }
        _changed = true;
        emit Recovered(call.number, _active.length);
    }

    /// @inheritdoc IOracleRegistry
    function popMessage(address operator, bytes calldata blsKey) external view returns (bytes32) {
        return _popMessage(operator, keccak256(blsKey));
    }

    /// @inheritdoc IOracleRegistry
    function oracle(uint64 oracleId) external view returns (Oracle memory) {
        Entry storage entry = _registered(oracleId);
        return Oracle({
            operator: entry.operator,
            transmitter: entry.transmitter,
            recipient: entry.recipient,
            networkGroup: entry.networkGroup,
            active: entry.active,
            stake: entry.stake,
            endpoint: entry.endpoint,
            blsKey: _key(entry.keyBlob)
        });
    }

    /// @inheritdoc IOracleRegistry
    function stakeOf(uint64 oracleId) external view returns (uint256) {
        return _oracles[oracleId].stake;
    }

    /// @inheritdoc IOracleRegistry
    function keyOf(uint64 oracleId) external view returns (bytes memory) {
        return _key(_registered(oracleId).keyBlob);
    }

    /// @inheritdoc IOracleRegistry
    function logKeyOf(uint64 oracleId) external view returns (bytes32) {
        return _registered(oracleId).logKey;
    }

    /// @inheritdoc IOracleRegistry
    function activeCount() external view returns (uint64) {
        return _active.length;
    }

    /// @inheritdoc IOracleRegistry
    function rollCall() external view returns (RollCall memory) {
        return _rollCall;
    }

    /// @inheritdoc IOracleRegistry
    function withdrawableAt(uint64 oracleId) public view returns (uint256) {
        Exit storage exit = _exits[oracleId];
        if (exit.requestedAt == 0) return type(uint256).max;
        if (exit.withoutSet == 0) return exit.requestedAt + uint256(unbondingSeconds);
        uint256 leftAt = _completedAt(exit.withoutSet);
        return leftAt == 0 ? type(uint256).max : leftAt + unbondingSeconds;
    }

    function _roster() internal view override returns (uint256[] memory words) {
        uint256 length = _active.length;
        words = new uint256[](length);
        uint256[] memory counted = _countedStakes();
        uint256 largest = 1;
        for (uint256 i = 0; i < length; ++i) {
            largest = Math.max(largest, counted[i]);
        }
        uint64 id = 0;
        for (uint256 i = 0; i < length; ++i) {
            id = _active.next(id);
            uint16 weight = uint16(Math.max(1, Math.mulDiv(counted[i], MAX_WEIGHT, largest)));
            words[i] = Roster.pack(id, weight, _oracles[id].keyBlob);
        }
    }

    /// The stakes of the active oracles in their order, as far as their operators' cap lets them count.
    function _countedStakes() private view returns (uint256[] memory stakes) {
        uint256 length = _active.length;
        stakes = new uint256[](length);
        bool capped = operatorCapPpm != WeightCap.PPM;
        uint256[] memory ofOperators = new uint256[](capped ? length : 0);
        uint64 id = 0;
        for (uint256 i = 0; i < length; ++i) {
            id = _active.next(id);
            stakes[i] = _oracles[id].stake;
            if (capped) ofOperators[i] = _operatorStake[_oracles[id].operator];
        }
        if (!capped) return stakes;
        uint256 level = WeightCap.level(stakes, ofOperators, operatorCapPpm);
        for (uint256 i = 0; i < length; ++i) {
            stakes[i] = WeightCap.counted(stakes[i], ofOperators[i], level);
        }
    }

    function _activate(uint64 oracleId) private {
        Entry storage entry = _oracles[oracleId];
        entry.active = true;
        _operatorStake[entry.operator] += entry.stake;
        _active.add(oracleId);
        _changed = true;
        emit Activated(oracleId);
    }

    function _deactivate(uint64 oracleId) private {
        Entry storage entry = _oracles[oracleId];
        entry.active = false;
        _operatorStake[entry.operator] -= entry.stake;
        _active.remove(oracleId);
        _changed = true;
        emit Deactivated(oracleId);
    }

    function _setStake(uint64 oracleId, uint256 stake) private {
        Entry storage entry = _oracles[oracleId];
        if (entry.active) {
            _operatorStake[entry.operator] = _operatorStake[entry.operator] - entry.stake + stake;
            _changed = true;
        }
        entry.stake = stake;
    }

    /// Checks a key that the sender wants to sign with, and keeps it.
    function _takeKey(bytes calldata blsKey, bytes calldata pop) private returns (address keyBlob) {
        bytes memory key = blsKey;
        bytes32 keyHash = keccak256(key);
        if (_keyUsed[keyHash]) revert DuplicateKey();
        if (!Bls12381.verify(key, _popMessage(msg.sender, keyHash), POP_DST, pop)) revert InvalidProofOfPossession();
        _keyUsed[keyHash] = true;
        return Committee.writeBlob(Committee.packKey(key));
    }

    function _checkEndpoint(string calldata endpoint) private pure {
        if (bytes(endpoint).length == 0 || bytes(endpoint).length > MAX_ENDPOINT) revert InvalidEndpoint();
    }

    function _checkLengths(bytes calldata blsKey, bytes calldata pop) private pure {
        if (blsKey.length != Bls12381.G2_LENGTH || pop.length != Bls12381.G1_LENGTH) revert InvalidLength();
    }

    function _isMajority(RollCall memory call) private view returns (bool) {
        if (call.weight == 0) return false;
        (, uint256 total,) = Committee.totals(_headerOf(call.setEpoch));
        return 2 * uint256(call.weight) > total;
    }

    function _escapeOpen() private view returns (bool) {
        return settlement != address(0) && ISlaSettlement(settlement).escapeOpen();
    }

    function _registered(uint64 oracleId) private view returns (Entry storage entry) {
        entry = _oracles[oracleId];
        if (entry.operator == address(0)) revert UnknownOracle(oracleId);
    }

    function _popMessage(address operator, bytes32 keyHash) private view returns (bytes32) {
        return keccak256(abi.encode(POP_TAG, block.chainid, address(this), operator, keyHash));
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IOracleRegistry} from "./interfaces/IOracleRegistry.sol";
import {Bls12381} from "./libraries/Bls12381.sol";
import {Committee} from "./libraries/Committee.sol";

/// @title Oracle registry
/// @notice See IOracleRegistry for what it promises.
contract OracleRegistry is IOracleRegistry {
    using SafeERC20 for IERC20;

    bytes32 internal constant POP_TAG = keccak256("assay.pop.v1");
    bytes internal constant POP_DST = "ASSAY-V1-POP_BLS12381G1_XMD:SHA-256_SSWU_RO_";
    uint256 internal constant MAX_ENDPOINT = 255;
    uint256 private constant KEY_AT = 1; // in a key blob, behind the STOP
    uint256 internal constant MAX_WEIGHT = type(uint16).max;

    IERC20 public immutable token;
    uint256 public immutable minStake;
    /// Seconds between the completion of one set and the beginning of the next.
    uint64 public immutable minSetSeconds;

    struct Entry {
        address operator;
        uint64 networkGroup;
        bool active;
        address transmitter;
        address recipient;
        address keyBlob; // the key's 192 unpadded bytes, as code
        uint256 stake;
        string endpoint;
    }

    /// One slot, since every report reads it.
    struct Current {
        uint64 setEpoch;
        address header;
    }

    /// One slot: the block is at hand when the header is written, so keeping it costs nothing.
    struct Set {
        address header;
        uint48 sinceBlock;
        uint48 since;
    }

    /// A set under construction. `nextId` is zero when there is none.
    struct Build {
        uint64 nextId;
        uint64 lastId;
        uint256 largestStake;
        address[] chunks;
    }

    uint64 public oracleCount;
    uint256 private _largestStake;
    mapping(uint64 oracleId => Entry) private _oracles;
    mapping(bytes32 keyHash => bool) private _keyUsed;

    Current private _current;
    uint64 private _includedUpTo; // the highest id that the current set considered
    Build private _build;
    mapping(uint64 setEpoch => Set) private _sets;

    constructor(IERC20 token_, uint256 minStake_, uint64 minSetSeconds_) {
        if (address(token_) == address(0)) revert ZeroAddress();
        token = token_;
        minStake = Math.max(minStake_, 1); // weights need a stake
        minSetSeconds = minSetSeconds_;
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
        if (bytes(endpoint).length == 0 || bytes(endpoint).length > MAX_ENDPOINT) revert InvalidEndpoint();
        if (blsKey.length != Bls12381.G2_LENGTH || pop.length != Bls12381.G1_LENGTH) revert InvalidLength();
        if (stake < minStake) revert StakeTooLow(stake, minStake);
        if (oracleCount == Committee.MAX_MEMBERS) revert RegistryFull();

        bytes memory key = blsKey;
        bytes32 keyHash = keccak256(key);
        if (_keyUsed[keyHash]) revert DuplicateKey();
        bytes32 message = _popMessage(msg.sender, keyHash);
        if (!Bls12381.verify(key, message, POP_DST, pop)) revert InvalidProofOfPossession();

        oracleId = ++oracleCount;
        _keyUsed[keyHash] = true;
        _largestStake = Math.max(_largestStake, stake);
        _oracles[oracleId] = Entry({
            operator: msg.sender,
            networkGroup: networkGroup,
            active: true,
            transmitter: transmitter,
            recipient: recipient,
            keyBlob: Committee.writeBlob(Committee.packKey(key)),
            stake: stake,
            endpoint: endpoint
        });
        emit OracleRegistered(oracleId, msg.sender, endpoint);
        token.safeTransferFrom(msg.sender, address(this), stake);
    }

    /// @inheritdoc IOracleRegistry
    function popMessage(address operator, bytes calldata blsKey) external view returns (bytes32) {
        return _popMessage(operator, keccak256(blsKey));
    }

    /// @inheritdoc IOracleRegistry
    function oracle(uint64 oracleId) external view returns (Oracle memory) {
        Entry storage entry = _oracles[oracleId];
        if (entry.operator == address(0)) revert UnknownOracle(oracleId);
        return Oracle({
            operator: entry.operator,
            transmitter: entry.transmitter,
            recipient: entry.recipient,
            networkGroup: entry.networkGroup,
            active: entry.active,
            stake: entry.stake,
            endpoint: entry.endpoint,
            blsKey: _key(entry)
        });
    }

    /// @inheritdoc IOracleRegistry
    function buildSnapshot(uint256 maxMembers) external returns (bool complete) {
        if (maxMembers == 0) revert NothingRequested();
        if (_build.nextId == 0) _beginSet();

        for (uint256 done = 0; done < maxMembers && !complete; done += Committee.CHUNK) {
            complete = _buildChunk();
        }
    }

    /// @inheritdoc IOracleRegistry
    function currentSet() external view returns (uint64 setEpoch) {
        return _current.setEpoch;
    }

    /// @inheritdoc IOracleRegistry
    function currentCommittee() external view returns (uint64 setEpoch, address header) {
        return (_current.setEpoch, _current.header);
    }

    /// @inheritdoc IOracleRegistry
    function committeeOf(uint64 setEpoch) external view returns (address header, uint48 sinceBlock, uint48 since) {
        Set storage set = _known(setEpoch);
        return (set.header, set.sinceBlock, set.since);
    }

    /// @inheritdoc IOracleRegistry
    function committee(uint64 setEpoch) external view returns (Committee.Member[] memory) {
        return Committee.read(_known(setEpoch).header);
    }

    function _known(uint64 setEpoch) private view returns (Set storage set) {
        set = _sets[setEpoch];
        if (set.header == address(0)) revert UnknownSet(setEpoch);
    }

    function _beginSet() private {
        if (oracleCount == 0) revert NoOracles();
        if (_includedUpTo == oracleCount) revert SetIsCurrent();
        uint256 notBefore = uint256(_sets[_current.setEpoch].since) + minSetSeconds;
        if (_current.setEpoch != 0 && block.timestamp < notBefore) revert SetTooSoon(notBefore);
        _build.nextId = 1;
        _build.lastId = oracleCount;
        _build.largestStake = _largestStake;
    }

    function _buildChunk() private returns (bool complete) {
        Build storage build = _build;
        (uint64 id, uint64 lastId, uint256 largestStake) = (build.nextId, build.lastId, build.largestStake);
        uint256 chunks = build.chunks.length;
        (bytes memory aggregate, uint256 total, uint256 members) = (new bytes(Bls12381.G2_LENGTH), 0, 0);
        if (chunks != 0) (aggregate, total, members) = Committee.totals(build.chunks[chunks - 1]);

        bytes memory records = Committee.emptyRecords();
        bytes memory key = new bytes(Bls12381.G2_LENGTH);
        for (uint256 count = 0; id <= lastId && count < Committee.CHUNK; ++id) {
            Entry storage entry = _oracles[id];
            if (!entry.active) continue;
            Committee.readKey(entry.keyBlob, KEY_AT, key);
            uint16 weight = uint16(Math.max(1, Math.mulDiv(entry.stake, MAX_WEIGHT, largestStake)));
            Committee.append(records, id, weight, key);
            Bls12381.addG2(aggregate, key);
            total += weight;
            ++members;
            ++count;
        }

        address[2] memory earlier;
        for (uint256 i = 0; i < chunks && i < 2; ++i) {
            earlier[i] = build.chunks[i];
        }
        address chunk = Committee.writeChunk(aggregate, total, members, earlier, records);
        if (id <= lastId) {
            build.nextId = id;
            build.chunks.push(chunk);
            return false;
        }
        _completeSet(chunk, lastId, members, total);
        return true;
    }

    function _completeSet(address header, uint64 lastId, uint256 members, uint256 totalWeight) private {
        delete _build;
        uint64 setEpoch = _current.setEpoch + 1;
        _current = Current(setEpoch, header);
        _sets[setEpoch] = Set(header, uint48(block.number), uint48(block.timestamp));
        _includedUpTo = lastId;
        emit SnapshotBuilt(setEpoch, members, totalWeight);
    }

    function _key(Entry storage entry) private view returns (bytes memory key) {
        key = new bytes(Bls12381.G2_LENGTH);
        Committee.readKey(entry.keyBlob, KEY_AT, key);
    }

    function _popMessage(address operator, bytes32 keyHash) private view returns (bytes32) {
        return keccak256(abi.encode(POP_TAG, block.chainid, address(this), operator, keyHash));
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracleRegistry} from "./interfaces/IOracleRegistry.sol";
import {Bls12381} from "./libraries/Bls12381.sol";
import {Committee} from "./libraries/Committee.sol";
import {Roster} from "./libraries/Roster.sol";

/// @title Committee sets: how they are built, and where each of them lies
/// @notice The part of IOracleRegistry that knows nothing of stakes: who is in the next set, and with what weight, `_roster` says.
abstract contract CommitteeSets is IOracleRegistry {
    uint256 private constant KEY_AT = 1; // in a key blob, behind the STOP

    /// @inheritdoc IOracleRegistry
    uint64 public immutable minSetSeconds;

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

    /// A set that is built in several calls. `roster` is zero when there is none.
    struct Build {
        address roster;
        address[] chunks;
    }

    Current private _current;
    Build private _build;
    mapping(uint64 setEpoch => Set) private _sets;
    /// Whether the roster is another one since the last set was begun. The last variable here: it shares the slot of the first of
    /// the registry, which a registration writes anyway.
    bool internal _changed;

    constructor(uint64 minSetSeconds_) {
        minSetSeconds = minSetSeconds_;
    }

    /// @dev The members of the next set, packed by the library Roster, in ascending id. At most Committee.MAX_MEMBERS.
    function _roster() internal view virtual returns (uint256[] memory words);

    /// @inheritdoc IOracleRegistry
    function buildSnapshot(uint256 maxMembers) external returns (bool complete) {
        if (maxMembers == 0) revert NothingRequested();
        bool begun = _underConstruction();
        uint256[] memory roster = begun ? Roster.read(_build.roster) : _beginSet();

        for (uint256 done = 0; done < maxMembers && !complete; done += Committee.CHUNK) {
            complete = _buildChunk(roster);
        }
        if (!begun && !complete) _build.roster = Roster.write(roster);
    }

    /// @inheritdoc IOracleRegistry
    function currentSet() public view returns (uint64 setEpoch) {
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

    function _underConstruction() internal view returns (bool) {
        return _build.roster != address(0);
    }

    function _headerOf(uint64 setEpoch) internal view returns (address header) {
        return _known(setEpoch).header;
    }

    /// 0 while the set is not complete.
    function _completedAt(uint64 setEpoch) internal view returns (uint256) {
        return _sets[setEpoch].since;
    }

    function _key(address keyBlob) internal view returns (bytes memory key) {
        key = new bytes(Bls12381.G2_LENGTH);
        Committee.readKey(keyBlob, KEY_AT, key);
    }

    function _known(uint64 setEpoch) private view returns (Set storage set) {
        set = _sets[setEpoch];
        if (set.header == address(0)) revert UnknownSet(setEpoch);
    }

    function _beginSet() private returns (uint256[] memory roster) {
        roster = _roster();
        if (roster.length == 0) revert NoOracles();
        if (!_changed) revert SetIsCurrent();
        uint256 notBefore = uint256(_sets[_current.setEpoch].since) + minSetSeconds;
        if (_current.setEpoch != 0 && block.timestamp < notBefore) revert SetTooSoon(notBefore);
        _changed = false;
    }

    function _buildChunk(uint256[] memory roster) private returns (bool complete) {
        Build storage build = _build;
        uint256 chunks = build.chunks.length;
        (bytes memory aggregate, uint256 total, uint256 members) = (new bytes(Bls12381.G2_LENGTH), 0, 0);
        if (chunks != 0) (aggregate, total, members) = Committee.totals(build.chunks[chunks - 1]);

        bytes memory records = Committee.emptyRecords();
        bytes memory key = new bytes(Bls12381.G2_LENGTH);
        for (uint256 count = 0; members < roster.length && count < Committee.CHUNK; ++count) {
            (uint64 oracleId, uint16 weight, address keyBlob) = Roster.unpack(roster[members]);
            Committee.readKey(keyBlob, KEY_AT, key);
            Committee.append(records, oracleId, weight, key);
            Bls12381.addG2(aggregate, key);
            total += weight;
            ++members;
        }

        address[2] memory earlier;
        for (uint256 i = 0; i < chunks && i < 2; ++i) {
            earlier[i] = build.chunks[i];
        }
        address chunk = Committee.writeChunk(aggregate, total, members, earlier, records);
        complete = members == roster.length;
        if (complete) _completeSet(chunk, members, total);
        else build.chunks.push(chunk);
    }

    function _completeSet(address header, uint256 members, uint256 totalWeight) private {
        delete _build;
        uint64 setEpoch = _current.setEpoch + 1;
        _current = Current(setEpoch, header);
        _sets[setEpoch] = Set(header, uint48(block.number), uint48(block.timestamp));
        emit SnapshotBuilt(setEpoch, members, totalWeight);
    }
}

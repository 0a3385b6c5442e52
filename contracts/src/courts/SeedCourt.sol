// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {ISeedCourt} from "../interfaces/ISeedCourt.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";
import {Bls12381} from "../libraries/Bls12381.sol";
import {Committee} from "../libraries/Committee.sol";
import {Drand} from "../libraries/Drand.sol";
import {StandardTree} from "../libraries/StandardTree.sol";
import {Statements} from "../libraries/Statements.sol";
import {Court} from "./Court.sol";

/// @title Seeds
/// @notice See ISeedCourt for what it promises.
contract SeedCourt is Court, ISeedCourt {
    uint8 public constant FALSE_SEED = 1;

    uint64 private immutable GENESIS;
    uint64 private immutable EPOCH_LENGTH;
    uint64 private immutable BEACON_GENESIS;
    uint64 private immutable BEACON_PERIOD;
    /// `slot_ms` of the network's parameters.
    uint64 public immutable slotMs;
    bytes private _beaconKey;

    constructor(ISlaSettlement settlement, uint256 slashPpm_, Beacon memory beacon, uint64 slotMs_) Court(settlement, slashPpm_) {
        if (beacon.key.length != Bls12381.G2_LENGTH || beacon.period == 0 || slotMs_ == 0) revert InvalidBeacon();
        ISlaSettlement.Config memory c = settlement.config();
        (GENESIS, EPOCH_LENGTH, slotMs) = (c.genesis, c.epochLength, slotMs_);
        (BEACON_GENESIS, BEACON_PERIOD, _beaconKey) = (beacon.genesis, beacon.period, beacon.key);
    }

    /// @inheritdoc ISeedCourt
    function roundOf(uint64 epoch, uint256 place) public view returns (uint256) {
        uint256 startsAt = GENESIS + uint256(epoch) * EPOCH_LENGTH;
        if (place > 0) startsAt += ((place - 1) * slotMs + 999) / 1000;
        return Drand.roundAtOrAfter(startsAt, BEACON_GENESIS, BEACON_PERIOD);
    }

    /// @inheritdoc ISeedCourt
    function punishSeed(
        uint64 setEpoch,
        uint256 member,
        Statements.Commit calldata commit,
        bytes32[] calldata seeds,
        uint256 place,
        bytes calldata beaconSignature,
        bytes calldata signature
    ) external {
        (uint64 oracleId,, bytes memory key) = _member(setEpoch, member);
        if (commit.oracleId != oracleId) revert NotOneAuthor();
        if (!commit.secure) revert NotSecure();
        bytes32 right = _beaconSeed(commit.epoch, place, beaconSignature);
        if (_falseSeeds(seeds, place, right) != commit.seeds) revert UnknownSeeds();
        bytes32 message = Statements.commitDigest(address(SETTLEMENT), commit);
        if (!Bls12381.verify(key, message, Statements.COMMIT_DST, signature)) revert InvalidSignature();
        _punish(oracleId, commit.epoch, FALSE_SEED, msg.sender);
    }

    /// @inheritdoc ISeedCourt
    function convictRound(Report calldata report, uint64 parentEpoch) external {
        if (report.drandRound == roundOf(report.epoch, 0)) revert RoundIsRight(report.drandRound);
        _convict(report, parentEpoch, msg.sender);
    }

    /// @inheritdoc ISeedCourt
    function convictSecure(
        Report calldata report,
        uint64 parentEpoch,
        Included[] calldata included,
        Shown[] calldata shown,
        bytes32[][] calldata falseSeeds,
        uint256 place,
        bytes calldata beaconSignature
    ) external {
        if (!report.seedSecure) revert NotSecure();
        bytes32[] memory digests = new bytes32[](falseSeeds.length);
        if (falseSeeds.length > 0) {
            bytes32 right = _beaconSeed(report.epoch, place, beaconSignature);
            for (uint256 i = 0; i < falseSeeds.length; ++i) {
                digests[i] = _falseSeeds(falseSeeds[i], place, right);
            }
        }
        (uint256 weight, uint256 totalWeight) = _soundWeight(report, included, shown, digests);
        if (3 * weight > 2 * totalWeight) revert FlagStands(weight, totalWeight);
        _convict(report, parentEpoch, msg.sender);
    }

    /// @inheritdoc ISeedCourt
    function convictInsecure(Report calldata report, uint64 parentEpoch, Statements.Commit[] calldata commits, bytes32[][] calldata proofs)
        external
    {
        if (report.seedSecure) revert FlagStands(0, 0);
        (address header, uint256 totalWeight) = _set(report.setEpoch);
        uint256 weight;
        for (uint256 i = 0; i < commits.length; ++i) {
            Statements.Commit calldata commit = commits[i];
            if (!commit.secure || commit.seeds != commits[0].seeds) revert InvalidCommit(i);
            if (i > 0 && commit.oracleId <= commits[i - 1].oracleId) revert InvalidCommit(i);
            bytes32 leaf = Statements.leaf(commit.oracleId, Statements.commitDigest(address(SETTLEMENT), commit));
            if (!MerkleProof.verifyCalldata(proofs[i], report.dataDigest, leaf)) revert InvalidProof();
            weight += Committee.weightOf(header, commit.oracleId);
        }
        if (3 * weight <= 2 * totalWeight) revert FlagStands(weight, totalWeight);
        _convict(report, parentEpoch, msg.sender);
    }

    /// What can be included under the beacon's seeds at most: all leaves but those that were shown not to be.
    function _soundWeight(Report calldata report, Included[] calldata included, Shown[] calldata shown, bytes32[] memory falseDigests)
        private
        view
        returns (uint256 weight, uint256 totalWeight)
    {
        address header;
        (header, totalWeight) = _set(report.setEpoch);
        bytes32[] memory leaves = new bytes32[](included.length);
        uint256 next;
        for (uint256 i = 0; i < included.length; ++i) {
            leaves[i] = Statements.leaf(included[i].oracleId, included[i].commitDigest);
            if (next < shown.length && shown[next].leaf == i) {
                _checkShown(shown[next], included[i].commitDigest, falseDigests, next);
                ++next;
            } else {
                weight += Committee.weightOf(header, included[i].oracleId);
            }
        }
        if (next != shown.length) revert InvalidCommit(next);
        bytes32 root = StandardTree.root(leaves);
        if (root != report.dataDigest) revert InvalidLeaves(root);
    }

    function _checkShown(Shown calldata shown, bytes32 commitDigest, bytes32[] memory falseDigests, uint256 index) private view {
        if (Statements.commitDigest(address(SETTLEMENT), shown.commit) != commitDigest) revert InvalidCommit(index);
        if (shown.commit.secure && shown.commit.seeds != falseDigests[shown.seeds]) revert InvalidCommit(index);
    }

    /// The seed that the beacon gives for a place.
    function _beaconSeed(uint64 epoch, uint256 place, bytes calldata beaconSignature) private view returns (bytes32) {
        uint256 round = roundOf(epoch, place);
        if (!Drand.verify(_beaconKey, uint64(round), beaconSignature)) revert InvalidBeaconSignature(round);
        return Drand.randomness(beaconSignature);
    }

    /// The digest of secure seeds that are false at a place.
    function _falseSeeds(bytes32[] calldata seeds, uint256 place, bytes32 right) private pure returns (bytes32) {
        if (seeds[place] == right) revert SeedIsRight(right);
        return Statements.seedsDigest(true, seeds);
    }

    function _set(uint64 setEpoch) private view returns (address header, uint256 totalWeight) {
        (header,,) = ORACLES.committeeOf(setEpoch);
        (, totalWeight,) = Committee.totals(header);
    }
}

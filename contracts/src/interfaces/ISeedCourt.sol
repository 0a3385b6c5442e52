// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Statements} from "../libraries/Statements.sol";
import {ICourt} from "./ICourt.sol";
import {Report} from "./ISlaSettlement.sol";

/// @title Judges seeds against the beacon
/// @notice An epoch is measured under the beacon's round at its start, each slot under the round at the slot's; a late round is replaced by
/// a fallback that is flagged. A commit that says `secure` says that all its seeds are the beacon's. A report says `seedSecure` when more
/// than 2/3 of the set's weight is included and names the same secure seeds; only such a report slashes. Here it is shown that
///
/// 1. an oracle signed a commit with seeds that are not the beacon's, as the beacon's (offence 1: it is slashed);
/// 2. a report names another beacon round than its epoch's (convicted);
/// 3. a report says `seedSecure`, and what it includes without false or unflagged seeds weighs too little (convicted);
/// 4. a report does not say `seedSecure`, and more than 2/3 of weight names the same secure seeds (convicted).
///
/// Places in a commit's seeds: 0 is the epoch's, i + 1 is slot i's. `beaconSignature` is 128 bytes in G1, over the round of the place.
///
/// **Panels are not judged here.** Who sits on a panel follows from the epoch's seed, the set's ids and weights, and of each candidate
/// its operator and network group as of `refBlock`. Neither the report nor the snapshot of the set holds the last two, and a
/// contract cannot read the registry as of an earlier block. Nor does a report name who sits in a seat: `panelVector` holds words, of
/// which an absent member's is zero. So a wrong panel can be shown to whoever recomputes the epoch, not to a contract. Were operator
/// and group part of a member's record, the draw could be repeated here: about 256 records and 15 draws.
interface ISeedCourt is ICourt {
    struct Beacon {
        bytes key; // 256 bytes, in G2
        uint64 genesis; // of round 1, unix seconds
        uint64 period; // seconds
    }

    /// A leaf of `dataDigest`.
    struct Included {
        uint64 oracleId;
        bytes32 commitDigest;
    }

    /// The commit behind a leaf.
    struct Shown {
        uint256 leaf;
        Statements.Commit commit;
        uint256 seeds; // which of the false seeds it names, when it says secure
    }

    error InvalidBeacon();
    error NotSecure();
    error UnknownSeeds();
    error NotOneAuthor();
    error InvalidBeaconSignature(uint256 round);
    /// The seed is the beacon's.
    error SeedIsRight(bytes32 seed);
    error RoundIsRight(uint256 round);
    error InvalidSignature();
    error InvalidLeaves(bytes32 root);
    error InvalidCommit(uint256 index);
    error InvalidProof();
    /// The report's flag agrees with what was shown.
    error FlagStands(uint256 weight, uint256 totalWeight);

    /// @notice The round whose randomness is the seed at a place of an epoch.
    function roundOf(uint64 epoch, uint256 place) external view returns (uint256);

    /// @notice Slashes an oracle for one seed of a secure commit that is not the beacon's. Anyone may; the caller is paid.
    /// @param member its place in the set, whose key signed the commit.
    /// @param seeds all of the commit's, the epoch's first.
    /// @param signature the oracle's, under the commit.
    function punishSeed(
        uint64 setEpoch,
        uint256 member,
        Statements.Commit calldata commit,
        bytes32[] calldata seeds,
        uint256 place,
        bytes calldata beaconSignature,
        bytes calldata signature
    ) external;

    /// @notice Convicts a report with another `drandRound` than its epoch's.
    /// @param parentEpoch of the report that `report.parentDigest` names, here and below.
    function convictRound(Report calldata report, uint64 parentEpoch) external;

    /// @notice Convicts a report that says `seedSecure` although included commits under the beacon's seeds weigh no more than 2/3.
    /// @param included all leaves of `dataDigest`, ascending by the hash of the leaf.
    /// @param shown commits behind some leaves, ascending by leaf: those that are not secure, or name false seeds.
    /// @param falseSeeds seeds that differ from the beacon's at `place`.
    function convictSecure(
        Report calldata report,
        uint64 parentEpoch,
        Included[] calldata included,
        Shown[] calldata shown,
        bytes32[][] calldata falseSeeds,
        uint256 place,
        bytes calldata beaconSignature
    ) external;

    /// @notice Convicts a report that does not say `seedSecure` although it had to.
    /// @param commits included ones that are secure and name the same seeds, ascending by oracle, of more than 2/3 of weight.
    /// @param proofs of each under `dataDigest`.
    function convictInsecure(Report calldata report, uint64 parentEpoch, Statements.Commit[] calldata commits, bytes32[][] calldata proofs)
        external;
}

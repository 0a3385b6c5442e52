// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SeedCourt} from "../src/courts/SeedCourt.sol";
import {ISeedCourt} from "../src/interfaces/ISeedCourt.sol";
import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {Statements} from "../src/libraries/Statements.sol";
import {BlsSigner} from "./utils/BlsSigner.sol";
import {CourtFixture} from "./utils/CourtFixture.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

/// Epochs of five slots of five seconds, and a beacon of our own every three.
contract CourtSeedsTest is CourtFixture {
    uint64 internal constant BEACON_GENESIS = GENESIS - 1000;
    uint64 internal constant PERIOD = 3;
    uint64 internal constant SLOT_MS = 5_000;
    uint256 internal constant BEACON_SECRET = uint256(keccak256("beacon")) >> 2;
    /// Of epoch 0: 1000 seconds after the beacon's first round.
    uint64 internal constant ROUND = 335;
    bytes internal constant DRAND_DST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

    SeedCourt internal court;

    function setUp() public {
        deployCourts();
        ISeedCourt.Beacon memory beacon = ISeedCourt.Beacon(BlsSigner.publicKey(BEACON_SECRET), BEACON_GENESIS, PERIOD);
        court = new SeedCourt(settlement, SLASH_PPM, beacon, SLOT_MS);
        allow(address(court));
    }

    // ---- the beacon, and seeds

    function beaconSignature(uint256 round) private view returns (bytes memory) {
        return BlsSigner.sign(BEACON_SECRET, sha256(abi.encodePacked(uint64(round))), DRAND_DST);
    }

    /// drand's randomness, by subtracting y from p instead of comparing with half of it.
    function randomness(bytes memory signature) private pure returns (bytes32) {
        (uint256 x0, uint256 x1, uint256 y0, uint256 y1) = abi.decode(signature, (uint256, uint256, uint256, uint256));
        uint256 p0 = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
        uint256 p1 = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;
        uint256 otherHigh = p0 - y0 - (y1 > p1 ? 1 : 0);
        uint256 otherLow;
        unchecked {
            otherLow = p1 - y1;
        }
        bool larger = y0 > otherHigh || (y0 == otherHigh && y1 > otherLow);
        uint256 top = x0 | (larger ? 0xa0 << 120 : 0x80 << 120);
        return sha256(abi.encodePacked(uint128(top), x1));
    }

    function rightSeeds() private view returns (bytes32[] memory seeds) {
        seeds = new bytes32[](6);
        for (uint256 place = 0; place < 6; ++place) {
            seeds[place] = randomness(beaconSignature(court.roundOf(0, place)));
        }
    }

    function falseSeeds(uint256 place) private view returns (bytes32[] memory seeds) {
        seeds = rightSeeds();
        seeds[place] = keccak256("chosen");
    }

    function seedsDigest(bool secure, bytes32[] memory seeds) private pure returns (bytes32) {
        return keccak256(bytes.concat(abi.encode(keccak256("assay.seeds.v1"), secure), abi.encodePacked(seeds)));
    }

    function commitUnder(uint64 oracleId, bool secure, bytes32[] memory seeds) private pure returns (Statements.Commit memory c) {
        c = commitOf(oracleId, 0, "root");
        (c.secure, c.seeds) = (secure, seedsDigest(secure, seeds));
    }

    // ---- an oracle's lie

    function punish(Statements.Commit memory c, bytes32[] memory seeds, uint256 place) private {
        bytes memory beacon = beaconSignature(court.roundOf(0, place));
        bytes memory signature = sign(1, digestOf(c), COMMIT_DST);
        vm.prank(CHALLENGER);
        court.punishSeed(1, 1, c, seeds, place, beacon, signature);
    }

    function test_rounds() public view {
        vm.assertEq(court.roundOf(0, 0), ROUND);
        uint256[6] memory rounds = [uint256(335), 335, 336, 338, 340, 341]; // at +0, +0, +5, +10, +15, +20 s
        for (uint256 place = 0; place < 6; ++place) {
            vm.assertEq(court.roundOf(0, place), rounds[place]);
        }
        vm.assertEq(court.roundOf(1, 0), 343);
    }

    function test_a_secure_commit_under_seeds_that_were_chosen() public {
        bytes32[] memory seeds = falseSeeds(0);
        uint256 balance = token.balanceOf(CHALLENGER);
        punish(commitUnder(2, true, seeds), seeds, 0);
        vm.assertEq(oracles.stakeOf(2), STAKE / 2);
        vm.assertEq(token.balanceOf(CHALLENGER) - balance, STAKE / 20);
    }

    function test_a_slot_seed_that_was_chosen() public {
        bytes32[] memory seeds = falseSeeds(5);
        punish(commitUnder(2, true, seeds), seeds, 5);
        vm.assertEq(oracles.stakeOf(2), STAKE / 2);
    }

    /// Defence: the seed is compared with the beacon's; without it the right seeds are slashed.
    function test_the_right_seeds_are_right() public {
        bytes32[] memory seeds = rightSeeds();
        Statements.Commit memory c = commitUnder(2, true, seeds);
        for (uint256 place = 0; place < 6; ++place) {
            bytes memory beacon = beaconSignature(court.roundOf(0, place));
            bytes memory signature = sign(1, digestOf(c), COMMIT_DST);
            vm.expectRevert(abi.encodeWithSelector(ISeedCourt.SeedIsRight.selector, seeds[place]));
            court.punishSeed(1, 1, c, seeds, place, beacon, signature);
        }
    }

    function test_what_is_no_lie() public {
        bytes32[] memory seeds = falseSeeds(0);
        bytes memory beacon = beaconSignature(ROUND);
        // The fallback, flagged.
        Statements.Commit memory c = commitUnder(2, false, seeds);
        bytes memory signature = sign(1, digestOf(c), COMMIT_DST);
        vm.expectRevert(ISeedCourt.NotSecure.selector);
        court.punishSeed(1, 1, c, seeds, 0, beacon, signature);
        // Other seeds than the commit's.
        c = commitUnder(2, true, rightSeeds());
        signature = sign(1, digestOf(c), COMMIT_DST);
        vm.expectRevert(ISeedCourt.UnknownSeeds.selector);
        court.punishSeed(1, 1, c, seeds, 0, beacon, signature);
        // Not signed by the oracle.
        c = commitUnder(2, true, seeds);
        signature = sign(0, digestOf(c), COMMIT_DST);
        vm.expectRevert(ISeedCourt.InvalidSignature.selector);
        court.punishSeed(1, 1, c, seeds, 0, beacon, signature);
        vm.expectRevert(ISeedCourt.NotOneAuthor.selector);
        court.punishSeed(1, 0, c, seeds, 0, beacon, signature);
    }

    /// Defence: the beacon's signature for the very round; without it who brings the signature chooses what is right.
    function test_a_round_that_is_not_the_beacons() public {
        bytes32[] memory seeds = rightSeeds();
        Statements.Commit memory c = commitUnder(2, true, seeds);
        bytes memory signature = sign(1, digestOf(c), COMMIT_DST);
        bytes memory beacon = beaconSignature(ROUND + 1);
        vm.expectRevert(abi.encodeWithSelector(ISeedCourt.InvalidBeaconSignature.selector, ROUND));
        court.punishSeed(1, 1, c, seeds, 0, beacon, signature);
        beacon = BlsSigner.sign(BlsSigner.secret(3), sha256(abi.encodePacked(ROUND)), DRAND_DST);
        vm.expectRevert(abi.encodeWithSelector(ISeedCourt.InvalidBeaconSignature.selector, ROUND));
        court.punishSeed(1, 1, c, seeds, 0, beacon, signature);
    }

    // ---- reports

    /// Included are oracles 1 to 4: bit i of `lies` is set when oracle i + 1 names false seeds.
    function postOf(uint256 lies, bool secure)
        private
        returns (Report memory r, ISeedCourt.Included[] memory list, Statements.Commit[] memory commits)
    {
        commits = new Statements.Commit[](MEMBERS);
        bytes32[] memory leaves = new bytes32[](MEMBERS);
        for (uint64 i = 0; i < MEMBERS; ++i) {
            commits[i] = commitUnder(i + 1, true, lies & (1 << i) == 0 ? rightSeeds() : falseSeeds(0));
            leaves[i] = pairLeaf(i + 1, digestOf(commits[i]));
        }
        bytes32[] memory tree = MerkleTree.build(leaves); // leaves are sorted now
        list = new ISeedCourt.Included[](MEMBERS);
        for (uint64 i = 0; i < MEMBERS; ++i) {
            bytes32 digest = digestOf(commits[i]);
            for (uint256 at_ = 0; at_ < MEMBERS; ++at_) {
                if (leaves[at_] == pairLeaf(i + 1, digest)) list[at_] = ISeedCourt.Included(i + 1, digest);
            }
        }
        r = report(0);
        (r.drandRound, r.seedSecure, r.dataDigest) = (ROUND, secure, tree[0]);
        post(r);
    }

    function shownOf(uint256 lies, ISeedCourt.Included[] memory list, Statements.Commit[] memory commits)
        private
        pure
        returns (ISeedCourt.Shown[] memory shown)
    {
        uint256 count;
        shown = new ISeedCourt.Shown[](MEMBERS);
        for (uint256 at_ = 0; at_ < MEMBERS; ++at_) {
            uint64 index = list[at_].oracleId - 1;
            if (lies & (1 << index) != 0) shown[count++] = ISeedCourt.Shown(at_, commits[index], 0);
        }
        assembly ("memory-safe") {
            mstore(shown, count)
        }
    }

    function falseOnes() private view returns (bytes32[][] memory seeds) {
        seeds = new bytes32[][](1);
        seeds[0] = falseSeeds(0);
    }

    function test_a_report_that_calls_chosen_seeds_secure() public {
        (Report memory r, ISeedCourt.Included[] memory list, Statements.Commit[] memory commits) = postOf(CORRUPT, true);
        ISeedCourt.Shown[] memory shown = shownOf(CORRUPT, list, commits);
        bytes memory beacon = beaconSignature(ROUND);
        bytes32[][] memory seeds = falseOnes();
        vm.prank(CHALLENGER);
        court.convictSecure(r, 0, list, shown, seeds, 0, beacon);
        assertVoid(r);
        slashTheSigners(r, address(court));
    }

    /// Defence: more than 2/3 under the beacon's seeds are enough; without the weighing one liar among honest members voids their report.
    function test_one_liar_among_honest_members_voids_nothing() public {
        (Report memory r, ISeedCourt.Included[] memory list, Statements.Commit[] memory commits) = postOf(0x1, true);
        bytes memory beacon = beaconSignature(ROUND);
        bytes32[][] memory seeds = falseOnes();
        vm.expectRevert(abi.encodeWithSelector(ISeedCourt.FlagStands.selector, 3 * 65535, 4 * 65535));
        court.convictSecure(r, 0, list, shownOf(0x1, list, commits), seeds, 0, beacon);
        // Shown as false are only commits that name the false seeds, each once, and no leaf is left out.
        vm.expectRevert(abi.encodeWithSelector(ISeedCourt.InvalidCommit.selector, shownIndex(list)));
        court.convictSecure(r, 0, list, shownOf(0x3, list, commits), seeds, 0, beacon);
        ISeedCourt.Shown[] memory twice = new ISeedCourt.Shown[](2);
        twice[0] = shownOf(0x1, list, commits)[0];
        twice[1] = twice[0];
        vm.expectRevert(abi.encodeWithSelector(ISeedCourt.InvalidCommit.selector, 1));
        court.convictSecure(r, 0, list, twice, seeds, 0, beacon);
        ISeedCourt.Included[] memory fewer = new ISeedCourt.Included[](1);
        fewer[0] = list[0];
        bytes32 root = pairLeaf(list[0].oracleId, list[0].commitDigest);
        vm.expectRevert(abi.encodeWithSelector(ISeedCourt.InvalidLeaves.selector, root));
        court.convictSecure(r, 0, fewer, new ISeedCourt.Shown[](0), seeds, 0, beacon);
        assertStands(r);
    }

    /// Of the commits of oracles 1 and 2 in the order of leaves, that of oracle 2, which does not lie.
    function shownIndex(ISeedCourt.Included[] memory list) private pure returns (uint256) {
        for (uint256 at_ = 0; at_ < list.length; ++at_) {
            if (list[at_].oracleId == 2) return 0;
            if (list[at_].oracleId == 1) return 1;
        }
        return 2;
    }

    function test_a_report_of_another_round() public {
        Report memory r = report(0);
        r.drandRound = ROUND;
        post(r);
        vm.expectRevert(abi.encodeWithSelector(ISeedCourt.RoundIsRight.selector, ROUND));
        court.convictRound(r, 0);
        vm.prank(GUARDIAN);
        settlement.voidReport(r, 0);
        r.drandRound = ROUND - 1;
        submit(r, CORRUPT);
        vm.prank(CHALLENGER);
        court.convictRound(r, 0);
        assertVoid(r);
        slashTheSigners(r, address(court));
    }

    function test_a_report_that_hides_that_it_is_secure() public {
        (Report memory r, ISeedCourt.Included[] memory list, Statements.Commit[] memory commits) = postOf(0, false);
        bytes32[] memory leaves = new bytes32[](MEMBERS);
        for (uint256 i = 0; i < MEMBERS; ++i) {
            leaves[i] = pairLeaf(list[i].oracleId, list[i].commitDigest);
        }
        bytes32[] memory tree = MerkleTree.build(leaves);
        Statements.Commit[] memory three = new Statements.Commit[](3);
        bytes32[][] memory proofs = new bytes32[][](3);
        for (uint64 i = 0; i < 3; ++i) {
            three[i] = commits[i];
            proofs[i] = MerkleTree.proof(tree, pairLeaf(i + 1, digestOf(commits[i])));
        }
        // Defence: each oracle counts once; without it one commit, shown three times, is a quorum.
        Statements.Commit[] memory same = new Statements.Commit[](2);
        (same[0], same[1]) = (commits[0], commits[0]);
        vm.expectRevert(abi.encodeWithSelector(ISeedCourt.InvalidCommit.selector, 1));
        court.convictInsecure(r, 0, same, proofs);
        vm.prank(CHALLENGER);
        court.convictInsecure(r, 0, three, proofs);
        assertVoid(r);
        slashTheSigners(r, address(court));
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {WithheldCourt} from "../src/courts/WithheldCourt.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {IDisputeCourt} from "../src/interfaces/IDisputeCourt.sol";
import {ISignersCourt} from "../src/interfaces/ISignersCourt.sol";
import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {IWithheldCourt} from "../src/interfaces/IWithheldCourt.sol";
import {Statements} from "../src/libraries/Statements.sol";
import {CourtFixture} from "./utils/CourtFixture.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

/// Oracles 1, 2 and 3 are included, each with observations of providers 8 and 9. Provider 9's panel has an empty seat between two full ones.
contract CourtWithheldTest is CourtFixture {
    uint64 internal constant PROVIDER = 9;
    uint64 internal constant OTHER = 8;
    uint64 internal constant UNSEEN = 7;
    bytes32 internal constant SALT = keccak256("salt");
    address internal constant TRANSMITTER = address(0x7a);

    WithheldCourt internal court;
    Report internal r;
    bytes32[] internal obsTree;
    bytes32[] internal dataTree;

    function setUp() public {
        deployCourts();
        court = new WithheldCourt(settlement, SLASH_PPM, terms());
        allow(address(court));

        bytes32[] memory leaves = new bytes32[](2);
        (leaves[0], leaves[1]) = (obsLeaf(PROVIDER), obsLeaf(OTHER));
        obsTree = MerkleTree.build(leaves);
        leaves = new bytes32[](3);
        for (uint64 i = 0; i < 3; ++i) {
            leaves[i] = pairLeaf(i + 1, digestOf(commitBy(i + 1)));
        }
        dataTree = MerkleTree.build(leaves);
        r = report(0);
        (r.obsRoot, r.dataDigest) = (obsTree[0], dataTree[0]);
        post(r);
    }

    // ---- the report's data

    function words(uint64 oracleId, uint64 providerId) private pure returns (bytes memory) {
        bytes32 tag = keccak256("assay.observation.v1");
        return abi.encode(tag, uint64(0), providerId, oracleId, uint256(1), keccak256("evidence"), keccak256("facts"));
    }

    function vector(uint64 providerId) private pure returns (bytes32[] memory list) {
        list = new bytes32[](3);
        (list[0], list[2]) = (keccak256(words(1, providerId)), keccak256(words(3, providerId)));
    }

    function obsLeaf(uint64 providerId) private pure returns (bytes32) {
        return pairLeaf(providerId, keccak256(abi.encodePacked(vector(providerId))));
    }

    function observationLeaf(uint64 oracleId, uint64 providerId) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(bytes.concat(words(oracleId, providerId), SALT))));
    }

    function tree(uint64 oracleId) private pure returns (bytes32[] memory) {
        bytes32[] memory leaves = new bytes32[](2);
        (leaves[0], leaves[1]) = (observationLeaf(oracleId, PROVIDER), observationLeaf(oracleId, OTHER));
        return MerkleTree.build(leaves);
    }

    function commitBy(uint64 oracleId) private pure returns (Statements.Commit memory) {
        return commitOf(oracleId, 0, tree(oracleId)[0]);
    }

    function opening(uint64 oracleId, uint64 providerId) private pure returns (IWithheldCourt.Opening memory) {
        bytes32[] memory proof = MerkleTree.proof(tree(oracleId), observationLeaf(oracleId, providerId));
        return IWithheldCourt.Opening(words(oracleId, providerId), SALT, proof);
    }

    function included(uint64 oracleId) private view returns (IWithheldCourt.IncludedCommit memory) {
        Statements.Commit memory c = commitBy(oracleId);
        return IWithheldCourt.IncludedCommit(c, MerkleTree.proof(dataTree, pairLeaf(oracleId, digestOf(c))));
    }

    function word(uint64 oracleId) private pure returns (bytes32) {
        return keccak256(words(oracleId, PROVIDER));
    }

    // ---- a seat

    function demandSeat(uint256 seat) private {
        bytes32[] memory proof = MerkleTree.proof(obsTree, obsLeaf(PROVIDER));
        vm.prank(CHALLENGER);
        court.demandSeat(r, PROVIDER, vector(PROVIDER), seat, proof);
    }

    function test_a_seat_that_nobody_explains_voids_the_report() public {
        uint256 balance = token.balanceOf(CHALLENGER);
        demandSeat(2);
        vm.warp(endOf(0) + RESPONSE + 1);
        court.closeSeat(r, 0, PROVIDER, word(3));
        assertVoid(r);
        vm.prank(CHALLENGER);
        court.withdraw();
        vm.assertEq(token.balanceOf(CHALLENGER), balance);
        // Defence: want of data convicts nobody; without it honest signers pay for what others withhold later.
        vm.expectRevert(abi.encodeWithSelector(ISignersCourt.NotConvicted.selector, digestOf(r)));
        signersCourt.openReview(r, address(court));
    }

    function test_a_seat_that_is_explained() public {
        demandSeat(2);
        vm.prank(RESPONDER);
        court.answerSeat(r, PROVIDER, word(3), included(3), opening(3, PROVIDER));
        vm.prank(RESPONDER);
        vm.assertEq(court.withdraw(), BOND);
        vm.warp(endOf(0) + RESPONSE + 1);
        bytes32 id = court.seatId(digestOf(r), PROVIDER, word(3));
        vm.expectRevert(abi.encodeWithSelector(IDisputeCourt.NotDisputed.selector, id));
        court.closeSeat(r, 0, PROVIDER, word(3));
        assertStands(r);
    }

    /// Defence: the answer is the very observation under an included commit; without any part of that rubbish answers.
    function test_what_is_no_answer() public {
        demandSeat(2);
        IWithheldCourt.IncludedCommit memory by = included(3);
        IWithheldCourt.Opening memory o = opening(3, OTHER);
        expectInvalidAnswer(by, o);
        o = opening(1, PROVIDER);
        expectInvalidAnswer(by, o);
        o = opening(3, PROVIDER);
        o.salt = "another";
        expectInvalidAnswer(by, o);
        o = opening(3, PROVIDER);
        expectInvalidAnswer(included(1), o); // under another commit
        by.commit.logHead = "another";
        vm.expectRevert(abi.encodeWithSelector(IWithheldCourt.NotIncluded.selector, uint64(3)));
        court.answerSeat(r, PROVIDER, word(3), by, o);
        o.words = hex"00";
        by = included(3);
        vm.expectRevert(IWithheldCourt.InvalidOpening.selector);
        court.answerSeat(r, PROVIDER, keccak256(hex"00"), by, o);
    }

    function expectInvalidAnswer(IWithheldCourt.IncludedCommit memory by, IWithheldCourt.Opening memory o) private {
        vm.expectRevert(IWithheldCourt.InvalidOpening.selector);
        court.answerSeat(r, PROVIDER, word(3), by, o);
    }

    function test_an_empty_seat_and_an_invented_vector_are_no_demand() public {
        bytes32[] memory proof = MerkleTree.proof(obsTree, obsLeaf(PROVIDER));
        bytes32[] memory list = vector(PROVIDER);
        vm.expectRevert(abi.encodeWithSelector(IWithheldCourt.EmptySeat.selector, 1));
        court.demandSeat(r, PROVIDER, list, 1, proof);
        list[1] = keccak256("invented");
        vm.expectRevert(IWithheldCourt.InvalidProof.selector);
        court.demandSeat(r, PROVIDER, list, 1, proof);
    }

    // ---- a list

    function test_a_list_that_nobody_shows_voids_the_report() public {
        vm.prank(CHALLENGER);
        court.demandList(r, IWithheldCourt.List.BitVotes);
        vm.warp(endOf(0) + RESPONSE + 1);
        court.closeList(r, 0, IWithheldCourt.List.BitVotes);
        assertVoid(r);
        vm.assertEq(court.credit(CHALLENGER), BOND);
    }

    function test_a_list_that_is_shown() public {
        vm.prank(CHALLENGER);
        court.demandList(r, IWithheldCourt.List.Data);
        IWithheldCourt.Entry[] memory entries = dataEntries();
        IWithheldCourt.Entry[] memory fewer = new IWithheldCourt.Entry[](1);
        fewer[0] = entries[0];
        vm.expectRevert(abi.encodeWithSelector(IWithheldCourt.InvalidList.selector, pairLeaf(entries[0].id, entries[0].word)));
        court.answerList(r, IWithheldCourt.List.Data, fewer);
        vm.expectRevert(abi.encodeWithSelector(IWithheldCourt.InvalidList.selector, dataTree[0]));
        court.answerList(r, IWithheldCourt.List.BitVotes, entries);
        vm.prank(RESPONDER);
        court.answerList(r, IWithheldCourt.List.Data, entries);
        vm.assertEq(court.credit(RESPONDER), BOND);
        assertStands(r);
    }

    /// The tree's leaves from its end are the entries in ascending order.
    function dataEntries() private view returns (IWithheldCourt.Entry[] memory entries) {
        entries = new IWithheldCourt.Entry[](3);
        for (uint256 i = 0; i < 3; ++i) {
            for (uint64 oracleId = 1; oracleId <= 3; ++oracleId) {
                bytes32 digest = digestOf(commitBy(oracleId));
                if (pairLeaf(oracleId, digest) == dataTree[4 - i]) entries[i] = IWithheldCourt.Entry(oracleId, digest);
            }
        }
    }

    // ---- an oracle's observation

    function demandObservation(uint64 providerId) private {
        IWithheldCourt.IncludedCommit memory by = included(2);
        vm.prank(CHALLENGER);
        court.demandObservation(r, providerId, by);
    }

    function test_an_oracle_that_keeps_its_observation_is_slashed() public {
        demandObservation(PROVIDER);
        vm.warp(endOf(0) + RESPONSE + 1);
        court.punishSilence(r, PROVIDER, commitBy(2));
        uint256 slash = STAKE * SLASH_PPM / 1e6;
        vm.assertEq(oracles.stakeOf(2), STAKE - slash);
        vm.assertEq(token.balanceOf(BURN), slash * 9 / 10);
        vm.assertEq(court.credit(CHALLENGER), BOND + slash / 10);
        vm.prank(CHALLENGER);
        court.withdraw();
        vm.assertEq(token.balanceOf(address(court)), 0);
        // Defence: silence about one observation voids nothing; without it each single member voids every report.
        assertStands(r);
    }

    function test_an_observation_that_is_shown() public {
        demandObservation(PROVIDER);
        vm.expectRevert(IWithheldCourt.InvalidOpening.selector);
        court.answerObservation(r, PROVIDER, commitBy(2), opening(2, OTHER));
        vm.prank(RESPONDER);
        court.answerObservation(r, PROVIDER, commitBy(2), opening(2, PROVIDER));
        vm.assertEq(court.credit(RESPONDER), BOND);
        vm.warp(endOf(0) + RESPONSE + 1);
        expectNotDisputed(PROVIDER);
        vm.assertEq(oracles.stakeOf(2), STAKE);
    }

    function expectNotDisputed(uint64 providerId) private {
        bytes32 id = court.observationId(digestOf(r), providerId, commitBy(2));
        vm.expectRevert(abi.encodeWithSelector(IDisputeCourt.NotDisputed.selector, id));
        court.punishSilence(r, providerId, commitBy(2));
    }

    /// Defence: an oracle may deny; without it a demand for what it never had takes half of an honest stake.
    function test_an_oracle_that_never_observed_the_provider_denies() public {
        demandObservation(UNSEEN);
        vm.expectRevert(abi.encodeWithSelector(IWithheldCourt.NotTheOracle.selector, STRANGER));
        vm.prank(STRANGER);
        court.deny(r, UNSEEN, commitBy(2));
        vm.prank(TRANSMITTER);
        court.deny(r, UNSEEN, commitBy(2));
        vm.assertEq(court.credit(TRANSMITTER), BOND);
        vm.warp(endOf(0) + RESPONSE + 1);
        expectNotDisputed(UNSEEN);
        // An observation of another provider does not make the denial false.
        vm.expectRevert(IWithheldCourt.InvalidOpening.selector);
        court.punishDenial(r, UNSEEN, commitBy(2), opening(2, OTHER));
        vm.assertEq(oracles.stakeOf(2), STAKE);
    }

    /// Defence: a denial is held against its oracle; without it denying is the way to withhold.
    function test_a_false_denial_is_slashed() public {
        demandObservation(PROVIDER);
        vm.expectRevert(abi.encodeWithSelector(IWithheldCourt.NotDenied.selector, court.observationId(digestOf(r), PROVIDER, commitBy(2))));
        court.punishDenial(r, PROVIDER, commitBy(2), opening(2, PROVIDER));
        vm.prank(TRANSMITTER);
        court.deny(r, PROVIDER, commitBy(2));
        uint256 balance = token.balanceOf(CHALLENGER);
        vm.prank(CHALLENGER);
        court.punishDenial(r, PROVIDER, commitBy(2), opening(2, PROVIDER));
        uint256 slash = STAKE * SLASH_PPM / 1e6;
        vm.assertEq(oracles.stakeOf(2), STAKE - slash);
        vm.assertEq(token.balanceOf(CHALLENGER) - balance, slash / 10);
        vm.expectRevert(abi.encodeWithSelector(ICourt.AlreadyPunished.selector, uint64(2), uint64(0), uint8(2)));
        court.punishDenial(r, PROVIDER, commitBy(2), opening(2, PROVIDER));
    }

    function test_silence_on_two_demands_is_one_offence() public {
        demandObservation(PROVIDER);
        demandObservation(OTHER);
        vm.warp(endOf(0) + RESPONSE + 1);
        court.punishSilence(r, PROVIDER, commitBy(2));
        court.punishSilence(r, OTHER, commitBy(2));
        uint256 slash = STAKE * SLASH_PPM / 1e6;
        vm.assertEq(oracles.stakeOf(2), STAKE - slash);
        vm.assertEq(court.credit(CHALLENGER), 2 * BOND + slash / 10);
    }

    function test_a_commit_that_is_not_included_is_no_demand() public {
        IWithheldCourt.IncludedCommit memory by = included(2);
        by.commit.root = "another";
        vm.expectRevert(abi.encodeWithSelector(IWithheldCourt.NotIncluded.selector, uint64(2)));
        court.demandObservation(r, PROVIDER, by);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {OmissionCourt} from "../src/courts/OmissionCourt.sol";
import {IDisputeCourt} from "../src/interfaces/IDisputeCourt.sol";
import {IOmissionCourt} from "../src/interfaces/IOmissionCourt.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {Statements} from "../src/libraries/Statements.sol";
import {CourtFixture} from "./utils/CourtFixture.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

/// Oracles 1 and 4 vote for oracle 4's commit: half of the weight. The report includes those of 1, 2 and 3.
contract CourtOmissionTest is CourtFixture {
    uint64 internal constant VICTIM = 4;

    OmissionCourt internal court;
    Report internal r;
    bytes32[] internal voteTree;
    bytes32 internal voted;
    bytes32 internal id;

    function setUp() public {
        deployCourts();
        court = new OmissionCourt(settlement, terms());
        allow(address(court));
        voted = digestOf(commitOf(VICTIM, 0, "root"));
        r = report(0);
        r.bitVotesRoot = setVotes();
        r.dataDigest = MerkleTree.build(leavesOf(included()))[0];
        post(r);
        id = court.idOf(digestOf(r), VICTIM, voted);
    }

    // ---- the report's data

    /// All hold a commit of 1; of oracle 4 the voters 1 and 4 hold one, 2 and 3 one each that nobody else does.
    function heldBy(uint64 voter) private view returns (bytes32[] memory held) {
        bool holdsVictim = voter == 1 || voter == 4;
        held = new bytes32[](4);
        (held[0], held[1]) = (bytes32(uint256(1)), commitDigest(1));
        held[2] = bytes32(uint256(VICTIM));
        held[3] = holdsVictim ? voted : keccak256(abi.encode("unknown", voter));
    }

    function commitDigest(uint64 oracleId) private view returns (bytes32) {
        return digestOf(commitOf(oracleId, 0, bytes32(uint256(oracleId))));
    }

    function setVotes() private returns (bytes32) {
        bytes32[] memory leaves = new bytes32[](4);
        for (uint64 voter = 1; voter <= 4; ++voter) {
            leaves[voter - 1] = pairLeaf(voter, voteDigest(voter, 0, heldBy(voter)));
        }
        voteTree = MerkleTree.build(leaves);
        return voteTree[0];
    }

    function vote(uint64 voter) private view returns (IOmissionCourt.BitVote memory v) {
        bytes32 leaf = pairLeaf(voter, voteDigest(voter, 0, heldBy(voter)));
        return IOmissionCourt.BitVote(voter - 1, heldBy(voter), 1, MerkleTree.proof(voteTree, leaf));
    }

    function votes(uint64 a, uint64 b) private view returns (IOmissionCourt.BitVote[] memory list) {
        list = new IOmissionCourt.BitVote[](2);
        (list[0], list[1]) = (vote(a), vote(b));
    }

    function included() private view returns (IOmissionCourt.Included[] memory list) {
        list = new IOmissionCourt.Included[](3);
        for (uint64 i = 0; i < 3; ++i) {
            list[i] = IOmissionCourt.Included(i + 1, commitDigest(i + 1));
        }
        sortByLeaf(list);
    }

    function leavesOf(IOmissionCourt.Included[] memory list) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](list.length);
        for (uint256 i = 0; i < list.length; ++i) {
            leaves[i] = pairLeaf(list[i].oracleId, list[i].commitDigest);
        }
    }

    function sortByLeaf(IOmissionCourt.Included[] memory list) private pure {
        for (uint256 i = 1; i < list.length; ++i) {
            for (uint256 j = i; j > 0; --j) {
                bytes32 a = pairLeaf(list[j - 1].oracleId, list[j - 1].commitDigest);
                bytes32 b = pairLeaf(list[j].oracleId, list[j].commitDigest);
                if (a > b) (list[j - 1], list[j]) = (list[j], list[j - 1]);
            }
        }
    }

    // ---- steps

    function count() private {
        court.countVotes(r, VICTIM, voted, votes(1, 4));
    }

    function open() private {
        IOmissionCourt.Included[] memory list = included();
        vm.prank(CHALLENGER);
        court.open(r, VICTIM, voted, list);
    }

    function twoCommits() private view returns (Statements.Commit memory a, Statements.Commit memory b, bytes memory signature) {
        (a, b) = (commitOf(VICTIM, 0, "root"), commitOf(VICTIM, 0, "other"));
        signature = signBoth(3, digestOf(a), digestOf(b), COMMIT_DST);
    }

    // ---- what is wrong is voided

    function test_a_commit_that_was_left_out() public {
        uint256 balance = token.balanceOf(CHALLENGER);
        count();
        open();
        vm.assertEq(balance - token.balanceOf(CHALLENGER), BOND);
        vm.warp(endOf(0) + RESPONSE + 1);
        court.uphold(r, 0, VICTIM, voted);

        assertVoid(r);
        vm.assertEq(court.convicted(digestOf(r)), CHALLENGER);
        vm.prank(CHALLENGER);
        vm.assertEq(court.withdraw(), BOND);
        vm.assertEq(token.balanceOf(CHALLENGER), balance);
        slashTheSigners(r, address(court));
    }

    /// Defence: a vote binds its epoch; without it the votes of one epoch count in another.
    function test_votes_of_another_epoch() public {
        Report memory second = report(1);
        second.parentDigest = digestOf(r);
        second.bitVotesRoot = r.bitVotesRoot;
        post(second);
        IOmissionCourt.BitVote[] memory list = votes(1, 4);
        vm.expectRevert(abi.encodeWithSelector(IOmissionCourt.InvalidVote.selector, 0));
        court.countVotes(second, VICTIM, voted, list);
    }

    function test_substitution_is_convicted_at_once() public {
        settlementVoid();
        bytes32 other = keccak256("other");
        bytes32[] memory leaves = new bytes32[](2);
        (leaves[0], leaves[1]) = (pairLeaf(1, commitDigest(1)), pairLeaf(VICTIM, other));
        bytes32[] memory tree = MerkleTree.build(leaves);
        r.dataDigest = tree[0];
        submit(r, CORRUPT);
        bytes32[] memory proof = MerkleTree.proof(tree, pairLeaf(VICTIM, other));
        vm.expectRevert(abi.encodeWithSelector(IOmissionCourt.NotCounted.selector, 0, 4 * 65535));
        court.convictSubstitution(r, 0, VICTIM, voted, other, proof);
        count();
        vm.expectRevert(IOmissionCourt.InvalidProof.selector);
        court.convictSubstitution(r, 0, VICTIM, voted, keccak256("third"), proof);
        vm.prank(CHALLENGER);
        court.convictSubstitution(r, 0, VICTIM, voted, other, proof);
        assertVoid(r);
        slashTheSigners(r, address(court));
    }

    /// Defence: a leaf of a stranger, or a second one of a member, convicts; without it such leaves hide what is omitted and what weighs.
    function test_a_leaf_too_many_is_convicted_at_once() public {
        bytes32 other = keccak256("other");
        for (uint64 intruder = 2; intruder <= 5; intruder += 3) {
            if (intruder == 2) settlementVoid();
            bytes32[] memory leaves = new bytes32[](3);
            (leaves[0], leaves[1], leaves[2]) = (pairLeaf(1, commitDigest(1)), pairLeaf(2, commitDigest(2)), pairLeaf(intruder, other));
            bytes32[] memory tree = MerkleTree.build(leaves);
            r.dataDigest = tree[0];
            submit(r, CORRUPT);
            bytes32[] memory honest = MerkleTree.proof(tree, pairLeaf(1, commitDigest(1)));
            vm.expectRevert(IOmissionCourt.NoContradiction.selector);
            court.convictIntruder(r, 0, 1, commitDigest(1), honest, commitDigest(1), honest);
            vm.expectRevert(IOmissionCourt.InvalidProof.selector);
            court.convictIntruder(r, 0, 1, commitDigest(1), honest, other, honest);
            bytes32[] memory first = MerkleTree.proof(tree, pairLeaf(intruder, other));
            bytes32[] memory second = MerkleTree.proof(tree, pairLeaf(2, commitDigest(2)));
            vm.prank(CHALLENGER);
            court.convictIntruder(r, 0, intruder, other, first, commitDigest(2), second);
            assertVoid(r);
        }
    }

    /// The guardian takes the report of setUp back, so that another one of its epoch can be posted.
    function settlementVoid() private {
        vm.prank(GUARDIAN);
        settlement.voidReport(r, 0);
    }

    // ---- the exceptions

    function test_refuted_by_two_commits_of_the_oracle() public {
        count();
        open();
        (Statements.Commit memory a, Statements.Commit memory b, bytes memory signature) = twoCommits();
        vm.prank(RESPONDER);
        court.refuteByCommits(r, VICTIM, voted, 3, a, b, signature);
        assertRefuted();
    }

    function test_refuted_by_another_commit_that_is_voted_for_likewise() public {
        settlementVoid();
        // 2 and 3 hold the same other commit of 4.
        bytes32 other = keccak256("other");
        bytes32[] memory leaves = new bytes32[](4);
        bytes32[] memory otherHeld = heldBy(2);
        otherHeld[3] = other;
        for (uint64 voter = 1; voter <= 4; ++voter) {
            bool holdsOther = voter == 2 || voter == 3;
            leaves[voter - 1] = pairLeaf(voter, voteDigest(voter, 0, holdsOther ? otherHeld : heldBy(voter)));
        }
        voteTree = MerkleTree.build(leaves);
        r.bitVotesRoot = voteTree[0];
        submit(r, CORRUPT);
        id = court.idOf(digestOf(r), VICTIM, voted);
        count();
        open();

        IOmissionCourt.BitVote[] memory list = new IOmissionCourt.BitVote[](2);
        for (uint64 voter = 2; voter <= 3; ++voter) {
            bytes32[] memory proof = MerkleTree.proof(voteTree, pairLeaf(voter, voteDigest(voter, 0, otherHeld)));
            list[voter - 2] = IOmissionCourt.BitVote(voter - 1, otherHeld, 1, proof);
        }
        vm.expectRevert(abi.encodeWithSelector(IOmissionCourt.NotCounted.selector, 0, 4 * 65535));
        court.refuteByVotes(r, VICTIM, voted, other);
        court.countVotes(r, VICTIM, other, list);
        vm.prank(RESPONDER);
        court.refuteByVotes(r, VICTIM, voted, other);
        assertRefuted();
    }

    function assertRefuted() private {
        assertStands(r);
        vm.prank(RESPONDER);
        vm.assertEq(court.withdraw(), BOND);
        vm.warp(endOf(0) + RESPONSE + 1);
        vm.expectRevert(abi.encodeWithSelector(IDisputeCourt.NotDisputed.selector, id));
        court.uphold(r, 0, VICTIM, voted);
        // Defence: a refuted dispute stays refuted; without it a bond after the other keeps a good report from paying.
        IOmissionCourt.Included[] memory list = included();
        vm.expectRevert(abi.encodeWithSelector(IDisputeCourt.AlreadyDisputed.selector, id));
        vm.prank(CHALLENGER);
        court.open(r, VICTIM, voted, list);
    }

    /// Defence: two signed commits; without the check anybody who copies the oracle's one commit refutes what is true.
    function test_one_commit_refutes_nothing() public {
        count();
        open();
        (Statements.Commit memory a, Statements.Commit memory b, bytes memory signature) = twoCommits();
        vm.expectRevert(IOmissionCourt.NoContradiction.selector);
        court.refuteByCommits(r, VICTIM, voted, 3, a, a, signature);
        bytes memory one = sign(3, digestOf(a), COMMIT_DST);
        vm.expectRevert(IOmissionCourt.InvalidSignature.selector);
        court.refuteByCommits(r, VICTIM, voted, 3, a, b, one);
        vm.expectRevert(IOmissionCourt.NotOneAuthor.selector);
        court.refuteByCommits(r, VICTIM, voted, 2, a, b, signature); // by another member
        b.epoch = 1;
        vm.expectRevert(IOmissionCourt.NotOneAuthor.selector);
        court.refuteByCommits(r, VICTIM, voted, 3, a, b, signature);
        vm.expectRevert(IOmissionCourt.NoContradiction.selector);
        court.refuteByVotes(r, VICTIM, voted, voted);
    }

    // ---- what counts

    /// Defence: a member's vote counts once; without it one vote, shown twice, is a third of the weight.
    function test_a_vote_counts_once() public {
        court.countVotes(r, VICTIM, voted, votes(4, 4));
        court.countVotes(r, VICTIM, voted, votes(4, 4));
        (uint256 voters, uint256 weight) = court.tally(digestOf(r), VICTIM, voted);
        vm.assertEq(voters, 0x8);
        vm.assertEq(weight, 65535);
        IOmissionCourt.Included[] memory list = included();
        vm.expectRevert(abi.encodeWithSelector(IOmissionCourt.NotCounted.selector, 65535, 4 * 65535));
        court.open(r, VICTIM, voted, list);
    }

    /// Defence: votes are those of the report; without the proof anybody invents them.
    function test_votes_that_the_report_does_not_have() public {
        IOmissionCourt.BitVote[] memory list = new IOmissionCourt.BitVote[](1);
        list[0] = vote(2); // it votes for another commit
        expectInvalid(list, 1);
        list[0].held[3] = voted; // it did not vote so
        expectInvalid(list, 1);
        list[0] = vote(1);
        list[0].member = 1; // by another member
        expectInvalid(list, 1);
        list[0] = vote(1);
        list[0].pair = 0; // another pair
        expectInvalid(list, 0);
    }

    function expectInvalid(IOmissionCourt.BitVote[] memory list, uint256 member) private {
        vm.expectRevert(abi.encodeWithSelector(IOmissionCourt.InvalidVote.selector, member));
        court.countVotes(r, VICTIM, voted, list);
    }

    /// Defence: all leaves, and no others; without it whoever leaves one out of the list shows that it is absent.
    function test_the_list_is_whole() public {
        count();
        IOmissionCourt.Included[] memory list = included();
        IOmissionCourt.Included[] memory fewer = new IOmissionCourt.Included[](2);
        (fewer[0], fewer[1]) = (list[0], list[1]);
        bytes32 root = MerkleTree.build(leavesOf(fewer))[0];
        vm.expectRevert(abi.encodeWithSelector(IOmissionCourt.InvalidLeaves.selector, root));
        court.open(r, VICTIM, voted, fewer);
        list[0].oracleId = VICTIM;
        vm.expectRevert(abi.encodeWithSelector(IOmissionCourt.IsIncluded.selector, VICTIM));
        court.open(r, VICTIM, voted, list);
    }

    // ---- time

    /// Defence: the hold; without it the report has paid before the dispute is over.
    function test_nothing_is_paid_while_the_dispute_is_open() public {
        count();
        open();
        uint256 until = endOf(0) + RESPONSE + VOID;
        vm.assertEq(settlement.heldUntil(0), until);
        vm.warp(endOf(0) + REWARD_WINDOW);
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.WindowOpen.selector, until));
        settlement.claim(r, 0, 1, address(1), 1, new bytes32[](0));
    }

    function test_answers_have_a_deadline_and_decisions_wait_for_it() public {
        count();
        open();
        uint256 deadline = endOf(0) + RESPONSE;
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(IDisputeCourt.TooEarly.selector, deadline));
        court.uphold(r, 0, VICTIM, voted);
        vm.warp(deadline + 1);
        (Statements.Commit memory a, Statements.Commit memory b, bytes memory signature) = twoCommits();
        vm.expectRevert(abi.encodeWithSelector(IDisputeCourt.TooLate.selector, deadline));
        court.refuteByCommits(r, VICTIM, voted, 3, a, b, signature);
    }

    /// Defence: an upheld dispute gives the bond back although the report is gone; without it a void by others keeps it here for ever.
    function test_a_report_that_somebody_else_voided_meanwhile() public {
        count();
        open();
        settlementVoid();
        vm.warp(endOf(0) + RESPONSE + 1);
        court.uphold(r, 0, VICTIM, voted);
        vm.assertEq(court.credit(CHALLENGER), BOND);
        vm.assertEq(court.convicted(digestOf(r)), address(0));
    }

    function test_a_report_that_was_never_accepted_is_not_disputed() public {
        count();
        r.view_ = 1;
        court.countVotes(r, VICTIM, voted, votes(1, 4));
        IOmissionCourt.Included[] memory list = included();
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.UnknownReport.selector, uint64(0)));
        vm.prank(CHALLENGER);
        court.open(r, VICTIM, voted, list);
    }

    function test_a_final_report_is_not_disputed() public {
        count();
        vm.warp(endOf(0) + SLASH_WINDOW);
        IOmissionCourt.Included[] memory list = included();
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.ReportFinal.selector, endOf(0) + SLASH_WINDOW));
        vm.prank(CHALLENGER);
        court.open(r, VICTIM, voted, list);
    }
}

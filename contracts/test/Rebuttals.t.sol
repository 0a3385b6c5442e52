// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";
import {Rebuttal} from "./utils/Rebuttal.sol";

contract RebuttalsTest is Rebuttal {
    uint256 internal constant AMOUNT = 3e18;
    uint8 internal constant INVALID = 1;
    uint8 internal constant MISSING = 2;
    uint8 internal constant SILENT = 3;
    uint256 internal constant DEPTH = 3;
    uint256 internal constant SECP_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    Report internal first;

    function setUp() public {
        deployWithCommittee(4);
        for (uint256 i = 0; i < 4; ++i) {
            registerProvider();
        }
        first = accept(0, 0, true);
    }

    function challenge(uint64 providerId) private pure returns (bytes32) {
        return keccak256(abi.encode("challenge", providerId));
    }

    /// All four providers share one receipt key, and all leaves name a silence: only the reasons tell what may be rebutted.
    function reasonOf(uint64 providerId) private pure returns (uint8) {
        return [SILENT, SILENT, INVALID, MISSING][providerId - 1];
    }

    function leaf(uint64 providerId, uint64 epoch) private pure returns (bytes32) {
        return leafOf(providerId, epoch, reasonOf(providerId), silenceRoot(challenge(providerId)), AMOUNT);
    }

    function tree(uint64 epoch) private pure returns (bytes32[] memory) {
        bytes32[] memory leaves = new bytes32[](4);
        for (uint64 i = 0; i < 4; ++i) {
            leaves[i] = leaf(i + 1, epoch);
        }
        return MerkleTree.build(leaves);
    }

    function proofOf(uint64 providerId, uint64 epoch) private pure returns (bytes32[] memory) {
        return MerkleTree.proof(tree(epoch), leaf(providerId, epoch));
    }

    function accept(uint64 epoch, bytes32 parent, bool secure) private returns (Report memory r) {
        vm.warp(endOf(epoch));
        r = report(epoch);
        r.parentDigest = parent;
        r.seedSecure = secure;
        r.slashRoot = tree(epoch)[0];
        submit(r, 0xf);
    }

    function answer(uint64 providerId) private view returns (Answer memory) {
        return answerTo(providerId, challenge(providerId), DEPTH);
    }

    function rebut(Report memory r, uint64 providerId, Answer memory a) private {
        bytes32[] memory proof = proofOf(providerId, r.epoch);
        settlement.rebut(r, providerId, a.challenge, AMOUNT, proof, a.chunks, a.siblings, a.signature);
    }

    function rebutExpecting(Report memory r, uint64 providerId, Answer memory a, bytes memory failure) private {
        bytes32[] memory proof = proofOf(providerId, r.epoch);
        vm.expectRevert(failure);
        settlement.rebut(r, providerId, a.challenge, AMOUNT, proof, a.chunks, a.siblings, a.signature);
        vm.assertFalse(settlement.rebutted(providerId, r.epoch));
    }

    function execute(Report memory r, uint64 providerId) private {
        bytes32[] memory proof = proofOf(providerId, r.epoch);
        settlement.executeSlash(r, providerId, reasonOf(providerId), silenceRoot(challenge(providerId)), AMOUNT, proof);
    }

    function executeExpecting(Report memory r, uint64 providerId, bytes memory failure) private {
        bytes32[] memory proof = proofOf(providerId, r.epoch);
        vm.expectRevert(failure);
        settlement.executeSlash(r, providerId, reasonOf(providerId), silenceRoot(challenge(providerId)), AMOUNT, proof);
    }

    function only(bytes4 selector) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector);
    }

    // ---- what it does

    function test_anyone_rebuts_in_the_last_second_and_the_answer_is_public() public {
        Answer memory a = answer(1);
        bytes32[] memory proof = proofOf(1, 0);
        vm.warp(endOf(0) + SLASH_WINDOW - 1);
        vm.expectEmit(address(settlement));
        emit ISlaSettlement.SlashRebutted(1, 0, a.challenge, a.chunks, a.siblings, a.signature);
        vm.prank(address(0xabc));
        settlement.rebut(first, 1, a.challenge, AMOUNT, proof, a.chunks, a.siblings, a.signature);
        vm.assertTrue(settlement.rebutted(1, 0));
        vm.assertFalse(settlement.rebutted(2, 0));
        vm.assertFalse(settlement.rebutted(1, 1));
        vm.assertFalse(settlement.slashExecuted(1, 0));
    }

    // Defence: executeSlash asks for the rebuttal; removed, this turns red.
    function test_a_rebutted_silence_is_not_slashed() public {
        rebut(first, 1, answer(1));
        vm.warp(endOf(0) + SLASH_WINDOW);
        executeExpecting(first, 1, abi.encodeWithSelector(ISlaSettlement.AlreadyRebutted.selector, 1, 0));
        vm.assertEq(providers.stakeOf(1), STAKE);
        execute(first, 2);
        vm.assertEq(providers.stakeOf(2), STAKE - AMOUNT);
    }

    // Defence: a rebuttal counts for its epoch; kept by provider alone, this turns red.
    function test_a_rebuttal_holds_for_its_epoch_only() public {
        rebut(first, 1, answer(1));
        Report memory second = accept(1, digestOf(first), true);
        vm.warp(endOf(1) + SLASH_WINDOW);
        execute(second, 1);
        vm.assertEq(providers.stakeOf(1), STAKE - AMOUNT);
    }

    // Defence: only reason 3 asks for the rebuttal; asked for every reason, a provider that was silent once buys itself off every
    // proven fact of that epoch, and this turns red.
    function test_a_rebuttal_does_not_save_from_facts() public {
        vm.warp(endOf(1));
        Report memory r = report(1);
        r.parentDigest = digestOf(first);
        bytes32[] memory leaves = new bytes32[](3);
        for (uint8 reason = 1; reason <= 3; ++reason) {
            leaves[reason - 1] = leafOf(1, 1, reason, silenceRoot(challenge(1)), AMOUNT);
        }
        bytes32[] memory three = MerkleTree.build(leaves);
        r.slashRoot = three[0];
        submit(r, 0xf);
        Answer memory a = answer(1);
        bytes32 silent = leafOf(1, 1, SILENT, silenceRoot(a.challenge), AMOUNT);
        settlement.rebut(r, 1, a.challenge, AMOUNT, MerkleTree.proof(three, silent), a.chunks, a.siblings, a.signature);

        vm.warp(endOf(1) + SLASH_WINDOW);
        for (uint8 reason = 1; reason <= 2; ++reason) {
            bytes32 fact = leafOf(1, 1, reason, silenceRoot(a.challenge), AMOUNT);
            bytes32[] memory proof = MerkleTree.proof(three, fact);
            // One slash an epoch: the second reason is refused for that, not for the rebuttal.
            if (reason == 2) vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.AlreadySlashed.selector, 1, 1));
            settlement.executeSlash(r, 1, reason, silenceRoot(a.challenge), AMOUNT, proof);
        }
        vm.assertEq(providers.stakeOf(1), STAKE - AMOUNT);
    }

    function testFuzz_any_depth_up_to_54_is_taken(uint8 depth) public {
        rebut(first, 1, answerTo(1, challenge(1), bound(depth, 0, 54)));
        vm.assertTrue(settlement.rebutted(1, 0));
    }

    // ---- which slash

    // Defence: the leaf says reason 3; the caller's word taken for it, this turns red.
    function test_facts_are_not_rebutted() public {
        rebutExpecting(first, 3, answer(3), only(ISlaSettlement.InvalidProof.selector));
        rebutExpecting(first, 4, answer(4), only(ISlaSettlement.InvalidProof.selector));
    }

    // Defence: factsRoot is that of the challenge; taken from the caller, a provider answers what it likes, and this turns red.
    function test_another_providers_challenge() public {
        rebutExpecting(first, 1, answerTo(1, challenge(2), DEPTH), only(ISlaSettlement.InvalidProof.selector));
        rebutExpecting(first, 2, answerTo(2, challenge(1), DEPTH), only(ISlaSettlement.InvalidProof.selector));
    }

    // Defence: the amount is part of the leaf; removed, this turns red.
    function test_another_amount() public {
        Answer memory a = answer(1);
        bytes32[] memory proof = proofOf(1, 0);
        vm.expectRevert(ISlaSettlement.InvalidProof.selector);
        settlement.rebut(first, 1, a.challenge, AMOUNT + 1, proof, a.chunks, a.siblings, a.signature);
    }

    // Defence: the report must hash to the stored digest; removed, this turns red.
    function test_a_report_nobody_accepted() public {
        Report memory r = first;
        r.rewardTotal += 1;
        rebutExpecting(r, 1, answer(1), abi.encodeWithSelector(ISlaSettlement.UnknownReport.selector, 0));
        r = report(1); // of an epoch without a report
        r.slashRoot = tree(1)[0];
        rebutExpecting(r, 1, answer(1), abi.encodeWithSelector(ISlaSettlement.UnknownReport.selector, 1));
    }

    // Defence: the leaf names the epoch, the report's own; removed, this turns red.
    function test_a_leaf_of_another_epoch() public {
        vm.warp(endOf(1));
        Report memory r = report(1);
        r.parentDigest = digestOf(first);
        r.slashRoot = first.slashRoot;
        submit(r, 0xf);
        Answer memory a = answer(1);
        bytes32[] memory proof = proofOf(1, 0);
        vm.expectRevert(ISlaSettlement.InvalidProof.selector);
        settlement.rebut(r, 1, a.challenge, AMOUNT, proof, a.chunks, a.siblings, a.signature);
    }

    // ---- when

    // Defence: the window ends where execution begins; open for longer, an executed slash is called rebutted, and this turns red.
    function test_after_the_window_and_after_the_slash() public {
        bytes memory late = abi.encodeWithSelector(ISlaSettlement.RebuttalTooLate.selector, endOf(0) + SLASH_WINDOW);
        vm.warp(endOf(0) + SLASH_WINDOW);
        rebutExpecting(first, 1, answer(1), late);
        execute(first, 1);
        rebutExpecting(first, 1, answer(1), late);
    }

    // Defence: a rebuttal is remembered; removed, one answer fills the log without end, and this turns red.
    function test_twice() public {
        rebut(first, 1, answer(1));
        Answer memory a = answer(1);
        bytes32[] memory proof = proofOf(1, 0);
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.AlreadyRebutted.selector, 1, 0));
        settlement.rebut(first, 1, a.challenge, AMOUNT, proof, a.chunks, a.siblings, a.signature);
    }

    // ---- what an answer is

    function testFuzz_30_to_40_samples_are_taken(uint8 samples) public {
        rebut(first, 1, answerTo(1, challenge(1), DEPTH, bound(samples, 30, 40)));
        vm.assertTrue(settlement.rebutted(1, 0));
    }

    function test_as_many_samples_as_may_be_asked_for() public {
        rebut(first, 1, answerTo(1, challenge(1), DEPTH, 30));
        rebut(first, 2, answerTo(2, challenge(2), DEPTH, 40));
        vm.assertTrue(settlement.rebutted(1, 0));
        vm.assertTrue(settlement.rebutted(2, 0));
    }

    // Defence: 30 to 40 samples; fewer taken, a provider answers only what it still has, more taken, the event outgrows what a node reads
    // and a transaction holds, and this turns red. Whole chunks and a good signature do not help.
    function test_wrong_number_of_samples() public {
        for (uint256 samples = 0; samples <= 44; ++samples) {
            if (samples == 30) samples = 41;
            Answer memory a = answerTo(1, challenge(1), DEPTH, samples);
            rebutExpecting(first, 1, a, abi.encodeWithSelector(ISlaSettlement.WrongSampleCount.selector, samples));
        }
    }

    // Defence: a whole chunk for each sample, and no more; removed, this turns red.
    function test_wrong_length_of_chunks() public {
        uint256[7] memory lengths = [uint256(0), 1024, 29 * 1024, 30 * 1024, 40 * 1024, 41 * 1024, 2 * 1024];
        for (uint256 samples = 30; samples <= 40; ++samples) {
            Answer memory a = answerTo(1, challenge(1), DEPTH, samples);
            (lengths[5], lengths[6]) = (samples * 1024 - 1, samples * 1024 + 1);
            for (uint256 i = 0; i < 7; ++i) {
                if (lengths[i] == samples * 1024) continue;
                a.chunks = noise("", lengths[i]);
                rebutExpecting(first, 1, a, abi.encodeWithSelector(ISlaSettlement.WrongChunksLength.selector, lengths[i]));
            }
        }
    }

    // Defence: the words are as many as the samples; those beyond 30 left out of the digest, ten samples are nobody's, and this turns red.
    function testFuzz_a_changed_sample_beyond_30(uint16 at_, uint8 sample, bool inChunks) public {
        Answer memory a = answerTo(1, challenge(1), DEPTH, MOST_SAMPLES);
        bytes memory target = inChunks ? a.chunks : a.siblings[bound(sample, 30, 39)];
        target[inChunks ? bound(at_, 30 * CHUNK, MOST_SAMPLES * CHUNK - 1) : at_ % target.length] ^= 0x01;
        rebutExpecting(first, 1, a, only(ISlaSettlement.InvalidAnswerSignature.selector));
    }

    // Defence: every sample is signed; removed, the ones asked for above 30 are dropped from a signed answer, and this turns red.
    function test_fewer_samples_than_were_signed() public {
        Answer memory a = answerTo(1, challenge(1), DEPTH, MOST_SAMPLES);
        a.chunks = slice(a.chunks, 0, 30 * CHUNK);
        bytes[] memory siblings = new bytes[](30);
        for (uint256 i = 0; i < 30; ++i) {
            siblings[i] = a.siblings[i];
        }
        a.siblings = siblings;
        rebutExpecting(first, 1, a, only(ISlaSettlement.InvalidAnswerSignature.selector));
    }

    // Defence: siblings are whole words, and no more than 54; removed, the event holds what no node can read, and this turns red.
    function test_wrong_length_of_siblings() public {
        uint256[4] memory lengths = [uint256(31), 33, 54 * 32 + 1, 55 * 32];
        for (uint256 i = 0; i < 4; ++i) {
            Answer memory a = answer(1);
            a.siblings[i * 9] = noise("", lengths[i]);
            a.signature = signAs(RECEIPT_SECRET, messageOf(block.chainid, address(settlement), 1, a));
            rebutExpecting(first, 1, a, abi.encodeWithSelector(ISlaSettlement.WrongSiblingsLength.selector, i * 9, lengths[i]));
        }
    }

    // ---- who signed it

    // Defence: the signer is compared with the receipt key; removed, anybody rebuts with garbage that slashes nobody, and this turns
    // red.
    function test_another_key() public {
        Answer memory a = answer(1);
        a.signature = signAs(RECEIPT_SECRET + 1, messageOf(block.chainid, address(settlement), 1, a));
        rebutExpecting(first, 1, a, only(ISlaSettlement.InvalidAnswerSignature.selector));
    }

    // Defence: the statement names chain, contract, provider and challenge; any of them left out, this turns red.
    function test_an_answer_signed_for_something_else() public {
        bytes memory failure = only(ISlaSettlement.InvalidAnswerSignature.selector);
        Answer memory a = answer(1);
        a.signature = signAs(RECEIPT_SECRET, messageOf(block.chainid + 1, address(settlement), 1, a));
        rebutExpecting(first, 1, a, failure);
        a.signature = signAs(RECEIPT_SECRET, messageOf(block.chainid, address(providers), 1, a));
        rebutExpecting(first, 1, a, failure);
        a.signature = signAs(RECEIPT_SECRET, messageOf(block.chainid, address(settlement), 2, a));
        rebutExpecting(first, 1, a, failure);
        a.challenge = challenge(2);
        a.signature = signAs(RECEIPT_SECRET, messageOf(block.chainid, address(settlement), 1, a));
        a.challenge = challenge(1);
        rebutExpecting(first, 1, a, failure);
    }

    // Defence: every byte of the answer is signed; removed, this turns red.
    function testFuzz_a_changed_answer(uint16 at_, uint8 sample, bool inChunks) public {
        Answer memory a = answer(1);
        bytes memory target = inChunks ? a.chunks : a.siblings[sample % SAMPLES];
        target[at_ % target.length] ^= 0x01;
        rebutExpecting(first, 1, a, only(ISlaSettlement.InvalidAnswerSignature.selector));
    }

    // Defence: a chunk is hashed by itself; with the bytes of a sample hashed in one, chunk and siblings shift, and this turns red.
    function test_a_moved_border() public {
        Answer memory a = answer(1);
        bytes memory path = a.siblings[29];
        // The last chunk begins a word later and ends with the first sibling.
        a.chunks = bytes.concat(slice(a.chunks, 0, 29 * CHUNK), slice(a.chunks, 29 * CHUNK + 32, CHUNK - 32), slice(path, 0, 32));
        a.siblings[29] = slice(path, 32, path.length - 32);
        rebutExpecting(first, 1, a, only(ISlaSettlement.InvalidAnswerSignature.selector));
    }

    // Defence: OpenZeppelin refuses a high s; removed, each answer has a second form, and this turns red.
    function test_high_s_wrong_v_and_wrong_length() public {
        bytes memory failure = only(ISlaSettlement.InvalidAnswerSignature.selector);
        Answer memory a = answer(1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(RECEIPT_SECRET, messageOf(block.chainid, address(settlement), 1, a));
        a.signature = abi.encodePacked(r, bytes32(SECP_ORDER - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        rebutExpecting(first, 1, a, failure);
        a.signature = abi.encodePacked(r, s, v - 27);
        rebutExpecting(first, 1, a, failure);
        a.signature = abi.encodePacked(r, s, v, uint8(0));
        rebutExpecting(first, 1, a, failure);
        a.signature = abi.encodePacked(r, s);
        rebutExpecting(first, 1, a, failure);
        a.signature = "";
        rebutExpecting(first, 1, a, failure);
        a.signature = abi.encodePacked(r, s, v);
        rebut(first, 1, a);
    }

    // Defence: the key is the registry's; with a zero key for who is not registered, anything recovers to it, and this turns red.
    function test_a_provider_that_does_not_exist() public {
        vm.warp(endOf(1));
        Report memory r = report(1);
        r.parentDigest = digestOf(first);
        r.slashRoot = leafOf(99, 1, SILENT, silenceRoot(challenge(1)), AMOUNT);
        submit(r, 0xf);
        Answer memory a = answerTo(99, challenge(1), DEPTH);
        a.signature = new bytes(65);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.UnknownProvider.selector, 99));
        settlement.rebut(r, 99, a.challenge, AMOUNT, new bytes32[](0), a.chunks, a.siblings, a.signature);
    }

    function slice(bytes memory from, uint256 start, uint256 length) private pure returns (bytes memory out) {
        out = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            out[i] = from[start + i];
        }
    }
}

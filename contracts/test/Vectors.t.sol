// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {Bls12381} from "../src/libraries/Bls12381.sol";
import {ReportLib} from "../src/libraries/ReportLib.sol";
import {BlsSigner} from "./utils/BlsSigner.sol";
import {BlsVerifier} from "./utils/BlsVerifier.sol";
import {Fixture} from "./utils/Fixture.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

/// The library's functions at an address of our choice, since a message names the contract it is for.
contract ReportHarness {
    function digest(Report calldata report) external pure returns (bytes32) {
        return ReportLib.digest(report);
    }

    function message(Report calldata report) external view returns (bytes32) {
        return ReportLib.message(report, ReportLib.digest(report));
    }
}

/// The bytes that Rust and the independent generator agree on.
contract VectorsTest is Fixture {
    string internal json;

    function setUp() public {
        json = vm.readFile("../tests/vectors/report.json");
        deploy();
        vm.chainId(number("report.chainId"));
    }

    function test_report_digest_and_message() public {
        Report memory r = vectorReport();
        ReportHarness harness = new ReportHarness();
        vm.assertEq(harness.digest(r), word("digest"));
        vm.assertEq(harness.digest(r), digestOf(r));
        vm.etch(r.settlement, address(harness).code);
        vm.assertEq(ReportHarness(r.settlement).message(r), word("message"));
    }

    function test_certificate_of_all_signers() public {
        bytes memory aggregate = new bytes(256);
        uint256 signers;
        for (string memory at_ = "signers[0]"; has(at_); at_ = element("signers", ++signers)) {
            bytes memory key = blob(string.concat(at_, ".publicKey256"));
            vm.assertEq(key, BlsSigner.publicKey(number(string.concat(at_, ".secret"))));
            Bls12381.addG2(aggregate, key);
        }
        vm.assertEq(signers, 4);
        vm.assertTrue(new BlsVerifier().verify(aggregate, word("message"), ReportLib.REPORT_DST, blob("aggregateSignature128")));
    }

    function test_proof_of_possession() public {
        address registry = vm.parseJsonAddress(json, ".pop.registry");
        vm.etch(registry, address(oracles).code);
        bytes memory key = blob("signers[0].publicKey256");
        (bool ok, bytes memory result) =
            registry.staticcall(abi.encodeCall(oracles.popMessage, (vm.parseJsonAddress(json, ".pop.operator"), key)));
        vm.assertTrue(ok);
        vm.assertEq(abi.decode(result, (bytes32)), word("pop.message"));
        vm.assertTrue(new BlsVerifier().verify(key, word("pop.message"), BlsSigner.POP_DST, blob("pop.signature128")));
    }

    function test_reward_tree() public view {
        bytes32[] memory leaves = new bytes32[](count("rewardTree.leaves"));
        for (uint256 i = 0; i < leaves.length; ++i) {
            string memory at_ = element("rewardTree.leaves", i);
            leaves[i] = ReportLib.rewardLeaf(
                uint8(number(string.concat(at_, ".kind"))),
                uint64(number(string.concat(at_, ".id"))),
                vm.parseJsonAddress(json, string.concat(".", at_, ".recipient")),
                vm.parseJsonAddress(json, string.concat(".", at_, ".token")),
                number(string.concat(at_, ".cumulative"))
            );
        }
        checkTree("rewardTree", leaves);
        vm.assertEq(word("rewardTree.root"), word("report.rewardRoot"));
    }

    function test_slash_tree() public view {
        bytes32[] memory leaves = new bytes32[](count("slashTree.leaves"));
        for (uint256 i = 0; i < leaves.length; ++i) {
            string memory at_ = element("slashTree.leaves", i);
            leaves[i] = ReportLib.slashLeaf(
                uint64(number(string.concat(at_, ".providerId"))),
                uint64(number(string.concat(at_, ".epoch"))),
                uint8(number(string.concat(at_, ".reason"))),
                word(string.concat(at_, ".factsRoot")),
                number(string.concat(at_, ".amount"))
            );
        }
        checkTree("slashTree", leaves);
        vm.assertEq(word("slashTree.root"), word("report.slashRoot"));
    }

    function test_claim_set_signature() public {
        vm.etch(vm.parseJsonAddress(json, ".claims.registry"), address(providers).code);
        (uint64 providerId, uint64 sequence) = (uint64(number("claims.providerId")), uint64(number("claims.sequence")));
        (uint64 blocks, uint64 claimCount) = (uint64(number("claims.blocks")), uint64(number("claims.count")));
        (bool ok, bytes memory result) = vm.parseJsonAddress(json, ".claims.registry")
            .staticcall(abi.encodeCall(providers.claimsDigest, (providerId, sequence, word("claims.root"), blocks, claimCount)));
        vm.assertTrue(ok);
        vm.assertEq(abi.decode(result, (bytes32)), word("claims.digest"));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(number("claims.receiptSecret"), word("claims.digest"));
        vm.assertEq(blob("claims.signature65"), abi.encodePacked(r, s, v)); // RFC 6979 on both sides
        vm.assertEq(vm.parseJsonAddress(json, ".claims.receiptKey"), vm.addr(number("claims.receiptSecret")));
    }

    function checkTree(string memory name, bytes32[] memory leaves) private view {
        bytes32 root = word(string.concat(name, ".root"));
        for (uint256 i = 0; i < leaves.length; ++i) {
            bytes32[] memory proof = vm.parseJsonBytes32Array(json, string.concat(".", element(string.concat(name, ".proofs"), i)));
            vm.assertTrue(MerkleProof.verify(proof, root, leaves[i]));
        }
        vm.assertEq(MerkleTree.build(leaves)[0], root);
    }

    function vectorReport() private view returns (Report memory r) {
        r.chainId = number("report.chainId");
        r.settlement = vm.parseJsonAddress(json, ".report.settlement");
        r.setEpoch = uint64(number("report.setEpoch"));
        r.epoch = uint64(number("report.epoch"));
        r.view_ = uint64(number("report.view"));
        r.parentDigest = word("report.parentDigest");
        r.refBlock = uint64(number("report.refBlock"));
        r.validUntil = uint64(number("report.validUntil"));
        r.drandRound = uint64(number("report.drandRound"));
        r.seedSecure = vm.parseJsonBool(json, ".report.seedSecure");
        r.paramsHash = word("report.paramsHash");
        r.bitVotesRoot = word("report.bitVotesRoot");
        r.obsRoot = word("report.obsRoot");
        r.resultRoot = word("report.resultRoot");
        r.rewardRoot = word("report.rewardRoot");
        r.slashRoot = word("report.slashRoot");
        r.rewardTotal = number("report.rewardTotal");
        r.slashTotal = number("report.slashTotal");
        r.logHeadsRoot = word("report.logHeadsRoot");
        r.dataDigest = word("report.dataDigest");
    }

    function count(string memory list) private view returns (uint256 n) {
        while (has(element(list, n))) ++n;
    }

    function element(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(list, "[", vm.toString(i), "]");
    }

    function has(string memory key) private view returns (bool) {
        return vm.keyExistsJson(json, string.concat(".", key));
    }

    function number(string memory key) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(".", key));
    }

    function word(string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(".", key));
    }

    function blob(string memory key) private view returns (bytes memory) {
        return vm.parseJsonBytes(json, string.concat(".", key));
    }
}

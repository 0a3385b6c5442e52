// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {CompactProof} from "../src/libraries/CompactProof.sol";
import {BlsSigner} from "./utils/BlsSigner.sol";
import {CompactProver} from "./utils/CompactProver.sol";
import {CompactVerifier, CompactVerifierTransactions} from "./utils/CompactVerifier.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";
import {Rebuttal} from "./utils/Rebuttal.sol";

/// Gas of whole transactions: isolated, so base cost, calldata and cold accesses count. Kept in snapshots/gas.json; a run that
/// drifts from it fails.
/// forge-config: default.isolate = true
contract GasTest is Rebuttal {
    /// Rewards in the claimed tree: proofs of depth 7.
    uint256 internal constant LEAVES = 128;

    function test_submitReport_4() public {
        measureReports(4, "submitReport n=4");
    }

    function test_submitReport_16() public {
        measureReports(16, "submitReport n=16");
    }

    function test_submitReport_64() public {
        measureReports(64, "submitReport n=64");
    }

    function test_submitReport_256() public {
        measureReports(256, "submitReport n=256");
    }

    function test_submitReport_of_the_previous_set() public {
        deployWithCommittee(4);
        Report memory r = report(0);
        registerOracle(4, STAKE);
        vm.roll(50);
        oracles.buildSnapshot(5);
        vm.warp(endOf(0));
        submit(r, 0xf);
        snapshot("submitReport n=4 all sign, set changed", 200_000);
    }

    function measureReports(uint256 n, string memory name) private {
        deployWithCommittee(n);
        uint256 all = type(uint256).max >> (256 - n);
        vm.warp(endOf(0));
        Report memory r = report(0);
        submit(r, all);
        snapshot(string.concat(name, " all sign, first"), 200_000);

        Report memory second = report(1);
        second.parentDigest = digestOf(r);
        vm.warp(endOf(1));
        submit(second, all);
        snapshot(string.concat(name, " all sign"), 200_000);

        // the most that may be missing, spread evenly so that every chunk is read
        uint256 bitmap = all;
        for (uint256 i = 0; i < (n - 1) / 3; ++i) {
            bitmap &= ~(uint256(1) << (3 * i));
        }
        Report memory third = report(2);
        third.parentDigest = digestOf(second);
        vm.warp(endOf(2));
        submit(third, bitmap);
        snapshot(string.concat(name, " third missing"), n <= 64 ? 240_000 : 360_000);
    }

    function test_registration_and_snapshots() public {
        deploy();
        registerOracle(0, STAKE);
        registerOracle(1, STAKE);
        snapshot("oracle register", 500_000);
        registerOracle(2, STAKE);
        registerOracle(3, STAKE);
        oracles.buildSnapshot(256);
        snapshot("buildSnapshot 4", 500_000);
        for (uint256 i = 4; i < 256; ++i) {
            registerOracle(i, STAKE);
        }
        oracles.buildSnapshot(96);
        snapshot("buildSnapshot 96 of 256", 9_000_000);
        oracles.buildSnapshot(256);
        registerProvider();
        registerProvider();
        snapshot("provider register", 250_000);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(RECEIPT_SECRET, providers.claimsDigest(1, 1, "root", 4, 2));
        providers.publishClaims(1, 1, "root", 4, 2, abi.encodePacked(r, s, v));
        snapshot("publishClaims first", 120_000);
    }

    function test_claims_and_slashes() public {
        deployWithCommittee(4);
        settlement.fund(1_000e18);
        registerProvider();
        token.mint(address(0x3001), 1);

        (Report memory r, Reward[] memory rewards) = acceptRewards(0, 0, 1e18);
        vm.warp(endOf(0) + SLASH_WINDOW);
        bytes32[] memory tree = rewardTree(rewards);
        claim(r, tree, rewards[2]);
        snapshot("claim first of all, recipient new to the token", 122_000);
        claim(r, tree, rewards[0]);
        snapshot("claim first, recipient new to the token", 103_000);
        claim(r, tree, rewards[1]);
        snapshot("claim first", 90_000);
        settlement.executeSlash(r, 1, 1, "facts", 1e18, new bytes32[](0));
        snapshot("executeSlash", 120_000);

        (r, rewards) = acceptRewards(1, digestOf(r), 2e18);
        vm.warp(endOf(1) + REWARD_WINDOW);
        claim(r, rewardTree(rewards), rewards[1]);
        snapshot("claim again", 70_000);
    }

    /// 27 siblings are those of 100 GB, 54 are the most that are taken.
    function test_rebuttals() public {
        deployWithCommittee(4);
        bytes32[] memory leaves = new bytes32[](4);
        for (uint64 id = 1; id <= 4; ++id) {
            registerProvider();
            leaves[id - 1] = silence(id);
        }
        bytes32[] memory tree = MerkleTree.build(leaves);
        Report memory r = report(0);
        r.slashRoot = tree[0];
        vm.warp(endOf(0));
        submit(r, 0xf);
        measureRebuttal(r, tree, answerTo(1, bytes32(uint256(1)), 27), 1, "rebut, 27 siblings", 3_000_000);
        measureRebuttal(r, tree, answerTo(2, bytes32(uint256(2)), 54), 2, "rebut, 54 siblings", 5_000_000);
        measureRebuttal(r, tree, answerTo(3, bytes32(uint256(3)), 27, MOST_SAMPLES), 3, "rebut, 40 samples, 27 siblings", 4_000_000);
        measureRebuttal(r, tree, answerTo(4, bytes32(uint256(4)), 54, MOST_SAMPLES), 4, "rebut, 40 samples, 54 siblings", 6_000_000);
    }

    function silence(uint64 providerId) private pure returns (bytes32) {
        return leafOf(providerId, 0, 3, silenceRoot(bytes32(uint256(providerId))), 1e18);
    }

    function measureRebuttal(Report memory r, bytes32[] memory tree, Answer memory a, uint64 id, string memory name, uint256 limit)
        private
    {
        bytes32[] memory proof = MerkleTree.proof(tree, silence(id));
        settlement.rebut(r, id, a.challenge, 1e18, proof, a.chunks, a.siblings, a.signature);
        snapshot(name, limit);
    }

    /// Coefficients are drawn on chain, which is cheaper than to send them.
    function test_compact_proofs() public {
        CompactVerifier verifier = new CompactVerifier();
        CompactVerifierTransactions transactions = CompactVerifierTransactions(address(verifier));
        CompactProver.Secret memory secret = CompactProver.Secret(uint256(keccak256("eps")), uint256(keccak256("alpha")), 4);
        CompactProof.Key memory key = CompactProver.key(secret);
        bytes32 keyId = verifier.tagKeyId(key);
        for (uint256 count = 10; count <= 30; count += 10) {
            CompactProof.Item[] memory items = new CompactProof.Item[](count);
            for (uint256 i = 0; i < count; ++i) {
                items[i] = CompactProof.Item(keccak256(abi.encode("replica", i)), uint64(i) << 20);
            }
            (uint256[] memory nu, uint256 r) = verifier.draw("seed", keyId, count);
            (CompactProof.Proof memory proof, bytes32[4] memory a) = CompactProver.prove(secret, items, nu, r);
            vm.assertTrue(transactions.verifyChallenge(key, items, "seed", proof));
            snapshot(string.concat("compact proof c=", vm.toString(count), ", all on chain"), 200_000 + 25_000 * count);
            if (count < 30) continue;
            vm.assertTrue(transactions.verifyWithA(key, a, r, proof));
            snapshot("compact proof, A posted", 200_000);
        }
    }

    function acceptRewards(uint64 epoch, bytes32 parent, uint256 amount) private returns (Report memory r, Reward[] memory rewards) {
        rewards = new Reward[](LEAVES);
        for (uint64 i = 0; i < LEAVES; ++i) {
            rewards[i] = Reward(0, i + 1, address(uint160(0x3000 + i)), amount + i);
        }
        vm.warp(endOf(epoch));
        r = report(epoch);
        r.parentDigest = parent;
        r.rewardRoot = rewardTree(rewards)[0];
        r.slashRoot = slashLeaf(1, epoch, 1e18);
        submit(r, 0xf);
    }

    function snapshot(string memory name, uint256 limit) private {
        vm.assertLe(vm.snapshotGasLastCall("gas", name), limit);
    }
}

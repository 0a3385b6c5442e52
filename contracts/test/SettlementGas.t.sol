// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Keeper} from "../src/Keeper.sol";
import {SlaOracle} from "../src/SlaOracle.sol";
import {ICapacityMarket} from "../src/interfaces/ICapacityMarket.sol";
import {IKeeper} from "../src/interfaces/IKeeper.sol";
import {Verdict} from "../src/interfaces/ISlaOracle.sol";
import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {Attested} from "./utils/Attested.sol";
import {Fixture} from "./utils/Fixture.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

/// As a transaction: forge counts base cost and calldata of calls alone that are not declared view.
interface OracleTransactions {
    function verdict(Report calldata report, Verdict calldata v, bytes32[] calldata proof) external returns (uint8, uint32, bool);
    function recorded(uint64 providerId, uint64 epoch) external returns (bool, uint8, uint32);
}

/// Gas of whole transactions, as in GasTest.
/// forge-config: default.isolate = true
contract SettlementGasTest is Fixture {
    /// Leaves of a tree: proofs of depth 7.
    uint256 internal constant LEAVES = 128;
    uint256 internal constant BATCH = 10;
    /// What every transaction costs before it does anything.
    uint256 internal constant BASE = 21_000;

    Keeper internal keeper;

    function setUp() public {
        deployWithCommittee(4);
        settlement.fund(1_000e18);
        keeper = new Keeper(settlement, ICapacityMarket(address(0)), address(this));
        token.mint(address(keeper), 1e18);
        keeper.setTariff(IKeeper.Action.Claim, 1, 1_000);
        for (uint160 i = 0; i < LEAVES; ++i) {
            token.mint(address(0x3000 + i), 1);
        }
    }

    function test_claim_batches() public {
        Reward[] memory rewards = rewardsOf(1e18);
        Report memory r = accept(0, 0, rewardTree(rewards)[0], 0);
        keeper.claimMany(r, claims(rewards, 0, 1)); // the day's first tip
        measureBatches(r, rewards, "first", 46_000); // each fills a slot of its own

        rewards = rewardsOf(2e18);
        r = accept(1, digestOf(r), rewardTree(rewards)[0], 0);
        measureBatches(r, rewards, "again", 35_000);
    }

    function measureBatches(Report memory r, Reward[] memory rewards, string memory name, uint256 limit) private {
        keeper.claimMany(r, claims(rewards, 1, 1));
        uint256 one = vm.snapshotGasLastCall("gas", string.concat("claimMany 1, ", name));
        keeper.claimMany(r, claims(rewards, 2, 1 + BATCH));
        uint256 many = vm.snapshotGasLastCall("gas", string.concat("claimMany 11, ", name));
        vm.assertLe((many - one) / BATCH, limit);
    }

    function test_consumer_reads() public {
        SlaOracle oracle = new SlaOracle(settlement);
        OracleTransactions transactions = OracleTransactions(address(oracle));
        bytes32[] memory leaves = new bytes32[](LEAVES);
        for (uint64 i = 0; i < LEAVES; ++i) {
            leaves[i] = leafOf(verdictOf(i));
        }
        bytes32[] memory tree = MerkleTree.build(leaves);
        Report memory r = accept(0, 0, 0, tree[0]);
        Verdict memory v = verdictOf(77);
        bytes32[] memory proof = MerkleTree.proof(tree, leafOf(v));
        transactions.verdict(r, v, proof);
        snapshot("oracle verdict", BASE + 35_000);
        oracle.record(r, v, proof);
        snapshot("oracle record", 90_000);
        transactions.recorded(77, 0);
        snapshot("oracle recorded", BASE + 20_000);
    }

    function test_voids_and_holds() public {
        settlement.setCourt(address(this), true);
        Report memory first = accept(0, 0, 0, 0);
        vm.warp(endOf(1));
        Report memory second = report(1);
        second.parentDigest = digestOf(first);
        submit(second, 0xf);
        settlement.hold(1, endOf(1) + 100);
        snapshot("hold", 80_000);
        settlement.voidReport(second, 0);
        snapshot("void 1 report", 100_000);
        vm.prank(GUARDIAN);
        settlement.pausePosting();
        snapshot("pausePosting", 60_000);
    }

    function accept(uint64 epoch, bytes32 parent, bytes32 rewardRoot, bytes32 resultRoot) private returns (Report memory r) {
        r = report(epoch);
        r.parentDigest = parent;
        r.rewardRoot = rewardRoot;
        r.resultRoot = resultRoot;
        vm.warp(endOf(epoch));
        submit(r, 0xf);
        vm.warp(endOf(epoch) + REWARD_WINDOW);
    }

    function rewardsOf(uint256 amount) private pure returns (Reward[] memory rewards) {
        rewards = new Reward[](LEAVES);
        for (uint64 i = 0; i < LEAVES; ++i) {
            rewards[i] = Reward(0, i + 1, address(uint160(0x3000 + i)), amount + i);
        }
    }

    function claims(Reward[] memory rewards, uint256 from, uint256 count) private view returns (IKeeper.RewardClaim[] memory list) {
        bytes32[] memory tree = rewardTree(rewards);
        list = new IKeeper.RewardClaim[](count);
        for (uint256 i = 0; i < count; ++i) {
            Reward memory w = rewards[from + i];
            list[i] = IKeeper.RewardClaim(w.kind, w.id, w.recipient, w.cumulative, MerkleTree.proof(tree, rewardLeaf(w)));
        }
    }

    function verdictOf(uint64 providerId) private pure returns (Verdict memory) {
        return Verdict(providerId, 0, 1, 1_000_000, 3e18, 0, keccak256("dimensions"));
    }

    function leafOf(Verdict memory v) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(v))));
    }

    function snapshot(string memory name, uint256 limit) private {
        vm.assertLe(vm.snapshotGasLastCall("gas", name), limit);
    }
}

/// Reports certified by ECDSA, beside those by BLS in GasTest.
/// forge-config: default.isolate = true
contract AttestationGasTest is Attested {
    function test_submitReport_4() public {
        measure(4, 120_000);
    }

    function test_submitReport_16() public {
        measure(16, 190_000);
    }

    function test_submitReport_31() public {
        measure(31, 270_000);
    }

    /// The second report, all sign.
    function measure(uint256 n, uint256 limit) private {
        deployAttested(n);
        uint256 all = type(uint256).max >> (256 - n);
        Report memory first = attestedReport(0);
        vm.warp(endOf(0));
        submitAttested(first, all);
        Report memory second = attestedReport(1);
        second.parentDigest = digestOf(first);
        vm.warp(endOf(1));
        submitAttested(second, all);
        string memory name = string.concat("submitReport n=", vm.toString(n), " all sign, ECDSA");
        vm.assertLe(vm.snapshotGasLastCall("gas", name), limit);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Verdict} from "../src/interfaces/ISlaOracle.sol";
import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {MarketFixture} from "./utils/MarketFixture.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";

/// Gas of the market's transactions, in snapshots/gas.json as for GasTest.
/// forge-config: default.isolate = true
contract MarketGasTest is MarketFixture {
    /// Verdicts in a report: proofs of depth 7.
    uint64 internal constant VERDICTS = 128;

    uint64 internal provider;

    function setUp() public {
        deployMarket(200_000, 1_000);
        provider = listedProvider(1_000, 1e9);
        market.fundSubsidy(1e18);
    }

    function test_book() public {
        book(provider, 10, 30);
        snapshot("market book, first of its class and region", 200_000);
        book(provider, 10, 30);
        snapshot("market book", 200_000);
    }

    function test_book_cheapest_of_four() public {
        uint64[] memory candidates = new uint64[](4);
        for (uint64 i = 0; i < 4; ++i) {
            candidates[i] = listedProvider(10, 1e6 + i);
        }
        book(provider, 1, 1);
        vm.prank(BUILDER);
        market.bookCheapest(CLASS, REGION, 40, 30, ANY_PRICE, candidates);
        snapshot("market bookCheapest, 4 providers", 500_000);
    }

    function test_extend_and_end() public {
        uint64 id = book(provider, 10, 30);
        vm.prank(BUILDER);
        market.extend(id, 30, ANY_PRICE);
        snapshot("market extend", 130_000);
        vm.prank(BUILDER);
        market.end(id);
        snapshot("market end", 100_000);
    }

    function test_settle() public {
        uint64 id = book(provider, 10, 30);
        uint64[] memory ids = new uint64[](8);
        for (uint256 i = 0; i < ids.length; ++i) {
            ids[i] = book(provider, 10, 30);
        }
        accept(0, bytes32("none"));
        for (uint64 epoch = 1; epoch <= 2; ++epoch) {
            (Report memory r, Verdict memory v, bytes32[] memory proof) = judge(epoch);
            market.settle(id, r, v, proof);
            snapshot(epoch == 1 ? "market settle, first" : "market settle", 260_000);
            market.settleMany(ids, r, v, proof);
            if (epoch == 2) snapshot("market settleMany, 8 bookings", 400_000);
        }
        market.withdrawCredit(id);
        snapshot("market withdrawCredit", 90_000);
        market.withdrawEarnings(provider);
        snapshot("market withdrawEarnings", 100_000);
        market.payOracles();
        snapshot("market payOracles", 120_000);
    }

    function judge(uint64 epoch) private returns (Report memory r, Verdict memory v, bytes32[] memory proof) {
        Verdict[] memory verdicts = new Verdict[](VERDICTS);
        for (uint64 i = 0; i < VERDICTS; ++i) {
            verdicts[i] = verdictOf(i + 1, epoch, DEGRADED, 900_000);
        }
        v = verdicts[provider - 1];
        bytes32[] memory tree = resultTree(verdicts);
        proof = MerkleTree.proof(tree, resultLeaf(v));
        r = accept(epoch, tree[0]);
        vm.warp(block.timestamp + REWARD_WINDOW);
    }

    function snapshot(string memory name, uint256 limit) private {
        vm.assertLe(vm.snapshotGasLastCall("gas", name), limit);
    }
}

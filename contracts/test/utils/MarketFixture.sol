// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CapacityMarket} from "../../src/CapacityMarket.sol";
import {ProviderStanding} from "../../src/ProviderStanding.sol";
import {SlaOracle} from "../../src/SlaOracle.sol";
import {ICapacityMarket} from "../../src/interfaces/ICapacityMarket.sol";
import {IProviderStanding} from "../../src/interfaces/IProviderStanding.sol";
import {Verdict} from "../../src/interfaces/ISlaOracle.sol";
import {Report} from "../../src/interfaces/ISlaSettlement.sol";
import {Fixture} from "./Fixture.sol";
import {MerkleTree} from "./MerkleTree.sol";

/// A market on a deployed protocol with a committee of four, and reports with verdicts in them.
abstract contract MarketFixture is Fixture {
    uint256 internal constant ALL = 0xf;
    uint16 internal constant CLASS = 100;
    uint64 internal constant REGION = 7;
    uint32 internal constant FULL = 1_000_000;
    uint64 internal constant NOTICE = 2;
    uint64 internal constant HORIZON = 30_000;
    uint64 internal constant UNSETTLED_DELAY = 50;
    uint64 internal constant GRACE = 100;
    uint64 internal constant REVIEW = 200;
    uint64 internal constant PRESENT = 1_000;
    uint24 internal constant MARGIN = 100_000;
    uint24 internal constant ORACLE_SHARE = 700_000;
    address internal constant TREASURY = address(0x7e4);
    address internal constant OWNER = address(0x71e);
    address internal constant BUILDER = address(0xb1);
    uint96 internal constant ANY_PRICE = type(uint96).max;

    uint8 internal constant PASS = 1;
    uint8 internal constant DEGRADED = 4;
    uint8 internal constant FAIL = 5;

    SlaOracle internal oracle;
    ProviderStanding internal standing;
    CapacityMarket internal market;

    bytes32 internal parent;

    function deployMarket(uint24 subsidyPpm, uint64 subsidyEpochs) internal {
        deployWithCommittee(4);
        oracle = new SlaOracle(settlement);
        standing = new ProviderStanding(settlement, oracle, OWNER, IProviderStanding.Terms(GRACE, REVIEW, PRESENT, 4));
        market = new CapacityMarket(marketConfig(subsidyPpm, subsidyEpochs), fees(MARGIN, ORACLE_SHARE), OWNER);
        providers.setMarket(address(market));
        token.approve(address(market), type(uint256).max);
        token.mint(BUILDER, 1e30);
        vm.prank(BUILDER);
        token.approve(address(market), type(uint256).max);
    }

    function marketConfig(uint24 subsidyPpm, uint64 subsidyEpochs) internal view returns (ICapacityMarket.Config memory) {
        return ICapacityMarket.Config({
            settlement: address(settlement),
            oracle: address(oracle),
            standing: address(standing),
            noticeEpochs: NOTICE,
            horizonEpochs: HORIZON,
            unsettledDelay: UNSETTLED_DELAY,
            maxMarginPpm: 300_000,
            subsidyPpm: subsidyPpm,
            subsidyEpochs: subsidyEpochs
        });
    }

    function fees(uint24 marginPpm, uint24 oracleSharePpm) internal pure returns (ICapacityMarket.Fees memory) {
        return ICapacityMarket.Fees({marginPpm: marginPpm, oracleSharePpm: oracleSharePpm, treasury: TREASURY});
    }

    /// A provider of this class and region with stake for 1,000 GiB, which are on offer. Its recipient is 0x9d00 + id.
    function listedProvider(uint64 gib, uint96 price) internal returns (uint64 providerId) {
        providerId = providers.providerCount() + 1;
        address receiptKey = vm.addr(RECEIPT_SECRET + providerId);
        providers.register(receiptKey, "http://provider", CLASS, REGION, recipientOf(providerId), 1_000 * STAKE_PER_GIB);
        providers.declareCapacity(providerId, 1_000);
        market.list(providerId, gib, price);
    }

    function recipientOf(uint64 providerId) internal pure returns (address) {
        return address(uint160(0x9d00 + providerId));
    }

    function book(uint64 providerId, uint64 gib, uint32 epochs) internal returns (uint64) {
        vm.prank(BUILDER);
        return market.book(providerId, gib, epochs, ANY_PRICE);
    }

    function verdictOf(uint64 providerId, uint64 epoch, uint8 outcome, uint32 multiplierPpm) internal pure returns (Verdict memory) {
        return Verdict(providerId, epoch, outcome, multiplierPpm, 1e18, 0, keccak256("dimensions"));
    }

    function resultLeaf(Verdict memory v) internal pure returns (bytes32) {
        return
            keccak256(
                bytes.concat(keccak256(abi.encode(v.providerId, v.epoch, v.outcome, v.multiplierPpm, v.reward, v.slash, v.dimensions)))
            );
    }

    function resultTree(Verdict[] memory verdicts) internal pure returns (bytes32[] memory) {
        bytes32[] memory leaves = new bytes32[](verdicts.length);
        for (uint256 i = 0; i < verdicts.length; ++i) {
            leaves[i] = resultLeaf(verdicts[i]);
        }
        return MerkleTree.build(leaves);
    }

    /// Accepts a report of this epoch at its end, or now if that is past, with these results.
    function accept(uint64 epoch, bytes32 resultRoot) internal returns (Report memory) {
        return acceptWith(epoch, resultRoot, bytes32("rewards"));
    }

    function acceptWith(uint64 epoch, bytes32 resultRoot, bytes32 rewardRoot) internal returns (Report memory r) {
        if (block.timestamp < endOf(epoch)) vm.warp(endOf(epoch));
        r = report(epoch);
        r.parentDigest = parent;
        r.resultRoot = resultRoot;
        r.rewardRoot = rewardRoot;
        submit(r, ALL);
        parent = digestOf(r);
    }

    /// Accepts a report with one verdict, whose proof is empty, and waits until it has matured.
    function acceptOne(Verdict memory v) internal returns (Report memory r) {
        r = accept(v.epoch, resultLeaf(v));
        vm.warp(block.timestamp + REWARD_WINDOW);
    }

    /// An epoch with one verdict, and a booking settled by it.
    function settleOne(uint64 bookingId, uint64 providerId, uint64 epoch, uint8 outcome, uint32 multiplierPpm) internal {
        Verdict memory v = verdictOf(providerId, epoch, outcome, multiplierPpm);
        market.settle(bookingId, acceptOne(v), v, new bytes32[](0));
    }

    /// Failed epochs, one after the other, that its standing takes into account: one warns, three suspend.
    function failEpochs(uint64 providerId, uint256 times) internal {
        for (uint256 i = 0; i < times; ++i) {
            Verdict memory v = verdictOf(providerId, standing.nextEpoch(providerId), FAIL, 0);
            Report memory r = acceptOne(v);
            vm.warp(block.timestamp + SLASH_WINDOW - REWARD_WINDOW);
            standing.present(r, v, noProof());
        }
    }

    function noProof() internal pure returns (bytes32[] memory) {
        return new bytes32[](0);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICapacityMarket} from "../../src/interfaces/ICapacityMarket.sol";
import {Verdict} from "../../src/interfaces/ISlaOracle.sol";
import {Report} from "../../src/interfaces/ISlaSettlement.sol";
import {MarketFixture} from "./MarketFixture.sol";
import {MerkleTree} from "./MerkleTree.sol";

/// Offers, bookings, epochs with and without reports, and settlements in any order. Counts on its own what went in and out.
/// Three providers; reports speak of the first two only.
contract MarketHandler is MarketFixture {
    uint64 internal constant PROVIDERS = 3;
    uint64 internal constant JUDGED = 2;

    uint256 public paidIn; // escrows, by the builder
    uint256 public paidOut; // credits, to the builder
    uint256 public subsidised;
    uint256 public settlements;
    mapping(uint64 bookingId => uint256) public paidFor;
    mapping(uint64 bookingId => uint256) public creditPaid;

    uint64 internal next; // epoch to close
    mapping(uint64 epoch => bool) internal accepted;
    mapping(uint64 epoch => Report) internal reports;
    mapping(uint64 epoch => uint32[2]) internal multipliers;

    constructor() {
        deployMarket(500_000, 40);
        listedProvider(1_000, 70_001);
        listedProvider(500, 50_021);
        listedProvider(1_000, 90_011);
    }

    function theMarket() external view returns (ICapacityMarket) {
        return market;
    }

    function theToken() external view returns (address) {
        return address(token);
    }

    function offer(uint64 which, uint64 gib, uint96 price) external {
        market.list(pickProvider(which), uint64(bound(gib, 0, 1_000)), uint96(bound(price, 1, 1e12)));
    }

    function bookOne(uint64 which, uint64 gib, uint32 epochs) external {
        uint64 providerId = pickProvider(which);
        uint64 free = market.freeOf(providerId);
        if (free == 0) return;
        uint256 before = token.balanceOf(BUILDER);
        uint64 id = book(providerId, uint64(bound(gib, 1, free)), uint32(bound(epochs, 1, 6)));
        countPaid(id, before);
    }

    function bookCheapest(uint64 gib, uint32 epochs) external {
        uint64[] memory candidates = byPrice();
        uint64 free;
        for (uint256 i = 0; i < candidates.length; ++i) {
            free += market.freeOf(candidates[i]);
        }
        if (free == 0) return;
        vm.prank(BUILDER);
        (uint64 firstId, uint64 count) =
            market.bookCheapest(CLASS, REGION, uint64(bound(gib, 1, free)), uint32(bound(epochs, 1, 6)), ANY_PRICE, candidates);
        for (uint64 id = firstId; id < firstId + count; ++id) {
            uint256 cost = market.booking(id).escrow;
            paidFor[id] = cost;
            paidIn += cost;
        }
    }

    function extend(uint64 which, uint32 epochs) external {
        (uint64 id, ICapacityMarket.BookingView memory b) = pickBooking(which);
        if (id == 0 || b.terms.length == 8 || endOfBooking(b) < market.nextEpoch()) return;
        ICapacityMarket.Listing memory entry = market.listing(b.providerId);
        if (entry.booked > entry.gib) return;
        uint256 before = token.balanceOf(BUILDER);
        vm.prank(BUILDER);
        market.extend(id, uint32(bound(epochs, 1, 6)), ANY_PRICE);
        countPaid(id, before);
    }

    function end(uint64 which) external {
        (uint64 id, ICapacityMarket.BookingView memory b) = pickBooking(which);
        if (id == 0 || endOfBooking(b) <= market.nextEpoch() + NOTICE) return;
        vm.prank(BUILDER);
        market.end(id);
    }

    /// Closes the next epoch: every fourth has no report.
    function closeEpoch(uint8 kind, uint32[2] calldata multiplier) external {
        uint64 epoch = next++;
        if (kind % 4 == 0 && block.timestamp <= validUntil(epoch)) vm.warp(validUntil(epoch) + 1);
        if (block.timestamp > validUntil(epoch)) return;
        for (uint256 i = 0; i < JUDGED; ++i) {
            multipliers[epoch][i] = uint32(bound(multiplier[i], 0, FULL));
        }
        reports[epoch] = accept(epoch, resultTree(verdictsOf(epoch))[0]);
        accepted[epoch] = true;
    }

    function settleOne(uint64 which, uint64 epoch) external {
        (uint64 id, ICapacityMarket.BookingView memory b) = pickBooking(which);
        if (id == 0 || endOfBooking(b) == b.terms[0].start) return;
        epoch = uint64(bound(epoch, b.terms[0].start, endOfBooking(b) - 1));
        if (market.isSettled(id, epoch)) return;
        if (!accepted[epoch]) {
            if (settlement.isSettled(epoch) != 2) return;
            market.settleSkipped(id, epoch);
        } else {
            settleByReport(id, b.providerId, epoch);
        }
        ++settlements;
    }

    function release(uint64 which) external {
        (uint64 id, ICapacityMarket.BookingView memory b) = pickBooking(which);
        if (id == 0 || b.released || endOfBooking(b) >= market.nextEpoch()) return;
        market.release(id);
    }

    function withdraw(uint64 which) external {
        (uint64 id, ICapacityMarket.BookingView memory b) = pickBooking(which);
        if (id != 0 && b.credit > 0) {
            uint256 amount = market.withdrawCredit(id);
            creditPaid[id] += amount;
            paidOut += amount;
        }
        uint64 providerId = pickProvider(which);
        if (market.earnings(providerId) > 0) market.withdrawEarnings(providerId);
        if (market.accounts().oraclesDue > 0) market.payOracles();
        if (market.accounts().treasuryDue > 0) market.payTreasury();
    }

    function fundSubsidy(uint32 amount) external {
        market.fundSubsidy(amount);
        subsidised += amount;
    }

    function setFees(uint24 margin, uint24 share) external {
        vm.prank(OWNER);
        market.setFees(fees(uint24(bound(margin, 0, 300_000)), uint24(bound(share, 0, 1_000_000))));
    }

    /// What the three recipients hold.
    function earned() external view returns (uint256 sum) {
        for (uint64 id = 1; id <= PROVIDERS; ++id) {
            sum += token.balanceOf(recipientOf(id));
        }
    }

    function treasuryHolds() external view returns (uint256) {
        return token.balanceOf(TREASURY);
    }

    function pool() external view returns (uint256) {
        return settlement.pool();
    }

    function startOf(uint64 epoch) external pure returns (uint256) {
        return GENESIS + uint256(epoch) * LENGTH;
    }

    function settleByReport(uint64 id, uint64 providerId, uint64 epoch) private {
        Report memory r = reports[epoch];
        (uint256 maturesAt,) = settlement.maturesAt(r);
        uint256 opensAt = providerId > JUDGED ? maturesAt + UNSETTLED_DELAY : maturesAt;
        if (block.timestamp < opensAt) vm.warp(opensAt);
        if (providerId > JUDGED) return market.refundUnsettled(id, r);
        Verdict[] memory verdicts = verdictsOf(epoch);
        Verdict memory v = verdicts[providerId - 1];
        market.settle(id, r, v, MerkleTree.proof(resultTree(verdicts), resultLeaf(v)));
    }

    function verdictsOf(uint64 epoch) private view returns (Verdict[] memory verdicts) {
        verdicts = new Verdict[](JUDGED);
        for (uint64 i = 0; i < JUDGED; ++i) {
            verdicts[i] = verdictOf(i + 1, epoch, DEGRADED, multipliers[epoch][i]);
        }
    }

    function byPrice() private view returns (uint64[] memory ids) {
        ids = new uint64[](PROVIDERS);
        for (uint64 i = 0; i < PROVIDERS; ++i) {
            uint256 j = i;
            for (; j > 0 && market.listing(ids[j - 1]).price > market.listing(i + 1).price; --j) {
                ids[j] = ids[j - 1];
            }
            ids[j] = i + 1;
        }
    }

    function countPaid(uint64 id, uint256 balanceBefore) private {
        uint256 paid = balanceBefore - token.balanceOf(BUILDER);
        paidFor[id] += paid;
        paidIn += paid;
    }

    function pickProvider(uint64 which) private pure returns (uint64) {
        return 1 + which % PROVIDERS;
    }

    function pickBooking(uint64 which) private view returns (uint64 id, ICapacityMarket.BookingView memory b) {
        uint64 count = market.bookingCount();
        if (count == 0) return (0, b);
        id = 1 + which % count;
        b = market.booking(id);
    }

    function endOfBooking(ICapacityMarket.BookingView memory b) private pure returns (uint64) {
        return b.terms[b.terms.length - 1].end;
    }
}

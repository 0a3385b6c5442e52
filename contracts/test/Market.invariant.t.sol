// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {ICapacityMarket} from "../src/interfaces/ICapacityMarket.sol";
import {Term} from "../src/market/Bookings.sol";
import {Area} from "../src/market/PriceBook.sol";
import {MarketHandler} from "./utils/MarketHandler.sol";
import {Test} from "./utils/Test.sol";

contract MarketInvariant is Test {
    MarketHandler internal handler;
    ICapacityMarket internal market;
    address[] internal targets;

    /// Sums over all bookings.
    struct Sums {
        uint256 escrow;
        uint256 credit;
        uint256 unsettled; // price * GiB of the epochs that are not settled
        uint64[4] bookedGib; // by provider
        uint128 bookedCost;
    }

    function setUp() public {
        handler = new MarketHandler();
        market = handler.theMarket();
        targets.push(address(handler));
    }

    function targetContracts() public view returns (address[] memory) {
        return targets;
    }

    // Defence: every unit has one owner; with a rounding lost or a part paid twice, this turns red.
    function invariant_what_lies_in_the_market_is_somebodys() public view {
        Sums memory s = sums();
        ICapacityMarket.Accounts memory a = market.accounts();
        uint256 earnings = market.earnings(1) + market.earnings(2) + market.earnings(3);
        uint256 owed = s.escrow + s.credit + earnings + a.oraclesDue + a.treasuryDue + a.subsidyFund;
        vm.assertEq(IERC20(handler.theToken()).balanceOf(address(market)), owed);
        vm.assertEq(s.escrow, s.unsettled);
    }

    // Defence: escrow in = provider pay + margin + credits + escrow left; without any of the parts, this turns red.
    function invariant_escrows_are_conserved() public view {
        Sums memory s = sums();
        ICapacityMarket.Accounts memory a = market.accounts();
        uint256 margin = uint256(a.oraclesDue) + a.oraclesPaid + a.treasuryDue + a.treasuryPaid;
        vm.assertEq(handler.paidIn(), a.providersPaid + margin + s.credit + handler.paidOut() + s.escrow);
    }

    // Defence: what is drawn is what was booked as paid, and a subsidy is at most the margin; without it, this turns red.
    function invariant_payments_are_accounted_for() public view {
        ICapacityMarket.Accounts memory a = market.accounts();
        uint256 earnings = market.earnings(1) + market.earnings(2) + market.earnings(3);
        vm.assertEq(handler.earned() + earnings, uint256(a.providersPaid) + a.subsidyPaid);
        vm.assertEq(handler.pool(), a.oraclesPaid);
        vm.assertEq(handler.treasuryHolds(), a.treasuryPaid);
        vm.assertEq(handler.subsidised(), uint256(a.subsidyFund) + a.subsidyPaid);
        vm.assertLe(a.subsidyPaid, uint256(a.treasuryDue) + a.treasuryPaid);
    }

    // Defence: compensation comes out of the booking's own escrow; with another source, this turns red.
    function invariant_nobody_is_credited_more_than_he_paid() public view {
        for (uint64 id = 1; id <= market.bookingCount(); ++id) {
            ICapacityMarket.BookingView memory b = market.booking(id);
            vm.assertLe(b.escrow + b.credit + handler.creditPaid(id), handler.paidFor(id));
        }
    }

    // Defence: capacity, index and obligations follow every booking; one forgotten in any of the ways it ends turns this red.
    function invariant_sums_follow_the_bookings() public view {
        Sums memory s = sums();
        Area memory a = market.area(100, 7);
        uint64 listedGib;
        uint256 listedCost;
        for (uint64 id = 1; id <= 3; ++id) {
            ICapacityMarket.Listing memory entry = market.listing(id);
            vm.assertEq(entry.booked, s.bookedGib[id]);
            listedGib += entry.gib;
            listedCost += uint256(entry.gib) * entry.price;
        }
        vm.assertEq(a.bookedGib, uint256(s.bookedGib[1]) + s.bookedGib[2] + s.bookedGib[3]);
        vm.assertEq(a.bookedCost, s.bookedCost);
        vm.assertEq(a.listedGib, listedGib);
        vm.assertEq(a.listedCost, listedCost);
    }

    function sums() private view returns (Sums memory s) {
        for (uint64 id = 1; id <= market.bookingCount(); ++id) {
            ICapacityMarket.BookingView memory b = market.booking(id);
            s.escrow += b.escrow;
            s.credit += b.credit;
            for (uint256 i = 0; i < b.terms.length; ++i) {
                s.unsettled += unsettledOf(id, b.gib, b.terms[i]);
                if (i > 0) vm.assertEq(b.terms[i].start, b.terms[i - 1].end);
            }
            if (b.released) continue;
            Term memory last = b.terms[b.terms.length - 1];
            s.bookedGib[b.providerId] += b.gib;
            s.bookedCost += uint128(b.gib) * last.price;
            vm.assertLe(handler.startOf(last.end), market.obligedUntil(b.providerId));
        }
    }

    function unsettledOf(uint64 id, uint64 gib, Term memory term) private view returns (uint256 sum) {
        for (uint64 epoch = term.start; epoch < term.end; ++epoch) {
            if (!market.isSettled(id, epoch)) sum += uint256(gib) * term.price;
        }
    }
}

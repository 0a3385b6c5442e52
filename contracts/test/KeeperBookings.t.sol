// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Keeper} from "../src/Keeper.sol";
import {IKeeper} from "../src/interfaces/IKeeper.sol";
import {Verdict} from "../src/interfaces/ISlaOracle.sol";
import {Report} from "../src/interfaces/ISlaSettlement.sol";
import {MarketFixture} from "./utils/MarketFixture.sol";

contract KeeperBookingsTest is MarketFixture {
    address internal constant HELPER = address(0x4e1);
    /// Of an epoch of 10 GiB, with the margin of a tenth.
    uint96 internal constant PRICE = 1e18;
    uint256 internal constant MARGIN_EACH = 1e18;

    Keeper internal keeper;
    uint64 internal providerId;
    uint64[] internal ids;

    function setUp() public {
        deployMarket(0, 0);
        keeper = new Keeper(settlement, market, address(this));
        token.mint(address(keeper), 1_000e18);
        keeper.setTariff(IKeeper.Action.Booking, 1e17, 10);
        providerId = listedProvider(1_000, PRICE);
        for (uint256 i = 0; i < 3; ++i) {
            ids.push(book(providerId, 10, 2));
        }
        accept(0, 0); // bookings begin with epoch 1
    }

    function settleAs(address who, uint8 outcome, uint32 multiplierPpm) private returns (uint256 done, uint256 tip) {
        Verdict memory v = verdictOf(providerId, 1, outcome, multiplierPpm);
        Report memory r = acceptOne(v);
        vm.prank(who);
        return keeper.settleBookings(ids, r, v, noProof());
    }

    function test_who_settles_bookings_is_tipped_for_each() public {
        ids.push(99); // unknown: passed over
        (uint256 done, uint256 tip) = settleAs(HELPER, PASS, FULL);
        vm.assertEq(done, 3);
        vm.assertEq(tip, 3e17);
        vm.assertEq(token.balanceOf(HELPER), 3e17);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertTrue(market.isSettled(ids[i], 1));
        }
    }

    // Defence: tips come out of the margin that the batch brings; without it, bookings with oneself live on tips and this turns red.
    function test_tips_never_exceed_the_margin() public {
        keeper.setTariff(IKeeper.Action.Booking, uint128(MARGIN_EACH + MARGIN_EACH / 2 + 1), 10);
        (uint256 done, uint256 tip) = settleAs(HELPER, PASS, FULL);
        vm.assertEq(done, 3);
        vm.assertEq(tip, MARGIN_EACH + MARGIN_EACH / 2 + 1); // the margin of three pays for one tip, not quite for two
    }

    function test_credits_alone_are_settled_without_a_tip() public {
        (uint256 done, uint256 tip) = settleAs(HELPER, FAIL, 0);
        vm.assertEq(done, 3);
        vm.assertEq(tip, 0);
        vm.assertEq(market.credit(ids[0]), 10 * uint256(PRICE));
    }

    // Defence: a batch that settles nothing reverts; without it, this turns red.
    function test_nothing_is_settled_twice() public {
        Verdict memory v = verdictOf(providerId, 1, PASS, FULL);
        Report memory r = acceptOne(v);
        keeper.settleBookings(ids, r, v, noProof());
        vm.expectRevert(IKeeper.NothingDone.selector);
        keeper.settleBookings(ids, r, v, noProof());
    }
}

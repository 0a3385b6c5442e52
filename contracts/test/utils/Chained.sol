// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlaSettlement, Report} from "../../src/interfaces/ISlaSettlement.sol";
import {Fixture} from "./Fixture.sol";

/// Chains of reports under windows that are longer than epochs, and a court. Each report has one reward, cumulative, for
/// provider 1, and one slash of it.
abstract contract Chained is Fixture {
    address internal constant COURT = address(0xc0);
    address internal constant STRANGER = address(0xbad);
    address internal constant PAID = address(0x1001);
    uint256 internal constant ALL = 0xf;
    uint256 internal constant SLASH = 1e18;

    uint64 internal rewardWindow = 80;
    uint64 internal slashWindow = 160;

    function setUp() public virtual {
        deployWithCommittee(4);
        settlement.setCourt(COURT, true);
        settlement.fund(1_000e18);
        registerProvider();
    }

    function config() internal view virtual override returns (ISlaSettlement.Config memory c) {
        c = super.config();
        (c.rewardWindow, c.slashWindow) = (rewardWindow, slashWindow);
    }

    /// Accepted when its epoch ends, or now if that is later.
    function accept(uint64 epoch, bytes32 parent, uint256 cumulative) internal returns (Report memory r) {
        r = draft(epoch, parent, cumulative);
        if (block.timestamp < endOf(epoch)) vm.warp(endOf(epoch));
        submit(r, ALL);
    }

    function draft(uint64 epoch, bytes32 parent, uint256 cumulative) internal view returns (Report memory r) {
        r = report(epoch);
        r.parentDigest = parent;
        r.rewardRoot = rewardLeaf(Reward(0, 1, PAID, cumulative));
        r.slashRoot = slashLeaf(1, epoch, SLASH);
    }

    /// Epochs 0 to `n` - 1, the n-th paying n * 1e18 in all.
    function acceptChain(uint64 n) internal returns (Report[] memory chain) {
        chain = new Report[](n);
        bytes32 parent;
        for (uint64 e = 0; e < n; ++e) {
            chain[e] = accept(e, parent, (uint256(e) + 1) * 1e18);
            parent = digestOf(chain[e]);
        }
    }

    /// After a pause of reports: the one epoch whose report can be accepted now.
    function oldestOpen() internal view returns (uint64) {
        return uint64((block.timestamp - GENESIS - 1) / LENGTH - VALID_EPOCHS);
    }

    function claimOf(Report memory r, uint256 cumulative) internal {
        settlement.claim(r, 0, 1, PAID, cumulative, new bytes32[](0));
    }

    function claimFails(Report memory r, uint256 cumulative, bytes memory failure) internal {
        vm.expectRevert(failure);
        settlement.claim(r, 0, 1, PAID, cumulative, new bytes32[](0));
    }

    function slashOf(Report memory r) internal {
        settlement.executeSlash(r, 1, 1, "facts", SLASH, new bytes32[](0));
    }

    function slashFails(Report memory r, bytes memory failure) internal {
        vm.expectRevert(failure);
        settlement.executeSlash(r, 1, 1, "facts", SLASH, new bytes32[](0));
    }

    function voidAs(address by, Report memory r, uint64 parentEpoch) internal {
        vm.prank(by);
        settlement.voidReport(r, parentEpoch);
    }

    function voidFails(address by, Report memory r, uint64 parentEpoch, bytes memory failure) internal {
        vm.expectRevert(failure);
        vm.prank(by);
        settlement.voidReport(r, parentEpoch);
    }

    function holdAs(address by, uint64 epoch, uint256 until) internal {
        vm.prank(by);
        settlement.hold(epoch, uint64(until));
    }

    function holdFails(address by, uint64 epoch, uint256 until, bytes memory failure) internal {
        vm.expectRevert(failure);
        vm.prank(by);
        settlement.hold(epoch, uint64(until));
    }

    function with(bytes4 selector, uint256 a) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, a);
    }

    function assertLast(bool any, uint64 epoch, bytes32 digest) internal view {
        (bool any_, uint64 epoch_, bytes32 digest_) = settlement.lastAccepted();
        vm.assertEq(any_, any);
        vm.assertEq(epoch_, epoch);
        vm.assertEq(digest_, stored(digest));
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {SeedCourt} from "../src/courts/SeedCourt.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {ISeedCourt} from "../src/interfaces/ISeedCourt.sol";
import {ISignersCourt} from "../src/interfaces/ISignersCourt.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {BlsSigner} from "./utils/BlsSigner.sol";
import {CourtFixture} from "./utils/CourtFixture.sol";

/// Convicts whom it likes.
contract FalseCourt {
    function convicted(bytes32) external view returns (address) {
        return address(this);
    }
}

/// A report of the wrong beacon round, which the seed court convicts.
contract CourtSignersTest is CourtFixture {
    SeedCourt internal court;
    Report internal r;
    bytes internal certificate;

    function setUp() public {
        deployCourts();
        court = new SeedCourt(settlement, SLASH_PPM, ISeedCourt.Beacon(BlsSigner.publicKey(1), GENESIS - 1000, 3), 5_000);
        allow(address(court));
        r = report(0);
        certificate = signReport(r, CORRUPT);
        post(r);
    }

    /// Windows longer than an epoch: a report and its child are both open.
    function config() internal view override returns (ISlaSettlement.Config memory c) {
        c = super.config();
        (c.rewardWindow, c.slashWindow) = (80, 160);
    }

    function convict() private {
        vm.prank(CHALLENGER);
        court.convictRound(r, 0);
        signersCourt.openReview(r, address(court));
    }

    function expect(bytes memory failure) private {
        vm.expectRevert(failure);
        signersCourt.slashSigners(r, CORRUPT, certificate, 256);
    }

    function test_the_signers_of_a_convicted_report() public {
        vm.prank(CHALLENGER);
        court.convictRound(r, 0);
        slashTheSigners(r, address(court));
    }

    /// Defence: only a court's conviction opens a review; without it the guardian's void, or nothing at all, slashes honest signers.
    function test_without_a_conviction_nobody_is_slashed() public {
        bytes32 digest = digestOf(r);
        vm.expectRevert(abi.encodeWithSelector(ISignersCourt.NotConvicted.selector, digest));
        signersCourt.openReview(r, address(court));
        vm.prank(GUARDIAN);
        settlement.voidReport(r, 0);
        vm.expectRevert(abi.encodeWithSelector(ISignersCourt.NotConvicted.selector, digest));
        signersCourt.openReview(r, address(court));
        expect(abi.encodeWithSelector(ISignersCourt.NotReviewed.selector, digest));
    }

    /// Defence: the court that is named is one; without it a contract of the attacker's convicts.
    function test_a_court_of_the_attackers_own() public {
        address false_ = address(new FalseCourt());
        vm.expectRevert(abi.encodeWithSelector(ISignersCourt.NotACourt.selector, false_));
        signersCourt.openReview(r, false_);
    }

    /// Defence: the review; without it a fault in the software of all takes the stakes of all at once.
    function test_the_owner_cancels_during_the_review() public {
        convict();
        bytes32 digest = digestOf(r);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, STRANGER));
        vm.prank(STRANGER);
        signersCourt.cancelReview(digest);
        expect(abi.encodeWithSelector(ISignersCourt.ReviewRuns.selector, endOf(0) + REVIEW));
        signersCourt.cancelReview(digest);
        vm.warp(endOf(0) + REVIEW);
        expect(abi.encodeWithSelector(ISignersCourt.Cancelled.selector, digest));
        vm.expectRevert(abi.encodeWithSelector(ISignersCourt.AlreadyReviewed.selector, digest));
        signersCourt.openReview(r, address(court));
    }

    function test_after_the_review_the_owner_stops_nothing() public {
        convict();
        vm.warp(endOf(0) + REVIEW);
        bytes32 digest = digestOf(r);
        vm.expectRevert(abi.encodeWithSelector(ISignersCourt.ReviewOver.selector, endOf(0) + REVIEW));
        signersCourt.cancelReview(digest);
    }

    /// Bounded by the caller, so that 256 signers fit into as many transactions as it takes; nobody is slashed twice.
    function test_call_by_call() public {
        convict();
        vm.warp(endOf(0) + REVIEW);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(signersCourt.slashSigners(r, CORRUPT, certificate, 1), 1);
        }
        vm.assertEq(signersCourt.slashSigners(r, CORRUPT, certificate, 1), 0);
        for (uint64 id = 1; id <= 3; ++id) {
            vm.assertEq(oracles.stakeOf(id), STAKE * 9 / 10);
        }
    }

    /// Defence: the certificate is of this report and a quorum; without it who did not sign is slashed.
    function test_only_who_signed_is_slashed() public {
        convict();
        vm.warp(endOf(0) + REVIEW);
        vm.expectRevert(ISignersCourt.InvalidCertificate.selector);
        signersCourt.slashSigners(r, 0xf, certificate, 256);
        Report memory other = r;
        other.view_ = 1;
        bytes memory signature = signReport(other, 0xf);
        vm.expectRevert(ISignersCourt.InvalidCertificate.selector);
        signersCourt.slashSigners(r, 0xf, signature, 256);
    }

    /// All certificates count: who signs too late to be in the one that was posted has signed all the same.
    function test_a_second_certificate_of_the_same_report() public {
        bytes memory all = signReport(r, 0xf);
        convict();
        vm.warp(endOf(0) + REVIEW);
        signersCourt.slashSigners(r, CORRUPT, certificate, 256);
        vm.assertEq(signersCourt.slashSigners(r, 0xf, all, 256), 1);
        vm.assertEq(oracles.stakeOf(4), STAKE * 9 / 10);
    }

    /// A convicted report does not come back, although its certificate is as good as before.
    function test_a_convicted_report_is_not_accepted_again() public {
        convict();
        vm.expectRevert(abi.encodeWithSelector(ISlaSettlement.AlreadyVoided.selector, digestOf(r)));
        settlement.submitReport(r, CORRUPT, certificate);
    }

    // Defence: a report that fell with an earlier one is convicted all the same. Without it whoever signed it goes free, because another
    // fault was found first.
    function test_a_report_that_fell_with_an_earlier_one() public {
        Report memory child = report(1);
        child.parentDigest = digestOf(r);
        post(child);
        court.convictRound(r, 0);
        (bytes32 accepted,) = settlement.acceptedReport(1);
        vm.assertEq(accepted, bytes32(0));
        vm.assertFalse(settlement.voided(digestOf(child)));

        vm.prank(CHALLENGER);
        court.convictRound(child, 0);
        slashTheSigners(child, address(court));
    }

    // Defence: only a report of this settlement is judged. Without it who signed for another chain, or under other parameters, is slashed
    // by the rules of this one.
    function test_a_report_of_another_settlement() public {
        Report[3] memory strange = [report(1), report(1), report(1)];
        strange[0].chainId = 1;
        strange[1].settlement = STRANGER;
        strange[2].paramsHash = "other";
        for (uint256 i = 0; i < strange.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ICourt.NotOfThisSettlement.selector, digestOf(strange[i])));
            court.convictRound(strange[i], 0);
        }
    }

    // Defence: who convicted first stays. Without it whoever repeats the proof takes the reward.
    function test_who_convicted_first_is_paid() public {
        Report memory next = report(1);
        next.parentDigest = digestOf(r);
        vm.prank(CHALLENGER);
        court.convictRound(next, 0); // before it is posted
        vm.expectRevert(abi.encodeWithSelector(ICourt.AlreadyConvicted.selector, digestOf(next)));
        vm.prank(STRANGER);
        court.convictRound(next, 0);

        post(next);
        vm.prank(STRANGER);
        court.convictRound(next, 0);
        assertVoid(next);
        vm.assertEq(court.convicted(digestOf(next)), CHALLENGER);
    }
}

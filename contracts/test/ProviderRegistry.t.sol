// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {ProviderRegistry} from "../src/ProviderRegistry.sol";
import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";
import {Fixture} from "./utils/Fixture.sol";

contract ProviderRegistryTest is Fixture {
    uint256 internal constant SECP256K1_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    bytes32 internal constant ROOT = keccak256("claims");

    function setUp() public {
        deploy();
    }

    function signClaims(uint256 secret, ProviderRegistry registry, uint64 sequence) private view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(secret, registry.claimsDigest(1, sequence, ROOT, 4, 2));
        return abi.encodePacked(r, s, v);
    }

    function publishExpecting(uint64 sequence, bytes memory signature, bytes memory failure) private {
        vm.expectRevert(failure);
        providers.publishClaims(1, sequence, ROOT, 4, 2, signature);
    }

    function publishForged(bytes memory signature) private {
        publishExpecting(1, signature, abi.encodeWithSelector(IProviderRegistry.InvalidClaimsSignature.selector));
    }

    function test_register_stores_what_was_said_and_takes_the_stake() public {
        vm.expectEmit(address(providers));
        emit IProviderRegistry.ProviderRegistered(1, address(this), "http://provider");
        vm.assertEq(registerProvider(), 1);
        vm.assertEq(registerProvider(), 2);
        IProviderRegistry.Provider memory p = providers.provider(1);
        vm.assertEq(p.operator, address(this));
        vm.assertEq(p.recipient, address(0x9d));
        vm.assertEq(p.receiptKey, vm.addr(RECEIPT_SECRET));
        vm.assertEq(p.classId, 100);
        vm.assertEq(p.claimSequence, 0);
        vm.assertEq(p.claimRoot, bytes32(0));
        vm.assertEq(p.stake, STAKE);
        vm.assertEq(p.region, 7);
        vm.assertTrue(p.active);
        vm.assertEq(p.endpoint, "http://provider");
        vm.assertEq(token.balanceOf(address(providers)), 2 * STAKE);
        vm.assertEq(providers.providerCount(), 2);
    }

    function test_register_refuses_bad_input() public {
        vm.expectRevert(IProviderRegistry.ZeroAddress.selector);
        providers.register(address(0), "x", 1, 1, address(1), STAKE);
        vm.expectRevert(IProviderRegistry.ZeroAddress.selector);
        providers.register(address(1), "x", 1, 1, address(0), STAKE);
        vm.expectRevert(IProviderRegistry.InvalidEndpoint.selector);
        providers.register(address(1), "", 1, 1, address(1), STAKE);
        vm.expectRevert(IProviderRegistry.InvalidClass.selector);
        providers.register(address(1), "x", 0, 1, address(1), STAKE);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.StakeTooLow.selector, 0, 1e18));
        providers.register(address(1), "x", 1, 1, address(1), 0);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.UnknownProvider.selector, 1));
        providers.provider(1);
    }

    // Defence: the registry is full at 4,096, all of whom every node reads; removed, a stranger's registrations stop every node
    // from opening an epoch, and this turns red.
    function test_a_full_registry_refuses_more_providers() public {
        for (uint256 i = 0; i < 4096; ++i) {
            registerProvider();
        }
        vm.expectRevert(IProviderRegistry.RegistryFull.selector);
        registerProvider();
        vm.assertEq(providers.providerCount(), 4096);
        vm.assertEq(providers.provider(4096).operator, address(this));
    }

    function test_anyone_publishes_signed_claims() public {
        registerProvider();
        bytes memory signature = signClaims(RECEIPT_SECRET, providers, 1);
        vm.expectEmit(address(providers));
        emit IProviderRegistry.ClaimsPublished(1, 1, ROOT, 4, 2);
        vm.prank(address(0xabc));
        providers.publishClaims(1, 1, ROOT, 4, 2, signature);
        IProviderRegistry.Provider memory p = providers.provider(1);
        vm.assertEq(p.claimSequence, 1);
        vm.assertEq(p.claimRoot, ROOT);
        vm.assertEq(p.claimBlocks, 4);
        vm.assertEq(p.claimCount, 2);
    }

    // Defence: the sequence must be the stored one plus 1; removed, an old set comes back and this turns red.
    function test_an_old_claim_set_cannot_be_replayed() public {
        registerProvider();
        bytes memory signature = signClaims(RECEIPT_SECRET, providers, 1);
        providers.publishClaims(1, 1, ROOT, 4, 2, signature);
        publishExpecting(1, signature, abi.encodeWithSelector(IProviderRegistry.WrongSequence.selector, 1, 2));
        publishExpecting(3, signature, abi.encodeWithSelector(IProviderRegistry.WrongSequence.selector, 3, 2));
    }

    // Defence: the digest names the registry; removed, this turns red.
    function test_claims_signature_of_another_registry() public {
        registerProvider();
        publishForged(signClaims(RECEIPT_SECRET, new ProviderRegistry(token, 1, providerTerms()), 1));
    }

    // Defence: the digest names the chain; removed, this turns red.
    function test_claims_signature_of_another_chain() public {
        registerProvider();
        bytes memory signature = signClaims(RECEIPT_SECRET, providers, 1);
        vm.chainId(777);
        publishForged(signature);
    }

    // Defence: only the receipt key signs claims; removed, this turns red.
    function test_claims_signature_by_a_stranger() public {
        registerProvider();
        publishForged(signClaims(0xbad, providers, 1));
    }

    // Defence: high s and v outside 27/28 are refused; removed, one statement has many signatures and this turns red.
    function test_high_s_and_wrong_v() public {
        registerProvider();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(RECEIPT_SECRET, providers.claimsDigest(1, 1, ROOT, 4, 2));
        publishForged(abi.encodePacked(r, SECP256K1_ORDER - uint256(s), v == 27 ? uint8(28) : uint8(27)));
        publishForged(abi.encodePacked(r, s, v - 27));
        publishForged(abi.encodePacked(r, s));
        publishForged(abi.encodePacked(bytes32(0), bytes32(0), uint8(27)));
        providers.publishClaims(1, 1, ROOT, 4, 2, abi.encodePacked(r, s, v));
    }

    function test_settlement_is_set_once_by_the_owner() public {
        vm.expectRevert(IProviderRegistry.SettlementAlreadySet.selector);
        providers.setSettlement(address(1));
        ProviderRegistry fresh = new ProviderRegistry(token, 1, providerTerms());
        vm.expectRevert(IProviderRegistry.ZeroAddress.selector);
        fresh.setSettlement(address(0));
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(0xbad)));
        vm.prank(address(0xbad));
        fresh.setSettlement(address(1));
    }

    // Defence: only the settlement slashes; removed, this turns red.
    function test_a_stranger_cannot_slash() public {
        registerProvider();
        vm.expectRevert(IProviderRegistry.OnlySettlement.selector);
        providers.slash(1, 1);
    }

    function testFuzz_slash_burns_at_most_the_stake(uint256 amount) public {
        registerProvider();
        uint256 expected = amount < STAKE ? amount : STAKE;
        vm.prank(address(settlement));
        vm.assertEq(providers.slash(1, amount), expected);
        vm.assertEq(providers.stakeOf(1), STAKE - expected);
        vm.assertEq(token.balanceOf(address(0xdEaD)), expected);
        vm.assertEq(token.balanceOf(address(providers)), STAKE - expected);
    }

    function test_endpoint_recipient_and_stake_change_at_once() public {
        registerProvider();
        providers.setEndpoint(1, "http://elsewhere");
        providers.setRecipient(1, address(0x9e));
        providers.addStake(1, 5);
        IProviderRegistry.Provider memory p = providers.provider(1);
        vm.assertEq(p.endpoint, "http://elsewhere");
        vm.assertEq(p.recipient, address(0x9e));
        vm.assertEq(p.stake, STAKE + 5);
        vm.expectRevert(IProviderRegistry.InvalidEndpoint.selector);
        providers.setEndpoint(1, "");
        vm.expectRevert(IProviderRegistry.ZeroAddress.selector);
        providers.setRecipient(1, address(0));
        vm.expectRevert(IProviderRegistry.ZeroAmount.selector);
        providers.addStake(1, 0);
    }

    // Defence: a new receipt key waits until all that the old one signed is past its windows; at once, a wrong answer of the old key
    // is nobody's fault, and this turns red.
    function test_a_receipt_key_takes_effect_when_the_old_ones_reports_are_final() public {
        registerProvider();
        uint256 activeAt = GENESIS + (2 + VALID_EPOCHS) * LENGTH + SLASH_WINDOW;
        vm.assertEq(GENESIS + providers.keyDelaySeconds(), activeAt);
        address key = vm.addr(0xbee);
        vm.expectEmit(address(providers));
        emit IProviderRegistry.ReceiptKeyAnnounced(1, key, activeAt);
        providers.setReceiptKey(1, key);
        bytes memory byNew = signClaims(0xbee, providers, 1);
        vm.warp(activeAt - 1);
        vm.assertEq(providers.provider(1).receiptKey, vm.addr(RECEIPT_SECRET));
        publishForged(byNew);
        vm.warp(activeAt);
        vm.assertEq(providers.provider(1).receiptKey, key);
        publishForged(signClaims(RECEIPT_SECRET, providers, 1));
        providers.publishClaims(1, 1, ROOT, 4, 2, byNew);
    }

    function test_a_second_announcement_replaces_the_first() public {
        registerProvider();
        uint256 delay = providers.keyDelaySeconds();
        providers.setReceiptKey(1, address(0x11));
        vm.warp(GENESIS + delay - 1);
        providers.setReceiptKey(1, address(0x12));
        vm.warp(GENESIS + delay);
        vm.assertEq(providers.provider(1).receiptKey, vm.addr(RECEIPT_SECRET));
        vm.warp(GENESIS + 2 * delay - 1);
        vm.assertEq(providers.provider(1).receiptKey, address(0x12));
        providers.setReceiptKey(1, address(0x13));
        vm.assertEq(providers.provider(1).receiptKey, address(0x12));
        vm.expectRevert(IProviderRegistry.ZeroAddress.selector);
        providers.setReceiptKey(1, address(0));
    }

    function test_capacity_needs_stake_and_a_class_with_a_price() public {
        registerProvider();
        vm.assertEq(providers.capacityOf(1), 0);
        uint64 most = uint64(STAKE / STAKE_PER_GIB);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.StakeTooLow.selector, STAKE, STAKE + STAKE_PER_GIB));
        providers.declareCapacity(1, most + 1);
        vm.expectEmit(address(providers));
        emit IProviderRegistry.CapacityDeclared(1, most);
        providers.declareCapacity(1, most);
        vm.assertEq(providers.capacityOf(1), most);
        providers.declareCapacity(1, 3);
        vm.assertEq(providers.capacityOf(1), 3);
        vm.assertEq(providers.capacityOf(2), 0);
        providers.register(address(1), "x", 101, 7, address(1), STAKE);
        vm.expectRevert(IProviderRegistry.InvalidClass.selector);
        providers.declareCapacity(2, 1);
    }

    // Defence: capacity follows the stake behind it; without it, what a slash took still stands behind bookings.
    function test_capacity_shrinks_with_the_stake() public {
        registerProvider();
        providers.declareCapacity(1, 100);
        vm.prank(address(settlement));
        providers.slash(1, 1);
        vm.assertEq(providers.capacityOf(1), 99);
    }

    function test_impossible_classes_are_refused() public {
        IProviderRegistry.Terms memory terms = providerTerms();
        terms.classes[0].perGib = 0;
        vm.expectRevert(IProviderRegistry.InvalidClass.selector);
        new ProviderRegistry(token, 1, terms);
        terms.classes[0] = IProviderRegistry.ClassStake(0, 1);
        vm.expectRevert(IProviderRegistry.InvalidClass.selector);
        new ProviderRegistry(token, 1, terms);
    }
}

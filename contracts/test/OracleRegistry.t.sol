// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {OracleRegistry} from "../src/OracleRegistry.sol";
import {IOracleRegistry} from "../src/interfaces/IOracleRegistry.sol";
import {Bls12381} from "../src/libraries/Bls12381.sol";
import {Committee} from "../src/libraries/Committee.sol";
import {BlsSigner} from "./utils/BlsSigner.sol";
import {Fixture} from "./utils/Fixture.sol";

contract OracleRegistryTest is Fixture {
    bytes internal key;
    bytes internal pop;

    function setUp() public {
        deploy();
        key = BlsSigner.publicKey(BlsSigner.secret(0));
        pop = popFor(address(this), oracles);
    }

    function popFor(address operator, OracleRegistry registry) private view returns (bytes memory) {
        return BlsSigner.sign(BlsSigner.secret(0), registry.popMessage(operator, key), BlsSigner.POP_DST);
    }

    function register(bytes memory key_, bytes memory pop_) private {
        oracles.register(key_, pop_, "http://oracle", address(0x7a), address(0x7b), 3, STAKE);
    }

    function registerExpecting(bytes memory key_, bytes memory pop_, bytes4 failure) private {
        vm.expectRevert(failure);
        register(key_, pop_);
    }

    function test_register_stores_what_was_said_and_takes_the_stake() public {
        vm.expectEmit(address(oracles));
        emit IOracleRegistry.OracleRegistered(1, address(this), "http://oracle");
        register(key, pop);

        IOracleRegistry.Oracle memory o = oracles.oracle(1);
        vm.assertEq(o.operator, address(this));
        vm.assertEq(o.transmitter, address(0x7a));
        vm.assertEq(o.recipient, address(0x7b));
        vm.assertEq(o.networkGroup, 3);
        vm.assertTrue(o.active);
        vm.assertEq(o.stake, STAKE);
        vm.assertEq(o.endpoint, "http://oracle");
        vm.assertEq(o.blsKey, key);
        vm.assertEq(oracles.oracleCount(), 1);
        vm.assertEq(token.balanceOf(address(oracles)), STAKE);
    }

    function test_popMessage_is_as_specified() public view {
        vm.assertEq(
            oracles.popMessage(address(7), key),
            keccak256(abi.encode(keccak256("assay.pop.v1"), block.chainid, address(oracles), address(7), keccak256(key)))
        );
    }

    // Defence: the proof's message names the operator; removed, this turns red.
    function test_pop_replayed_by_another_operator() public {
        vm.prank(address(0xbad));
        registerExpecting(key, pop, IOracleRegistry.InvalidProofOfPossession.selector);
    }

    // Defence: the proof's message names the registry; removed, this turns red.
    function test_pop_replayed_at_another_registry() public {
        bytes memory foreign = popFor(address(this), new OracleRegistry(token, 1, 0, oracleTerms()));
        registerExpecting(key, foreign, IOracleRegistry.InvalidProofOfPossession.selector);
    }

    // Defence: the proof's message names the chain; removed, this turns red.
    function test_pop_replayed_on_another_chain() public {
        vm.chainId(777);
        registerExpecting(key, pop, IOracleRegistry.InvalidProofOfPossession.selector);
    }

    // Defence: the proof has its own domain tag; with the report's, this turns red.
    function test_pop_under_the_report_tag() public {
        bytes32 message = oracles.popMessage(address(this), key);
        bytes memory foreign = BlsSigner.sign(BlsSigner.secret(0), message, BlsSigner.REPORT_DST);
        registerExpecting(key, foreign, IOracleRegistry.InvalidProofOfPossession.selector);
    }

    // Defence: registered keys are remembered; removed, one secret could vote twice and this turns red.
    function test_duplicate_key() public {
        register(key, pop);
        registerExpecting(key, pop, IOracleRegistry.DuplicateKey.selector);
        vm.startPrank(address(0xbad));
        registerExpecting(key, popFor(address(0xbad), oracles), IOracleRegistry.DuplicateKey.selector);
    }

    // Defence: infinity is refused as a key and as a proof; both removed, anybody "possesses" it and this turns red.
    function test_infinity_as_key_or_proof() public {
        registerExpecting(new bytes(256), new bytes(128), IOracleRegistry.InvalidProofOfPossession.selector);
        registerExpecting(new bytes(256), pop, IOracleRegistry.InvalidProofOfPossession.selector);
        registerExpecting(key, new bytes(128), IOracleRegistry.InvalidProofOfPossession.selector);
    }

    // Defence: the pairing checks the subgroup of key and proof; removed, this turns red.
    function test_wrong_subgroup_key_or_proof() public {
        string memory points = vm.readFile("../tests/vectors/curve_points.json");
        bytes memory wrongKey = vm.parseJsonBytes(points, ".g2.wrongSubgroup");
        registerExpecting(wrongKey, pop, IOracleRegistry.InvalidProofOfPossession.selector);
        registerExpecting(key, vm.parseJsonBytes(points, ".g1.wrongSubgroup"), IOracleRegistry.InvalidProofOfPossession.selector);
        registerExpecting(vm.parseJsonBytes(points, ".g2.offCurve"), pop, IOracleRegistry.InvalidProofOfPossession.selector);
    }

    function test_register_refuses_bad_input() public {
        registerExpecting(hex"00", pop, IOracleRegistry.InvalidLength.selector);
        registerExpecting(key, hex"00", IOracleRegistry.InvalidLength.selector);
        vm.expectRevert(IOracleRegistry.InvalidEndpoint.selector);
        oracles.register(key, pop, "", address(1), address(1), 1, STAKE);
        vm.expectRevert(IOracleRegistry.InvalidEndpoint.selector);
        oracles.register(key, pop, string(new bytes(256)), address(1), address(1), 1, STAKE);
        vm.expectRevert(IOracleRegistry.ZeroAddress.selector);
        oracles.register(key, pop, "x", address(0), address(1), 1, STAKE);
        vm.expectRevert(IOracleRegistry.ZeroAddress.selector);
        oracles.register(key, pop, "x", address(1), address(0), 1, STAKE);
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.StakeTooLow.selector, 1e18 - 1, 1e18));
        oracles.register(key, pop, "x", address(1), address(1), 1, 1e18 - 1);
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.UnknownOracle.selector, 1));
        oracles.oracle(1);
    }

    function test_snapshot_holds_ids_weights_and_keys_in_order() public {
        uint256[4] memory stakes = [uint256(50e18), 200e18, 1e18, 100e18];
        for (uint256 i = 0; i < 4; ++i) {
            registerOracle(i, stakes[i]);
        }
        vm.assertEq(oracles.currentSet(), 0);
        uint256 total = uint256(16383) + 65535 + 327 + 32767;
        vm.expectEmit(address(oracles));
        emit IOracleRegistry.SnapshotBuilt(1, 4, total);
        vm.assertTrue(oracles.buildSnapshot(256));

        Committee.Member[] memory members = oracles.committee(1);
        vm.assertEq(members.length, 4);
        for (uint256 i = 0; i < 4; ++i) {
            vm.assertEq(members[i].oracleId, i + 1);
            vm.assertEq(members[i].weight, stakes[i] * 65535 / 200e18);
            vm.assertEq(members[i].blsKey, BlsSigner.publicKey(BlsSigner.secret(i)));
        }
        (uint64 setEpoch, address header) = oracles.currentCommittee();
        vm.assertEq(setEpoch, 1);
        (bytes memory aggregate, uint256 weight, uint256 count) = Committee.totals(header);
        vm.assertEq(aggregate, BlsSigner.publicKey(BlsSigner.sumOfSecrets(4, 15)));
        vm.assertEq(weight, total);
        vm.assertEq(count, 4);
    }

    function test_the_smallest_weight_is_one() public {
        registerOracle(0, 1e18);
        registerOracle(1, 1e18 * 1_000_000);
        oracles.buildSnapshot(2);
        Committee.Member[] memory members = oracles.committee(1);
        vm.assertEq(members[0].weight, 1);
        vm.assertEq(members[1].weight, 65535);
    }

    // Defence: a new set needs a new registration; removed, anyone invalidates reports under way and this turns red.
    function test_a_set_cannot_be_renewed_at_will() public {
        vm.expectRevert(IOracleRegistry.NoOracles.selector);
        oracles.buildSnapshot(1);
        registerOracle(0, STAKE);
        vm.expectRevert(IOracleRegistry.NothingRequested.selector);
        oracles.buildSnapshot(0);
        vm.assertTrue(oracles.buildSnapshot(1));
        vm.expectRevert(IOracleRegistry.SetIsCurrent.selector);
        oracles.buildSnapshot(1);
        registerOracle(1, STAKE);
        vm.assertTrue(oracles.buildSnapshot(1));
        vm.assertEq(oracles.currentSet(), 2);
        vm.assertEq(oracles.committee(1).length, 1);
        vm.assertEq(oracles.committee(2).length, 2);
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.UnknownSet.selector, 3));
        oracles.committee(3);
    }

    function test_every_set_keeps_its_header_and_its_beginning() public {
        registerOracle(0, STAKE);
        vm.roll(40);
        oracles.buildSnapshot(1);
        (, address first) = oracles.currentCommittee();
        for (uint256 i = 1; i < 98; ++i) {
            registerOracle(i, STAKE);
        }
        vm.roll(50);
        vm.assertFalse(oracles.buildSnapshot(1)); // 96 of 98: still the first set
        vm.roll(60);
        vm.warp(GENESIS + 7);
        vm.assertTrue(oracles.buildSnapshot(1));

        (address header, uint256 sinceBlock, uint256 since) = oracles.committeeOf(1);
        vm.assertEq(header, first);
        vm.assertEq(sinceBlock, 40);
        vm.assertEq(since, GENESIS);
        (header, sinceBlock, since) = oracles.committeeOf(2);
        (, address current) = oracles.currentCommittee();
        vm.assertEq(header, current);
        vm.assertEq(sinceBlock, 60);
        vm.assertEq(since, GENESIS + 7);
        for (uint64 unknown = 0; unknown < 4; unknown += 3) {
            vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.UnknownSet.selector, unknown));
            oracles.committeeOf(unknown);
        }
    }

    function test_sets_keep_their_distance_in_time() public {
        oracles = new OracleRegistry(token, 1e18, 100, oracleTerms());
        token.approve(address(oracles), type(uint256).max);
        registerOracle(0, STAKE);
        oracles.buildSnapshot(1);
        registerOracle(1, STAKE);
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.SetTooSoon.selector, GENESIS + 100));
        oracles.buildSnapshot(1);
        vm.warp(GENESIS + 100);
        vm.assertTrue(oracles.buildSnapshot(1));
    }

    // Defence: chunks are whole whoever builds them, and a set under construction is frozen; removed, this turns red.
    function test_a_full_committee_is_built_in_chunks_and_then_closed() public {
        for (uint256 i = 0; i < 255; ++i) {
            registerOracle(i, STAKE);
        }
        vm.assertFalse(oracles.buildSnapshot(1));
        registerOracle(255, 2 * STAKE); // too late for this set, and for its largest stake
        vm.assertFalse(oracles.buildSnapshot(96));
        vm.assertTrue(oracles.buildSnapshot(96));
        vm.assertEq(oracles.committee(1).length, 255);
        vm.assertEq(oracles.committee(1)[254].weight, 65535);

        vm.assertTrue(oracles.buildSnapshot(256));
        Committee.Member[] memory members = oracles.committee(2);
        vm.assertEq(members.length, 256);
        for (uint256 i = 0; i < 256; ++i) {
            vm.assertEq(members[i].oracleId, i + 1);
            vm.assertEq(members[i].weight, i == 255 ? 65535 : 32767);
        }
        vm.assertEq(members[255].blsKey, BlsSigner.publicKey(BlsSigner.secret(255)));

        uint256 sk = BlsSigner.secret(256);
        bytes memory late = BlsSigner.publicKey(sk);
        bytes memory proof = BlsSigner.sign(sk, oracles.popMessage(address(this), late), BlsSigner.POP_DST);
        registerExpecting(late, proof, IOracleRegistry.RegistryFull.selector);
    }
}

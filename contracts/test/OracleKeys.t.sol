// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracleRegistry} from "../src/interfaces/IOracleRegistry.sol";
import {ISlaSettlement, Report} from "../src/interfaces/ISlaSettlement.sol";
import {BlsSigner} from "./utils/BlsSigner.sol";
import {OracleFixture} from "./utils/OracleFixture.sol";

/// What an operator may change of its oracle, and from when on it counts.
contract OracleKeysTest is OracleFixture {
    uint256 internal constant NEW = 50; // index of a fresh key

    function rotate(uint64 oracleId, uint256 index) private {
        bytes memory key = keyOf(index);
        bytes memory pop = popOf(index, address(this));
        oracles.rotateKey(oracleId, key, pop);
    }

    function rotateExpecting(uint64 oracleId, bytes memory key, bytes memory pop, bytes memory failure) private {
        vm.expectRevert(failure);
        oracles.rotateKey(oracleId, key, pop);
    }

    function test_a_rotated_key_counts_from_the_next_set_on() public {
        deployWithCommittee(3);
        vm.expectEmit(address(oracles));
        emit IOracleRegistry.KeyRotated(2, keccak256(keyOf(NEW)));
        rotate(2, NEW);
        vm.assertEq(oracles.keyOf(2), keyOf(NEW));
        vm.assertEq(oracles.oracle(2).blsKey, keyOf(NEW));
        vm.assertEq(oracles.committee(1)[1].blsKey, keyOf(1));
        oracles.buildSnapshot(3);
        vm.assertEq(oracles.committee(1)[1].blsKey, keyOf(1));
        vm.assertEq(oracles.committee(2)[1].blsKey, keyOf(NEW));
        vm.assertEq(oracles.committee(2)[0].blsKey, keyOf(0));
    }

    // Defence: a set keeps the keys that it was built with; without it, a rotation voids every report under way.
    function test_a_report_under_way_keeps_the_keys_of_its_set() public {
        deployWithCommittee(4);
        Report memory r = report(0);
        rotate(1, NEW);
        vm.roll(50);
        oracles.buildSnapshot(4);
        vm.warp(endOf(0));
        submit(r, 0xf);

        Report memory next = report(1);
        next.parentDigest = digestOf(r);
        next.refBlock = 50;
        vm.warp(endOf(1));
        submitExpecting(next, 0xf, abi.encodeWithSelector(ISlaSettlement.InvalidCertificate.selector));
        uint256 secrets = addmod(BlsSigner.sumOfSecrets(4, 0xe), BlsSigner.secret(NEW), BlsSigner.ORDER);
        bytes memory signature = BlsSigner.sign(secrets, messageOf(next), BlsSigner.REPORT_DST);
        settlement.submitReport(next, 0xf, signature);
    }

    // Defence: no key is ever registered twice; without it, a key that leaked after its rotation comes back, or two oracles are one.
    function test_a_key_that_was_used_before_is_refused() public {
        deployWithCommittee(2);
        bytes memory duplicate = abi.encodeWithSelector(IOracleRegistry.DuplicateKey.selector);
        rotateExpecting(1, keyOf(1), popOf(1, address(this)), duplicate);
        rotateExpecting(1, keyOf(0), popOf(0, address(this)), duplicate);
        rotate(1, NEW);
        rotateExpecting(1, keyOf(0), popOf(0, address(this)), duplicate);
        rotateExpecting(2, keyOf(NEW), popOf(NEW, address(this)), duplicate);
    }

    // Defence: a rotation needs a proof of possession for this operator; without it, a rogue key cancels the others' keys.
    function test_a_rotation_without_possession_is_refused() public {
        deployWithCommittee(2);
        bytes memory failure = abi.encodeWithSelector(IOracleRegistry.InvalidProofOfPossession.selector);
        rotateExpecting(1, keyOf(NEW), popOf(NEW, address(0xbad)), failure);
        rotateExpecting(1, keyOf(NEW), popOf(NEW + 1, address(this)), failure);
        bytes memory points = bytes(vm.readFile("../tests/vectors/curve_points.json"));
        rotateExpecting(1, vm.parseJsonBytes(string(points), ".g2.wrongSubgroup"), popOf(NEW, address(this)), failure);
        rotateExpecting(1, hex"00", popOf(NEW, address(this)), abi.encodeWithSelector(IOracleRegistry.InvalidLength.selector));
    }

    // Defence: keys are frozen when a set is begun; without it, a rotation in the middle leaves an aggregate that is not the members'.
    function test_a_rotation_while_a_set_is_built_is_for_the_next_one() public {
        deploy();
        for (uint256 i = 0; i < 98; ++i) {
            registerOracle(i, STAKE);
        }
        vm.assertFalse(oracles.buildSnapshot(1));
        rotate(98, 200);
        rotate(1, 201);
        vm.assertTrue(oracles.buildSnapshot(1));
        vm.assertEq(oracles.committee(1)[0].blsKey, keyOf(0));
        vm.assertEq(oracles.committee(1)[97].blsKey, keyOf(97));
        vm.assertTrue(oracles.buildSnapshot(98));
        vm.assertEq(oracles.committee(2)[0].blsKey, keyOf(201));
        vm.assertEq(oracles.committee(2)[97].blsKey, keyOf(200));
    }

    function test_addresses_endpoint_and_log_key_change_at_once() public {
        deployWithCommittee(1);
        oracles.setEndpoint(1, "http://elsewhere");
        oracles.setTransmitter(1, address(0x11));
        oracles.setRecipient(1, address(0x12));
        oracles.setLogKey(1, bytes32("ed25519"));
        IOracleRegistry.Oracle memory o = oracles.oracle(1);
        vm.assertEq(o.endpoint, "http://elsewhere");
        vm.assertEq(o.transmitter, address(0x11));
        vm.assertEq(o.recipient, address(0x12));
        vm.assertEq(oracles.logKeyOf(1), bytes32("ed25519"));
    }

    // Defence: what does not touch keys or weights does not call for a new set; without it, anyone renews the set for gas alone.
    function test_settings_do_not_allow_a_new_set() public {
        deployWithCommittee(1);
        oracles.setEndpoint(1, "http://elsewhere");
        oracles.setTransmitter(1, address(0x11));
        oracles.setRecipient(1, address(0x12));
        oracles.setLogKey(1, bytes32("ed25519"));
        vm.expectRevert(IOracleRegistry.SetIsCurrent.selector);
        oracles.buildSnapshot(1);
    }

    function test_settings_refuse_bad_input() public {
        deployWithCommittee(1);
        vm.expectRevert(IOracleRegistry.InvalidEndpoint.selector);
        oracles.setEndpoint(1, "");
        vm.expectRevert(IOracleRegistry.InvalidEndpoint.selector);
        oracles.setEndpoint(1, string(new bytes(256)));
        vm.expectRevert(IOracleRegistry.ZeroAddress.selector);
        oracles.setTransmitter(1, address(0));
        vm.expectRevert(IOracleRegistry.ZeroAddress.selector);
        oracles.setRecipient(1, address(0));
        vm.expectRevert(abi.encodeWithSelector(IOracleRegistry.UnknownOracle.selector, 2));
        oracles.setRecipient(2, address(1));
    }

    // Defence: the operator alone changes its oracle; without it, a stranger redirects its pay or takes its vote.
    function test_a_stranger_changes_nothing() public {
        deployWithCommittee(1);
        bytes memory key = keyOf(NEW);
        bytes memory pop = popOf(NEW, address(0xbad));
        bytes memory failure = abi.encodeWithSelector(IOracleRegistry.OnlyOperator.selector, 1);
        vm.startPrank(address(0xbad));
        vm.expectRevert(failure);
        oracles.rotateKey(1, key, pop);
        vm.expectRevert(failure);
        oracles.setEndpoint(1, "x");
        vm.expectRevert(failure);
        oracles.setTransmitter(1, address(1));
        vm.expectRevert(failure);
        oracles.setRecipient(1, address(1));
        vm.expectRevert(failure);
        oracles.setLogKey(1, bytes32("x"));
        vm.expectRevert(failure);
        oracles.addStake(1, 1);
        vm.expectRevert(failure);
        oracles.requestExit(1);
        vm.expectRevert(failure);
        oracles.withdraw(1);
        vm.expectRevert(failure);
        oracles.rejoin(1);
        vm.stopPrank();
    }
}

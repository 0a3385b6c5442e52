// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bls12381} from "../src/libraries/Bls12381.sol";
import {CompactProof} from "../src/libraries/CompactProof.sol";
import {CompactVerifier} from "./utils/CompactVerifier.sol";
import {Test} from "./utils/Test.sol";

/// The keys, names, challenges and proofs that Rust makes, right ones and wrong ones.
contract CompactVectorsTest is Test {
    CompactVerifier internal verifier = new CompactVerifier();
    string internal json;
    CompactProof.Key internal key;
    bytes32 internal keyId;

    function setUp() public {
        json = vm.readFile("../tests/vectors/compact.json");
        key = abi.decode(abi.encodePacked(blob("tagKey.v"), blob("tagKey.w")), (CompactProof.Key));
        keyId = word("tagKey.id");
    }

    function test_constants_and_the_keys_id() public view {
        vm.assertEq(vm.parseJsonString(json, ".dst"), string(CompactProof.TAG_DST));
        vm.assertEq(number("order"), Bls12381.ORDER);
        vm.assertEq(verifier.tagKeyId(key), keyId);
    }

    function test_names() public view {
        uint256 i;
        for (string memory at_ = "replicas[0]"; has(at_); at_ = element("replicas", ++i)) {
            bytes32 name = CompactProof.name(
                word(string.concat(at_, ".claim.tagKeyId")),
                word(string.concat(at_, ".claim.objectId")),
                uint64(number(string.concat(at_, ".claim.replicaIndex"))),
                word(string.concat(at_, ".claim.root")),
                uint64(number(string.concat(at_, ".claim.objectLength"))),
                uint64(number(string.concat(at_, ".provider")))
            );
            vm.assertEq(name, word(string.concat(at_, ".name")));
        }
        vm.assertEq(i, 4);
    }

    function test_one_sample() public view {
        checkCase("cases[0]", 1);
    }

    function test_three_samples_one_of_them_twice() public view {
        checkCase("cases[1]", 3);
    }

    function test_thirty_samples() public view {
        checkCase("cases[2]", 30);
    }

    function test_constant_blocks() public view {
        checkCase("cases[3]", 2);
        vm.assertEq(blob("cases[3].proofs[0].psi"), new bytes(128));
    }

    function test_there_is_no_other_case() public view {
        vm.assertFalse(has("cases[4]"));
    }

    function checkCase(string memory case_, uint256 samples) private view {
        CompactProof.Item[] memory items = new CompactProof.Item[](samples);
        (uint256[] memory nu, uint256 r) = verifier.draw(word(string.concat(case_, ".seed")), keyId, samples);
        vm.assertEq(r, number(string.concat(case_, ".r")));
        string memory list = string.concat(case_, ".items");
        for (uint256 i = 0; i < samples; ++i) {
            string memory at_ = element(list, i);
            items[i] = CompactProof.Item(word(string.concat(at_, ".name")), uint64(number(string.concat(at_, ".block"))));
            vm.assertEq(nu[i], number(string.concat(at_, ".nu")));
        }
        vm.assertFalse(has(element(list, samples)));

        uint256 n;
        list = string.concat(case_, ".proofs");
        for (string memory at_ = element(list, 0); has(at_); at_ = element(list, ++n)) {
            checkProof(at_, items, nu, r, word(string.concat(case_, ".seed")));
        }
        vm.assertEq(n, 9);
    }

    function checkProof(string memory at_, CompactProof.Item[] memory items, uint256[] memory nu, uint256 r, bytes32 seed) private view {
        CompactProof.Proof memory proof = CompactProof.Proof(point(at_, ".sigma"), point(at_, ".psi"), number(string.concat(at_, ".y")));
        bytes32[4] memory a = point(at_, ".a");
        bool valid = vm.parseJsonBool(json, string.concat(".", at_, ".valid"));
        vm.assertEq(verifier.verifyWithA(key, a, r, proof), valid);

        // The form that computes A does not see a posted one: nothing else is wrong where A alone is.
        bool wrongA = isText(at_, "a of other coefficients");
        vm.assertEq(verifier.verify(key, items, nu, r, proof), valid || wrongA);
        vm.assertEq(verifier.verifyChallenge(key, items, seed, proof), valid || wrongA);
        if (valid || isText(at_, "wrong y")) vm.assertEq(abi.encode(verifier.commitment(items, nu, proof.y)), abi.encode(a));
        if (wrongA) vm.assertTrue(keccak256(abi.encode(verifier.commitment(items, nu, proof.y))) != keccak256(abi.encode(a)));
    }

    function isText(string memory at_, string memory what) private view returns (bool) {
        return keccak256(bytes(vm.parseJsonString(json, string.concat(".", at_, ".what")))) == keccak256(bytes(what));
    }

    function point(string memory at_, string memory field) private view returns (bytes32[4] memory) {
        return abi.decode(blob(string.concat(at_, field)), (bytes32[4]));
    }

    function element(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(list, "[", vm.toString(i), "]");
    }

    function has(string memory field) private view returns (bool) {
        return vm.keyExistsJson(json, string.concat(".", field));
    }

    function number(string memory field) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(".", field));
    }

    function word(string memory field) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(".", field));
    }

    function blob(string memory field) private view returns (bytes memory) {
        return vm.parseJsonBytes(json, string.concat(".", field));
    }
}

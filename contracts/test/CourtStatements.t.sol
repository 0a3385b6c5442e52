// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Statements} from "../src/libraries/Statements.sol";
import {StandardTree} from "../src/libraries/StandardTree.sol";
import {MerkleTree} from "./utils/MerkleTree.sol";
import {Test} from "./utils/Test.sol";

contract StatementsHarness {
    function commitDigest(address settlement, Statements.Commit calldata commit) external view returns (bytes32) {
        return Statements.commitDigest(settlement, commit);
    }

    function bitVoteDigest(address settlement, uint64 epoch, uint64 oracleId, bytes32[] calldata held) external view returns (bytes32) {
        return Statements.bitVoteDigest(settlement, epoch, oracleId, held);
    }

    function seedsDigest(bool secure, bytes32[] calldata seeds) external pure returns (bytes32) {
        return Statements.seedsDigest(secure, seeds);
    }

    function root(bytes32[] memory leaves) external pure returns (bytes32) {
        return StandardTree.root(leaves);
    }
}

/// The bytes that Rust and the contracts agree on.
contract CourtStatementsTest is Test {
    string internal json;
    address internal settlement;
    StatementsHarness internal harness;

    function setUp() public {
        json = vm.readFile("../tests/vectors/protocol.json");
        settlement = vm.parseJsonAddress(json, ".instance.settlement");
        vm.chainId(number("instance.chain_id"));
        harness = new StatementsHarness();
    }

    function test_commit() public view {
        Statements.Commit memory c = Statements.Commit({
            epoch: uint64(number("commit.commit.epoch")),
            oracleId: uint64(number("commit.commit.oracle")),
            seeds: word("commit.commit.seeds"),
            secure: vm.parseJsonBool(json, ".commit.commit.secure"),
            root: word("commit.commit.root"),
            leafCount: uint32(number("commit.commit.leaf_count")),
            logHead: word("commit.commit.log_head")
        });
        vm.assertEq(harness.commitDigest(settlement, c), word("commit.digest"));
        c.secure = !c.secure;
        vm.assertFalse(harness.commitDigest(settlement, c) == word("commit.digest"));
    }

    /// By oracle 5, as the commit: it votes for nobody, then for the commits listed.
    function test_bit_votes() public view {
        (uint64 epoch, uint64 oracleId) = (uint64(number("commit.commit.epoch")), uint64(number("commit.commit.oracle")));
        vm.assertEq(harness.bitVoteDigest(settlement, epoch, oracleId, new bytes32[](0)), word("bitVotes[0].digest"));
        uint256 count;
        while (vm.keyExistsJson(json, string.concat(".bitVotes[1].held[", vm.toString(count), "]"))) ++count;
        bytes32[] memory held = new bytes32[](2 * count);
        for (uint256 i = 0; i < count; ++i) {
            string memory entry = string.concat("bitVotes[1].held[", vm.toString(i), "]");
            held[2 * i] = bytes32(number(string.concat(entry, "[0]")));
            held[2 * i + 1] = word(string.concat(entry, "[1]"));
        }
        vm.assertEq(count, 4);
        vm.assertEq(harness.bitVoteDigest(settlement, epoch, oracleId, held), word("bitVotes[1].digest"));
    }

    function test_seeds() public view {
        for (uint256 i = 0; i < 2; ++i) {
            string memory at_ = string.concat("seeds[", vm.toString(i), "]");
            bytes32[] memory slots = vm.parseJsonBytes32Array(json, string.concat(".", at_, ".seeds.slots"));
            bytes32[] memory seeds = new bytes32[](slots.length + 1);
            seeds[0] = word(string.concat(at_, ".seeds.epoch"));
            for (uint256 j = 0; j < slots.length; ++j) {
                seeds[j + 1] = slots[j];
            }
            bool secure = vm.parseJsonBool(json, string.concat(".", at_, ".seeds.secure"));
            vm.assertEq(harness.seedsDigest(secure, seeds), word(string.concat(at_, ".digest")));
        }
    }

    function test_observation_leaf() public view {
        for (uint256 i = 0; i < 3; ++i) {
            string memory at_ = string.concat("observations[", vm.toString(i), "]");
            bytes memory words = vm.parseJsonBytes(json, string.concat(".", at_, ".words"));
            vm.assertEq(keccak256(words), word(string.concat(at_, ".word")));
            bytes32 once = keccak256(bytes.concat(words, word(string.concat(at_, ".salt"))));
            vm.assertEq(keccak256(bytes.concat(once)), word(string.concat(at_, ".leaf")));
            (bytes32 tag) = abi.decode(words, (bytes32));
            vm.assertEq(tag, Statements.OBSERVATION_TAG);
        }
    }

    function testFuzz_root_of_all_leaves(uint8 count, bytes32 seed) public {
        bytes32[] memory leaves = new bytes32[](bound(count, 1, 40));
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = keccak256(abi.encode(seed, i));
        }
        bytes32 root = MerkleTree.build(leaves)[0];
        vm.assertEq(harness.root(leaves), root);
        if (leaves.length == 1) return;
        (leaves[0], leaves[1]) = (leaves[1], leaves[0]);
        vm.expectRevert(abi.encodeWithSelector(StandardTree.LeavesNotAscending.selector, 1));
        harness.root(leaves);
    }

    function test_a_leaf_twice_is_no_tree() public {
        vm.assertEq(harness.root(new bytes32[](0)), bytes32(0));
        bytes32[] memory leaves = new bytes32[](2);
        (leaves[0], leaves[1]) = (keccak256("leaf"), keccak256("leaf"));
        vm.expectRevert(abi.encodeWithSelector(StandardTree.LeavesNotAscending.selector, 1));
        harness.root(leaves);
    }

    function number(string memory key) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(".", key));
    }

    function word(string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(".", key));
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {Verdict} from "../interfaces/ISlaOracle.sol";

/// @title Leaves of `obsRoot` and `resultRoot`, and the trees over them
/// @notice In the form of OpenZeppelin's StandardMerkleTree: leaves are hashed twice, so that no inner node can pass for one.
library JudgementLeaf {
    /// The most leaves that a tree can be shown whole by.
    uint256 internal constant MAX_LEAVES = 256;

    /// The leaf is not under the report's root.
    error InvalidProof();
    error TooManyLeaves(uint256 given);
    /// Leaf `index` is smaller than the one before it.
    error LeavesNotAscending(uint256 index);

    function verdict(Verdict calldata v) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(v))));
    }

    /// @param vector keccak over the words of all seats.
    function panel(uint64 providerId, bytes32 vector) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(providerId, vector))));
    }

    function check(bytes32 root_, bytes32 leaf, bytes32[] calldata proof) internal pure {
        if (!MerkleProof.verifyCalldata(proof, root_, leaf)) revert InvalidProof();
    }

    /// @notice The root over all leaves, given in ascending order; zero without any.
    /// @dev 2n - 1 nodes, root first, the ascending leaves reversed at the end.
    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        uint256 count = leaves.length;
        if (count > MAX_LEAVES) revert TooManyLeaves(count);
        if (count == 0) return 0;
        bytes32[] memory nodes = new bytes32[](2 * count - 1);
        for (uint256 i = 0; i < count; ++i) {
            if (i != 0 && leaves[i] < leaves[i - 1]) revert LeavesNotAscending(i);
            nodes[nodes.length - 1 - i] = leaves[i];
        }
        for (uint256 i = count - 1; i > 0; --i) {
            nodes[i - 1] = parent(nodes[2 * i - 1], nodes[2 * i]);
        }
        return nodes[0];
    }

    function parent(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(bytes.concat(a, b)) : keccak256(bytes.concat(b, a));
    }
}

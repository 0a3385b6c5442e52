// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

/// @title The root of a whole StandardMerkleTree
/// @notice Where a proof shows that a leaf is in a tree, all leaves show that another is not.
library StandardTree {
    /// The tree has no order of its own but this, and no leaf twice.
    error LeavesNotAscending(uint256 index);

    /// @notice The root over hashed leaves in ascending order; zero for none.
    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        uint256 count = leaves.length;
        if (count == 0) return 0;
        bytes32[] memory nodes = new bytes32[](2 * count - 1);
        for (uint256 i = 0; i < count; ++i) {
            if (i > 0 && leaves[i] <= leaves[i - 1]) revert LeavesNotAscending(i);
            nodes[2 * count - 2 - i] = leaves[i];
        }
        for (uint256 i = count - 1; i > 0; --i) {
            nodes[i - 1] = Hashes.commutativeKeccak256(nodes[2 * i - 1], nodes[2 * i]);
        }
        return nodes[0];
    }
}

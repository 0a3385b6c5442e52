// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// OpenZeppelin's StandardMerkleTree over hashed leaves: sorted, in reverse at the end of an array of 2n - 1 nodes.
library MerkleTree {
    function build(bytes32[] memory leaves) internal pure returns (bytes32[] memory tree) {
        sort(leaves);
        uint256 n = leaves.length;
        tree = new bytes32[](2 * n - 1);
        for (uint256 i = 0; i < n; ++i) {
            tree[tree.length - 1 - i] = leaves[i];
        }
        for (uint256 i = n - 1; i > 0; --i) {
            tree[i - 1] = pair(tree[2 * i - 1], tree[2 * i]);
        }
    }

    function proof(bytes32[] memory tree, bytes32 leaf) internal pure returns (bytes32[] memory path) {
        uint256 at_ = tree.length - 1;
        while (tree[at_] != leaf) --at_;
        uint256 depth;
        for (uint256 i = at_; i > 0; i = (i - 1) / 2) {
            ++depth;
        }
        path = new bytes32[](depth);
        for (uint256 k = 0; k < depth; ++k) {
            path[k] = tree[at_ % 2 == 1 ? at_ + 1 : at_ - 1];
            at_ = (at_ - 1) / 2;
        }
    }

    function pair(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }

    function sort(bytes32[] memory values) private pure {
        for (uint256 i = 1; i < values.length; ++i) {
            bytes32 value = values[i];
            uint256 j = i;
            for (; j > 0 && values[j - 1] > value; --j) {
                values[j] = values[j - 1];
            }
            values[j] = value;
        }
    }
}

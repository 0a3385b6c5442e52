// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A set of ids in ascending order: a doubly linked list
/// @notice Adding the highest id and removing any are a few writes. Adding another walks back from the highest, so the caller bounds
/// the length. Zero is no id: it stands before the first and behind the last.
library OrderedIds {
    struct Link {
        uint64 previous;
        uint64 next;
    }

    struct List {
        uint64 length;
        mapping(uint64 id => Link) links; // of 0: `next` is the first id, `previous` the last
    }

    /// @dev The caller knows that `id` is not zero and not in the list.
    function add(List storage self, uint64 id) internal {
        uint64 behind = 0;
        uint64 before = self.links[0].previous;
        while (before > id) {
            behind = before;
            before = self.links[before].previous;
        }
        self.links[id] = Link(before, behind);
        self.links[before].next = id;
        self.links[behind].previous = id;
        ++self.length;
    }

    /// @dev The caller knows that `id` is in the list.
    function remove(List storage self, uint64 id) internal {
        Link memory link = self.links[id];
        self.links[link.previous].next = link.next;
        self.links[link.next].previous = link.previous;
        delete self.links[id];
        --self.length;
    }

    /// @notice The id behind `id`, the first behind 0; 0 when there is none.
    function next(List storage self, uint64 id) internal view returns (uint64) {
        return self.links[id].next;
    }
}

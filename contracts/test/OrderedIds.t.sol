// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {OrderedIds} from "../src/libraries/OrderedIds.sol";
import {Test} from "./utils/Test.sol";

contract OrderedIdsTest is Test {
    using OrderedIds for OrderedIds.List;

    OrderedIds.List private list;
    mapping(uint64 id => bool) private present;

    function test_an_empty_list_has_no_first() public {
        vm.assertEq(list.next(0), 0);
        list.add(7);
        list.remove(7);
        vm.assertEq(list.next(0), 0);
        vm.assertEq(list.length, 0);
    }

    /// Toggles ids and compares with a plain table: ascending, complete, and nothing else.
    function testFuzz_ids_stand_in_order(uint8[40] calldata toggled) public {
        for (uint256 i = 0; i < toggled.length; ++i) {
            uint64 id = uint64(toggled[i] % 16) + 1;
            if (present[id]) list.remove(id);
            else list.add(id);
            present[id] = !present[id];
            checkAgainstTable();
        }
    }

    function checkAgainstTable() private view {
        uint64 found = list.next(0);
        uint256 length = 0;
        for (uint64 id = 1; id <= 16; ++id) {
            if (!present[id]) continue;
            vm.assertEq(found, id);
            found = list.next(id);
            ++length;
        }
        vm.assertEq(found, 0);
        vm.assertEq(list.length, length);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Committee} from "./Committee.sol";

/// @title Who will be in the committee set under construction, one word for each member
/// @notice word = oracle id (64 bits) || weight (16) || zeros (16) || where its key lies (160). Kept as bytecode while a set is built in
/// parts, so that nothing which happens meanwhile changes it.
library Roster {
    uint256 private constant WORDS_AT = 1; // behind the STOP

    function pack(uint64 oracleId, uint16 weight, address keyBlob) internal pure returns (uint256) {
        return (uint256(oracleId) << 192) | (uint256(weight) << 176) | uint160(keyBlob);
    }

    function unpack(uint256 word) internal pure returns (uint64 oracleId, uint16 weight, address keyBlob) {
        return (uint64(word >> 192), uint16(word >> 176), address(uint160(word)));
    }

    function write(uint256[] memory words) internal returns (address blob) {
        return Committee.writeBlob(abi.encodePacked(words));
    }

    function read(address blob) internal view returns (uint256[] memory words) {
        uint256 size = blob.code.length - WORDS_AT;
        words = new uint256[](size / 32);
        assembly ("memory-safe") {
            extcodecopy(blob, add(words, 0x20), WORDS_AT, size)
        }
    }
}

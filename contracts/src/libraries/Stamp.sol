// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title One slot: the leading 224 bits of a digest and a 32-bit number
/// @notice Why 224 bits are enough: docs/decisions/0002-packed-report-slot.md.
type Stamp is bytes32;

using StampLib for Stamp global;

library StampLib {
    /// What an empty slot holds.
    Stamp internal constant NONE = Stamp.wrap(0);

    bytes32 private constant DIGEST = ~bytes32(uint256(type(uint32).max));

    function stamp(bytes32 digest_, uint32 number_) internal pure returns (Stamp) {
        return Stamp.wrap((digest_ & DIGEST) | bytes32(uint256(number_)));
    }

    /// The digest with its last four bytes zero.
    function digest(Stamp self) internal pure returns (bytes32) {
        return Stamp.unwrap(self) & DIGEST;
    }

    function number(Stamp self) internal pure returns (uint256) {
        return uint256(Stamp.unwrap(self)) & type(uint32).max;
    }

    function matches(Stamp self, bytes32 fullDigest) internal pure returns (bool) {
        return (Stamp.unwrap(self) ^ fullDigest) & DIGEST == 0;
    }
}

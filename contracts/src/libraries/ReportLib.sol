// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Verdict} from "../interfaces/ISlaOracle.sol";
import {Report} from "../interfaces/ISlaSettlement.sol";

/// @title Encodings of reports and their leaves
/// @notice The byte-exact rules stand in docs/protocol.md; `tests/vectors` pins them for Rust and Solidity alike.
library ReportLib {
    bytes32 internal constant REPORT_TAG = keccak256("assay.report.v1");
    bytes internal constant REPORT_DST = "ASSAY-V1-REPORT_BLS12381G1_XMD:SHA-256_SSWU_RO_";

    uint256 private constant REPORT_BYTES = 640; // 20 words

    /// @notice `keccak256(abi.encode(report))`.
    /// @dev Hashes the words as they came. A word with bits beyond its type gives a digest nobody signed.
    function digest(Report calldata report) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            calldatacopy(buffer, report, REPORT_BYTES)
            hash := keccak256(buffer, REPORT_BYTES)
        }
    }

    /// @notice What the committee signs. Bound to this chain, this contract, the epoch and the view.
    function message(Report calldata report, bytes32 digest_) internal view returns (bytes32 hash) {
        bytes32 tag = REPORT_TAG;
        (uint256 epoch, uint256 view_) = (report.epoch, report.view_);
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            mstore(buffer, tag)
            mstore(add(buffer, 32), chainid())
            mstore(add(buffer, 64), address())
            mstore(add(buffer, 96), epoch)
            mstore(add(buffer, 128), view_)
            mstore(add(buffer, 160), digest_)
            hash := keccak256(buffer, 192)
        }
    }

    /// @notice A leaf of `rewardRoot`, hashed twice so that no inner node can pass for one.
    function rewardLeaf(uint8 kind, uint64 id, address recipient, address token, uint256 cumulative) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(kind, id, recipient, token, cumulative))));
    }

    /// @notice A leaf of `slashRoot`.
    function slashLeaf(uint64 providerId, uint64 epoch, uint8 reason, bytes32 factsRoot, uint256 amount) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(providerId, epoch, reason, factsRoot, amount))));
    }

    /// @notice A leaf of `resultRoot`.
    function resultLeaf(Verdict calldata v) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(v))));
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bls12381} from "./libraries/Bls12381.sol";
import {Committee} from "./libraries/Committee.sol";
import {ReportLib} from "./libraries/ReportLib.sol";
import {SettlementBase} from "./settlement/SettlementBase.sol";

/// @title Settlement
/// @notice See ISlaSettlement for what it promises. Certificates are BLS aggregates of the members of OracleRegistry, checked
/// here rather than by a contract of its own: every report pays for it.
contract SlaSettlement is SettlementBase {
    constructor(Config memory c, Roles memory roles) SettlementBase(c, roles) {}

    /// Weighs first: the pairing is the dear part.
    function _verifyCertificate(address header, uint64, bytes32 message, uint256 signers, bytes calldata signature)
        internal
        view
        override
        returns (bool valid, uint256 signedWeight, uint256 totalWeight)
    {
        bytes memory key;
        (key, signedWeight, totalWeight) = Committee.signersKey(header, signers);
        valid = _isQuorum(signedWeight, totalWeight) && Bls12381.verify(key, message, ReportLib.REPORT_DST, signature);
    }
}

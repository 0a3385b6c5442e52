// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAttestationVerifier} from "../interfaces/IAttestationVerifier.sol";
import {SettlementBase} from "../settlement/SettlementBase.sol";

/// @title A settlement whose certificates another contract checks
/// @notice See ISlaSettlement for what it promises. `oracleRegistry` of the config is any ICommitteeSets, and `signature` is what
/// the verifier takes. The verifier cannot be changed. A certificate that does not hold reverts with QuorumNotReached and no
/// signed weight.
contract AttestedSettlement is SettlementBase {
    IAttestationVerifier public immutable verifier;

    constructor(Config memory c, Roles memory roles, IAttestationVerifier verifier_) SettlementBase(c, roles) {
        if (address(verifier_) == address(0)) revert InvalidConfig();
        verifier = verifier_;
    }

    function _verifyCertificate(address, uint64 setEpoch, bytes32 message, uint256 signers, bytes calldata attestation)
        internal
        view
        override
        returns (bool valid, uint256 signedWeight, uint256 totalWeight)
    {
        (signedWeight, totalWeight) = verifier.verify(message, setEpoch, signers, attestation);
        valid = _isQuorum(signedWeight, totalWeight);
    }
}

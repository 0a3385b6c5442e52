// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAttestationVerifier, ICommitteeSets} from "../interfaces/IAttestationVerifier.sol";
import {Bls12381} from "../libraries/Bls12381.sol";
import {Committee} from "../libraries/Committee.sol";
import {ReportLib} from "../libraries/ReportLib.sol";

/// @title BLS aggregates of the members of OracleRegistry
/// @notice What SlaSettlement checks itself, for other contracts that want to check a certificate.
contract BlsAttestation is IAttestationVerifier {
    ICommitteeSets public immutable sets;

    constructor(ICommitteeSets sets_) {
        sets = sets_;
    }

    /// @inheritdoc IAttestationVerifier
    /// @param attestation 128 bytes in G1: the aggregate over the message, under the domain tag of reports.
    function verify(bytes32 message, uint64 setEpoch, uint256 signers, bytes calldata attestation)
        external
        view
        returns (uint256 signedWeight, uint256 totalWeight)
    {
        (address header,,) = sets.committeeOf(setEpoch);
        bytes memory key;
        (key, signedWeight, totalWeight) = Committee.signersKey(header, signers);
        if (!Bls12381.verify(key, message, ReportLib.REPORT_DST, attestation)) signedWeight = 0;
    }
}

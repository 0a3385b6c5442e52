// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Checks that members of a committee signed a message
/// @notice The settlement decides what is signed and how much weight is enough; a verifier knows keys, weights and one signature
/// scheme. Never writes, never calls out to anything but its own registry.
interface IAttestationVerifier {
    /// @param message the 32 bytes that were signed. They bind chain, settlement, epoch, view and report already.
    /// @param setEpoch the committee set whose members `signers` names.
    /// @param signers bit `i` = member `i` of that set.
    /// @return signedWeight the weight of `signers`; 0 unless every one of them signed and the attestation holds nothing else.
    /// @return totalWeight of the set.
    /// @dev Reverts with UnknownSet for a set that does not exist, and with InvalidSigners for a bitmap that names nobody or a
    /// stranger. A bad attestation does not revert.
    function verify(bytes32 message, uint64 setEpoch, uint256 signers, bytes calldata attestation)
        external
        view
        returns (uint256 signedWeight, uint256 totalWeight);
}

/// @title The committee sets that a settlement judges reports by
/// @notice The part of IOracleRegistry that acceptance reads, for other registries of members to offer.
interface ICommitteeSets {
    /// @notice The current set and where its members lie. Zeros when there is none.
    function currentCommittee() external view returns (uint64 setEpoch, address header);

    /// @notice Any set, and since when it is the current one.
    /// @dev Reverts with UnknownSet.
    function committeeOf(uint64 setEpoch) external view returns (address header, uint48 sinceBlock, uint48 since);
}

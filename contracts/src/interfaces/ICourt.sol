// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Report} from "./ISlaSettlement.sol";

/// @title What every court promises
/// @notice A court takes a proof of one kind of offence from anyone, and does what follows: it voids a report, slashes oracles, or both.
/// It acts only while the settlement's owner allows it (`SlaSettlement.isCourt`). Of what is slashed 10 % go to the challenger and the
/// rest is burned, so that accusing oneself costs 90 %. Each offence is punished once. All amounts are in the token's smallest unit.
/// @dev Evidence is public once it is sent: who copies it into an earlier transaction takes the reward, not the effect.
interface ICourt {
    /// A report was proven wrong: it and all that follow it are void, if it stood, and who signed it may be slashed.
    event Convicted(uint64 indexed epoch, bytes32 indexed digest, address indexed challenger);
    event Punished(uint64 indexed oracleId, uint64 indexed epoch, uint8 indexed offence, uint256 slashed, address challenger);
    event Withdrawn(address indexed account, uint256 amount);

    /// More than all of the stake.
    error InvalidShare(uint256 ppm);
    error AlreadyPunished(uint64 oracleId, uint64 epoch, uint8 offence);
    error NothingToWithdraw(address account);
    /// Of another chain, settlement or parameters.
    error NotOfThisSettlement(bytes32 reportDigest);
    /// And it does not stand: nothing is left to do.
    error AlreadyConvicted(bytes32 reportDigest);

    /// @notice The share of an oracle's stake that one offence takes, in millionths.
    function slashPpm() external view returns (uint256);

    /// @notice Who proved here that this report is wrong; zero when nobody did.
    /// @param reportDigest all 256 bits of it.
    function convicted(bytes32 reportDigest) external view returns (address challenger);

    /// @notice Whether this offence of this oracle was punished.
    function punished(uint64 oracleId, uint64 epoch, uint8 offence) external view returns (bool);

    /// @notice What an account can withdraw: bonds, and rewards for punishments that somebody else carried out.
    function credit(address account) external view returns (uint256);

    /// @notice Pays the caller's credit to the caller. Reverts with NothingToWithdraw.
    function withdraw() external returns (uint256 amount);
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Report} from "./ISlaSettlement.sol";

/// @title Pays whoever does what is due
/// @notice Posting, claims and slashes are open to everybody; a tip makes them worth a stranger's gas, so that nothing waits for
/// one party. Whoever funds it sends it tokens. Tips are in the settlement's token. An empty or exhausted keeper still does the
/// work, without a tip. Who sees a tipped transaction under way may send it first: it is the work that is paid, not the idea.
interface IKeeper {
    enum Action {
        Report,
        Claim,
        Slash
    }

    struct Tariff {
        uint128 tip; // for one report, one paid claim, one executed slash
        uint32 perDay; // most tips in one day
        uint32 day; // unix days: that of `used`
        uint32 used;
    }

    /// A leaf of `rewardRoot`, as for ISlaSettlement.claim.
    struct RewardClaim {
        uint8 kind;
        uint64 id;
        address recipient;
        uint256 cumulative;
        bytes32[] proof;
    }

    /// A leaf of `slashRoot`, as for ISlaSettlement.executeSlash.
    struct DueSlash {
        uint64 providerId;
        uint8 reason;
        bytes32 factsRoot;
        uint256 amount;
        bytes32[] proof;
    }

    event TariffSet(Action indexed action, uint128 tip, uint32 perDay);
    event Tipped(Action indexed action, address indexed to, uint256 count, uint256 amount);
    /// An item of a batch did not work; `reason` is what it reverted with.
    event Skipped(Action indexed action, uint256 index, bytes reason);
    event Withdrawn(address indexed to, uint256 amount);

    /// Not one item of the batch worked.
    error NothingDone();

    /// @notice What an action earns and how much of it was used today.
    function tariff(Action action) external view returns (Tariff memory);

    /// @notice Sets a tip and how often a day it is paid; days begin at midnight UTC. The owner only.
    function setTariff(Action action, uint128 tip, uint32 perDay) external;

    /// @notice Takes tokens out. The owner only.
    function withdraw(address to, uint256 amount) external;

    /// @notice Posts a report, as ISlaSettlement.submitReport, and tips the sender.
    /// @dev Reverts as that does, so that a report which is posted already or refused pays nothing.
    /// @return tip what was paid.
    function submitReport(Report calldata report, uint256 signers, bytes calldata signature) external returns (uint256 tip);

    /// @notice Sends claims of one report, each as ISlaSettlement.claim. Items that revert are skipped.
    /// @dev A claim that moves less than its tip is done, but earns none: nobody lives on claiming dust. Reverts with NothingDone.
    /// @return done the claims that paid.
    /// @return tip what was paid.
    function claimMany(Report calldata report, RewardClaim[] calldata claims) external returns (uint256 done, uint256 tip);

    /// @notice Executes slashes of one report, each as ISlaSettlement.executeSlash. Items that revert are skipped.
    /// @dev Reverts with NothingDone.
    /// @return done the slashes that were executed.
    /// @return tip what was paid.
    function slashMany(Report calldata report, DueSlash[] calldata slashes) external returns (uint256 done, uint256 tip);
}

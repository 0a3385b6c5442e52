// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICourt} from "./ICourt.sol";

/// @title A court that hears the other side before it decides
/// @notice A challenger opens a dispute with a bond. Until the deadline anyone may refute it and takes the bond; after it anyone may close
/// it in the challenger's favour, and the bond goes back. Each dispute is opened once: a refuted one stays refuted.
///
/// From the opening until `voidSeconds` after the deadline the report's claims and slashes wait (`SlaSettlement.hold`, never longer than
/// 14 days from acceptance), so that a report whose dispute stands is void before it has paid. A dispute that could not be closed
/// before that bound is refused. All that is owed is kept for `withdraw`: no recipient can stop a decision.
interface IDisputeCourt is ICourt {
    enum State {
        None,
        Open,
        Refuted,
        Upheld
    }

    struct Terms {
        uint256 bond; // more than the dearest answer costs in gas
        uint64 responseSeconds;
        uint64 voidSeconds; // in which whoever watches closes the dispute and so voids the report
    }

    event DisputeOpened(bytes32 indexed id, uint64 indexed epoch, address indexed challenger, uint64 deadline);
    event DisputeRefuted(bytes32 indexed id, address indexed responder);
    event DisputeUpheld(bytes32 indexed id, address indexed challenger);

    error InvalidTerms();
    error AlreadyDisputed(bytes32 id);
    error NotDisputed(bytes32 id);
    error TooLate(uint256 deadline);
    error TooEarly(uint256 deadline);
    /// The token kept a part of the bond.
    error BondIncomplete(uint256 received, uint256 bond);

    function terms() external view returns (Terms memory);
    function dispute(bytes32 id) external view returns (address challenger, uint64 deadline, State state);
}

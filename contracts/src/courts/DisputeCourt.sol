// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IDisputeCourt} from "../interfaces/IDisputeCourt.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";
import {ReportLib} from "../libraries/ReportLib.sol";
import {StampLib} from "../libraries/Stamp.sol";
import {Court} from "./Court.sol";

/// @title Base of courts that hear the other side
/// @notice See IDisputeCourt for what it promises.
abstract contract DisputeCourt is Court, IDisputeCourt {
    using SafeERC20 for IERC20;
    using ReportLib for Report;

    uint256 private immutable BOND;
    uint64 private immutable RESPONSE_SECONDS;
    uint64 private immutable VOID_SECONDS;

    struct Dispute {
        address challenger;
        uint64 deadline;
        State state;
    }

    mapping(bytes32 id => Dispute) public dispute;

    constructor(ISlaSettlement settlement, uint256 slashPpm_, Terms memory t) Court(settlement, slashPpm_) {
        if (t.bond == 0 || t.responseSeconds == 0 || t.voidSeconds == 0) revert InvalidTerms();
        (BOND, RESPONSE_SECONDS, VOID_SECONDS) = (t.bond, t.responseSeconds, t.voidSeconds);
    }

    /// @inheritdoc IDisputeCourt
    function terms() external view returns (Terms memory) {
        return Terms(BOND, RESPONSE_SECONDS, VOID_SECONDS);
    }

    /// @dev Takes the bond from the caller. Reverts unless this very report is accepted and can still be voided.
    function _open(Report calldata report, bytes32 id) internal {
        if (dispute[id].state != State.None) revert AlreadyDisputed(id);
        uint64 deadline = uint64(block.timestamp) + RESPONSE_SECONDS;
        dispute[id] = Dispute(msg.sender, deadline, State.Open);
        emit DisputeOpened(id, report.epoch, msg.sender, deadline);

        SETTLEMENT.maturesAt(report); // reverts for another report than the accepted one
        SETTLEMENT.hold(report.epoch, deadline + VOID_SECONDS);
        uint256 before = TOKEN.balanceOf(address(this));
        TOKEN.safeTransferFrom(msg.sender, address(this), BOND);
        uint256 received = TOKEN.balanceOf(address(this)) - before;
        if (received != BOND) revert BondIncomplete(received, BOND);
    }

    /// @dev The bond is the caller's.
    function _refute(bytes32 id) internal {
        Dispute storage d = _opened(id);
        if (block.timestamp > d.deadline) revert TooLate(d.deadline);
        d.state = State.Refuted;
        credit[msg.sender] += BOND;
        emit DisputeRefuted(id, msg.sender);
    }

    /// @dev The bond is the challenger's again.
    function _uphold(bytes32 id) internal returns (address challenger) {
        Dispute storage d = _opened(id);
        if (block.timestamp <= d.deadline) revert TooEarly(d.deadline);
        d.state = State.Upheld;
        challenger = d.challenger;
        credit[challenger] += BOND;
        emit DisputeUpheld(id, challenger);
    }

    /// @dev Whether an upheld dispute still has a report to void: it is accepted, and held for this. Not a try: less gas must not spare it.
    function _canVoid(Report calldata report, bytes32 id) internal view returns (bool) {
        (bytes32 accepted,) = SETTLEMENT.acceptedReport(report.epoch);
        return
            accepted == StampLib.stamp(report.digest(), 0).digest() && accepted != 0
                && block.timestamp < dispute[id].deadline + VOID_SECONDS;
    }

    function _opened(bytes32 id) private view returns (Dispute storage d) {
        d = dispute[id];
        if (d.state != State.Open) revert NotDisputed(id);
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {ISlaOracle, Verdict} from "../interfaces/ISlaOracle.sol";
import {Report} from "../interfaces/ISlaSettlement.sol";
import {Deposit} from "../libraries/Deposit.sol";
import {SlaVerdicts} from "../libraries/SlaVerdicts.sol";

/// @title An escrow that pays only for a pass
/// @notice Somebody pays for one epoch of a provider. A matured pass sends the money to the payee, every other matured verdict back
/// to the payer, whoever brings it. Where none comes, because the epoch was skipped or the provider is in no report, the payer takes
/// it back after a date that was agreed at the start.
contract PassEscrow {
    using SafeERC20 for IERC20;
    using Deposit for IERC20;
    using SlaVerdicts for ISlaOracle;

    struct Deal {
        address payer;
        uint64 providerId;
        address payee;
        uint64 epoch;
        uint256 amount; // zero once it is paid
        uint64 refundableAt; // unix seconds; late enough for reports, windows and disputes
    }

    event Deposited(uint256 indexed dealId, uint64 indexed providerId, uint64 indexed epoch, address payer, address payee, uint256 amount);
    event Settled(uint256 indexed dealId, address indexed to, uint256 amount);

    error InvalidDeal();
    error NothingInEscrow(uint256 dealId);
    error RefundTooEarly(uint256 opensAt);

    IERC20 public immutable token;
    ISlaOracle public immutable oracle;

    uint256 public dealCount;
    mapping(uint256 dealId => Deal) public deals;

    constructor(IERC20 token_, ISlaOracle oracle_) {
        token = token_;
        oracle = oracle_;
    }

    /// @notice Puts `amount` of the sender's tokens (approve them first) in escrow for a provider's epoch.
    function deposit(uint64 providerId, uint64 epoch, address payee, uint256 amount, uint64 refundableAt)
        external
        returns (uint256 dealId)
    {
        if (payee == address(0) || amount == 0) revert InvalidDeal();
        dealId = ++dealCount;
        deals[dealId] = Deal(msg.sender, providerId, payee, epoch, amount, refundableAt);
        emit Deposited(dealId, providerId, epoch, msg.sender, payee, amount);
        token.take(msg.sender, amount);
    }

    /// @notice Settles a deal by its matured verdict. Anyone.
    function settle(uint256 dealId, Report calldata report, Verdict calldata v, bytes32[] calldata proof) external {
        Deal storage deal = deals[dealId];
        (uint8 outcome,) = oracle.maturedOf(deal.providerId, deal.epoch, report, v, proof);
        _pay(dealId, deal, outcome == SlaVerdicts.PASS ? deal.payee : deal.payer);
    }

    /// @notice Returns what no verdict settled in time. Anyone.
    function refund(uint256 dealId) external {
        Deal storage deal = deals[dealId];
        if (block.timestamp < deal.refundableAt) revert RefundTooEarly(deal.refundableAt);
        _pay(dealId, deal, deal.payer);
    }

    function _pay(uint256 dealId, Deal storage deal, address to) private {
        uint256 amount = deal.amount;
        if (amount == 0) revert NothingInEscrow(dealId);
        deal.amount = 0;
        emit Settled(dealId, to, amount);
        token.safeTransfer(to, amount);
    }
}

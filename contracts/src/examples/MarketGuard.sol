// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {ISlaOracle} from "../interfaces/ISlaOracle.sol";
import {SlaVerdicts} from "../libraries/SlaVerdicts.sol";

/// @title A marketplace that sells only what was judged lately, and judged well
/// @notice A provider's newest recorded verdict decides. Whoever knows a newer one records it (ISlaOracle.record), and from then on
/// that one decides: competitors have every reason to. When the oracle itself stands still, nothing is sold.
contract MarketGuard {
    using SafeERC20 for IERC20;
    using SlaVerdicts for ISlaOracle;

    event Offered(uint64 indexed providerId, address indexed seller, uint256 price);
    event Sold(uint64 indexed providerId, address indexed buyer, uint256 price);

    struct Offer {
        address seller;
        uint256 price;
    }

    error OracleStandsStill(uint256 secondsSince);
    /// No verdict on this provider within the lookback.
    error VerdictStale(uint64 providerId);
    error VerdictBad(uint64 providerId, uint64 epoch, uint8 outcome);
    error LookbackTooLong(uint64 lookback);
    error AlreadyOffered(uint64 providerId);
    error NotOffered(uint64 providerId);
    error PriceTooHigh(uint256 price, uint256 maxPrice);

    /// Every epoch of the lookback may cost a read.
    uint64 internal constant MAX_LOOKBACK = 16;

    IERC20 public immutable token;
    ISlaOracle public immutable oracle;
    uint64 public immutable lookback; // epochs before the last accepted one; covers the time that verdicts take to mature
    uint256 public immutable maxStaleness; // seconds since the end of the last accepted epoch

    mapping(uint64 providerId => Offer) public offers;

    constructor(IERC20 token_, ISlaOracle oracle_, uint64 lookback_, uint256 maxStaleness_) {
        if (lookback_ > MAX_LOOKBACK) revert LookbackTooLong(lookback_);
        token = token_;
        oracle = oracle_;
        lookback = lookback_;
        maxStaleness = maxStaleness_;
    }

    /// @notice Offers a service on a provider. Its first seller keeps the place.
    function offer(uint64 providerId, uint256 price) external {
        address seller = offers[providerId].seller;
        if (seller != address(0) && seller != msg.sender) revert AlreadyOffered(providerId);
        offers[providerId] = Offer(msg.sender, price);
        emit Offered(providerId, msg.sender, price);
    }

    /// @notice Buys, if the provider stands up to its last verdict.
    function buy(uint64 providerId, uint256 maxPrice) external {
        check(providerId);
        Offer memory o = offers[providerId];
        if (o.seller == address(0)) revert NotOffered(providerId);
        if (o.price > maxPrice) revert PriceTooHigh(o.price, maxPrice);
        emit Sold(providerId, msg.sender, o.price);
        token.safeTransferFrom(msg.sender, o.seller, o.price);
    }

    /// @notice Reverts unless the provider may be sold.
    function check(uint64 providerId) public view {
        uint256 secondsSince = oracle.staleness();
        if (secondsSince > maxStaleness) revert OracleStandsStill(secondsSince);
        (bool known, uint64 epoch, uint8 outcome,) = oracle.newestOf(providerId, lookback);
        if (!known) revert VerdictStale(providerId);
        if (!SlaVerdicts.isClean(outcome)) revert VerdictBad(providerId, epoch, outcome);
    }
}

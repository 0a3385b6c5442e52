// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ICapacityMarket} from "../interfaces/ICapacityMarket.sol";
import {IOracleRegistry} from "../interfaces/IOracleRegistry.sol";
import {IProviderRegistry} from "../interfaces/IProviderRegistry.sol";
import {ISlaSettlement} from "../interfaces/ISlaSettlement.sol";

/// @title What demand pays, and what the referee costs
/// @notice Sums over the registries, for reading only: with all 4,096 providers a call takes about 20 million gas.
/// Amounts are in the token's smallest unit and count from genesis on.
contract MarketLens {
    uint256 private constant PPM = 1_000_000;
    uint8 private constant PROVIDER = 0; // kinds of ISlaSettlement.claimed
    uint8 private constant ORACLE = 1;
    /// Most that one report takes, if all sign.
    uint256 private constant REPORT_GAS = 200_000;
    uint256 private constant TB = 1e12;
    uint256 private constant GIB = 1 << 30;

    ICapacityMarket private immutable MARKET;
    ISlaSettlement private immutable SETTLEMENT;
    IOracleRegistry private immutable ORACLES;
    IProviderRegistry private immutable PROVIDERS;

    struct Demand {
        uint256 paidFromEscrows; // to providers, for booked epochs
        uint256 subsidies; // to providers, on top
        uint256 claimed; // from the settlement's pool, by providers and oracles
        uint256 marginToPool; // what bookings put into that pool
        uint256 sharePpm; // of all that was paid: the escrows' and the margin's part
    }

    struct Referee {
        uint256 oraclePay; // claimed by oracles
        uint256 epochs; // up to the last accepted one, skipped ones too
        uint256 providers; // registered by now
        uint256 payPerProviderEpoch;
        uint256 payPerTbEpoch; // by the booked and settled capacity, which is all that the chain knows of; 0 with none
        uint256 gasWeiPerProviderEpoch; // of posting one report an epoch, which is not paid from the pool
    }

    constructor(ICapacityMarket market) {
        MARKET = market;
        SETTLEMENT = ISlaSettlement(market.config().settlement);
        ISlaSettlement.Config memory c = SETTLEMENT.config();
        ORACLES = IOracleRegistry(c.oracleRegistry);
        PROVIDERS = IProviderRegistry(c.providerRegistry);
    }

    /// @notice The share of all pay that demand brought: what providers earned from escrows, and what of the pool's payments the
    /// margin covers, against everything that was paid.
    function demand() external view returns (Demand memory d) {
        ICapacityMarket.Accounts memory a = MARKET.accounts();
        d.paidFromEscrows = a.providersPaid;
        d.subsidies = a.subsidyPaid;
        d.marginToPool = a.oraclesPaid;
        d.claimed = claimedBy(PROVIDER) + claimedBy(ORACLE);
        uint256 all = d.paidFromEscrows + d.subsidies + d.claimed;
        if (all == 0) return d;
        d.sharePpm = Math.mulDiv(d.paidFromEscrows + Math.min(d.marginToPool, d.claimed), PPM, all);
    }

    /// @notice What judging costs, in tokens for the oracles and in gas for the report.
    /// @param gasPriceWei what a unit of gas costs; block.basefee is zero in many nodes' calls.
    function referee(uint256 gasPriceWei) external view returns (Referee memory r) {
        r.oraclePay = claimedBy(ORACLE);
        r.providers = PROVIDERS.providerCount();
        (bool any, uint64 last,) = SETTLEMENT.lastAccepted();
        if (!any || r.providers == 0) return r;
        r.epochs = uint256(last) + 1;
        r.payPerProviderEpoch = r.oraclePay / (r.epochs * r.providers);
        r.gasWeiPerProviderEpoch = REPORT_GAS * gasPriceWei / r.providers;
        uint256 gibEpochs = MARKET.accounts().gibEpochsSettled;
        if (gibEpochs > 0) r.payPerTbEpoch = Math.mulDiv(r.oraclePay, TB, gibEpochs * GIB);
    }

    function claimedBy(uint8 kind) private view returns (uint256 sum) {
        uint64 count = kind == ORACLE ? ORACLES.oracleCount() : PROVIDERS.providerCount();
        for (uint64 id = 1; id <= count; ++id) {
            sum += SETTLEMENT.claimed(kind, id);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {ICapacityMarket} from "./interfaces/ICapacityMarket.sol";
import {IObligations} from "./interfaces/IObligations.sol";
import {IProviderRegistry} from "./interfaces/IProviderRegistry.sol";
import {IProviderStanding} from "./interfaces/IProviderStanding.sol";
import {ISlaOracle, Verdict} from "./interfaces/ISlaOracle.sol";
import {ISlaSettlement, Report} from "./interfaces/ISlaSettlement.sol";
import {Deposit} from "./libraries/Deposit.sol";
import {SlaVerdicts} from "./libraries/SlaVerdicts.sol";
import {Booking, Bookings, Term} from "./market/Bookings.sol";
import {Area, PriceBook} from "./market/PriceBook.sol";
import {Shares, Split} from "./market/Split.sol";

/// @title Capacity market
/// @notice See ICapacityMarket for what it promises.
contract CapacityMarket is ICapacityMarket, Ownable {
    using SafeERC20 for IERC20;
    using Deposit for IERC20;
    using SafeCast for uint256;
    using Bookings for Booking;
    using PriceBook for Area;
    using SlaVerdicts for ISlaOracle;

    uint256 internal constant PPM = 1_000_000;
    uint256 internal constant MAX_CANDIDATES = 16;
    /// Of one offer: 4 EiB. The sums of 64 bits over all providers and a million epochs then cannot overflow.
    uint64 internal constant MAX_GIB = type(uint32).max;
    /// The last state of a provider that can be booked: registered, active, warned.
    uint8 internal constant WARNED = 2;
    /// An epoch without a report, for ever.
    uint8 internal constant SKIPPED = 2;

    IERC20 public immutable token;
    ISlaSettlement private immutable SETTLEMENT;
    IProviderRegistry private immutable PROVIDERS;
    ISlaOracle private immutable ORACLE;
    IProviderStanding private immutable STANDING;
    uint64 private immutable GENESIS;
    uint64 private immutable EPOCH_LENGTH;
    uint64 private immutable NOTICE_EPOCHS;
    uint64 private immutable HORIZON_EPOCHS;
    uint64 private immutable UNSETTLED_DELAY;
    uint24 private immutable MAX_MARGIN_PPM;
    uint24 private immutable SUBSIDY_PPM;
    uint64 private immutable SUBSIDY_EPOCHS;

    uint64 public bookingCount;
    Fees private _fees;
    Accounts private _accounts;
    mapping(uint64 providerId => Listing) private _listings;
    mapping(uint64 providerId => uint256) public earnings;
    mapping(uint64 bookingId => Booking) private _bookings;
    mapping(uint16 classId => mapping(uint64 region => Area)) private _areas;

    constructor(Config memory c, Fees memory fees_, address owner) Ownable(owner) {
        if (c.oracle == address(0) || c.standing == address(0)) revert InvalidConfig();
        if (c.horizonEpochs == 0 || c.horizonEpochs > type(uint32).max || c.noticeEpochs > c.horizonEpochs) revert InvalidConfig();
        if (c.maxMarginPpm > PPM || c.subsidyPpm > PPM) revert InvalidConfig();
        ISlaSettlement.Config memory s = ISlaSettlement(c.settlement).config();
        token = IERC20(s.token);
        SETTLEMENT = ISlaSettlement(c.settlement);
        PROVIDERS = IProviderRegistry(s.providerRegistry);
        ORACLE = ISlaOracle(c.oracle);
        STANDING = IProviderStanding(c.standing);
        GENESIS = s.genesis;
        EPOCH_LENGTH = s.epochLength;
        NOTICE_EPOCHS = c.noticeEpochs;
        HORIZON_EPOCHS = c.horizonEpochs;
        UNSETTLED_DELAY = c.unsettledDelay;
        MAX_MARGIN_PPM = c.maxMarginPpm;
        SUBSIDY_PPM = c.subsidyPpm;
        SUBSIDY_EPOCHS = c.subsidyEpochs;
        _setFees(fees_);
    }

    /// @inheritdoc ICapacityMarket
    function list(uint64 providerId, uint64 gib, uint96 price) external {
        IProviderRegistry.Provider memory provider = PROVIDERS.provider(providerId);
        if (msg.sender != provider.operator) revert OnlyOperator(providerId);
        if (price == 0) revert ZeroPrice();
        uint64 capacity = PROVIDERS.capacityOf(providerId);
        if (capacity > MAX_GIB) capacity = MAX_GIB;
        if (gib > capacity) revert NotEnoughCapacity(gib, capacity);
        Listing storage entry = _listings[providerId];
        entry.classId = provider.classId;
        entry.region = provider.region;
        _offer(providerId, gib, price);
    }

    /// @inheritdoc ICapacityMarket
    function delist(uint64 providerId) external {
        if (bookable(providerId) && PROVIDERS.provider(providerId).active) revert StillBookable(providerId);
        _offer(providerId, 0, _listings[providerId].price);
    }

    /// @inheritdoc ICapacityMarket
    function withdrawEarnings(uint64 providerId) external returns (uint256 amount) {
        amount = earnings[providerId];
        if (amount == 0) revert NothingDue();
        earnings[providerId] = 0;
        address recipient = PROVIDERS.provider(providerId).recipient;
        emit EarningsWithdrawn(providerId, recipient, amount);
        token.safeTransfer(recipient, amount);
    }

    /// @inheritdoc ICapacityMarket
    function book(uint64 providerId, uint64 gib, uint32 epochs, uint96 maxPrice) external returns (uint64 bookingId) {
        if (gib == 0) revert ZeroGib();
        uint64 free = _freeIfBookable(providerId);
        if (gib > free) revert NotEnoughCapacity(gib, free);
        uint256 cost;
        (bookingId, cost) = _book(providerId, gib, epochs, maxPrice);
        token.take(msg.sender, cost);
    }

    /// @inheritdoc ICapacityMarket
    function bookCheapest(uint16 classId, uint64 region, uint64 gib, uint32 epochs, uint96 maxPrice, uint64[] calldata candidates)
        external
        returns (uint64 firstId, uint64 count)
    {
        if (gib == 0) revert ZeroGib();
        if (candidates.length > MAX_CANDIDATES) revert TooManyCandidates(candidates.length, MAX_CANDIDATES);
        firstId = bookingCount + 1;
        uint64 missing = gib;
        uint256 total;
        for (uint256 i = 0; i < candidates.length && missing > 0; ++i) {
            uint64 providerId = candidates[i];
            Listing storage entry = _listings[providerId];
            if (entry.classId != classId || entry.region != region) revert WrongArea(providerId);
            if (i > 0 && !_ascends(candidates[i - 1], providerId)) revert NotAscending(providerId);
            uint64 free = _freeIfBookable(providerId);
            uint64 part = free < missing ? free : missing;
            if (part == 0) continue;
            (, uint256 cost) = _book(providerId, part, epochs, maxPrice);
            missing -= part;
            total += cost;
            ++count;
        }
        if (missing > 0) revert NotEnoughCapacity(gib, gib - missing);
        token.take(msg.sender, total);
    }

    /// @inheritdoc ICapacityMarket
    function extend(uint64 bookingId, uint32 epochs, uint96 maxPrice) external {
        Booking storage b = _ofBuilder(bookingId);
        uint64 start = b.endEpoch();
        if (start < nextEpoch()) revert BookingOver(bookingId);
        uint64 providerId = b.providerId;
        Listing storage entry = _listings[providerId];
        uint64 backed = _backedIfBookable(providerId);
        if (entry.booked > backed) revert NotEnoughCapacity(entry.booked, backed);

        Area storage a = _areas[entry.classId][entry.region];
        a.unbook(b.gib, b.last().price);
        uint256 cost = _append(b, entry, start, epochs, maxPrice);
        a.book(b.gib, entry.price);
        emit Extended(bookingId, entry.price, start + epochs);
        token.take(msg.sender, cost);
    }

    /// @inheritdoc ICapacityMarket
    function end(uint64 bookingId) external returns (uint64 endEpoch) {
        Booking storage b = _ofBuilder(bookingId);
        uint64 providerId = b.providerId;
        endEpoch = nextEpoch();
        if (bookable(providerId) && !SETTLEMENT.escapeOpen()) endEpoch += NOTICE_EPOCHS;
        if (endEpoch >= b.endEpoch()) revert NothingToEnd(bookingId);

        Listing storage entry = _listings[providerId];
        Area storage a = _areas[entry.classId][entry.region];
        a.unbook(b.gib, b.last().price);
        uint256 refund = b.cut(endEpoch);
        a.book(b.gib, b.last().price);
        emit Ended(bookingId, endEpoch, refund);
    }

    /// @inheritdoc ICapacityMarket
    function release(uint64 bookingId) external {
        Booking storage b = _known(bookingId);
        if (b.released) revert AlreadyReleased(bookingId);
        if (!_releaseIfOver(bookingId, b)) revert BookingNotOver(bookingId);
    }

    /// @inheritdoc ICapacityMarket
    function withdrawCredit(uint64 bookingId) external returns (uint256 amount) {
        Booking storage b = _known(bookingId);
        amount = b.credit;
        if (amount == 0) revert NothingDue();
        b.credit = 0;
        emit CreditWithdrawn(bookingId, b.builder, amount);
        token.safeTransfer(b.builder, amount);
    }

    /// @inheritdoc ICapacityMarket
    function settle(uint64 bookingId, Report calldata report, Verdict calldata v, bytes32[] calldata proof) external {
        (uint8 outcome, uint256 multiplierPpm) = ORACLE.matured(report, v, proof);
        Booking storage b = _known(bookingId);
        if (b.providerId != v.providerId) revert WrongProvider(bookingId, v.providerId);
        _settle(bookingId, b, _openTerm(bookingId, b, v.epoch), v.epoch, outcome, multiplierPpm);
    }

    /// @inheritdoc ICapacityMarket
    function settleMany(uint64[] calldata bookingIds, Report calldata report, Verdict calldata v, bytes32[] calldata proof)
        external
        returns (uint256 settled)
    {
        (uint8 outcome, uint256 multiplierPpm) = ORACLE.matured(report, v, proof);
        for (uint256 i = 0; i < bookingIds.length; ++i) {
            uint64 bookingId = bookingIds[i];
            Booking storage b = _bookings[bookingId];
            (bool found, Term memory term) = b.find(v.epoch);
            if (!found || b.providerId != v.providerId || b.isSettled(v.epoch)) continue;
            _settle(bookingId, b, term, v.epoch, outcome, multiplierPpm);
            ++settled;
        }
    }

    /// @inheritdoc ICapacityMarket
    function settleSkipped(uint64 bookingId, uint64 epoch) external {
        if (SETTLEMENT.isSettled(epoch) != SKIPPED) revert NotSkipped(epoch);
        _refund(bookingId, epoch);
    }

    /// @inheritdoc ICapacityMarket
    function refundUnsettled(uint64 bookingId, Report calldata report) external {
        (uint256 maturesAt,) = SETTLEMENT.maturesAt(report);
        bool held = maturesAt == type(uint256).max;
        if (held || block.timestamp < maturesAt + UNSETTLED_DELAY) {
            revert RefundTooEarly(held ? maturesAt : maturesAt + UNSETTLED_DELAY);
        }
        _refund(bookingId, report.epoch);
    }

    /// @inheritdoc ICapacityMarket
    function payOracles() external returns (uint256 amount) {
        amount = _accounts.oraclesDue;
        if (amount == 0) revert NothingDue();
        _accounts.oraclesDue = 0;
        _accounts.oraclesPaid += uint128(amount);
        emit OraclesPaid(amount);
        token.forceApprove(address(SETTLEMENT), amount);
        SETTLEMENT.fund(amount);
    }

    /// @inheritdoc ICapacityMarket
    function payTreasury() external returns (uint256 amount) {
        amount = _accounts.treasuryDue;
        if (amount == 0) revert NothingDue();
        _accounts.treasuryDue = 0;
        _accounts.treasuryPaid += uint128(amount);
        emit TreasuryPaid(_fees.treasury, amount);
        token.safeTransfer(_fees.treasury, amount);
    }

    /// @inheritdoc ICapacityMarket
    function fundSubsidy(uint256 amount) external {
        _accounts.subsidyFund += amount.toUint128();
        emit SubsidyFunded(msg.sender, amount);
        token.take(msg.sender, amount);
    }

    /// @inheritdoc ICapacityMarket
    function setFees(Fees calldata fees_) external onlyOwner {
        _setFees(fees_);
    }

    /// @inheritdoc ICapacityMarket
    function listing(uint64 providerId) external view returns (Listing memory) {
        return _listings[providerId];
    }

    /// @inheritdoc ICapacityMarket
    function freeOf(uint64 providerId) external view returns (uint64) {
        return bookable(providerId) ? _freeIfBookable(providerId) : 0;
    }

    /// @inheritdoc ICapacityMarket
    function credit(uint64 bookingId) external view returns (uint256) {
        return _known(bookingId).credit;
    }

    /// @inheritdoc ICapacityMarket
    function booking(uint64 bookingId) external view returns (BookingView memory v) {
        Booking storage b = _known(bookingId);
        v.builder = b.builder;
        v.providerId = b.providerId;
        v.gib = b.gib;
        v.escrow = b.escrow;
        v.credit = b.credit;
        v.released = b.released;
        v.terms = new Term[](b.termCount);
        for (uint256 i = 0; i < v.terms.length; ++i) {
            v.terms[i] = b.terms[i];
        }
    }

    /// @inheritdoc ICapacityMarket
    function isSettled(uint64 bookingId, uint64 epoch) external view returns (bool) {
        return _known(bookingId).isSettled(epoch);
    }

    /// @inheritdoc ICapacityMarket
    function fees() external view returns (Fees memory) {
        return _fees;
    }

    /// @inheritdoc ICapacityMarket
    function config() external view returns (Config memory) {
        return Config({
            settlement: address(SETTLEMENT),
            oracle: address(ORACLE),
            standing: address(STANDING),
            noticeEpochs: NOTICE_EPOCHS,
            horizonEpochs: HORIZON_EPOCHS,
            unsettledDelay: UNSETTLED_DELAY,
            maxMarginPpm: MAX_MARGIN_PPM,
            subsidyPpm: SUBSIDY_PPM,
            subsidyEpochs: SUBSIDY_EPOCHS
        });
    }

    /// @inheritdoc ICapacityMarket
    function accounts() external view returns (Accounts memory) {
        return _accounts;
    }

    /// @inheritdoc ICapacityMarket
    function area(uint16 classId, uint64 region) external view returns (Area memory) {
        return _areas[classId][region];
    }

    /// @inheritdoc ICapacityMarket
    function priceIndex(uint16 classId, uint64 region) external view returns (uint256 price, uint64 bookedGib, uint64 listedGib) {
        Area storage a = _areas[classId][region];
        return (a.bookedGib == 0 ? 0 : a.index(), a.bookedGib, a.listedGib);
    }

    /// @inheritdoc ICapacityMarket
    function quote(uint16 classId, uint64 region, uint64 gib, uint32 epochs) external view returns (uint256 price, uint256 total) {
        Area storage a = _areas[classId][region];
        price = a.quote(gib);
        if (price == 0) revert NotEnoughCapacity(gib, a.listedGib > a.bookedGib ? a.listedGib - a.bookedGib : 0);
        total = price * gib * epochs;
    }

    /// @inheritdoc IObligations
    function obligedUntil(uint64 providerId) external view returns (uint256 time) {
        uint64 epoch = _listings[providerId].obligedEpoch;
        return epoch == 0 ? 0 : _startOf(epoch);
    }

    /// @inheritdoc ICapacityMarket
    function bookable(uint64 providerId) public view returns (bool) {
        return STANDING.stateOf(providerId) <= WARNED;
    }

    /// @inheritdoc ICapacityMarket
    function nextEpoch() public view returns (uint64) {
        if (block.timestamp < GENESIS) return 0;
        return uint64((block.timestamp - GENESIS) / EPOCH_LENGTH + 1);
    }

    function _setFees(Fees memory fees_) private {
        if (fees_.treasury == address(0) || fees_.marginPpm > MAX_MARGIN_PPM || fees_.oracleSharePpm > PPM) revert InvalidFees();
        _fees = fees_;
        emit FeesSet(fees_.marginPpm, fees_.oracleSharePpm, fees_.treasury);
    }

    /// Replaces a provider's offer.
    function _offer(uint64 providerId, uint64 gib, uint96 price) private {
        Listing storage entry = _listings[providerId];
        Area storage a = _areas[entry.classId][entry.region];
        a.unlist(entry.gib, entry.price);
        a.list(gib, price);
        entry.gib = gib;
        entry.price = price;
        emit Listed(providerId, entry.classId, entry.region, gib, price);
    }

    /// A new booking by the sender, without its deposit.
    function _book(uint64 providerId, uint64 gib, uint32 epochs, uint96 maxPrice) private returns (uint64 bookingId, uint256 cost) {
        Listing storage entry = _listings[providerId];
        bookingId = ++bookingCount;
        Booking storage b = _bookings[bookingId];
        b.builder = msg.sender;
        b.gib = gib;
        b.providerId = providerId;
        uint64 start = nextEpoch();
        cost = _append(b, entry, start, epochs, maxPrice);
        entry.booked += gib;
        _areas[entry.classId][entry.region].book(gib, entry.price);
        emit Booked(bookingId, providerId, msg.sender, gib, entry.price, start, start + epochs);
    }

    /// Adds epochs at the provider's price of now.
    function _append(Booking storage b, Listing storage entry, uint64 start, uint32 epochs, uint96 maxPrice)
        private
        returns (uint256 cost)
    {
        uint96 price = entry.price;
        if (price > maxPrice) revert PriceTooHigh(price, maxPrice);
        uint64 endEpoch = start + epochs;
        uint64 horizon = nextEpoch() + HORIZON_EPOCHS;
        if (epochs == 0 || endEpoch > horizon) revert InvalidEpochs(endEpoch, horizon);
        cost = b.append(start, epochs, price, _fees.marginPpm);
        if (endEpoch > entry.obligedEpoch) entry.obligedEpoch = endEpoch;
    }

    function _settle(uint64 bookingId, Booking storage b, Term memory term, uint64 epoch, uint8 outcome, uint256 multiplierPpm) private {
        uint256 cost = b.epochCost(term.price);
        Shares memory s = Split.divide(cost, multiplierPpm, term.marginPpm, _fees.oracleSharePpm);
        b.settle(epoch, cost, s.credit);
        uint256 subsidy = _drawSubsidy(s, epoch);
        earnings[b.providerId] += s.provider + subsidy;
        // Each amount is a part of an escrow below 2^96; the sums do not reach 2^128.
        _accounts.oraclesDue += uint128(s.oracles);
        _accounts.treasuryDue += uint128(s.treasury);
        _accounts.providersPaid += uint128(s.provider);
        _accounts.epochsSettled += 1;
        _accounts.gibEpochsSettled += b.gib;
        emit EpochSettled(bookingId, epoch, outcome, multiplierPpm, s.provider, s.oracles + s.treasury, s.credit, subsidy);
        _releaseIfOver(bookingId, b);
    }

    /// Credits an epoch in full.
    function _refund(uint64 bookingId, uint64 epoch) private {
        Booking storage b = _known(bookingId);
        uint256 cost = b.epochCost(_openTerm(bookingId, b, epoch).price);
        b.settle(epoch, cost, cost);
        emit EpochSettled(bookingId, epoch, 0, 0, 0, 0, cost, 0);
        _releaseIfOver(bookingId, b);
    }

    function _drawSubsidy(Shares memory s, uint64 epoch) private returns (uint256 subsidy) {
        uint256 fund = _accounts.subsidyFund;
        if (fund == 0) return 0;
        subsidy = Split.subsidy(s, SUBSIDY_PPM, epoch, SUBSIDY_EPOCHS);
        if (subsidy > fund) subsidy = fund;
        _accounts.subsidyFund -= uint128(subsidy);
        _accounts.subsidyPaid += uint128(subsidy);
    }

    function _releaseIfOver(uint64 bookingId, Booking storage b) private returns (bool) {
        if (b.released || b.endEpoch() >= nextEpoch()) return false;
        b.released = true;
        uint64 gib = b.gib;
        Listing storage entry = _listings[b.providerId];
        entry.booked -= gib;
        if (entry.booked == 0) entry.obligedEpoch = 0;
        _areas[entry.classId][entry.region].unbook(gib, b.last().price);
        emit CapacityReleased(bookingId, b.providerId, gib);
        return true;
    }

    function _known(uint64 bookingId) private view returns (Booking storage b) {
        b = _bookings[bookingId];
        if (b.builder == address(0)) revert UnknownBooking(bookingId);
    }

    function _ofBuilder(uint64 bookingId) private view returns (Booking storage b) {
        b = _known(bookingId);
        if (msg.sender != b.builder) revert OnlyBuilder(bookingId);
    }

    /// The term of an epoch that is booked and not settled.
    function _openTerm(uint64 bookingId, Booking storage b, uint64 epoch) private view returns (Term memory term) {
        bool found;
        (found, term) = b.find(epoch);
        if (!found) revert NotBooked(bookingId, epoch);
        if (b.isSettled(epoch)) revert AlreadySettled(bookingId, epoch);
    }

    /// What the provider offers, as far as its stake backs it.
    function _backedIfBookable(uint64 providerId) private view returns (uint64) {
        if (!bookable(providerId)) revert NotBookable(providerId);
        uint64 capacity = PROVIDERS.capacityOf(providerId);
        uint64 offered = _listings[providerId].gib;
        return offered < capacity ? offered : capacity;
    }

    function _freeIfBookable(uint64 providerId) private view returns (uint64) {
        uint64 backed = _backedIfBookable(providerId);
        uint64 booked = _listings[providerId].booked;
        return booked < backed ? backed - booked : 0;
    }

    function _ascends(uint64 before, uint64 after_) private view returns (bool) {
        uint96 priceBefore = _listings[before].price;
        uint96 priceAfter = _listings[after_].price;
        return priceBefore < priceAfter || (priceBefore == priceAfter && before < after_);
    }

    function _startOf(uint64 epoch) private view returns (uint256) {
        return GENESIS + uint256(epoch) * EPOCH_LENGTH;
    }
}

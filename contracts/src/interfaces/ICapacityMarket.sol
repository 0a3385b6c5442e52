// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Term} from "../market/Bookings.sol";
import {Area} from "../market/PriceBook.sol";
import {IObligations} from "./IObligations.sol";
import {Verdict} from "./ISlaOracle.sol";
import {Report} from "./ISlaSettlement.sol";

/// @title Where builders book providers' capacity, and verdicts decide epoch by epoch who gets the money
/// @notice A booking is GiB at one provider for whole epochs, paid in advance into an escrow. For each epoch, once its verdict has
/// matured: the provider earns price * GiB * multiplier less the margin, the builder is credited the rest, the margin goes to the
/// oracles' pool and the treasury. Nothing here is ever paid twice, and what comes in goes out to the last unit:
/// escrow paid in = provider pay + margin + credits + escrow left. A builder is never credited more than the escrow that he paid.
/// All payments are drawn, by anyone, and go to fixed recipients: nobody's refusal to be paid stops another's pay.
/// Prices are in the token's smallest unit per GiB and epoch; shares are in millionths (ppm).
interface ICapacityMarket is IObligations {
    struct Config {
        address settlement; // names the token, the provider registry and the epochs
        address oracle; // ISlaOracle
        address standing; // says which providers can be booked
        uint64 noticeEpochs; // whole epochs that a builder still pays after he ends a booking
        uint64 horizonEpochs; // no booking ends later than this many epochs from now
        uint64 unsettledDelay; // seconds that a provider has to bring a matured verdict; longer than a dispute can hold one
        uint24 maxMarginPpm; // the owner cannot ask for more
        uint24 subsidyPpm; // of the margin, at epoch 0
        uint64 subsidyEpochs; // when it has fallen to zero; 0 = no subsidy
    }

    /// What the owner, a timelock, may change. The margin holds for terms agreed afterwards, the rest at once.
    struct Fees {
        uint24 marginPpm; // of what a provider is paid
        uint24 oracleSharePpm; // of the margin, for the oracles' pool; the treasury has the rest
        address treasury;
    }

    struct Listing {
        uint64 gib; // offered in all, the booked part with it
        uint64 booked;
        uint64 region;
        uint16 classId;
        uint96 price; // the least that the provider takes
        uint64 obligedEpoch; // every booking ends before this epoch
    }

    struct BookingView {
        address builder;
        uint64 providerId;
        uint64 gib;
        uint96 escrow; // for the epochs not settled yet
        uint96 credit; // the builder's, to withdraw
        bool released; // over, its capacity free again
        Term[] terms; // in order and without gaps: epochs [start, end) at a price
    }

    /// Sums. What is due lies in the market; what is said to be paid went out, or is the provider's to draw.
    struct Accounts {
        uint128 oraclesDue;
        uint128 treasuryDue;
        uint128 subsidyFund;
        uint128 subsidyPaid;
        uint128 providersPaid; // from escrows, without subsidy
        uint64 epochsSettled; // epochs of bookings, by verdict
        uint64 gibEpochsSettled;
        uint128 oraclesPaid; // margin that went to the oracles' pool
        uint128 treasuryPaid;
    }

    event Listed(uint64 indexed providerId, uint16 indexed classId, uint64 indexed region, uint64 gib, uint96 price);
    event Booked(
        uint64 indexed bookingId, uint64 indexed providerId, address indexed builder, uint64 gib, uint96 price, uint64 start, uint64 end
    );
    event Extended(uint64 indexed bookingId, uint96 price, uint64 end);
    event Ended(uint64 indexed bookingId, uint64 end, uint256 credited);
    event CapacityReleased(uint64 indexed bookingId, uint64 indexed providerId, uint64 gib);
    /// outcome 0: there is no verdict, and all is credited.
    event EpochSettled(
        uint64 indexed bookingId,
        uint64 indexed epoch,
        uint8 outcome,
        uint256 multiplierPpm,
        uint256 providerPay,
        uint256 margin,
        uint256 credited,
        uint256 subsidy
    );
    event CreditWithdrawn(uint64 indexed bookingId, address indexed builder, uint256 amount);
    event EarningsWithdrawn(uint64 indexed providerId, address indexed recipient, uint256 amount);
    event OraclesPaid(uint256 amount);
    event TreasuryPaid(address indexed treasury, uint256 amount);
    event SubsidyFunded(address indexed from, uint256 amount);
    event FeesSet(uint24 marginPpm, uint24 oracleSharePpm, address treasury);

    error InvalidConfig();
    error InvalidFees();
    error OnlyOperator(uint64 providerId);
    error OnlyBuilder(uint64 bookingId);
    error UnknownBooking(uint64 bookingId);
    error ZeroPrice();
    error ZeroGib();
    /// Less is free, or backed by stake.
    error NotEnoughCapacity(uint64 wanted, uint64 free);
    /// Suspended or ejected.
    error NotBookable(uint64 providerId);
    error StillBookable(uint64 providerId);
    error PriceTooHigh(uint96 price, uint96 maxPrice);
    /// No epochs, or an end beyond the horizon.
    error InvalidEpochs(uint64 end, uint64 horizon);
    /// A candidate of another class or region.
    error WrongArea(uint64 providerId);
    /// Candidates must ascend by price, and by id where prices are equal.
    error NotAscending(uint64 providerId);
    error TooManyCandidates(uint256 given, uint256 most);
    error BookingOver(uint64 bookingId);
    error BookingNotOver(uint64 bookingId);
    error AlreadyReleased(uint64 bookingId);
    /// The notice reaches to the booking's end or beyond.
    error NothingToEnd(uint64 bookingId);
    /// The booking is with another provider than the verdict.
    error WrongProvider(uint64 bookingId, uint64 providerId);
    error NotBooked(uint64 bookingId, uint64 epoch);
    error AlreadySettled(uint64 bookingId, uint64 epoch);
    error NotSkipped(uint64 epoch);
    /// A verdict can still be brought.
    error RefundTooEarly(uint256 opensAt);
    error NothingDue();

    // --- providers ---

    /// @notice Offers capacity in the class and region that the provider registered for. Its operator only. Replaces the offer before;
    /// bookings keep their price and their capacity. Zero GiB takes the offer back.
    /// @param gib in all, at most the registry's capacityOf, and at most 2^32 - 1.
    function list(uint64 providerId, uint64 gib, uint96 price) external;

    /// @notice Takes the offer of a suspended or ejected provider, or of one that leaves, out of the lists. Anyone.
    function delist(uint64 providerId) external;

    function listing(uint64 providerId) external view returns (Listing memory);

    /// @notice Whether the provider's standing allows it to be booked.
    function bookable(uint64 providerId) external view returns (bool);

    /// @notice GiB that can be booked now: the offer, as far as stake backs it, less what is booked; zero if not bookable.
    function freeOf(uint64 providerId) external view returns (uint64);

    /// @notice Sends a provider's earnings to its recipient in the registry. Anyone.
    function withdrawEarnings(uint64 providerId) external returns (uint256 amount);

    function earnings(uint64 providerId) external view returns (uint256);

    // --- builders ---

    /// @notice Books a provider from the next epoch on, and takes price * gib * epochs as escrow (approve it first).
    /// @param maxPrice reverts when the provider asks for more.
    function book(uint64 providerId, uint64 gib, uint32 epochs, uint96 maxPrice) external returns (uint64 bookingId);

    /// @notice Books the cheapest of the candidates first and goes on to the next when one is full: one booking each, with ids from
    /// `firstId` on. All `gib` or nothing.
    /// @param candidates at most 16, of this class and region, bookable, ascending by (price, id); full ones are passed over. That
    /// none cheaper was left out is for the caller to see to.
    function bookCheapest(uint16 classId, uint64 region, uint64 gib, uint32 epochs, uint96 maxPrice, uint64[] calldata candidates)
        external
        returns (uint64 firstId, uint64 count);

    /// @notice Adds epochs to a booking that is not over, at what the provider asks now. Builder only. Reverts when that is more than
    /// `maxPrice`, when the provider no longer offers all that is booked, or on the eighth change of price.
    function extend(uint64 bookingId, uint32 epochs, uint96 maxPrice) external;

    /// @notice Ends a booking at the border of an epoch after the notice, and credits what was paid for the rest. Builder only. There
    /// is no notice towards a provider that is suspended or ejected, nor while the settlement's escape hatch is open.
    /// @return endEpoch the first epoch that is not booked any more.
    function end(uint64 bookingId) external returns (uint64 endEpoch);

    /// @notice Frees the capacity of a booking that is over. Anyone; settling an epoch does it too.
    function release(uint64 bookingId) external;

    /// @notice Sends a booking's credit to its builder. Anyone.
    function withdrawCredit(uint64 bookingId) external returns (uint256 amount);

    function credit(uint64 bookingId) external view returns (uint256);

    function booking(uint64 bookingId) external view returns (BookingView memory);

    function bookingCount() external view returns (uint64);

    function isSettled(uint64 bookingId, uint64 epoch) external view returns (bool);

    // --- settling, by anyone ---

    /// @notice Settles one epoch of a booking by its provider's matured verdict. Reverts as ISlaOracle.verdict does, when the
    /// verdict has not matured, and when this epoch of the booking is settled or was never booked.
    function settle(uint64 bookingId, Report calldata report, Verdict calldata v, bytes32[] calldata proof) external;

    /// @notice The same for many bookings of one provider with one proof. What cannot be settled is passed over.
    /// @return settled how many were.
    function settleMany(uint64[] calldata bookingIds, Report calldata report, Verdict calldata v, bytes32[] calldata proof)
        external
        returns (uint256 settled);

    /// @notice Credits the builder for an epoch that has no report and can have none any more.
    function settleSkipped(uint64 bookingId, uint64 epoch) external;

    /// @notice Credits the builder for an epoch whose report has no verdict on the provider: nobody brought one for `unsettledDelay`
    /// after it would have matured. Until then, and after, whoever has a verdict can settle by it.
    function refundUnsettled(uint64 bookingId, Report calldata report) external;

    // --- margin and subsidy ---

    /// @notice Sends the oracles' part of the margin into the settlement's pool. Anyone.
    function payOracles() external returns (uint256 amount);

    /// @notice Sends the treasury its part. Anyone.
    function payTreasury() external returns (uint256 amount);

    /// @notice Adds to what subsidies are paid from. Anyone; it does not come back.
    /// @dev A settled epoch pays the provider, on top, min(margin * rate, the treasury's part of the margin, the fund), where the rate
    /// falls in a straight line to zero.
    function fundSubsidy(uint256 amount) external;

    /// @notice Owner, a timelock.
    function setFees(Fees calldata fees_) external;

    function fees() external view returns (Fees memory);

    function config() external view returns (Config memory);

    function accounts() external view returns (Accounts memory);

    // --- prices ---

    /// @notice The epoch that a booking made now starts with.
    function nextEpoch() external view returns (uint64);

    /// @notice The price index: the average of the live bookings' last agreed prices, weighted by GiB, rounded down. Zero with none.
    function priceIndex(uint16 classId, uint64 region) external view returns (uint256 price, uint64 bookedGib, uint64 listedGib);

    /// @notice What `gib` more may be expected to cost per GiB and epoch, and in all: the index (with no bookings, the average asking
    /// price) times a factor that grows with the utilisation which the booking would leave: 1 up to 50 %, in straight lines 1.25 at
    /// 80 % and 2 at 100 %. A guide for `maxPrice`: what is paid is what the provider asks. Reverts when less than `gib` is left.
    function quote(uint16 classId, uint64 region, uint64 gib, uint32 epochs) external view returns (uint256 price, uint256 total);

    function area(uint16 classId, uint64 region) external view returns (Area memory);
}

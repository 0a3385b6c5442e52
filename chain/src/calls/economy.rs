//! Calldata of what providers, builders and keepers send to registry, market and token.

use alloy_primitives::U256;
use alloy_primitives::aliases::U96;
use alloy_sol_types::SolCall;
use assay_contracts_bindings::{CapacityMarket, ProviderRegistry, TestToken};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::report::Report;
use assay_core::verdict::Verdict;

use super::{report_of, verdict_of};
use crate::convert::to_alloy;
use crate::market::BookingId;

/// ERC-20 `approve`: lets `spender` take so much from the sender.
pub fn approve(spender: &Address, amount: u128) -> Vec<u8> {
    TestToken::approveCall { spender: to_alloy(spender), value: U256::from(amount) }.abi_encode()
}

/// What a provider registers with.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Signs answers and claim sets.
    pub receipt_key: Address,
    /// Where its gRPC listens.
    pub endpoint: String,
    /// SLA class.
    pub class_id: u16,
    /// Declared region.
    pub region: u64,
    /// Who is paid.
    pub recipient: Address,
    /// Taken from the sender, who approved it; smallest unit.
    pub stake: u128,
}

/// `ProviderRegistry.register`: the sender becomes the operator.
pub fn register_provider(registration: &Registration) -> Vec<u8> {
    ProviderRegistry::registerCall {
        receiptKey: to_alloy(&registration.receipt_key),
        endpoint: registration.endpoint.clone(),
        classId: registration.class_id,
        region: registration.region,
        recipient: to_alloy(&registration.recipient),
        stake: U256::from(registration.stake),
    }
    .abi_encode()
}

/// `ProviderRegistry.addStake`: operator only, approved before.
pub fn add_stake(provider: ProviderId, amount: u128) -> Vec<u8> {
    ProviderRegistry::addStakeCall { providerId: provider.0, amount: U256::from(amount) }.abi_encode()
}

/// `ProviderRegistry.declareCapacity`: operator only, backed by stake.
pub fn declare_capacity(provider: ProviderId, gib: u64) -> Vec<u8> {
    ProviderRegistry::declareCapacityCall { providerId: provider.0, gib }.abi_encode()
}

/// `ProviderRegistry.requestExit`: operator only.
pub fn request_exit(provider: ProviderId) -> Vec<u8> {
    ProviderRegistry::requestExitCall { providerId: provider.0 }.abi_encode()
}

/// `ProviderRegistry.withdraw`: the own stake, once unbonding is over.
pub fn withdraw_stake(provider: ProviderId) -> Vec<u8> {
    ProviderRegistry::withdrawCall { providerId: provider.0 }.abi_encode()
}

/// `CapacityMarket.list`: operator only; `price` per GiB and epoch, below 2^96. Zero GiB takes the offer back.
pub fn list(provider: ProviderId, gib: u64, price: u128) -> Vec<u8> {
    CapacityMarket::listCall { providerId: provider.0, gib, price: price_word(price) }.abi_encode()
}

/// `CapacityMarket.book`: one provider.
pub fn book(provider: ProviderId, gib: u64, epochs: u32, max_price: u128) -> Vec<u8> {
    CapacityMarket::bookCall { providerId: provider.0, gib, epochs, maxPrice: price_word(max_price) }.abi_encode()
}

/// `CapacityMarket.bookCheapest`: candidates ascending by (price, id), at most 16.
pub fn book_cheapest(class_id: u16, region: u64, gib: u64, epochs: u32, max_price: u128, candidates: &[ProviderId]) -> Vec<u8> {
    CapacityMarket::bookCheapestCall {
        classId: class_id,
        region,
        gib,
        epochs,
        maxPrice: price_word(max_price),
        candidates: candidates.iter().map(|provider| provider.0).collect(),
    }
    .abi_encode()
}

/// `CapacityMarket.extend`: builder only.
pub fn extend(booking: BookingId, epochs: u32, max_price: u128) -> Vec<u8> {
    CapacityMarket::extendCall { bookingId: booking.0, epochs, maxPrice: price_word(max_price) }.abi_encode()
}

/// `CapacityMarket.end`: builder only.
pub fn end_booking(booking: BookingId) -> Vec<u8> {
    CapacityMarket::endCall { bookingId: booking.0 }.abi_encode()
}

/// `CapacityMarket.settleMany`: all bookings of one provider by one matured verdict; anyone may send it.
pub fn settle_bookings(bookings: &[BookingId], report: &Report, verdict: &Verdict, proof: &[Hash32]) -> Vec<u8> {
    CapacityMarket::settleManyCall {
        bookingIds: bookings.iter().map(|booking| booking.0).collect(),
        report: report_of!(CapacityMarket, report),
        v: verdict_of!(CapacityMarket, verdict),
        proof: super::words(proof),
    }
    .abi_encode()
}

/// `CapacityMarket.settleSkipped`: an epoch that has no report and can have none; anyone may send it.
pub fn settle_skipped(booking: BookingId, epoch: u64) -> Vec<u8> {
    CapacityMarket::settleSkippedCall { bookingId: booking.0, epoch }.abi_encode()
}

/// `CapacityMarket.refundUnsettled`: a report without a verdict on the provider, long after; anyone may send it.
pub fn refund_unsettled(booking: BookingId, report: &Report) -> Vec<u8> {
    CapacityMarket::refundUnsettledCall { bookingId: booking.0, report: report_of!(CapacityMarket, report) }.abi_encode()
}

/// `CapacityMarket.withdrawCredit`: goes to the builder, whoever sends it.
pub fn withdraw_credit(booking: BookingId) -> Vec<u8> {
    CapacityMarket::withdrawCreditCall { bookingId: booking.0 }.abi_encode()
}

/// `CapacityMarket.withdrawEarnings`: goes to the provider's recipient, whoever sends it.
pub fn withdraw_earnings(provider: ProviderId) -> Vec<u8> {
    CapacityMarket::withdrawEarningsCall { providerId: provider.0 }.abi_encode()
}

/// `CapacityMarket.payOracles`: the oracles' part of the margin into the settlement's pool.
pub fn pay_oracles() -> Vec<u8> {
    CapacityMarket::payOraclesCall {}.abi_encode()
}

/// `CapacityMarket.payTreasury`.
pub fn pay_treasury() -> Vec<u8> {
    CapacityMarket::payTreasuryCall {}.abi_encode()
}

/// A price that does not fit is no price that anyone can pay: the contract refuses the largest.
fn price_word(price: u128) -> U96 {
    U96::try_from(price).unwrap_or(U96::MAX)
}

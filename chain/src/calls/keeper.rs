//! Calldata for the keeper contract, which tips whoever sends what is due.

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use assay_contracts_bindings::{IKeeper, Keeper};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::report::Report;
use assay_core::verdict::Verdict;

use super::{report_of, verdict_of};
use crate::ClaimKind;
use crate::convert::to_alloy;
use crate::market::BookingId;

/// A leaf under a report's `rewardRoot`, of which something is not paid yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueClaim {
    /// Of a provider or an oracle.
    pub kind: ClaimKind,
    /// Its id.
    pub id: u64,
    /// Who is paid.
    pub recipient: Address,
    /// Of all epochs up to the report's, smallest unit.
    pub cumulative: u128,
    /// The leaf's.
    pub proof: Vec<Hash32>,
}

/// A leaf under a report's `slashRoot`, not executed yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueSlash {
    /// Whose stake.
    pub provider: ProviderId,
    /// Number of the reason.
    pub reason: u8,
    /// What proves it.
    pub facts_root: Hash32,
    /// Smallest unit.
    pub amount: u128,
    /// The leaf's.
    pub proof: Vec<Hash32>,
}

/// `Keeper.claimMany`: rewards of one report; recipients are paid, the sender is tipped.
pub fn claim_many<'a>(report: &Report, claims: impl IntoIterator<Item = &'a DueClaim>) -> Vec<u8> {
    let leaf = |claim: &DueClaim| IKeeper::RewardClaim {
        kind: claim.kind.as_u8(),
        id: claim.id,
        recipient: to_alloy(&claim.recipient),
        cumulative: U256::from(claim.cumulative),
        proof: super::words(&claim.proof),
    };
    Keeper::claimManyCall { report: report_of!(Keeper, report), claims: claims.into_iter().map(leaf).collect() }.abi_encode()
}

/// `Keeper.slashMany`: slashes of one report; the sender is tipped.
pub fn slash_many<'a>(report: &Report, slashes: impl IntoIterator<Item = &'a DueSlash>) -> Vec<u8> {
    let leaf = |slash: &DueSlash| IKeeper::DueSlash {
        providerId: slash.provider.0,
        reason: slash.reason,
        factsRoot: slash.facts_root.0.into(),
        amount: U256::from(slash.amount),
        proof: super::words(&slash.proof),
    };
    Keeper::slashManyCall { report: report_of!(Keeper, report), slashes: slashes.into_iter().map(leaf).collect() }.abi_encode()
}

/// `Keeper.settleBookings`: as [`super::settle_bookings`]; the sender is tipped out of the margin that it brings.
pub fn keep_bookings(bookings: &[BookingId], report: &Report, verdict: &Verdict, proof: &[Hash32]) -> Vec<u8> {
    Keeper::settleBookingsCall {
        bookingIds: bookings.iter().map(|booking| booking.0).collect(),
        report: report_of!(Keeper, report),
        v: verdict_of!(Keeper, verdict),
        proof: super::words(proof),
    }
    .abi_encode()
}

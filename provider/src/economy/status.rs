//! How a provider stands, in money.

use assay_chain::market::Market;
use assay_chain::tokens::Tokens;
use assay_chain::{BlockTag, ChainError, ClaimKind, Rpc};
use assay_core::ids::{Address, ProviderId};
use clap::Args;
use serde::Serialize;

use super::{EconomyError, Place};

#[derive(Debug, Args)]
pub(crate) struct MoneyStatus {
    #[command(flatten)]
    place: Place,
    /// Address of CapacityMarket.
    #[arg(long, value_parser = crate::cli::address)]
    market: Address,
}

/// All that the chain says of it in one block.
#[derive(PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Money {
    provider_id: ProviderId,
    /// False from the request to exit on.
    active: bool,
    standing: &'static str,
    stake: Tokens,
    delegated: Tokens,
    /// Declared and backed, GiB.
    capacity: u64,
    /// Offered, GiB.
    listed: u64,
    /// Of it booked, GiB.
    booked: u64,
    price: Tokens,
    /// Rewards that the settlement paid so far.
    rewards_paid: Tokens,
    /// What bookings earned, to be withdrawn.
    claimable: Tokens,
    /// Unix seconds until which bookings bind it; 0 when none does.
    obliged_until: u64,
}

impl Money {
    async fn read(rpc: &Rpc, settlement: &Address, market: &Market, id: ProviderId, at: BlockTag) -> Result<Self, ChainError> {
        let record = rpc.provider_record_as_of(&market.provider_registry, id, at).await?;
        let (stake, delegated) = market.stake_of(id, at).await?;
        let listing = market.listing(id, at).await?;
        Ok(Self {
            provider_id: id,
            active: record.active,
            standing: standing(market.standing_of(id, at).await?),
            stake: Tokens(stake),
            delegated: Tokens(delegated),
            capacity: market.capacity_of(id, at).await?,
            listed: listing.gib,
            booked: listing.booked_gib,
            price: Tokens(listing.price),
            rewards_paid: Tokens(rpc.claimed_of(settlement, ClaimKind::Provider, id.0, at).await?),
            claimable: Tokens(market.earnings(id, at).await?),
            obliged_until: market.obliged_until_s(id, at).await?,
        })
    }
}

fn standing(state: u8) -> &'static str {
    match state {
        0 => "registered",
        1 => "active",
        2 => "warned",
        3 => "suspended",
        4 => "ejected",
        _ => "unknown",
    }
}

/// The newest block's, and whether the finalized one says the same: before that a reorg may change it.
pub(crate) async fn show(arguments: MoneyStatus) -> Result<(), EconomyError> {
    let MoneyStatus { place, market } = arguments;
    let desk = place.open().await?;
    let id = place.provider(&desk)?;
    let market = Market::connect(&desk.rpc, &market).await?;
    let settlement = &desk.config.settlement;
    let money = Money::read(&desk.rpc, settlement, &market, id, BlockTag::Latest).await?;
    let settled = Money::read(&desk.rpc, settlement, &market, id, BlockTag::Finalized).await;
    let mut printed = serde_json::to_value(&money).unwrap_or_default();
    printed["final"] = settled.is_ok_and(|settled| settled == money).into();
    super::print(place.json, &printed)
}

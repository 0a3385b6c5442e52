//! The capacity market: what is offered, booked, owed and paid. Amounts are in the token's smallest unit.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use assay_contracts_bindings::{CapacityMarket, ICapacityMarket, ProviderRegistry, ProviderStanding, TestToken};
use assay_core::ids::{Address, ProviderId};

use crate::convert::{self, amount};
use crate::{BlockTag, ChainError, Rpc};

mod search;

pub use search::{Offer, cheapest, registered_by};

/// A booking, from 1 in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
pub struct BookingId(pub u64);

/// A provider's offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listing {
    /// Offered in all, the booked part with it.
    pub gib: u64,
    /// Booked.
    pub booked_gib: u64,
    /// Registered for.
    pub region: u64,
    /// Registered for.
    pub class_id: u16,
    /// The least that the provider takes, per GiB and epoch.
    pub price: u128,
    /// Every booking ends before this epoch.
    pub obliged_epoch: u64,
}

/// Epochs of a booking at one price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Term {
    /// First epoch.
    pub start: u64,
    /// First epoch after it.
    pub end: u64,
    /// Per GiB and epoch.
    pub price: u128,
    /// What the market keeps of the provider's pay, in millionths.
    pub margin_ppm: u32,
}

/// A builder's capacity at one provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Booking {
    /// Who booked, and is credited.
    pub builder: Address,
    /// With whom.
    pub provider: ProviderId,
    /// How much.
    pub gib: u64,
    /// For the epochs not settled yet.
    pub escrow: u128,
    /// The builder's, to withdraw.
    pub credit: u128,
    /// Over, its capacity free again.
    pub released: bool,
    /// In order and without gaps.
    pub terms: Vec<Term>,
}

impl Booking {
    /// First booked epoch, and the first after the last.
    pub fn epochs(&self) -> std::ops::Range<u64> {
        self.terms.first().map_or(0, |term| term.start)..self.terms.last().map_or(0, |term| term.end)
    }
}

/// What the market took and paid, from its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accounts {
    /// The oracles' part of the margin that lies here.
    pub oracles_due: u128,
    /// The treasury's.
    pub treasury_due: u128,
    /// What subsidies are paid from.
    pub subsidy_fund: u128,
    /// Subsidies.
    pub subsidy_paid: u128,
    /// To providers from escrows, without subsidies.
    pub providers_paid: u128,
    /// Epochs of bookings that a verdict settled.
    pub epochs_settled: u64,
    /// Margin that went to the oracles' pool.
    pub oracles_paid: u128,
    /// Margin that went to the treasury.
    pub treasury_paid: u128,
}

/// A market and the contracts that it stands on.
#[derive(Clone)]
pub struct Market {
    rpc: Rpc,
    /// Its address.
    pub address: Address,
    /// The token that it is paid in.
    pub token: Address,
    /// `SlaSettlement`.
    pub settlement: Address,
    /// `ProviderRegistry`.
    pub provider_registry: Address,
    /// `ProviderStanding`.
    pub standing: Address,
    /// Seconds after a report matured until an epoch without a verdict on the provider is refunded.
    pub unsettled_delay_s: u64,
}

impl Market {
    /// Looks whether there is a market, and asks it what it stands on.
    pub async fn connect(rpc: &Rpc, address: &Address) -> Result<Self, ChainError> {
        rpc.check_code("market", address).await?;
        let latest = BlockId::latest();
        let config = rpc.call(address, CapacityMarket::configCall {}, latest).await?;
        let settlement = convert::address(config.settlement);
        rpc.check_code("the market's settlement", &settlement).await?;
        let settled = rpc.call(&settlement, assay_contracts_bindings::SlaSettlement::configCall {}, latest).await?;
        Ok(Self {
            rpc: rpc.clone(),
            address: *address,
            token: convert::address(settled.token),
            settlement,
            provider_registry: convert::address(settled.providerRegistry),
            standing: convert::address(config.standing),
            unsettled_delay_s: config.unsettledDelay,
        })
    }

    /// The node behind it.
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// A provider's offer; all zeros without one.
    pub async fn listing(&self, provider: ProviderId, at: impl Into<BlockTag>) -> Result<Listing, ChainError> {
        let listing = self.ask(CapacityMarket::listingCall { providerId: provider.0 }, at).await?;
        Ok(Listing {
            gib: listing.gib,
            booked_gib: listing.booked,
            region: listing.region,
            class_id: listing.classId,
            price: listing.price.to(),
            obliged_epoch: listing.obligedEpoch,
        })
    }

    /// GiB that can be booked now; zero when the provider's standing forbids it.
    pub async fn free_of(&self, provider: ProviderId, at: impl Into<BlockTag>) -> Result<u64, ChainError> {
        self.ask(CapacityMarket::freeOfCall { providerId: provider.0 }, at).await
    }

    /// Bookings made so far: their ids are 1 to this.
    pub async fn booking_count(&self, at: impl Into<BlockTag>) -> Result<u64, ChainError> {
        self.ask(CapacityMarket::bookingCountCall {}, at).await
    }

    /// A booking; [`ChainError::Refused`] when there is none.
    pub async fn booking(&self, booking: BookingId, at: impl Into<BlockTag>) -> Result<Booking, ChainError> {
        let view: ICapacityMarket::BookingView = self.ask(CapacityMarket::bookingCall { bookingId: booking.0 }, at).await?;
        let term = |term: &CapacityMarket::Term| Term {
            start: term.start,
            end: term.end,
            price: term.price.to(),
            margin_ppm: term.marginPpm.to(),
        };
        Ok(Booking {
            builder: convert::address(view.builder),
            provider: ProviderId(view.providerId),
            gib: view.gib,
            escrow: view.escrow.to(),
            credit: view.credit.to(),
            released: view.released,
            terms: view.terms.iter().map(term).collect(),
        })
    }

    /// Whether an epoch of a booking is settled.
    pub async fn is_settled(&self, booking: BookingId, epoch: u64, at: impl Into<BlockTag>) -> Result<bool, ChainError> {
        self.ask(CapacityMarket::isSettledCall { bookingId: booking.0, epoch }, at).await
    }

    /// What a provider earned and nobody sent it yet.
    pub async fn earnings(&self, provider: ProviderId, at: impl Into<BlockTag>) -> Result<u128, ChainError> {
        amount("earnings", self.ask(CapacityMarket::earningsCall { providerId: provider.0 }, at).await?)
    }

    /// The market's sums.
    pub async fn accounts(&self, at: impl Into<BlockTag>) -> Result<Accounts, ChainError> {
        let a = self.ask(CapacityMarket::accountsCall {}, at).await?;
        Ok(Accounts {
            oracles_due: a.oraclesDue,
            treasury_due: a.treasuryDue,
            subsidy_fund: a.subsidyFund,
            subsidy_paid: a.subsidyPaid,
            providers_paid: a.providersPaid,
            epochs_settled: a.epochsSettled,
            oracles_paid: a.oraclesPaid,
            treasury_paid: a.treasuryPaid,
        })
    }

    /// The epoch that a booking made now starts with.
    pub async fn next_epoch(&self, at: impl Into<BlockTag>) -> Result<u64, ChainError> {
        self.ask(CapacityMarket::nextEpochCall {}, at).await
    }

    /// (Average price of live bookings per GiB and epoch, GiB booked, GiB offered).
    pub async fn price_index(&self, class_id: u16, region: u64, at: impl Into<BlockTag>) -> Result<(u128, u64, u64), ChainError> {
        let index = self.ask(CapacityMarket::priceIndexCall { classId: class_id, region }, at).await?;
        Ok((amount("priceIndex", index.price)?, index.bookedGib, index.listedGib))
    }

    /// What so much may be expected to cost: (per GiB and epoch, in all).
    pub async fn quote(&self, class_id: u16, region: u64, gib: u64, epochs: u32) -> Result<(u128, u128), ChainError> {
        let quote = self.ask(CapacityMarket::quoteCall { classId: class_id, region, gib, epochs }, BlockTag::Latest).await?;
        Ok((amount("quote", quote.price)?, amount("quote", quote.total)?))
    }

    /// The number of a provider's state: 0 registered, 1 active, 2 warned, 3 suspended, 4 ejected.
    pub async fn standing_of(&self, provider: ProviderId, at: impl Into<BlockTag>) -> Result<u8, ChainError> {
        self.rpc.call(&self.standing, ProviderStanding::stateOfCall { providerId: provider.0 }, block(at)).await
    }

    /// Capacity that the registry lets a provider promise, GiB.
    pub async fn capacity_of(&self, provider: ProviderId, at: impl Into<BlockTag>) -> Result<u64, ChainError> {
        self.rpc.call(&self.provider_registry, ProviderRegistry::capacityOfCall { providerId: provider.0 }, block(at)).await
    }

    /// A provider's own and delegated stake.
    pub async fn stake_of(&self, provider: ProviderId, at: impl Into<BlockTag>) -> Result<(u128, u128), ChainError> {
        let stake =
            self.rpc.call(&self.provider_registry, ProviderRegistry::stakeTotalOfCall { providerId: provider.0 }, block(at)).await?;
        Ok((amount("own stake", stake.own)?, amount("delegated stake", stake.delegated)?))
    }

    /// An account's tokens.
    pub async fn balance_of(&self, account: &Address, at: impl Into<BlockTag>) -> Result<u128, ChainError> {
        let call = TestToken::balanceOfCall { account: convert::to_alloy(account) };
        amount("balanceOf", self.rpc.call(&self.token, call, block(at)).await?)
    }

    /// All tokens that there are.
    pub async fn supply(&self, at: impl Into<BlockTag>) -> Result<u128, ChainError> {
        amount("totalSupply", self.rpc.call(&self.token, TestToken::totalSupplyCall {}, block(at)).await?)
    }

    /// What `owner` lets `spender` take.
    pub async fn allowance(&self, owner: &Address, spender: &Address) -> Result<U256, ChainError> {
        let call = TestToken::allowanceCall { owner: convert::to_alloy(owner), spender: convert::to_alloy(spender) };
        self.rpc.call(&self.token, call, BlockId::latest()).await
    }

    async fn ask<C: SolCall>(&self, call: C, at: impl Into<BlockTag>) -> Result<C::Return, ChainError> {
        self.rpc.call(&self.address, call, block(at)).await
    }
}

fn block(at: impl Into<BlockTag>) -> BlockId {
    BlockId::Number(BlockNumberOrTag::from(at.into()))
}

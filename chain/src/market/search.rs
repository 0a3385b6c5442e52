//! Finding what is in the market: offers to book, a builder's bookings, and what a transaction made.

use alloy_eips::BlockId;
use assay_contracts_bindings::{CapacityMarket, ProviderRegistry};
use assay_core::ids::{Address, ProviderId};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::{Booking, BookingId, Market};
use crate::transaction::Mined;
use crate::{BlockTag, ChainError};

/// Requests in flight at once.
const CONCURRENCY: usize = 16;
/// The registry takes no more.
const MAX_PROVIDERS: u64 = 4096;
/// The market takes no more in one booking.
const MAX_CANDIDATES: usize = 16;

/// An offer that can be booked now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Offer {
    /// Per GiB and epoch. First: offers sort as the market wants candidates.
    pub price: u128,
    /// Whose.
    pub provider: ProviderId,
    /// Free, not what is offered.
    pub gib: u64,
}

/// What is taken of each offer, cheapest first, until `gib` are together; `None` when the first sixteen do not hold so much.
pub fn cheapest(mut offers: Vec<Offer>, gib: u64, max_price: u128) -> Option<Vec<Offer>> {
    offers.retain(|offer| offer.price <= max_price && offer.gib > 0);
    offers.sort_unstable();
    let mut missing = gib;
    let mut taken = Vec::new();
    for offer in offers.into_iter().take(MAX_CANDIDATES) {
        if missing == 0 {
            break;
        }
        let part = offer.gib.min(missing);
        missing -= part;
        taken.push(Offer { gib: part, ..offer });
    }
    (missing == 0).then_some(taken)
}

impl Market {
    /// All offers of a class in a region that can be booked now.
    pub async fn offers(&self, class_id: u16, region: u64) -> Result<Vec<Offer>, ChainError> {
        let count = self.rpc.call(&self.provider_registry, ProviderRegistry::providerCountCall {}, BlockId::latest()).await?;
        let ids = (1..=count.min(MAX_PROVIDERS)).map(ProviderId);
        let reads: Vec<_> = ids.map(|id| self.offer(id, class_id, region)).collect();
        stream::iter(reads).buffer_unordered(CONCURRENCY).try_filter_map(async |offer| Ok(offer)).try_collect().await
    }

    async fn offer(&self, provider: ProviderId, class_id: u16, region: u64) -> Result<Option<Offer>, ChainError> {
        let listing = self.listing(provider, BlockTag::Latest).await?;
        if listing.gib <= listing.booked_gib || (listing.class_id, listing.region) != (class_id, region) {
            return Ok(None);
        }
        let gib = self.free_of(provider, BlockTag::Latest).await?;
        Ok((gib > 0).then_some(Offer { price: listing.price, provider, gib }))
    }

    /// A builder's bookings, ascending.
    pub async fn bookings_of(&self, builder: &Address, at: BlockTag) -> Result<Vec<(BookingId, Booking)>, ChainError> {
        let count = self.booking_count(at).await?;
        let reads: Vec<_> = (1..=count).map(BookingId).map(async |id| Ok((id, self.booking(id, at).await?))).collect();
        let all: Vec<(BookingId, Booking)> = stream::iter(reads).buffered(CONCURRENCY).try_collect().await?;
        Ok(all.into_iter().filter(|(_, booking)| booking.builder == *builder).collect())
    }

    /// Unix seconds until which bookings bind a provider; zero when none does.
    pub async fn obliged_until_s(&self, provider: ProviderId, at: BlockTag) -> Result<u64, ChainError> {
        let until = self.ask(CapacityMarket::obligedUntilCall { providerId: provider.0 }, at).await?;
        Ok(u64::try_from(until).unwrap_or(u64::MAX))
    }

    /// The bookings that a transaction made.
    pub fn booked_by(&self, mined: &Mined) -> Result<Vec<BookingId>, ChainError> {
        let events = mined.events::<CapacityMarket::Booked>(&self.address)?;
        Ok(events.iter().map(|event| BookingId(event.bookingId)).collect())
    }
}

/// The provider that a transaction registered.
pub fn registered_by(registry: &Address, mined: &Mined) -> Result<Option<ProviderId>, ChainError> {
    let events = mined.events::<ProviderRegistry::ProviderRegistered>(registry)?;
    Ok(events.first().map(|event| ProviderId(event.providerId)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(price: u128, provider: u64, gib: u64) -> Offer {
        Offer { price, provider: ProviderId(provider), gib }
    }

    #[test]
    fn the_cheapest_are_taken_first_and_the_older_of_equals() {
        let offers = vec![offer(7, 1, 10), offer(5, 3, 4), offer(5, 2, 4), offer(6, 4, 0), offer(9, 5, 100)];
        assert_eq!(cheapest(offers.clone(), 10, 8), Some(vec![offer(5, 2, 4), offer(5, 3, 4), offer(7, 1, 2)]));
        assert_eq!(cheapest(offers.clone(), 4, 5), Some(vec![offer(5, 2, 4)]));
        assert_eq!(cheapest(offers.clone(), 19, 8), None, "no more than the maximum is paid, whatever is missing");
        assert_eq!(cheapest(offers, 0, 8), Some(vec![]));
        let many = |count: u64| (1..=count).map(|id| offer(1, id, 1)).collect::<Vec<_>>();
        assert_eq!(cheapest(many(20), 16, 1).map(|taken| taken.len()), Some(16));
        assert_eq!(cheapest(many(20), 17, 1), None, "the market takes sixteen");
    }
}

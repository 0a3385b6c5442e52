//! The capacity market's bookings: what a report says of a booked provider moves the builder's escrow.
//!
//! Anyone may settle a booking, so that every node can: in the order of the transmitters, each after a look whether it is done.

use std::collections::BTreeMap;

use assay_chain::market::{Booking, BookingId, Market};
use assay_chain::{BlockTag, ChainError, EpochState, Rpc, calls};
use assay_core::ids::{Address, ProviderId};
use futures::stream::{self, StreamExt, TryStreamExt};
use tracing::info;

use super::{Posting, SettleError, Settler};

/// Bookings in one transaction: each takes some 70,000 gas.
pub(crate) const AT_ONCE: usize = 64;
/// Requests in flight at once.
const CONCURRENCY: usize = 16;
/// Skipped epochs are looked for so far back: a restart does not forget one.
const LOOK_BACK: u64 = 64;

/// The bookings of a market, as last seen.
pub(crate) struct Bookings {
    address: Address,
    market: Option<Market>,
    known: BTreeMap<BookingId, Booking>,
    /// The epoch in which they were read: extensions and ends take effect at its border.
    read_in: Option<u64>,
    /// Every skipped epoch before this one is settled.
    skipped_to: Option<u64>,
}

impl Bookings {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, market: None, known: BTreeMap::new(), read_in: None, skipped_to: None }
    }

    /// The market, looked for until it is there, with bookings not older than this epoch.
    pub(crate) async fn read(&mut self, rpc: &Rpc, epoch: u64) -> Result<Market, ChainError> {
        let market = match &self.market {
            Some(market) => market.clone(),
            None => Market::connect(rpc, &self.address).await?,
        };
        let count = market.booking_count(BlockTag::Latest).await?;
        if self.read_in != Some(epoch) || u64::try_from(self.known.len()).is_ok_and(|known| known != count) {
            let reads: Vec<_> = (1..=count).map(|id| read_one(&market, BookingId(id))).collect();
            self.known = stream::iter(reads).buffer_unordered(CONCURRENCY).try_collect().await?;
            self.read_in = Some(epoch);
        }
        self.market = Some(market.clone());
        Ok(market)
    }

    /// Bookings of an epoch that are not settled, by provider.
    pub(crate) async fn unsettled(
        &self,
        market: &Market,
        epoch: u64,
        at: BlockTag,
    ) -> Result<BTreeMap<ProviderId, Vec<BookingId>>, ChainError> {
        let of_epoch = self.known.iter().filter(|(_, booking)| booking.epochs().contains(&epoch));
        let reads: Vec<_> = of_epoch.map(|(id, booking)| is_settled(market, *id, booking.provider, epoch, at)).collect();
        let mut read: Vec<(BookingId, ProviderId, bool)> = stream::iter(reads).buffer_unordered(CONCURRENCY).try_collect().await?;
        read.sort_unstable_by_key(|(id, ..)| *id);
        let mut open: BTreeMap<ProviderId, Vec<BookingId>> = BTreeMap::new();
        for (id, provider, _) in read.into_iter().filter(|(.., done)| !done) {
            open.entry(provider).or_default().push(id);
        }
        Ok(open)
    }
}

async fn read_one(market: &Market, id: BookingId) -> Result<(BookingId, Booking), ChainError> {
    Ok((id, market.booking(id, BlockTag::Latest).await?))
}

async fn is_settled(
    market: &Market,
    id: BookingId,
    provider: ProviderId,
    epoch: u64,
    at: BlockTag,
) -> Result<(BookingId, ProviderId, bool), ChainError> {
    Ok((id, provider, market.is_settled(id, epoch, at).await?))
}

impl Settler {
    /// Settles what accepted reports and skipped epochs decide about bookings.
    pub(super) async fn settle_bookings(&self, bookings: &mut Bookings, postings: &mut BTreeMap<u64, Posting>) -> Result<(), SettleError> {
        let latest = self.client.latest().await?;
        let Some(epoch) = self.frames.epoch_at(latest.timestamp_s.saturating_mul(1_000)) else { return Ok(()) };
        for (epoch_of, posting) in postings.iter_mut().filter(|(_, posting)| !posting.booked) {
            let Some(accepted_at_s) = posting.accepted_at_s else { continue };
            let since_s = latest.timestamp_s.saturating_sub(accepted_at_s);
            if since_s < self.frames.settlement().reward_window_s.saturating_add(self.my_turn_s(posting)) {
                continue;
            }
            let market = bookings.read(self.client.rpc(), epoch).await?;
            posting.booked = self.settle_epoch(bookings, &market, *epoch_of, posting, latest.timestamp_s).await?;
        }
        self.settle_skipped(bookings, epoch).await
    }

    /// True once no booking of the epoch is unsettled.
    async fn settle_epoch(
        &self,
        bookings: &Bookings,
        market: &Market,
        epoch: u64,
        posting: &Posting,
        now_s: u64,
    ) -> Result<bool, SettleError> {
        let open = bookings.unsettled(market, epoch, BlockTag::Latest).await?;
        if open.is_empty() {
            return Ok(true);
        }
        let report = &posting.outcome.report;
        // Held by a court: it may be void tomorrow.
        let Some(matures_at_s) = self.client.matures_at_s(report, BlockTag::Latest).await?.filter(|at_s| *at_s <= now_s) else {
            return Ok(false);
        };
        for (provider, ids) in open {
            let Some((verdict, proof)) = posting.outcome.verdict_proof(provider) else {
                if now_s >= matures_at_s.saturating_add(market.unsettled_delay_s) {
                    for id in ids {
                        self.outbox
                            .enqueue(&format!("refund/{epoch}/{}", id.0), market.address, calls::refund_unsettled(id, report))
                            .await?;
                    }
                }
                continue;
            };
            for ids in ids.chunks(AT_ONCE) {
                let first = ids.first().map_or(0, |id| id.0);
                info!(epoch, %provider, bookings = ids.len(), "settling bookings");
                let calldata = calls::settle_bookings(ids, report, verdict, &proof);
                self.outbox.enqueue(&format!("bookings/{epoch}/{provider}/{first}"), market.address, calldata).await?;
            }
        }
        Ok(false)
    }

    /// Credits builders for epochs that can have no report any more.
    async fn settle_skipped(&self, bookings: &mut Bookings, now: u64) -> Result<(), SettleError> {
        let from = bookings.skipped_to.unwrap_or_else(|| now.saturating_sub(LOOK_BACK));
        let mut all_settled = true;
        for epoch in from..now {
            match self.client.epoch_state(epoch, BlockTag::Finalized).await? {
                EpochState::Open => return Ok(()),
                EpochState::Accepted => {}
                EpochState::Skipped => {
                    let market = bookings.read(self.client.rpc(), now).await?;
                    for id in bookings.unsettled(&market, epoch, BlockTag::Latest).await?.into_values().flatten() {
                        all_settled = false;
                        self.outbox.enqueue(&format!("skipped/{epoch}/{}", id.0), market.address, calls::settle_skipped(id, epoch)).await?;
                    }
                }
            }
            if all_settled {
                bookings.skipped_to = Some(epoch.saturating_add(1));
            }
        }
        Ok(())
    }
}

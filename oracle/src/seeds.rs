//! The seeds an epoch is measured under: beacon rounds, or the flagged fallback when one is late.

use std::time::Duration;

use assay_core::beacon::fallback_seed;
use assay_core::hash::Hash32;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use crate::beacon::{BeaconClient, BeaconError};
use crate::clock::until_unix_ms;

/// Between two questions for a round that is due and not out.
const POLL: Duration = Duration::from_millis(40);

/// A seed and whether it is the beacon's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed {
    /// The value.
    pub value: Hash32,
    /// From a verified round, not from the fallback.
    pub secure: bool,
}

/// Follows the rounds of one epoch.
pub struct SeedFollower<'a> {
    /// Where rounds come from.
    pub beacon: &'a BeaconClient,
    /// A round not seen this long after its time is given up.
    pub late_ms: u64,
    /// The epoch's reference block, for the fallback.
    pub ref_block_hash: Hash32,
    /// The last seed, for the fallback; zero before the first.
    pub previous: Hash32,
}

impl SeedFollower<'_> {
    /// The seed for a start time, at that time or as soon after it as it is known.
    pub async fn seed(&mut self, start_ms: u64) -> Seed {
        let round = self.beacon.info().first_round_at_or_after(start_ms.div_ceil(1_000)).unwrap_or(u64::MAX);
        sleep_until(until_unix_ms(start_ms)).await;
        let given_up = until_unix_ms(start_ms.saturating_add(self.late_ms));
        let seed = match self.wait_for(round, given_up).await {
            Some(value) => Seed { value, secure: true },
            None => Seed { value: fallback_seed(&self.previous, &self.ref_block_hash), secure: false },
        };
        self.previous = seed.value;
        seed
    }

    async fn wait_for(&self, round: u64, given_up: Instant) -> Option<Hash32> {
        loop {
            match self.beacon.round(round).await {
                Ok(round) => return Some(round.randomness),
                Err(BeaconError::TooEarly(_)) => {}
                Err(error) => warn!(%error, round, "no beacon round"),
            }
            if Instant::now() >= given_up {
                warn!(round, "the beacon round is late: measuring under the fallback seed, which can pay but not slash");
                return None;
            }
            sleep(POLL).await;
        }
    }
}

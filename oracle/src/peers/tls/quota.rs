//! What one peer may take of a node, over all of its connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use assay_core::ids::OracleId;
use tokio::sync::Semaphore;

/// Calls of one peer that are answered at the same time: a fraction of all that are, so that no few peers hold them all.
const CALLS: usize = 2;
/// Calls at once, and what comes back in a second. An epoch takes some tens.
const CALL_BURST: u64 = 512;
const CALLS_PER_S: u64 = 64;
/// Bytes of both directions. A peer's part of an epoch may be a reveal of 16 MiB, and be asked for by others.
const BYTE_BURST: u64 = 96 * 1024 * 1024;
const BYTES_PER_S: u64 = 16 * 1024 * 1024;

/// Amounts that refill with time.
#[derive(Debug)]
struct Bucket {
    burst: u64,
    per_s: u64,
    /// Nanoseconds of refilling that are owed until the bucket is full.
    owed_ns: u64,
    since: Instant,
}

impl Bucket {
    fn new(burst: u64, per_s: u64) -> Self {
        Self { burst, per_s, owed_ns: 0, since: Instant::now() }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        self.owed_ns = self.owed_ns.saturating_sub(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX));
        self.since = now;
    }

    fn take(&mut self, amount: u64, now: Instant) {
        self.refill(now);
        self.owed_ns = self.owed_ns.saturating_add(amount.saturating_mul(1_000_000_000) / self.per_s);
    }

    /// How long until there is something in it again.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.refill(now);
        let full_ns = self.burst.saturating_mul(1_000_000_000) / self.per_s;
        self.owed_ns.checked_sub(full_ns).filter(|over| *over > 0).map(Duration::from_nanos)
    }
}

/// One peer's share.
#[derive(Debug)]
pub(in crate::peers) struct Quota {
    pub calls: Semaphore,
    rate: Mutex<Bucket>,
    bytes: Mutex<Bucket>,
}

impl Default for Quota {
    fn default() -> Self {
        let (rate, bytes) = (Bucket::new(CALL_BURST, CALLS_PER_S), Bucket::new(BYTE_BURST, BYTES_PER_S));
        Self { calls: Semaphore::new(CALLS), rate: Mutex::new(rate), bytes: Mutex::new(bytes) }
    }
}

impl Quota {
    /// Takes one call, if there is one left.
    pub fn take_call(&self) -> bool {
        let (mut rate, now) = (self.rate.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let is_free = rate.wait(now).is_none();
        if is_free {
            rate.take(1, now);
        }
        is_free
    }

    /// Counts bytes that went either way.
    pub fn take_bytes(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, Instant::now());
    }

    /// How long nothing is read from the peer.
    pub fn wait_for_bytes(&self) -> Option<Duration> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).wait(Instant::now())
    }
}

/// Who makes a request.
#[derive(Clone, Debug)]
pub(in crate::peers) struct Caller {
    pub oracle: OracleId,
    pub quota: Arc<Quota>,
}

#[cfg(test)]
mod tests {
    use super::*;

    // Defence: `take_call`; without it a member makes a node parse and verify without end.
    #[test]
    fn calls_beyond_the_quota_are_refused() {
        let quota = Quota::default();
        let taken = (0..4 * CALL_BURST).take_while(|_| quota.take_call()).count() as u64;
        assert!((CALL_BURST..2 * CALL_BURST).contains(&taken), "{taken}");
    }

    // Defence: `wait_for_bytes`; without it a member fills a node's line and memory.
    #[test]
    fn bytes_beyond_the_quota_wait() {
        let mut bucket = Bucket::new(BYTE_BURST, BYTES_PER_S);
        let start = Instant::now();
        bucket.take(BYTE_BURST, start);
        assert_eq!(bucket.wait(start), None);
        bucket.take(BYTES_PER_S, start);
        assert_eq!(bucket.wait(start), Some(Duration::from_secs(1)));
        assert_eq!(bucket.wait(start + Duration::from_secs(1)), None, "it refills");
    }
}

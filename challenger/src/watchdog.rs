//! Did this process stand still? A thread that wakes every millisecond knows: a gap in its wakings is time in which no measurement of
//! this process can be trusted.
//!
//! [`Watchdog::pulse`] keeps the same watch over a tokio runtime, whose tasks can stand still while threads run.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// How often the thread wakes.
const TICK: Duration = Duration::from_millis(1);
/// How often a runtime's pulse beats.
const PULSE: Duration = Duration::from_millis(5);
/// Gaps remembered; older ones are remembered as one.
const REMEMBERED: usize = 1_024;

/// A handle on the watchdog thread, which ends with the last handle.
#[derive(Clone, Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    thread: Mutex<Gaps>,
    runtime: Mutex<Gaps>,
}

impl Watchdog {
    /// Starts the thread; gaps longer than `threshold` are stalls.
    pub fn start(threshold: Duration) -> std::io::Result<Self> {
        let now = Instant::now();
        let shared =
            Arc::new(Shared { thread: Mutex::new(Gaps::new(threshold, Some(now))), runtime: Mutex::new(Gaps::new(threshold, None)) });
        let watched = Arc::downgrade(&shared);
        std::thread::Builder::new().name("watchdog".into()).spawn(move || watch(&watched))?;
        Ok(Self { shared })
    }

    /// Whether a stall overlaps the time from `from` to `to`, one that has not ended yet included.
    pub fn stalled_between(&self, from: Instant, to: Instant) -> bool {
        let now = Instant::now();
        lock(&self.shared.thread).overlaps(from, to, now) || lock(&self.shared.runtime).overlaps(from, to, now)
    }

    /// Takes down a stall that nobody had.
    #[cfg(test)]
    pub(crate) fn invent_stall(&self, from: Instant, to: Instant) {
        lock(&self.shared.thread).remember(from, to);
    }

    /// Beats on the runtime that polls it until cancelled. Spawn it once on the runtime that probes.
    pub async fn pulse(self, cancel: CancellationToken) {
        let mut beat = tokio::time::interval(PULSE);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while cancel.run_until_cancelled(beat.tick()).await.is_some() {
            lock(&self.shared.runtime).tick(Instant::now());
        }
        lock(&self.shared.runtime).last = None;
    }
}

fn watch(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        lock(&shared.thread).tick(Instant::now());
        drop(shared);
        std::thread::sleep(TICK);
    }
}

fn lock(gaps: &Mutex<Gaps>) -> MutexGuard<'_, Gaps> {
    gaps.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The gaps between ticks that were longer than a threshold.
#[derive(Debug)]
struct Gaps {
    threshold: Duration,
    /// The last tick; `None` while nobody ticks.
    last: Option<Instant>,
    recent: VecDeque<(Instant, Instant)>,
    /// Up to here gaps were forgotten: this time counts as stalled.
    forgotten_until: Option<Instant>,
}

impl Gaps {
    fn new(threshold: Duration, last: Option<Instant>) -> Self {
        Self { threshold, last, recent: VecDeque::new(), forgotten_until: None }
    }

    fn tick(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now)
            && self.is_stall(last, now)
        {
            self.remember(last, now);
        }
    }

    fn remember(&mut self, from: Instant, to: Instant) {
        if self.recent.len() == REMEMBERED {
            self.forgotten_until = self.recent.pop_front().map(|(_, end)| end);
        }
        self.recent.push_back((from, to));
    }

    fn is_stall(&self, from: Instant, to: Instant) -> bool {
        to.saturating_duration_since(from) > self.threshold
    }

    fn overlaps(&self, from: Instant, to: Instant, now: Instant) -> bool {
        let open = self.last.filter(|last| self.is_stall(*last, now)).map(|last| (last, now));
        self.forgotten_until.is_some_and(|until| from < until)
            || self.recent.iter().copied().chain(open).any(|(start, end)| start < to && from < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_long_gaps_that_overlap_are_stalls() {
        let t = Instant::now();
        let mut gaps = Gaps::new(25 * MS, Some(t));
        gaps.tick(t + 25 * MS);
        gaps.tick(t + 60 * MS);
        gaps.tick(t + 61 * MS);
        let now = t + 62 * MS;
        assert!(!gaps.overlaps(t, t + 20 * MS, now), "a short gap is none");
        assert!(gaps.overlaps(t, t + 26 * MS, now));
        assert!(gaps.overlaps(t + 59 * MS, t + 80 * MS, now));
        assert!(gaps.overlaps(t + 30 * MS, t + 31 * MS, now), "inside the gap");
        assert!(!gaps.overlaps(t + 60 * MS, t + 80 * MS, now));
    }

    // Defence: the open gap in `Gaps::overlaps`; without it a process that wakes from a stop judges a probe before its watchdog ticks.
    #[test]
    fn a_stall_counts_before_the_watchdog_woke_from_it() {
        let t = Instant::now();
        let gaps = Gaps::new(25 * MS, Some(t));
        assert!(gaps.overlaps(t + MS, t + 30 * MS, t + 30 * MS));
        assert!(!gaps.overlaps(t + MS, t + 20 * MS, t + 20 * MS));
        assert!(!Gaps::new(25 * MS, None).overlaps(t, t + 99 * MS, t + 99 * MS), "nobody ticks");
    }

    #[test]
    fn what_was_forgotten_counts_as_stalled() {
        let t = Instant::now();
        let mut gaps = Gaps::new(MS, Some(t));
        for i in 1..=REMEMBERED as u32 + 1 {
            gaps.tick(t + 10 * MS * i);
        }
        assert_eq!(gaps.recent.len(), REMEMBERED);
        assert!(gaps.overlaps(t, t, t));
    }

    #[test]
    fn the_thread_ticks_and_ends() {
        let watchdog = Watchdog::start(Duration::from_secs(60)).unwrap();
        let started = lock(&watchdog.shared.thread).last;
        while lock(&watchdog.shared.thread).last == started {
            std::thread::yield_now();
        }
        assert!(!watchdog.stalled_between(Instant::now(), Instant::now()));
        let weak = Arc::downgrade(&watchdog.shared);
        drop(watchdog);
        while weak.strong_count() > 0 {
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn a_blocked_runtime_is_a_stall() {
        let watchdog = Watchdog::start(Duration::from_secs(60)).unwrap();
        lock(&watchdog.shared.runtime).threshold = 20 * MS;
        let cancel = CancellationToken::new();
        let pulse = tokio::spawn(watchdog.clone().pulse(cancel.clone()));
        while lock(&watchdog.shared.runtime).last.is_none() {
            tokio::task::yield_now().await;
        }
        let from = Instant::now();
        // The stall itself, not a wait for an event: this runtime has one thread.
        std::thread::sleep(50 * MS);
        assert!(watchdog.stalled_between(from, Instant::now()));
        cancel.cancel();
        pulse.await.unwrap();
    }
}

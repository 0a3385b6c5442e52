//! Readings of one direction: at every slice's end, how much was acknowledged and when the last of it was.

use std::time::Duration;

use assay_core::params::Bandwidth;
use assay_core::transcript::Reading;
use tokio::time::Instant;

use crate::clock::micros;
use crate::watchdog::Watchdog;

/// The most readings of one test.
const MAX_READINGS: u64 = 64;
/// Slices between the ramp and the end of offering that a test needs, unless it is the target that has none.
const NEEDED: usize = 3;

/// The slices of one test.
#[derive(Debug)]
pub(super) struct Slices {
    start: Instant,
    length: Duration,
    /// (when, all acknowledged by then).
    last: (Instant, u64),
    readings: Vec<Reading>,
}

impl Slices {
    pub fn new(bandwidth: &Bandwidth, start: Instant) -> Self {
        let shortest = bandwidth.window_ms.div_ceil(MAX_READINGS);
        let length = Duration::from_millis(bandwidth.slice_ms.max(shortest).max(1));
        Self { start, length, last: (start, 0), readings: Vec::new() }
    }

    /// All bytes acknowledged by `now` are `total`.
    pub fn note(&mut self, now: Instant, total: u64) {
        self.close_before(now);
        self.last = (now, total);
    }

    fn close_before(&mut self, now: Instant) {
        while (self.readings.len() as u64) < MAX_READINGS && self.end_of(self.readings.len()) <= now {
            self.close();
        }
    }

    /// A slice without a byte is read at its end: were it read at the byte before, it would have no length and count for nothing.
    fn close(&mut self) {
        let slice = self.readings.len();
        let at = if self.last.0 < self.start_of(slice) { self.end_of(slice) } else { self.last.0 };
        let at_us = micros(at.saturating_duration_since(self.start));
        self.readings.push(Reading { at_us, value: Some(self.last.1) });
    }

    fn start_of(&self, slice: usize) -> Instant {
        self.start + self.length * u32::try_from(slice).unwrap_or(u32::MAX)
    }

    fn end_of(&self, slice: usize) -> Instant {
        self.start_of(slice + 1)
    }

    /// The readings of a test that ended at `ended`, without those of slices that a stall of our own overlaps; `None` when too few slices
    /// were without one to judge anybody by. Which slices those are does not depend on the target.
    pub fn finish(mut self, ended: Instant, bandwidth: &Bandwidth, watchdog: &Watchdog) -> Option<Vec<Reading>> {
        self.close_before(ended);
        if (self.readings.len() as u64) < MAX_READINGS && self.readings.last().map(|reading| reading.value) != Some(Some(self.last.1)) {
            self.close();
        }
        let is_calm = |slice| !watchdog.stalled_between(self.start_of(slice).into_std(), self.end_of(slice).into_std());
        let (ramp, offering) = (Duration::from_millis(bandwidth.ramp_ms), Duration::from_millis(bandwidth.send_ms));
        let judged = (0..MAX_READINGS as usize).filter(|slice| {
            let begins = self.start_of(*slice) - self.start;
            ramp <= begins && begins < offering
        });
        if judged.filter(|slice| is_calm(*slice)).count() < NEEDED {
            return None;
        }
        let kept = self.readings.iter().enumerate().filter(|(slice, _)| is_calm(*slice));
        Some(kept.map(|(_, reading)| *reading).collect())
    }
}

#[cfg(test)]
mod tests {
    use assay_core::challenge::kinds::bandwidth::rate_kbps;
    use assay_core::params::Params;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn calm() -> Watchdog {
        Watchdog::start(Duration::from_secs(60)).unwrap()
    }

    /// 10,000 kbit/s, acknowledged every 7 ms, for 800 ms.
    fn steady(start: Instant) -> Slices {
        let mut slices = Slices::new(&Params::devnet().bandwidth, start);
        for step in 1..=114 {
            slices.note(start + 7 * MS * step, u64::from(step) * 8_750);
        }
        slices
    }

    #[test]
    fn a_steady_line_is_read_at_its_rate() {
        let bandwidth = Params::devnet().bandwidth;
        let start = Instant::now();
        let readings = steady(start).finish(start + 850 * MS, &bandwidth, &calm()).unwrap();
        assert_eq!(readings.len(), 8);
        assert_eq!(readings[3], Reading { at_us: 399_000, value: Some(57 * 8_750) }, "the last byte before the slice's end");
        assert_eq!(rate_kbps(&readings, bandwidth.ramp_ms * 1_000), Some(10_000));
    }

    #[test]
    fn silence_has_readings_that_say_nothing_came() {
        let bandwidth = Params::devnet().bandwidth;
        let start = Instant::now();
        let readings = Slices::new(&bandwidth, start).finish(start + 1_000 * MS, &bandwidth, &calm()).unwrap();
        assert!(readings.len() == 10 && readings.iter().all(|reading| reading.value == Some(0)));
        assert_eq!(rate_kbps(&readings, 300_000), Some(0), "a slice without a byte is a slice");
    }

    // Defence: the watchdog in `Slices::finish`; without it our own stall is the provider's slowness.
    #[test]
    fn a_stalled_slice_melts_into_the_next_and_too_many_void_the_test() {
        let bandwidth = Params::devnet().bandwidth;
        let start = Instant::now();
        let at = |ms: u32| (start + MS * ms).into_std();
        let watchdog = calm();
        watchdog.invent_stall(at(510), at(540));
        let readings = steady(start).finish(start + 850 * MS, &bandwidth, &watchdog).unwrap();
        assert_eq!(readings.len(), 7);
        assert!(readings.iter().all(|reading| reading.at_us / 100_000 != 5));
        assert_eq!(rate_kbps(&readings, bandwidth.ramp_ms * 1_000), Some(10_000));
        watchdog.invent_stall(at(310), at(340));
        assert!(steady(start).finish(start + 850 * MS, &bandwidth, &watchdog).is_some(), "three of five are left");
        watchdog.invent_stall(at(710), at(740));
        assert_eq!(steady(start).finish(start + 850 * MS, &bandwidth, &watchdog), None);
        let silent = Slices::new(&bandwidth, start).finish(start + 1_000 * MS, &bandwidth, &watchdog);
        assert_eq!(silent, None, "whatever the target did");
    }

    #[test]
    fn readings_stay_few() {
        let mut bandwidth = Params::devnet().bandwidth;
        (bandwidth.window_ms, bandwidth.slice_ms, bandwidth.send_ms) = (60_000, 1, 50_000);
        let start = Instant::now();
        let mut slices = Slices::new(&bandwidth, start);
        for step in 1..=60_000 {
            slices.note(start + MS * step, u64::from(step));
        }
        assert!(slices.finish(start + 60_001 * MS, &bandwidth, &calm()).unwrap().len() <= 64);
    }
}

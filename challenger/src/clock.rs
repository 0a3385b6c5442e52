//! From wall-clock instants to the monotonic clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// One reading of both clocks at the same moment. A slot uses a single anchor, so that a step of the wall clock cannot bend it.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    unix: Duration,
    instant: Instant,
}

impl Anchor {
    /// Reads both clocks. A wall clock before 1970 counts as 1970.
    pub fn now() -> Self {
        Self::at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), Instant::now())
    }

    /// The moment `instant` is `unix` after 1970.
    pub fn at(unix: Duration, instant: Instant) -> Self {
        Self { unix, instant }
    }

    /// The monotonic instant of a wall-clock time; times before what the monotonic clock can say become its reading at the anchor.
    pub fn instant_of(&self, unix: Duration) -> Instant {
        match unix.checked_sub(self.unix) {
            Some(ahead) => self.instant.checked_add(ahead).unwrap_or(self.instant),
            None => self.instant.checked_sub(self.unix - unix).unwrap_or(self.instant),
        }
    }
}

/// Whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_follow_the_wall_clock_in_both_directions() {
        let (unix, instant) = (Duration::from_secs(1_000), Instant::now() + Duration::from_secs(10));
        let anchor = Anchor::at(unix, instant);
        let second = Duration::from_secs(1);
        assert_eq!(anchor.instant_of(unix), instant);
        assert_eq!(anchor.instant_of(unix + second), instant + second);
        assert_eq!(anchor.instant_of(unix - second), instant - second);
        assert!(anchor.instant_of(Duration::MAX) >= instant);
    }
}

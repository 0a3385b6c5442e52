//! How much of one direction may be under way: enough to fill the line, and no more than the line's own delay and a tenth of a second hold.
//!
//! It follows what is acknowledged and decides nothing by what is not, so that a provider gains nothing by acknowledging late.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Bytes that may be under way before anything is acknowledged, and always.
const INITIAL_BYTES: u64 = 128 * 1024;
/// The time that one portion takes at the acknowledged rate, and the most that offering may catch up on.
const PORTION: Duration = Duration::from_millis(10);
const SMALLEST_PORTION: u64 = 4 * 1024;
const LARGEST_PORTION: u64 = 256 * 1024;
/// The acknowledged rate is that of the last round trip, or of this time if that is longer.
const SHORTEST_RATE_TIME: Duration = Duration::from_millis(20);
/// A longer round trip is taken for this one: the target says how long it is.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(250);

/// What a test may offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Bytes per second that are offered at most.
    pub offered_rate: u64,
    /// Bytes that are offered altogether.
    pub max_bytes: u64,
    /// Under way beyond the path's own round trip.
    pub in_flight: Duration,
    /// The path's own round trip, if it is known.
    pub round_trip: Option<Duration>,
}

/// When the next bytes may be offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// So many of them now.
    Now(u64),
    /// Not before.
    At(Instant),
    /// When more is acknowledged.
    Acknowledged,
    /// Never.
    Done,
}

/// One direction's control.
#[derive(Debug)]
pub(super) struct Flow {
    terms: Terms,
    offered: u64,
    acknowledged: u64,
    first_offer: Option<Instant>,
    /// The pace allows nothing more before.
    paced_until: Instant,
    /// (when, all acknowledged by then): the last one outside of the rate's time, and those inside.
    history: VecDeque<(Instant, u64)>,
}

impl Flow {
    pub fn new(terms: Terms, start: Instant) -> Self {
        Self { terms, offered: 0, acknowledged: 0, first_offer: None, paced_until: start, history: VecDeque::new() }
    }

    /// Whether there are bytes to offer at `now`, and how many.
    pub fn next(&self, now: Instant) -> Next {
        let left = self.terms.max_bytes.saturating_sub(self.offered);
        if left == 0 || self.terms.offered_rate == 0 {
            return Next::Done;
        }
        let limit = self.limit(now);
        let portion = self.portion(now).min(limit).min(left);
        if self.offered.saturating_sub(self.acknowledged).saturating_add(portion) > limit {
            return Next::Acknowledged;
        }
        match now < self.paced_until {
            true => Next::At(self.paced_until),
            false => Next::Now(portion),
        }
    }

    /// `bytes` were offered.
    pub fn offer(&mut self, now: Instant, bytes: u64) {
        self.first_offer.get_or_insert(now);
        self.offered = self.offered.saturating_add(bytes);
        let earliest = now.checked_sub(PORTION).unwrap_or(now);
        self.paced_until = self.paced_until.max(earliest) + time_of(bytes, self.terms.offered_rate);
    }

    /// All bytes acknowledged so far are `total`.
    pub fn acknowledge(&mut self, now: Instant, total: u64) {
        if let (true, Some(first)) = (self.history.is_empty(), self.first_offer) {
            let measured = now.saturating_duration_since(first);
            self.terms.round_trip = Some(self.terms.round_trip.map_or(measured, |known| known.min(measured)));
        }
        self.acknowledged = total;
        self.history.push_back((now, total));
        while self.history.get(1).is_some_and(|(at, _)| *at + self.rate_time() <= now) {
            self.history.pop_front();
        }
    }

    /// Bytes that were offered so far.
    pub fn offered(&self) -> u64 {
        self.offered
    }

    fn limit(&self, now: Instant) -> u64 {
        bytes_in(self.round_trip() + self.terms.in_flight, self.rate(now)).max(INITIAL_BYTES)
    }

    fn portion(&self, now: Instant) -> u64 {
        let rate = match self.history.is_empty() {
            true => INITIAL_BYTES * 10,
            false => self.rate(now),
        };
        bytes_in(PORTION, rate).clamp(SMALLEST_PORTION, LARGEST_PORTION)
    }

    /// The acknowledged rate, bytes per second.
    fn rate(&self, now: Instant) -> u64 {
        let time = self.rate_time();
        let outside = self.history.iter().rev().find(|(at, _)| *at + time <= now);
        let (since, before) = outside.map_or((time, 0), |(at, total)| (now.saturating_duration_since(*at), *total));
        let bytes = u128::from(self.acknowledged.saturating_sub(before));
        u64::try_from(bytes * 1_000_000_000 / since.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    fn rate_time(&self) -> Duration {
        self.round_trip().max(SHORTEST_RATE_TIME)
    }

    fn round_trip(&self) -> Duration {
        self.terms.round_trip.unwrap_or_default().min(LONGEST_ROUND_TRIP)
    }
}

fn time_of(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(Duration::from_secs(3_600))
}

fn bytes_in(time: Duration, rate: u64) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A line that carries `line_rate` and acknowledges after `round_trip`: gives (bytes acknowledged in ms `from..to`, most bytes in its queue).
    fn simulate(terms: Terms, line_rate: u64, round_trip: Duration, from: u32, to: u32) -> (u64, u64) {
        let start = Instant::now();
        let mut flow = Flow::new(terms, start);
        let (mut idle_from, mut arrivals, mut counted, mut queue) = (start, VecDeque::new(), 0, 0);
        let mut total = 0;
        for tick in 0..to * 10 {
            let now = start + MS / 10 * tick;
            while arrivals.front().is_some_and(|(at, _)| *at <= now) {
                let (_, bytes) = arrivals.pop_front().unwrap();
                total += bytes;
                counted += if tick >= from * 10 { bytes } else { 0 };
                flow.acknowledge(now, total);
            }
            while let Next::Now(bytes) = flow.next(now) {
                flow.offer(now, bytes);
                idle_from = idle_from.max(now) + time_of(bytes, line_rate);
                queue = queue.max(bytes_in(idle_from - now, line_rate));
                arrivals.push_back((idle_from + round_trip, bytes));
            }
        }
        (counted, queue)
    }

    fn terms(offered_kbps: u64, round_trip: Option<Duration>) -> Terms {
        Terms { offered_rate: offered_kbps * 125, max_bytes: 1 << 30, in_flight: 100 * MS, round_trip }
    }

    #[test]
    fn a_long_path_reaches_the_devnets_floor_within_the_ramp() {
        for round_trip in [1, 20, 60, 120] {
            for known in [Some(round_trip * MS), None] {
                let (bytes, _) = simulate(terms(30_000, known), 1 << 30, round_trip * MS, 400, 750);
                let kbps = bytes * 8 / 350;
                assert!((21_000..=30_500).contains(&kbps), "{kbps} kbit/s at {round_trip} ms");
            }
        }
    }

    // Defence: the limit of `Flow::next`. Without it a slow line holds whatever is offered, here 250 KiB and more, and everybody behind it waits.
    #[test]
    fn a_slow_line_is_filled_and_its_queue_stays_short() {
        for line_kbps in [2_000, 5_000, 10_000] {
            let (bytes, queue) = simulate(terms(30_000, Some(MS)), line_kbps * 125, MS, 300, 750);
            let kbps = bytes * 8 / 450;
            assert!(kbps * 100 >= line_kbps * 95, "{kbps} of {line_kbps}");
            assert!(queue <= INITIAL_BYTES.max(line_kbps * 125 * 150 / 1_000), "{queue} bytes wait at {line_kbps}");
        }
    }

    #[test]
    fn never_more_is_offered_than_the_terms_allow() {
        let (bytes, _) = simulate(terms(30_000, Some(MS)), 1 << 30, MS, 0, 1_000);
        assert!(bytes <= 30_000 * 125 * 102 / 100 + 40_000, "{bytes} in a second");
        let few = Terms { max_bytes: 300_000, ..terms(30_000, Some(MS)) };
        assert_eq!(simulate(few, 1 << 30, MS, 0, 1_000).0, 300_000);
        let flow = Flow::new(terms(0, None), Instant::now());
        assert_eq!(flow.next(Instant::now()), Next::Done);
    }

    // Defence: `LONGEST_ROUND_TRIP`; without it a provider that is slow to reply to the warm-up has seconds of bytes sent ahead.
    #[test]
    fn a_round_trip_is_believed_up_to_a_point() {
        let start = Instant::now();
        let mut flow = Flow::new(terms(80_000, Some(Duration::from_secs(60))), start);
        flow.offer(start, 1 << 20);
        flow.acknowledge(start + 300 * MS, 1 << 20);
        assert!(flow.limit(start + 300 * MS) <= 2 << 20, "{}", flow.limit(start + 300 * MS));
    }

    #[test]
    fn nothing_acknowledged_means_nothing_more() {
        let start = Instant::now();
        let mut flow = Flow::new(terms(8_000_000, None), start);
        let mut now = start;
        while let Next::Now(_) | Next::At(_) = flow.next(now) {
            if let Next::Now(bytes) = flow.next(now) {
                flow.offer(now, bytes);
            }
            now += MS;
        }
        assert!(flow.next(now + 900 * MS) == Next::Acknowledged && flow.offered() <= INITIAL_BYTES);
    }
}

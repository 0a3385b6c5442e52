//! How fast one direction is offered, and how much of it may be under way: enough to fill the line, and little more.
//!
//! Offering is paced: twice the line's rate as far as it is known, until there is a queue; then a little more than that rate, so that a
//! direction that is behind what its line carries comes up; and just that rate while what is under way grows, so that the queue does not.
//! Pacing keeps the directions apart. Were each limited by what it has under way alone, whichever has less would be held where it is by
//! the other's queue, in which its acknowledgements wait, however much its line carries. That limit stands above the pace, for a line
//! that becomes slower.
//!
//! It follows what is acknowledged and decides nothing by what is not, so that a provider gains nothing by acknowledging late.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Bytes that may be under way before anything is acknowledged, and always.
const INITIAL_BYTES: u64 = 128 * 1024;
/// The time that one portion takes at the line's rate, and the most that offering may catch up on.
const PORTION: Duration = Duration::from_millis(10);
const SMALLEST_PORTION: u64 = 4 * 1024;
const LARGEST_PORTION: u64 = 256 * 1024;
/// For this long before the window's end everything offered should have come.
const RESERVE: Duration = Duration::from_millis(50);
/// The acknowledged rate is that of the last round trip, or of this time if that is longer.
const SHORTEST_RATE_TIME: Duration = Duration::from_millis(20);
/// A longer round trip is taken for this one: the target says how long it is.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(250);
/// The pace in per cent of the line's rate while there is hardly a queue.
const SEARCHING: u64 = 200;
/// While there is one that does not grow.
const FILLING: u64 = 110;
/// While it grows, by more than this share of what the line carries, per cent.
const KEEPING: u64 = 100;
const GROWING: u64 = 4;

/// What a test may offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Bytes per second that are offered at most.
    pub offered_rate: u64,
    /// Bytes that are offered altogether.
    pub max_bytes: u64,
    /// How long each direction's queue may last beyond the path's own round trip.
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

/// How things stood when something was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    acknowledged: u64,
    under_way: u64,
}

/// One direction's control.
#[derive(Debug)]
pub(super) struct Flow {
    terms: Terms,
    start: Instant,
    /// All should have come by then.
    end: Instant,
    offered: u64,
    acknowledged: u64,
    /// What was offered and is not acknowledged: (all bytes up to there, when).
    under_way: VecDeque<(u64, Instant)>,
    /// How long the last of the acknowledged bytes took.
    delay: Duration,
    /// The highest rate seen, over times that are long enough for it to be the line's; zero before anything is acknowledged.
    line: u64,
    /// The pace allows nothing more before.
    paced_until: Instant,
    /// The last moment before the longest time that is looked back, and those since.
    history: VecDeque<Moment>,
}

impl Flow {
    pub fn new(terms: Terms, start: Instant, end: Instant) -> Self {
        Self {
            terms,
            start,
            end,
            offered: 0,
            acknowledged: 0,
            under_way: VecDeque::new(),
            delay: Duration::ZERO,
            line: 0,
            paced_until: start,
            history: VecDeque::new(),
        }
    }

    /// Whether there are bytes to offer at `now`, and how many.
    pub fn next(&self, now: Instant) -> Next {
        let left = self.terms.max_bytes.saturating_sub(self.offered);
        if left == 0 || self.terms.offered_rate == 0 {
            return Next::Done;
        }
        let limit = self.limit();
        let portion = self.portion().min(limit).min(left);
        let under_way = self.offered.saturating_sub(self.acknowledged).saturating_add(portion);
        if under_way > limit || !self.comes_in_time(now, under_way) {
            return Next::Acknowledged;
        }
        match now < self.paced_until {
            true => Next::At(self.paced_until),
            false => Next::Now(portion),
        }
    }

    /// `bytes` were offered.
    pub fn offer(&mut self, now: Instant, bytes: u64) {
        self.offered = self.offered.saturating_add(bytes);
        self.under_way.push_back((self.offered, now));
        let earliest = now.checked_sub(PORTION).unwrap_or(now);
        self.paced_until = self.paced_until.max(earliest) + time_of(bytes, self.pace(now));
    }

    /// All bytes acknowledged so far are `total`.
    pub fn acknowledge(&mut self, now: Instant, total: u64) {
        while let Some((_, at)) = self.under_way.pop_front_if(|(end, _)| *end <= total) {
            self.delay = now.saturating_duration_since(at);
        }
        // Nothing comes round faster than the path allows.
        if !self.delay.is_zero() {
            self.terms.round_trip = Some(self.terms.round_trip.map_or(self.delay, |known| known.min(self.delay)));
        }
        self.acknowledged = total;
        self.history.push_back(Moment { at: now, acknowledged: total, under_way: self.offered.saturating_sub(total) });
        let longest = self.rate_time().max(self.line_time());
        while self.history.get(1).is_some_and(|moment| moment.at + longest <= now) {
            self.history.pop_front();
        }
        self.line = self.line.max(self.carried(now));
    }

    /// Bytes that were offered so far.
    pub fn offered(&self) -> u64 {
        self.offered
    }

    fn limit(&self) -> u64 {
        bytes_in(self.round_trip() + self.terms.in_flight * 2, self.line).max(INITIAL_BYTES)
    }

    /// Whether so many bytes, at the acknowledged rate, come before the window's end.
    fn comes_in_time(&self, now: Instant, bytes: u64) -> bool {
        self.history.is_empty() || now + time_of(bytes, self.rate(now)) + self.round_trip() + RESERVE <= self.end
    }

    fn portion(&self) -> u64 {
        let rate = if self.line == 0 { INITIAL_BYTES * 10 } else { self.line };
        bytes_in(PORTION, rate).clamp(SMALLEST_PORTION, LARGEST_PORTION)
    }

    /// At what rate to offer, bytes per second.
    fn pace(&self, now: Instant) -> u64 {
        let percent = match self.delay.saturating_sub(self.round_trip()) <= self.terms.in_flight / 4 {
            true => SEARCHING,
            false if self.is_growing(now) => KEEPING,
            false => FILLING,
        };
        match self.line {
            0 => self.terms.offered_rate,
            line => (line.saturating_mul(percent) / 100).min(self.terms.offered_rate),
        }
    }

    /// Whether clearly more is under way than one queue's time ago.
    fn is_growing(&self, now: Instant) -> bool {
        let Some(before) = self.before(now, self.terms.in_flight).or(self.history.front()) else { return false };
        let more = self.offered.saturating_sub(self.acknowledged).saturating_sub(before.under_way);
        more * 100 > bytes_in(now.saturating_duration_since(before.at), self.line) * GROWING
    }

    /// What the line has carried, bytes per second: over all the time in which anything could come round, or over the last queues' time.
    /// The second may be too much when a queue became shorter in it, by the share that it did.
    fn carried(&self, now: Instant) -> u64 {
        let time = now.saturating_duration_since(self.start + self.round_trip()).max(SHORTEST_RATE_TIME);
        rate_of(self.acknowledged, time).max(self.rate_since(now, self.line_time()).unwrap_or(0))
    }

    /// The acknowledged rate, bytes per second.
    fn rate(&self, now: Instant) -> u64 {
        let time = self.rate_time();
        self.rate_since(now, time).unwrap_or_else(|| rate_of(self.acknowledged, time))
    }

    fn rate_since(&self, now: Instant, time: Duration) -> Option<u64> {
        let before = self.before(now, time)?;
        Some(rate_of(self.acknowledged.saturating_sub(before.acknowledged), now.saturating_duration_since(before.at)))
    }

    /// The last moment that is at least so long ago.
    fn before(&self, now: Instant, time: Duration) -> Option<&Moment> {
        self.history.iter().rev().find(|moment| moment.at + time <= now)
    }

    fn rate_time(&self) -> Duration {
        self.round_trip().max(SHORTEST_RATE_TIME)
    }

    fn line_time(&self) -> Duration {
        (self.terms.in_flight * 2).max(self.round_trip())
    }

    fn round_trip(&self) -> Duration {
        self.terms.round_trip.unwrap_or_default().min(LONGEST_ROUND_TRIP)
    }
}

fn time_of(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(Duration::from_secs(3_600))
}

fn rate_of(bytes: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(bytes) * 1_000_000_000 / time.as_nanos().max(1)).unwrap_or(u64::MAX)
}

fn bytes_in(time: Duration, rate: u64) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A queue that empties at a rate.
    struct Queue {
        rate: u64,
        idle_from: Instant,
        longest: Duration,
    }

    impl Queue {
        fn new(rate: u64, start: Instant) -> Self {
            Self { rate, idle_from: start, longest: Duration::ZERO }
        }

        /// When `bytes` that come now have left it.
        fn pass(&mut self, now: Instant, bytes: u64) -> Instant {
            self.idle_from = self.idle_from.max(now) + time_of(bytes, self.rate);
            self.longest = self.longest.max(self.idle_from - now);
            self.idle_from
        }
    }

    /// What was seen of a direction: its rate from 400 to 750 ms, when the last byte was acknowledged, and the longest queue.
    struct Seen {
        kbps: u64,
        last: Duration,
        longest: Duration,
    }

    /// One window with both directions, or the first alone, over a line that carries `line_kbps` each way. Acknowledgements wait behind the
    /// other direction's bytes, as on a real line.
    fn simulate(terms: Terms, line_kbps: u64, round_trip: Duration, both: bool) -> [Seen; 2] {
        const SMALL: u64 = 60;
        let start = Instant::now();
        let end = start + 1_000 * MS;
        let mut flows = [Flow::new(terms, start, end), Flow::new(terms, start, end)];
        let mut queues = [Queue::new(line_kbps * 125, start), Queue::new(line_kbps * 125, start)];
        // What arrives at the provider, and what comes back: (when, direction, all bytes up to there, bytes).
        let (mut there, mut back) = (VecDeque::new(), VecDeque::new());
        let mut acknowledged = [Vec::new(), Vec::new()];
        for tick in 0..10_000 {
            let now = start + MS / 10 * tick;
            while let Some((_, direction, total, bytes)) = there.pop_front_if(|(at, ..): &mut (Instant, usize, u64, u64)| *at <= now) {
                // Bytes are answered by a receipt, credit by bytes.
                let size = if direction == 0 { SMALL } else { bytes };
                back.push_back((queues[1].pass(now, size) + round_trip / 2, direction, total));
            }
            while let Some((_, direction, total)) = back.pop_front_if(|(at, ..): &mut (Instant, usize, u64)| *at <= now) {
                flows[direction].acknowledge(now, total);
                acknowledged[direction].push((now - start, total));
            }
            for (direction, flow) in flows.iter_mut().enumerate().take(if both { 2 } else { 1 }) {
                while let (true, Next::Now(bytes)) = (tick < 7_500, flow.next(now)) {
                    flow.offer(now, bytes);
                    let size = if direction == 0 { bytes } else { SMALL };
                    there.push_back((queues[0].pass(now, size) + round_trip / 2, direction, flow.offered(), bytes));
                }
            }
        }
        [0, 1].map(|direction| {
            let log = &acknowledged[direction];
            let by = |time| log.iter().rev().find(|(at, _)| *at <= time).map_or((Duration::ZERO, 0), |last| *last);
            let ((from, before), (to, after)) = (by(400 * MS), by(750 * MS));
            let micros = (to - from).as_micros().max(1) as u64;
            let last = log.last().map_or(Duration::ZERO, |(at, _)| *at);
            assert_eq!(flows[direction].offered(), flows[direction].acknowledged, "everything has come by the window's end");
            Seen { kbps: (after - before) * 8_000 / micros, last, longest: queues[direction].longest }
        })
    }

    fn terms(offered_kbps: u64, round_trip: Option<Duration>) -> Terms {
        Terms { offered_rate: offered_kbps * 125, max_bytes: 1 << 30, in_flight: 100 * MS, round_trip }
    }

    #[test]
    fn a_long_path_reaches_the_devnets_floor_within_the_ramp() {
        for round_trip in [1, 20, 60, 120] {
            for known in [Some(round_trip * MS), None] {
                for seen in simulate(terms(30_000, known), 1_000_000, round_trip * MS, true) {
                    assert!((21_000..=30_500).contains(&seen.kbps), "{} kbit/s at {round_trip} ms", seen.kbps);
                }
            }
        }
    }

    // Defence: the pace. Offered as fast as the class allows, and limited by what is under way alone, each direction's acknowledgements wait
    // twice as long behind the other's bytes, and which direction keeps more under way is chance.
    #[test]
    fn both_directions_fill_the_same_line_with_short_queues() {
        for line_kbps in [10_000, 21_000] {
            for round_trip in [1, 30] {
                for (direction, seen) in simulate(terms(30_000, Some(round_trip * MS)), line_kbps, round_trip * MS, true).iter().enumerate()
                {
                    let Seen { kbps, longest, .. } = *seen;
                    assert!(kbps * 100 >= line_kbps * 85, "{kbps} of {line_kbps} at {round_trip} ms, direction {direction}");
                    assert!(longest <= 120 * MS, "{longest:?} at {line_kbps} and {round_trip} ms, direction {direction}");
                }
            }
        }
    }

    // Defence: the limit and `comes_in_time` in `Flow::next`. Without them a slow line holds whatever is offered, and nothing is answered in time.
    #[test]
    fn a_slow_line_is_filled_its_queue_stays_short_and_everything_comes_in_time() {
        for line_kbps in [2_000, 5_000, 10_000] {
            let [seen, _] = simulate(terms(30_000, Some(MS)), line_kbps, MS, false);
            assert!(seen.kbps * 100 >= line_kbps * 95, "{} of {line_kbps}", seen.kbps);
            let initial = time_of(INITIAL_BYTES, line_kbps * 125);
            assert!(seen.longest <= initial.max(200 * MS), "{:?} at {line_kbps}", seen.longest);
            assert!(seen.last <= 960 * MS, "{:?}", seen.last);
        }
    }

    #[test]
    fn never_more_is_offered_than_the_terms_allow() {
        let start = Instant::now();
        let offer_all = |terms: Terms, ms: u32| {
            let mut flow = Flow::new(terms, start, start + 10_000 * MS);
            for tick in 0..ms * 10 {
                let now = start + MS / 10 * tick;
                while let Next::Now(bytes) = flow.next(now) {
                    flow.offer(now, bytes);
                    flow.acknowledge(now + MS / 20, flow.offered());
                }
            }
            flow.offered()
        };
        let second = offer_all(terms(30_000, Some(MS)), 1_000);
        assert!((3_700_000..=3_830_000).contains(&second), "{second} bytes in a second");
        assert_eq!(offer_all(Terms { max_bytes: 300_000, ..terms(30_000, Some(MS)) }, 1_000), 300_000);
        assert_eq!(offer_all(terms(0, None), 1_000), 0);
    }

    // Defence: `LONGEST_ROUND_TRIP`; without it a provider that is slow to reply to the warm-up has seconds of bytes sent ahead.
    #[test]
    fn a_round_trip_is_believed_up_to_a_point() {
        let start = Instant::now();
        let mut flow = Flow::new(terms(80_000, Some(Duration::from_secs(60))), start, start + 10_000 * MS);
        for step in 1..=20u32 {
            flow.offer(start + 500 * MS * (step - 1), 1 << 20);
            flow.acknowledge(start + 500 * MS * step, u64::from(step) << 20);
        }
        let limit = flow.limit();
        assert!(limit <= 5 << 20, "{limit}");
    }

    #[test]
    fn nothing_acknowledged_means_nothing_more() {
        let start = Instant::now();
        let mut flow = Flow::new(terms(8_000_000, None), start, start + 10_000 * MS);
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

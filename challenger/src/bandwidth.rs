//! One bandwidth window: both directions at once over a connection of their own, until what was under way has come or the window closes.
//!
//! A provider can end its test badly and in no other way: what it sends is bounded by credit, decoding limits and the window's end, and
//! what it acknowledges counts only with the hash or the proof of the bytes.

mod course;
mod egress;
mod flow;
mod ingress;
mod slices;

use std::time::Duration;

use assay_core::challenge::kinds::bandwidth::{Bandwidth as Direction, Total};
use assay_core::challenge::{Answer, Asked, Challenge, Checked, Kind};
use assay_core::transcript::{OracleFault, Outcome, Transcript, judge};
use assay_proto::provider::v1::ChallengeReply;
use futures::future::join_all;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::clock::micros;
use crate::link::{Line, Link, WARM_UP_EXCHANGES};
use crate::measure::Assignment;
use crate::watchdog::Watchdog;
use course::{Course, Run};
use flow::Terms;
use slices::Slices;

/// How long before a window its connection is opened and warmed up.
const PREPARATION: Duration = Duration::from_secs(2);
/// Bytes that a provider may have under way in the stream towards us: what it is to send within the window, between these.
const STREAM_WINDOW_BYTES: (u64, u64) = (1 << 20, 16 << 20);

/// The direction of a kind that is tested in a window.
pub(crate) fn direction(kind: Kind) -> Option<Direction> {
    match kind {
        Kind::INGRESS => Some(Direction::Ingress),
        Kind::EGRESS => Some(Direction::Egress),
        _ => None,
    }
}

/// A connection for bulk, and the shortest round trip on it if there was one.
struct Bulk {
    link: Link,
    round_trip: Option<Duration>,
}

impl Bulk {
    /// Opens the connection and warms it up for as long as there is time.
    async fn prepare(line: &Line, window_bytes: u32, until: Instant) -> Option<Self> {
        let mut bulk = Self { link: line.link()?.bulk(window_bytes).ok()?, round_trip: None };
        let warm_up = async {
            for _ in 0..WARM_UP_EXCHANGES {
                let sent = Instant::now();
                if bulk.link.describe().await.is_err() {
                    break;
                }
                let taken = sent.elapsed();
                bulk.round_trip = Some(bulk.round_trip.map_or(taken, |known| known.min(taken)));
            }
        };
        let _ = timeout_at(until, warm_up).await;
        Some(bulk)
    }
}

/// Tests a provider's line in one window, `scheduled_at_us` after the start of the assignment's slot and `due` on our clock: one test for
/// each challenge, all at once.
///
/// It connects to the address that `line` was vetted for, over a connection of its own that ends with it. It gives one transcript a
/// challenge, in their order, when the window closes at the latest; judging may take a moment longer. Call it some seconds before the
/// window, so that the connection is warm. It never panics.
pub async fn run_window(
    assignment: &Assignment,
    line: &Line,
    watchdog: &Watchdog,
    scheduled_at_us: u64,
    due: Instant,
    challenges: Vec<Challenge>,
) -> Vec<Transcript> {
    sleep_until(due.checked_sub(PREPARATION).unwrap_or(due)).await;
    let bulk = Bulk::prepare(line, window_bytes(assignment), due).await;
    sleep_until(due).await;
    let start = Instant::now();
    let window = Window {
        assignment,
        watchdog,
        bulk,
        scheduled_at_us,
        slip: start.saturating_duration_since(due),
        course: course(assignment, due, start),
    };
    join_all(challenges.into_iter().map(|challenge| window.test(challenge))).await
}

fn course(assignment: &Assignment, due: Instant, start: Instant) -> Course {
    let bandwidth = &assignment.params.bandwidth;
    Course {
        start,
        offer_until: start + Duration::from_millis(bandwidth.send_ms),
        // Of the schedule, not of our start: what comes after it is somebody else's.
        end: due + Duration::from_millis(bandwidth.window_ms),
    }
}

/// What is offered in a direction, bytes per second.
fn offered_rate(assignment: &Assignment, direction: Direction) -> u64 {
    let floor_kbps = assignment.params.class(assignment.provider.class_id).map_or(0, |class| direction.floor_kbps(class));
    let offered = u128::from(floor_kbps) * 125 * u128::from(assignment.params.bandwidth.offered_ppm) / 1_000_000;
    u64::try_from(offered).unwrap_or(u64::MAX)
}

fn window_bytes(assignment: &Assignment) -> u32 {
    let (least, most) = STREAM_WINDOW_BYTES;
    let bytes = offered_rate(assignment, Direction::Egress).saturating_mul(assignment.params.bandwidth.window_ms) / 1_000;
    u32::try_from(bytes.clamp(least, most)).unwrap_or(u32::MAX)
}

/// The last frame of a test may pass its limit.
const SLACK_BYTES: u64 = 1 << 20;

struct Window<'a> {
    assignment: &'a Assignment,
    watchdog: &'a Watchdog,
    bulk: Option<Bulk>,
    scheduled_at_us: u64,
    slip: Duration,
    course: Course,
}

impl Window<'_> {
    async fn test(&self, challenge: Challenge) -> Transcript {
        let params = &self.assignment.params;
        if self.slip > Duration::from_millis(params.probing.send_slip_ms) {
            return self.transcript(challenge, Outcome::OracleError(OracleFault::SendSlip));
        }
        let Run { slices, ended, wrong, answer } = self.run(&challenge).await;
        // Decided before anybody looks at what the target said.
        let Some(readings) = slices.finish(ended, &params.bandwidth, self.watchdog) else {
            return self.transcript(challenge, Outcome::OracleError(OracleFault::Stall));
        };
        let judged = match answer {
            Some((reply, after)) => self.judge(&challenge, reply, wrong).await.map(|judged| (judged, after)),
            None => None,
        };
        let silent = self.transcript(challenge, Outcome::Silent);
        match judged {
            Some(((checked, answer), after)) => {
                let outcome = Outcome::Checked(checked);
                Transcript { readings, rtt_us: Some(micros(after)), outcome, answer: Some(answer), ..silent }
            }
            None => Transcript { readings, ..silent },
        }
    }

    async fn run(&self, challenge: &Challenge) -> Run {
        let bandwidth = &self.assignment.params.bandwidth;
        let kept = self.assignment.schedule.kept(challenge.index);
        match (&self.bulk, direction(challenge.kind), &self.assignment.claims) {
            (Some(bulk), Some(Direction::Ingress), _) => {
                let terms = self.terms(bulk, Direction::Ingress);
                ingress::run(&bulk.link, challenge, kept, self.course, terms, bandwidth).await
            }
            (Some(bulk), Some(Direction::Egress), Some(claims)) => {
                let terms = self.terms(bulk, Direction::Egress);
                egress::run(&bulk.link, challenge, claims.clone(), self.course, terms, bandwidth).await
            }
            // Nobody to ask, or nothing that an answer could be checked against: silent, at the time at which any other silence is.
            _ => {
                sleep_until(self.course.end).await;
                Run { slices: Slices::new(bandwidth, self.course.start), ended: self.course.end, wrong: false, answer: None }
            }
        }
    }

    fn terms(&self, bulk: &Bulk, direction: Direction) -> Terms {
        let bandwidth = &self.assignment.params.bandwidth;
        Terms {
            offered_rate: offered_rate(self.assignment, direction),
            max_bytes: bandwidth.max_bytes,
            in_flight: Duration::from_millis(bandwidth.in_flight_ms),
            round_trip: bulk.round_trip,
        }
    }

    /// `None` for what has not the form of an answer.
    async fn judge(&self, challenge: &Challenge, reply: ChallengeReply, wrong: bool) -> Option<(Checked, Answer)> {
        let (answer, _) = reply.parse().ok()?;
        // More than was ever sent is not worth the hashing.
        let most = self.assignment.params.bandwidth.max_bytes.saturating_add(SLACK_BYTES);
        if Total::from_payload(&answer.payload).is_some_and(|total| total.bytes > most) {
            return None;
        }
        let assignment = self.assignment.clone();
        let challenge = challenge.clone();
        // It hashes all bytes again: not on a thread that probes.
        let judging = tokio::task::spawn_blocking(move || {
            let kept = Some(assignment.schedule.kept(challenge.index));
            let asked = Asked { challenge: &challenge, claims: assignment.claims.as_deref(), kept };
            (judge(assignment.kinds, &asked, &answer, None, &assignment.provider.receipt_key), answer)
        });
        match judging.await.ok()? {
            // Its answer alone may be right, so that it is not kept: whoever judges it again would find another outcome than ours.
            (Outcome::Checked(checked), answer) if !wrong => Some((checked, answer)),
            _ => None,
        }
    }

    fn transcript(&self, challenge: Challenge, outcome: Outcome) -> Transcript {
        Transcript {
            challenge,
            strike: 0,
            scheduled_at_us: self.scheduled_at_us,
            slip_us: micros(self.slip),
            rtt_us: None,
            readings: Vec::new(),
            outcome,
            answer: None,
            signature: None,
        }
    }
}

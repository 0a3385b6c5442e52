//! One slot of one provider: every probe of the schedule at its time, whatever became of the others (open loop). Bandwidth tests have their
//! own module and their own connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use assay_core::challenge::{Answer, Asked, Challenge, Kind, Kinds};
use assay_core::claim::{ClaimRoot, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::params::Params;
use assay_core::secp::Signature65;
use assay_core::transcript::{Fate, OracleFault, Outcome, Reading, SlotSchedule, Transcript, judge};
use assay_proto::provider::v1::{ChallengeReply, ChallengeRequest};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::bandwidth;
use crate::clock::{Anchor, micros};
use crate::link::Line;
use crate::watchdog::Watchdog;

/// Most probes of one provider under way at once. Far above what a schedule and its timeouts can bring about, so that no provider can
/// void probes by being slow.
pub const MAX_IN_FLIGHT: usize = 1_024;

/// How long after sending a stall of the oracle can still void a probe: see [`void_window`].
const STALL_WINDOW: Duration = Duration::from_millis(200);

/// Who is measured, as the chain says at the epoch's reference block.
#[derive(Clone, Debug)]
pub struct Target {
    /// Registration id.
    pub id: ProviderId,
    /// Its service class.
    pub class_id: u16,
    /// Its claim set.
    pub claims: ClaimRoot,
    /// Whose signature its storage answers and seals carry.
    pub receipt_key: Address,
}

/// Everything that one slot of one provider needs.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Chain and settlement contract.
    pub instance: Instance,
    /// The protocol's parameters.
    pub params: Arc<Params>,
    /// Epoch.
    pub epoch: u64,
    /// Slot within the epoch.
    pub slot: u32,
    /// When the slot starts, in unix milliseconds.
    pub slot_start_unix_ms: u64,
    /// Who measures.
    pub oracle: OracleId,
    /// Who is measured.
    pub provider: Target,
    /// The provider's claims; `None` when it does not serve them. Stored chunks are asked for all the same, and go down as silent.
    pub claims: Option<Arc<ClaimSet>>,
    /// The network's kinds of challenges.
    pub kinds: Kinds,
    /// What is asked, and when.
    pub schedule: Arc<SlotSchedule>,
    /// Blocks that the slot's storage challenges ask for beside the drawn ones, by the number of the challenge.
    pub extra: BTreeMap<u32, Vec<u64>>,
}

/// What a slot leaves behind besides its transcripts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SlotReport {
    /// Transcripts that were handed over.
    pub transcripts: usize,
    /// What the provider is to seal: (challenge digest, answer digest).
    pub unsigned: Vec<(Hash32, Hash32)>,
    /// The slot was cancelled: probes not yet ended have no transcript.
    pub cancelled: bool,
}

/// Measures one slot and hands over a transcript for every probe, as each ends, in no order.
///
/// Call it before the slot starts: probes whose time has passed are lost to slip. It returns when the last probe has ended, some seconds
/// after the slot, so slots overlap; or at once when cancelled. A sink that nobody reads any more is no error. It never panics, and
/// nothing that a provider does lengthens it beyond the timeouts. A line without a link makes silent probes, each at its time; one that
/// comes later carries the requests that are due from then on.
pub async fn run_slot(
    assignment: Assignment,
    line: &Line,
    watchdog: &Watchdog,
    sink: mpsc::Sender<Transcript>,
    cancel: CancellationToken,
) -> SlotReport {
    let assignment = Arc::new(assignment);
    let anchor = Anchor::now();
    let mut slot = Slot { tasks: JoinSet::new(), report: SlotReport::default() };
    let (tests, probes): (Vec<_>, Vec<_>) =
        assignment.schedule.challenges().partition(|(scheduled, _)| bandwidth::direction(scheduled.kind).is_some());
    let mut windows: BTreeMap<u64, Vec<Challenge>> = BTreeMap::new();
    for (scheduled, challenge) in tests {
        windows.entry(scheduled.at_us).or_default().push(challenge);
    }
    for (at_us, challenges) in windows {
        let (assignment, line, watchdog) = (assignment.clone(), line.clone(), watchdog.clone());
        let due = due(&anchor, &assignment, at_us);
        let window = async move { bandwidth::run_window(&assignment, &line, &watchdog, at_us, due, challenges).await };
        slot.start(window, sink.clone());
    }
    for (scheduled, mut challenge) in probes {
        challenge.extra = assignment.extra.get(&challenge.index).cloned().unwrap_or_default();
        let due = due(&anchor, &assignment, scheduled.at_us);
        if cancel.run_until_cancelled(sleep_until(due)).await.is_none() {
            return slot.cancelled();
        }
        slot.collect_finished();
        let probe = Probe {
            line: line.clone(),
            watchdog: watchdog.clone(),
            claims: assignment.claims.clone(),
            kept: Some(assignment.schedule.kept(challenge.index)),
            assignment: assignment.clone(),
            challenge,
            strike: 0,
            scheduled_at_us: scheduled.at_us,
            due,
        };
        let congested = slot.tasks.len() >= MAX_IN_FLIGHT;
        let asking = async move {
            match congested {
                true => vec![probe.lost(Duration::ZERO, OracleFault::Congested)],
                false => vec![probe.run().await],
            }
        };
        slot.start(asking, sink.clone());
    }
    drop(sink);
    match cancel.run_until_cancelled(slot.collect_all()).await {
        Some(()) => slot.report,
        None => slot.cancelled(),
    }
}

/// Asks a storage challenge that stayed unanswered once more, `scheduled_at_us` after the start of the assignment's slot, and judges what
/// comes by the rules of a first ask.
///
/// The challenge may be of an earlier slot or epoch and by another oracle; its provider is the assignment's. `claims` is the set that the
/// challenge names (`None` when the provider does not serve it: no answer can be checked then, and the ask is silent). `strike` is from 1.
/// Call it before the ask is due: afterwards it is lost to slip. It never panics, and lasts no longer than the wait and one timeout.
pub async fn ask_again(
    assignment: &Assignment,
    line: &Line,
    watchdog: &Watchdog,
    challenge: &Challenge,
    claims: Option<Arc<ClaimSet>>,
    strike: u32,
    scheduled_at_us: u64,
) -> Transcript {
    let due = due(&Anchor::now(), assignment, scheduled_at_us);
    sleep_until(due).await;
    let probe = Probe {
        assignment: Arc::new(assignment.clone()),
        line: line.clone(),
        watchdog: watchdog.clone(),
        challenge: challenge.clone(),
        claims,
        // Another oracle's is not known, and storage answers are judged without.
        kept: None,
        strike,
        scheduled_at_us,
        due,
    };
    probe.run().await
}

fn due(anchor: &Anchor, assignment: &Assignment, at_us: u64) -> Instant {
    let slot_start = Duration::from_millis(assignment.slot_start_unix_ms);
    anchor.instant_of(slot_start.saturating_add(Duration::from_micros(at_us)))
}

/// What one task of a slot leaves behind.
#[derive(Default)]
struct Ended {
    transcripts: usize,
    /// (challenge digest, answer digest) of answers that are to be sealed.
    unsigned: Vec<(Hash32, Hash32)>,
}

struct Slot {
    tasks: JoinSet<Ended>,
    report: SlotReport,
}

impl Slot {
    fn start(&mut self, asking: impl Future<Output = Vec<Transcript>> + Send + 'static, sink: mpsc::Sender<Transcript>) {
        self.tasks.spawn(async move {
            let mut ended = Ended::default();
            for transcript in asking.await {
                ended.transcripts += 1;
                ended.unsigned.extend(transcript.unsigned_answer());
                let _ = sink.send(transcript).await;
            }
            ended
        });
    }

    fn note(&mut self, ended: Ended) {
        self.report.transcripts += ended.transcripts;
        self.report.unsigned.extend(ended.unsigned);
    }

    fn collect_finished(&mut self) {
        while let Some(finished) = self.tasks.try_join_next() {
            finished.into_iter().for_each(|ended| self.note(ended));
        }
    }

    async fn collect_all(&mut self) {
        while let Some(finished) = self.tasks.join_next().await {
            finished.into_iter().for_each(|ended| self.note(ended));
        }
    }

    fn cancelled(mut self) -> SlotReport {
        self.collect_finished();
        self.report.cancelled = true;
        self.report
    }
}

#[derive(Clone)]
struct Probe {
    assignment: Arc<Assignment>,
    line: Line,
    watchdog: Watchdog,
    challenge: Challenge,
    /// The set that the challenge names.
    claims: Option<Arc<ClaimSet>>,
    /// The half of the challenge's secret that is never sent.
    kept: Option<[u8; 32]>,
    strike: u32,
    scheduled_at_us: u64,
    due: Instant,
}

/// One request and what came of it.
struct Exchange {
    attempt: usize,
    ended: Instant,
    rtt: Duration,
    /// `None` without a reply in time, whatever the transport said.
    reply: Option<ChallengeReply>,
}

/// A reply that was parsed and judged.
struct Judged {
    outcome: Outcome,
    rtt_us: Option<u64>,
    answer: Option<Answer>,
    signature: Option<Signature65>,
}

impl Judged {
    fn silent() -> Self {
        Self { outcome: Outcome::Silent, rtt_us: None, answer: None, signature: None }
    }
}

/// The time in which a stall of the oracle voids a probe: from its due time to [`STALL_WINDOW`] after it was sent, or to its timeout if
/// that is shorter, or to its end if that came first.
///
/// It is the same for every target, except that what came back earlier is judged up to its arrival: a later stall did nothing to it. In
/// particular it does not grow with the wait for an answer that never comes. If it did, a dead provider's probes would be open to
/// stalls for a second each and a live one's for a millisecond, and on a busy machine an outage would mostly be struck from the record.
/// The price: a stall late in the wait can make a slow answer late or silent. It is at most as long as the stall, and the other oracles
/// of the panel do not share it.
fn void_window(due: Instant, sent: Instant, ended: Instant, timeout: Duration) -> (Instant, Instant) {
    (due, ended.min(sent + timeout.min(STALL_WINDOW)))
}

impl Probe {
    async fn run(self) -> Transcript {
        let sent = Instant::now();
        let slip = sent.saturating_duration_since(self.due);
        if slip > Duration::from_millis(self.assignment.params.probing.send_slip_ms) {
            return self.lost(slip, OracleFault::SendSlip);
        }
        let (exchange, readings) = match self.challenge.kind {
            Kind::AVAILABILITY => self.ask_with_retries(sent).await,
            _ => (self.ask(0, sent).await, Vec::new()),
        };
        // Decided before anybody looks at what the target said.
        let (from, to) = void_window(self.due, sent, exchange.ended, self.timeout());
        if self.watchdog.stalled_between(from.into_std(), to.into_std()) {
            return self.lost(slip, OracleFault::Stall);
        }
        let Some(Judged { outcome, rtt_us, answer, signature }) = self.judge_apart(exchange).await else {
            return self.lost(slip, OracleFault::Stall);
        };
        Transcript {
            challenge: self.challenge,
            strike: self.strike,
            scheduled_at_us: self.scheduled_at_us,
            slip_us: micros(slip),
            rtt_us,
            readings,
            outcome,
            answer,
            signature,
        }
    }

    /// A transcript of the oracle's own loss. The answer, if there was one, is not kept.
    fn lost(self, slip: Duration, fault: OracleFault) -> Transcript {
        Transcript {
            challenge: self.challenge,
            strike: self.strike,
            scheduled_at_us: self.scheduled_at_us,
            slip_us: micros(slip),
            rtt_us: None,
            readings: Vec::new(),
            outcome: Outcome::OracleError(fault),
            answer: None,
            signature: None,
        }
    }

    fn timeout(&self) -> Duration {
        let probing = &self.assignment.params.probing;
        Duration::from_millis(match self.challenge.kind {
            Kind::STORAGE => probing.storage_timeout_ms,
            _ => probing.answer_timeout_ms,
        })
    }

    async fn ask(&self, attempt: usize, sent: Instant) -> Exchange {
        let timeout = self.timeout();
        let reply = match self.line.link() {
            Some(link) => timeout_at(sent + timeout, link.challenge(ChallengeRequest::from(&self.challenge))).await.ok(),
            None => None,
        };
        let ended = Instant::now();
        let rtt = ended.saturating_duration_since(sent);
        let reply = reply.and_then(Result::ok).filter(|_| rtt <= timeout);
        Exchange { attempt, ended, rtt, reply }
    }

    /// Asks again at the retry times until an answer is right: that far, and no further, it looks at results itself. Earlier requests keep their own timeout: a retry does not withdraw them.
    async fn ask_with_retries(&self, sent: Instant) -> (Exchange, Vec<Reading>) {
        let probing = &self.assignment.params.probing;
        let mut retries = [probing.retry_first_ms, probing.retry_second_ms].map(Duration::from_millis).into_iter().peekable();
        let mut readings = vec![Reading { at_us: 0, value: None }];
        let mut under_way = FuturesUnordered::from_iter([self.ask(0, sent)]);
        let mut last = None;
        loop {
            let next = retries.peek().map(|offset| sent + *offset);
            tokio::select! {
                biased;
                Some(exchange) = under_way.next() => {
                    let judged = self.judge(&exchange);
                    if let Some(reading) = readings.get_mut(exchange.attempt) {
                        reading.value = judged.rtt_us;
                    }
                    if judged.outcome.fate() == Fate::Answered {
                        return (exchange, readings);
                    }
                    // A wrong answer says more than none.
                    last = last.filter(|last: &Exchange| last.reply.is_some()).or(Some(exchange));
                }
                () = sleep_until(next.unwrap_or(sent)), if next.is_some() => {
                    retries.next();
                    let now = Instant::now();
                    under_way.push(self.ask(readings.len(), now));
                    readings.push(Reading { at_us: micros(now.saturating_duration_since(sent)), value: None });
                }
                else => return (last.unwrap_or(Exchange { attempt: 0, ended: sent, rtt: Duration::ZERO, reply: None }), readings),
            }
        }
    }

    /// Judges on a thread of its own what takes milliseconds (compact proofs): on the threads that probe it would delay other probes.
    /// `None` when that thread failed.
    async fn judge_apart(&self, exchange: Exchange) -> Option<Judged> {
        if !self.assignment.kinds.is_signed(self.challenge.kind) {
            return Some(self.judge(&exchange));
        }
        let probe = self.clone();
        tokio::task::spawn_blocking(move || probe.judge(&exchange)).await.ok()
    }

    fn judge(&self, exchange: &Exchange) -> Judged {
        let Some(Ok((answer, signature))) = exchange.reply.clone().map(ChallengeReply::parse) else {
            return Judged::silent();
        };
        let Assignment { provider, kinds, .. } = &*self.assignment;
        let asked = Asked { challenge: &self.challenge, claims: self.claims.as_deref(), kept: self.kept };
        let outcome = judge(*kinds, &asked, &answer, signature.as_ref(), &provider.receipt_key);
        // Beside an answer that is covered by the seal a signature is of no use.
        let signature = signature.filter(|_| kinds.is_signed(self.challenge.kind));
        match outcome {
            Outcome::Checked(_) => Judged { outcome, rtt_us: Some(micros(exchange.rtt)), answer: Some(answer), signature },
            Outcome::Silent | Outcome::OracleError(_) => Judged::silent(),
        }
    }
}

#[cfg(test)]
mod tests;

//! One epoch's measuring: seeds, panels, probes, evidence, and at its end the observations that are committed to.

mod compile;
mod extra;
mod open;
mod rebuttals;
mod releases;
mod subject;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use assay_challenger::convert::encode_bundle;
use assay_challenger::link::LinkConfig;
use assay_challenger::measure::{Assignment, Target, run_slot};
use assay_challenger::seal::seal;
use assay_challenger::watchdog::Watchdog;
use assay_core::challenge::window::{Window, windows};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::observation::{Commit, Fact, Observation, RevealError, Seeds, VerifiedReveal};
use assay_core::params::Params;
use assay_core::report::Ledger;
use assay_core::transcript::{Pair, PairSchedule, SlotSchedule, Transcript};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::beacon::BeaconClient;
use crate::clock::{now_ms, until_unix_ms};
use crate::frame::Frame;
use crate::seeds::SeedFollower;
use crate::signer::{Signer, SignerError};
use crate::store::{EvidenceBundle, Store, StoreError};

pub use rebuttals::Rebuttals;
use subject::Subject;

/// Share of the commit window that is left for storing the last transcripts, signing and sending.
const COMMIT_RESERVE_MS: u64 = 600;
/// How long the last transcripts may take to be stored when measuring ends before the probes do.
const CLOSING: Duration = Duration::from_millis(200);
/// Transcripts between a slot's probes and the store. Probes that find it full wait after their time was taken.
const ARRIVALS: usize = 1_024;

/// Makes something else of an observation and its facts, before they are salted and committed to.
pub type Bend = Arc<dyn Fn(&mut Observation, &mut Vec<Fact>) + Send + Sync>;

/// What measuring needs; shared by all epochs.
pub struct Measurer {
    /// Rounds.
    pub beacon: BeaconClient,
    /// VRFs.
    pub signer: Arc<Signer>,
    /// Evidence.
    pub store: Arc<dyn Store>,
    /// How providers are connected to.
    pub links: LinkConfig,
    /// The contract under whose name owners release claims.
    pub provider_registry: Address,
    /// Our own stalls.
    pub watchdog: Watchdog,
    /// None in every node that is honest.
    pub bend: Option<Bend>,
    /// What providers answered on the chain.
    pub rebuttals: Rebuttals,
}

/// Why an epoch could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The signer refused.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Evidence could not be stored or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Stored evidence does not parse.
    #[error("stored evidence of epoch {epoch} does not parse")]
    Evidence {
        /// The epoch.
        epoch: u64,
    },
    /// No randomness from the operating system for the salts.
    #[error("the operating system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    /// Our own reveal would not be accepted: a bug, said loudly.
    #[error("our own observations do not verify: {0}")]
    OwnReveal(#[from] RevealError),
    /// The process is stopping.
    #[error("stopped while measuring")]
    Stopped,
}

/// One slot of one provider.
struct Place {
    epoch: u64,
    slot: u32,
    start_ms: u64,
    schedule: Arc<SlotSchedule>,
    /// The panel's bandwidth windows on the provider.
    windows: Vec<Window>,
    /// When the challenge that the whole panel watches is asked, in microseconds from the slot's start.
    watch_at_us: Option<u64>,
    /// In the first slot that we measure, all slots up to it: what an earlier run of this process left open is taken up.
    earlier: Option<PairSchedule>,
}

async fn ended(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

impl Measurer {
    /// Measures an epoch from its start, or from wherever in it we are, and returns what to commit to. Call it [`LEAD`] before the start.
    ///
    /// Providers are set up side by side and beside the measuring, so that none waits for another: one that is not connected to in time is
    /// asked all the same and is silent, and claims that come late serve the slots after them. Of a slot that is over nothing is asked.
    pub async fn run(self: Arc<Self>, frame: Arc<Frame>, cancel: CancellationToken) -> Result<(VerifiedReveal, Commit), MeasureError> {
        let setting = &frame.setting;
        let measured_from = Instant::now() + set_up_time(&setting.params);
        let ledger = self.newest_ledger().await?;
        // Dropped on every way out of here, which ends them.
        let mut set_ups = JoinSet::new();
        set_ups.spawn(self.clone().read_rebuttals(ledger.clone(), setting.ref_block));
        let mut subjects: Vec<_> =
            setting.providers.iter().map(|terms| subject::begin(&self, &frame, *terms, &ledger, &mut set_ups)).collect();
        let mut follower = SeedFollower {
            beacon: &self.beacon,
            late_ms: setting.params.beacon_late_ms,
            ref_block_hash: setting.ref_block_hash,
            previous: Hash32::ZERO,
        };
        let stopped = || MeasureError::Stopped;
        let epoch_seed = cancel.run_until_cancelled(follower.seed(setting.start_ms())).await.ok_or_else(stopped)?;
        let me = self.signer.oracle();
        subjects.retain(|(subject, set_up)| {
            let is_ours = setting.panel(&epoch_seed.value, subject.terms.provider).contains(&me);
            if !is_ours {
                set_up.abort();
            }
            is_ours
        });
        // In the past unless we are late. Then the time that set-up needs is our own loss, and the same one for every provider.
        cancel.run_until_cancelled(sleep_until(measured_from)).await.ok_or_else(stopped)?;
        let mut seeds = Seeds { epoch: epoch_seed.value, slots: Vec::new(), secure: epoch_seed.secure };
        let mut vrfs = Vec::new();
        let (mut slots, probing) = (JoinSet::new(), cancel.child_token());
        let mut is_first = true;
        for slot in 0..setting.params.slots {
            let start_ms = setting.start_ms().saturating_add(u64::from(slot).saturating_mul(setting.params.slot_ms));
            let seed = cancel.run_until_cancelled(follower.seed(start_ms)).await.ok_or_else(stopped)?;
            seeds.slots.push(seed.value);
            seeds.secure &= seed.secure;
            let vrf = self.signer.vrf(setting.epoch, slot, &seed.value);
            vrfs.push(vrf);
            if now_ms() >= start_ms.saturating_add(setting.params.slot_ms) {
                // We were not there. Missing transcripts lower our coverage, no more and no less than thousands of lost probes would.
                continue;
            }
            for (subject, _) in &subjects {
                let Some(class) = setting.params.class(subject.terms.class_id) else { continue };
                let panel = setting.panel(&epoch_seed.value, subject.terms.provider);
                let windows = windows(&epoch_seed.value, &seed.value, slot, subject.terms.provider, &panel, &setting.params);
                let pair = Pair::new(setting, &subject.terms, me);
                let schedule = SlotSchedule::new(pair, slot, &vrf, &windows, class, &setting.params, setting.kinds);
                let earlier = || PairSchedule::new(setting, &panel, &subject.terms, me, &seeds, &vrfs);
                let place = Place {
                    epoch: setting.epoch,
                    slot,
                    start_ms,
                    schedule: Arc::new(schedule),
                    windows,
                    watch_at_us: open::watch_at_us(&vrf, subject.terms.provider, slot, &setting.params),
                    earlier: is_first.then(earlier).flatten(),
                };
                let (this, frame, subject, probing) = (self.clone(), frame.clone(), subject.clone(), probing.clone());
                slots.spawn(async move { this.slot(&frame, &subject, place, probing).await });
            }
            is_first = false;
        }
        let commit_by = setting.end_ms().saturating_add(setting.params.deadlines.commit_ms).saturating_sub(COMMIT_RESERVE_MS);
        // Whether all have ended makes no difference: what is stored by then is what counts.
        let _ = cancel.run_until_cancelled(timeout_at(until_unix_ms(commit_by), ended(&mut slots))).await;
        probing.cancel();
        let _ = timeout(CLOSING, ended(&mut slots)).await;
        if cancel.is_cancelled() {
            return Err(MeasureError::Stopped);
        }
        self.compile(&frame, seeds, vrfs, subjects.iter().map(|(subject, _)| subject.as_ref())).await
    }

    /// Where everybody stands after the newest certified report that we hold: in it are the challenges that the panels watch.
    async fn newest_ledger(&self) -> Result<Ledger, StoreError> {
        let Some(newest) = self.store.certified_epochs(1).await?.first().copied() else { return Ok(Ledger::default()) };
        Ok(self.store.outcome(newest).await?.map(|certified| certified.outcome.ledger).unwrap_or_default())
    }

    async fn slot(&self, frame: &Frame, subject: &Subject, place: Place, cancel: CancellationToken) {
        let setting = &frame.setting;
        let terms = &subject.terms;
        let audits_per_slot = u64::from(setting.params.probing.storage_audits_per_slot);
        let extra = subject.plan.get().map(|plan| extra::of_slot(plan, &place.schedule, place.slot, audits_per_slot));
        let assignment = Assignment {
            instance: setting.instance,
            params: Arc::new(setting.params.clone()),
            epoch: place.epoch,
            slot: place.slot,
            slot_start_unix_ms: place.start_ms,
            oracle: self.signer.oracle(),
            provider: Target {
                id: terms.provider,
                class_id: terms.class_id,
                claims: terms.keys.claims,
                receipt_key: terms.keys.receipt_key,
            },
            claims: subject.claims.get().cloned(),
            kinds: setting.kinds,
            extra: extra.unwrap_or_default(),
            schedule: place.schedule.clone(),
        };
        let (sink, source) = mpsc::channel(ARRIVALS);
        let again = cancel.run_until_cancelled(self.ask_open(&assignment, &place, subject, sink.clone()));
        let probes = run_slot(assignment.clone(), &subject.line, &self.watchdog, sink, cancel.clone());
        let (report, _, ()) = tokio::join!(probes, again, self.keep_arriving(&place, subject, source, &setting.params));
        // The seal is worth having and not worth waiting for: the answers' own evidence is stored already.
        let Some(link) = subject.line.link().filter(|_| !report.cancelled) else { return };
        if let Some(Ok(seal)) = cancel.run_until_cancelled(seal(link, &assignment, &report.unsigned)).await
            && let Err(error) = self.keep(place.epoch, place.slot, terms.provider, encode_bundle(&[], &[seal])).await
        {
            warn!(epoch = place.epoch, %error, "evidence could not be stored");
        }
    }

    /// Stores transcripts as they come, in batches. A batch that cannot be stored is tried again with the next one. What nobody answered
    /// is open from then on: a restart finds it again.
    async fn keep_arriving(&self, place: &Place, subject: &Subject, mut source: mpsc::Receiver<Transcript>, params: &Params) {
        let (mut batch, mut open) = (Vec::new(), true);
        while open {
            open = gather(&mut source, &mut batch, flush_time(params)).await;
            if batch.is_empty() {
                continue;
            }
            batch.sort_by_key(|transcript: &Transcript| transcript.challenge.index);
            match self.keep(place.epoch, place.slot, subject.terms.provider, encode_bundle(&batch, &[])).await {
                Ok(()) => {
                    batch.iter().for_each(|transcript| subject.open.note(transcript, now_ms().saturating_add(params.reask_ms)));
                    batch.clear();
                }
                Err(error) => warn!(epoch = place.epoch, %error, "evidence could not be stored"),
            }
        }
    }

    async fn keep(&self, epoch: u64, slot: u32, provider: ProviderId, bundle: Vec<u8>) -> Result<(), StoreError> {
        let digest = blake3::hash(&bundle).into();
        self.store.put_evidence(&EvidenceBundle { digest, epoch, slot, provider, bundle }).await
    }
}

/// Adds to `batch` what comes until `every` after the first arrival; `false` when the channel is closed, without waiting any longer.
async fn gather(source: &mut mpsc::Receiver<Transcript>, batch: &mut Vec<Transcript>, every: Duration) -> bool {
    if source.recv_many(batch, ARRIVALS).await == 0 {
        return false;
    }
    let until = Instant::now() + every;
    loop {
        match timeout_at(until, source.recv_many(batch, ARRIVALS)).await {
            Ok(0) => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
    }
}

/// How long providers have to be connected to before the first probe, and to let themselves be warmed up. At most [`LEAD`].
fn set_up_time(params: &Params) -> Duration {
    LEAD.min(Duration::from_millis(params.slot_ms / 4))
}

/// Between two bundles of one provider in one slot: at most about 25 of them, however long the slot.
fn flush_time(params: &Params) -> Duration {
    Duration::from_millis((params.slot_ms / 25).max(200))
}

/// How long before an epoch its frame is read and its providers are connected to.
pub const LEAD: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use assay_core::transcript::Outcome;

    use super::compile::tests::transcript;
    use super::*;

    // Defence: the `Ok(0)` arm and the time in `gather`; without either this turns red (or hangs).
    #[tokio::test]
    async fn a_batch_ends_with_its_time_or_with_the_channel() {
        let (sink, mut source) = mpsc::channel(ARRIVALS);
        let mut batch = Vec::new();
        sink.send(transcript(1, Outcome::Silent)).await.unwrap();
        assert!(gather(&mut source, &mut batch, Duration::from_millis(20)).await, "the channel is open");
        assert_eq!(batch.len(), 1);
        sink.send(transcript(2, Outcome::Silent)).await.unwrap();
        drop(sink);
        let begun = Instant::now();
        assert!(!gather(&mut source, &mut batch, Duration::from_secs(600)).await);
        assert!(batch.len() == 2 && begun.elapsed() < Duration::from_secs(300), "nobody sleeps over a closed channel");
    }

    #[test]
    fn set_up_fits_before_the_epoch_and_bundles_stay_few() {
        let mut params = Params::devnet();
        assert_eq!((set_up_time(&params), flush_time(&params)), (Duration::from_millis(1_250), Duration::from_millis(200)));
        params.slot_ms = 300_000;
        assert_eq!((set_up_time(&params), flush_time(&params)), (LEAD, Duration::from_secs(12)));
    }
}

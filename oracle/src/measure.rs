//! One epoch's measuring: seeds, panels, probes, evidence, and at its end the observations that are committed to.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use assay_chain::ProviderRecord;
use assay_challenger::convert::{decode_bundle, encode_bundle};
use assay_challenger::link::{Line, LinkConfig, LinkError};
use assay_challenger::measure::{Assignment, Target, run_slot};
use assay_challenger::seal::seal;
use assay_challenger::watchdog::Watchdog;
use assay_core::bls::Signature;
use assay_core::challenge::window::windows;
use assay_core::claim::ClaimSet;
use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use assay_core::observation::{Commit, Fact, Observation, Reveal, RevealError, SaltedObservation, Seeds, VerifiedReveal};
use assay_core::params::Params;
use assay_core::report::ProviderTerms;
use assay_core::transcript::{Outcome, Pair, PairSchedule, SlotSchedule, Transcript, facts_of, summarise};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::beacon::BeaconClient;
use crate::clock::{now_ms, until_unix_ms};
use crate::frame::Frame;
use crate::seeds::SeedFollower;
use crate::signer::{Signer, SignerError};
use crate::store::{EvidenceBundle, Store, StoreError};

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
    /// Our own stalls.
    pub watchdog: Watchdog,
    /// None in every node that is honest.
    pub bend: Option<Bend>,
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

/// One provider this oracle measures in this epoch, with as much of it as its set-up has reached.
struct Subject {
    terms: ProviderTerms,
    line: Line,
    claims: OnceLock<Arc<ClaimSet>>,
}

/// One slot of one provider.
struct Place {
    epoch: u64,
    slot: u32,
    start_ms: u64,
    schedule: Arc<SlotSchedule>,
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
        // Dropped on every way out of here, which ends them.
        let mut set_ups = JoinSet::new();
        let mut subjects: Vec<_> = setting.providers.iter().map(|terms| self.clone().begin(&frame, *terms, &mut set_ups)).collect();
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
                let place = Place { epoch: setting.epoch, slot, start_ms, schedule: Arc::new(schedule) };
                let (this, frame, subject, probing) = (self.clone(), frame.clone(), subject.clone(), probing.clone());
                slots.spawn(async move { this.slot(&frame, &subject, place, probing).await });
            }
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

    /// Starts a provider's set-up.
    fn begin(self: Arc<Self>, frame: &Arc<Frame>, terms: ProviderTerms, set_ups: &mut JoinSet<()>) -> (Arc<Subject>, AbortHandle) {
        let subject = Arc::new(Subject { terms, line: Line::default(), claims: OnceLock::new() });
        let (frame, shared) = (frame.clone(), subject.clone());
        let set_up = set_ups.spawn(async move {
            let Some(record) = frame.records.get(&terms.provider) else { return };
            let pause = Duration::from_millis(frame.setting.params.slot_ms);
            // What went wrong is not logged: an outage is a measurement, and secret until the reveals.
            while self.set_up(&shared, record, set_up_time(&frame.setting.params)).await.is_err() {
                sleep(pause).await;
            }
            if let Some(claims) = shared.claims.get()
                && let Err(error) = self.store.put_claims(claims).await
            {
                warn!(%error, "a claim set could not be stored: auditors will miss it");
            }
        });
        (subject, set_up)
    }

    async fn set_up(&self, subject: &Subject, record: &ProviderRecord, warm_up: Duration) -> Result<(), LinkError> {
        let link = subject.line.open(&record.endpoint, &self.links).await?;
        // A provider that draws this out only delays its own claims.
        let _ = timeout(warm_up, link.warm_up()).await;
        let claims = link.claims(record.claim_sequence, subject.terms.keys.claims, record.claim_count).await?;
        subject.claims.get_or_init(|| Arc::new(claims));
        Ok(())
    }

    async fn slot(&self, frame: &Frame, subject: &Subject, place: Place, cancel: CancellationToken) {
        let setting = &frame.setting;
        let terms = &subject.terms;
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
            schedule: place.schedule.clone(),
        };
        let (sink, source) = mpsc::channel(ARRIVALS);
        let probes = run_slot(assignment.clone(), &subject.line, &self.watchdog, sink, cancel.clone());
        let every = flush_time(&setting.params);
        let (report, ()) = tokio::join!(probes, self.keep_arriving(&place, terms.provider, source, every));
        // The seal is worth having and not worth waiting for: the answers' own evidence is stored already.
        let Some(link) = subject.line.link().filter(|_| !report.cancelled) else { return };
        if let Some(Ok(seal)) = cancel.run_until_cancelled(seal(link, &assignment, &report.unsigned)).await
            && let Err(error) = self.keep(place.epoch, place.slot, terms.provider, encode_bundle(&[], &[seal])).await
        {
            warn!(epoch = place.epoch, %error, "evidence could not be stored");
        }
    }

    /// Stores transcripts as they come, in batches. A batch that cannot be stored is tried again with the next one.
    async fn keep_arriving(&self, place: &Place, provider: ProviderId, mut source: mpsc::Receiver<Transcript>, every: Duration) {
        let (mut batch, mut open) = (Vec::new(), true);
        while open {
            open = gather(&mut source, &mut batch, every).await;
            if batch.is_empty() {
                continue;
            }
            batch.sort_by_key(|transcript: &Transcript| transcript.challenge.index);
            match self.keep(place.epoch, place.slot, provider, encode_bundle(&batch, &[])).await {
                Ok(()) => batch.clear(),
                Err(error) => warn!(epoch = place.epoch, %error, "evidence could not be stored"),
            }
        }
    }

    async fn keep(&self, epoch: u64, slot: u32, provider: ProviderId, bundle: Vec<u8>) -> Result<(), StoreError> {
        let digest = blake3::hash(&bundle).into();
        self.store.put_evidence(&EvidenceBundle { digest, epoch, slot, provider, bundle }).await
    }

    /// Reads the evidence back and turns it into observations: what was stored is what is committed to.
    async fn compile(
        &self,
        frame: &Frame,
        seeds: Seeds,
        vrfs: Vec<Signature>,
        subjects: impl Iterator<Item = &Subject>,
    ) -> Result<(VerifiedReveal, Commit), MeasureError> {
        let setting = &frame.setting;
        let (epoch, me) = (setting.epoch, self.signer.oracle());
        let panels = setting.panels(&seeds.epoch);
        let mut observations = Vec::new();
        let mut facts = Vec::new();
        for subject in subjects {
            let terms = &subject.terms;
            let panel = panels.of(terms.provider);
            let Some(schedule) = PairSchedule::new(setting, &panel, terms, me, &seeds, &vrfs) else { continue };
            let transcripts = self.transcripts(epoch, terms.provider, &schedule).await?;
            let mut own_facts = match subject.claims.get() {
                Some(claims) => facts_of(&transcripts, claims, setting.params.facts_per_provider),
                None => Vec::new(),
            };
            let mut observation = summarise(setting, terms, me, &schedule, &transcripts, None, &own_facts);
            if let Some(bend) = &self.bend {
                bend(&mut observation, &mut own_facts);
            }
            observations.push(SaltedObservation { observation, salt: random_salt()? });
            facts.extend(own_facts);
        }
        observations.sort_by_key(|salted| salted.observation.provider);
        let reveal = Reveal { epoch, oracle: me, seeds, observations, vrfs, facts, struck: Vec::new() };
        let commit = Commit {
            epoch,
            oracle: me,
            seeds: reveal.seeds.digest(),
            secure: reveal.seeds.secure,
            root: reveal.root(),
            leaf_count: u32::try_from(reveal.observations.len()).unwrap_or(u32::MAX),
            log_head: Hash32::ZERO,
        };
        let verified = reveal.verify(&commit, setting)?;
        // Nothing that was measured: it is secret until the reveals.
        info!(epoch, providers = verified.reveal.observations.len(), "measured");
        Ok((verified, commit))
    }

    /// What is stored of the provider under these VRFs. A restart may have changed a slot's seed: what was asked under the other one is on no
    /// schedule that we reveal.
    async fn transcripts(&self, epoch: u64, provider: ProviderId, schedule: &PairSchedule) -> Result<Vec<Transcript>, MeasureError> {
        let mut transcripts = Vec::new();
        for bundle in self.store.evidence_about(epoch, provider).await? {
            transcripts.extend(decode_bundle(&bundle.bundle).map_err(|_| MeasureError::Evidence { epoch })?.transcripts);
        }
        transcripts.retain(|transcript| schedule.has(&transcript.challenge));
        Ok(merge(transcripts))
    }
}

/// One transcript of each probe, in order. After a restart in the middle of a slot the probes before it are stored a second time, as lost:
/// what was measured stays.
fn merge(transcripts: Vec<Transcript>) -> Vec<Transcript> {
    let mut by_probe: BTreeMap<(u32, u32), Transcript> = BTreeMap::new();
    for transcript in transcripts {
        match by_probe.entry((transcript.challenge.slot, transcript.challenge.index)) {
            Entry::Vacant(free) => {
                free.insert(transcript);
            }
            Entry::Occupied(mut kept) if matches!(kept.get().outcome, Outcome::OracleError(_)) => {
                kept.insert(transcript);
            }
            Entry::Occupied(_) => {}
        }
    }
    by_probe.into_values().collect()
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

fn random_salt() -> Result<Hash32, MeasureError> {
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).map_err(MeasureError::Randomness)?;
    Ok(Hash32(salt))
}

/// How long before an epoch its frame is read and its providers are connected to.
pub const LEAD: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use assay_core::challenge::{Challenge, Checked, Kind};
    use assay_core::ids::{Address, Instance, OracleId};
    use assay_core::transcript::OracleFault;

    use super::*;

    fn transcript(index: u32, outcome: Outcome) -> Transcript {
        let challenge = Challenge {
            instance: Instance { chain_id: 1, settlement: Address([2; 20]) },
            epoch: 3,
            slot: 4,
            oracle: OracleId(5),
            provider: ProviderId(6),
            kind: Kind::LatencyEcho,
            index,
            class_id: 100,
            claim_root: Hash32::ZERO,
            claim_blocks: 0,
            child: [7; 32],
        };
        Transcript { challenge, scheduled_at_us: 0, slip_us: 0, rtt_us: None, attempts: vec![], outcome, answer: None, signature: None }
    }

    // Defence: the guard in `merge`; when the first that is read stays, whatever it is, a restart strikes out what was measured before.
    #[test]
    fn a_probe_that_a_restart_lost_does_not_strike_out_what_was_measured() {
        let lost = transcript(1, Outcome::OracleError(OracleFault::SendSlip));
        let silent = transcript(1, Outcome::Silent);
        let checked = transcript(1, Outcome::Checked(Checked { valid: 1, invalid: vec![], missing: vec![] }));
        assert_eq!(merge(vec![lost.clone(), silent.clone()]), std::slice::from_ref(&silent));
        assert_eq!(merge(vec![silent.clone(), lost.clone()]), std::slice::from_ref(&silent));
        assert_eq!(merge(vec![silent.clone(), checked]), [silent], "of two measurements the first");
        assert_eq!(merge(vec![transcript(2, Outcome::Silent), lost.clone()]), [lost, transcript(2, Outcome::Silent)]);
    }

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

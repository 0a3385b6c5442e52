//! One epoch's measuring: seeds, panels, probes, evidence, and at its end the observations that are committed to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use assay_challenger::convert::{decode_bundle, encode_bundle};
use assay_challenger::link::{Link, LinkConfig};
use assay_challenger::measure::{Assignment, Target, run_slot};
use assay_challenger::seal::seal;
use assay_challenger::watchdog::Watchdog;
use assay_core::bls::Signature;
use assay_core::claim::ClaimSet;
use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use assay_core::observation::{Commit, Reveal, RevealError, SaltedObservation, Seeds, VerifiedReveal};
use assay_core::report::ProviderTerms;
use assay_core::transcript::{ScheduledCounts, Transcript, facts_of, summarise};
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::beacon::BeaconClient;
use crate::clock::until_unix_ms;
use crate::frame::Frame;
use crate::seeds::SeedFollower;
use crate::signer::{Signer, SignerError};
use crate::store::{EvidenceBundle, Store, StoreError};

/// Share of the commit window that is left for signing and sending.
const COMMIT_RESERVE_MS: u64 = 600;

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

/// One provider this oracle measures in this epoch.
struct Subject {
    terms: ProviderTerms,
    link: Option<Link>,
    claims: Option<Arc<ClaimSet>>,
}

impl Measurer {
    /// Measures an epoch from its start, or from wherever in it we are, and returns what to commit to.
    pub async fn run(self: Arc<Self>, frame: Arc<Frame>, cancel: CancellationToken) -> Result<(VerifiedReveal, Commit), MeasureError> {
        let setting = &frame.setting;
        let mut follower = SeedFollower {
            beacon: &self.beacon,
            late_ms: setting.params.beacon_late_ms,
            ref_block_hash: setting.ref_block_hash,
            previous: Hash32::ZERO,
        };
        let stopped = || MeasureError::Stopped;
        let epoch_seed = cancel.run_until_cancelled(follower.seed(setting.start_ms())).await.ok_or_else(stopped)?;
        let subjects = Arc::new(self.subjects(&frame, &epoch_seed.value).await);
        let mut seeds = Seeds { epoch: epoch_seed.value, slots: Vec::new(), secure: epoch_seed.secure };
        let mut vrfs = Vec::new();
        let mut slots = JoinSet::new();
        for slot in 0..setting.params.slots {
            let start_ms = setting.start_ms().saturating_add(u64::from(slot).saturating_mul(setting.params.slot_ms));
            let seed = cancel.run_until_cancelled(follower.seed(start_ms)).await.ok_or_else(stopped)?;
            seeds.slots.push(seed.value);
            seeds.secure &= seed.secure;
            let vrf = self.signer.vrf(setting.epoch, slot, &seed.value);
            vrfs.push(vrf);
            for index in 0..subjects.len() {
                let (this, frame, subjects, cancel) = (self.clone(), frame.clone(), subjects.clone(), cancel.clone());
                slots.spawn(async move { this.slot(&frame, &subjects[index], slot, start_ms, vrf, cancel).await });
            }
        }
        let commit_by = setting.end_ms().saturating_add(setting.params.deadlines.commit_ms).saturating_sub(COMMIT_RESERVE_MS);
        let all = async { while slots.join_next().await.is_some() {} };
        if tokio::time::timeout_at(until_unix_ms(commit_by), all).await.is_err() {
            warn!(epoch = setting.epoch, "some probes had not ended in time for the commit");
        }
        if cancel.is_cancelled() {
            return Err(MeasureError::Stopped);
        }
        self.compile(&frame, seeds, vrfs, &subjects).await
    }

    /// The providers whose panel we are on, connected and with their claims.
    async fn subjects(&self, frame: &Frame, seed: &Hash32) -> Vec<Subject> {
        let me = self.signer.oracle();
        let on_panel = frame.setting.providers.iter().filter(|terms| frame.setting.panel(seed, terms.provider).contains(&me));
        join_all(on_panel.map(|terms| self.subject(frame, *terms))).await
    }

    async fn subject(&self, frame: &Frame, terms: ProviderTerms) -> Subject {
        let unreachable = Subject { terms, link: None, claims: None };
        let Some(record) = frame.records.get(&terms.provider) else { return unreachable };
        let link = match Link::open(&record.endpoint, &self.links).await {
            Ok(link) => link,
            Err(error) => {
                warn!(provider = %terms.provider, %error, "the provider cannot be connected to");
                return unreachable;
            }
        };
        link.warm_up().await;
        let claims = match link.claims(record.claim_sequence, terms.keys.claims, record.claim_count).await {
            Ok(claims) => Some(Arc::new(claims)),
            Err(error) => {
                warn!(provider = %terms.provider, %error, "the provider does not serve its claims");
                None
            }
        };
        Subject { terms, link: Some(link), claims }
    }

    async fn slot(&self, frame: &Frame, subject: &Subject, slot: u32, start_ms: u64, vrf: Signature, cancel: CancellationToken) {
        let Some(link) = &subject.link else { return };
        let setting = &frame.setting;
        let terms = &subject.terms;
        let assignment = Assignment {
            instance: setting.instance,
            params: Arc::new(setting.params.clone()),
            epoch: setting.epoch,
            slot,
            slot_start_unix_ms: start_ms,
            oracle: self.signer.oracle(),
            provider: Target {
                id: terms.provider,
                class_id: terms.class_id,
                claims: terms.keys.claims,
                receipt_key: terms.keys.receipt_key,
            },
            claims: subject.claims.clone(),
            vrf,
        };
        let (sink, mut source) = mpsc::channel(256);
        let collect = async {
            let mut transcripts = Vec::new();
            while let Some(transcript) = source.recv().await {
                transcripts.push(transcript);
            }
            transcripts
        };
        let (report, mut transcripts) = tokio::join!(run_slot(assignment.clone(), link, &self.watchdog, sink, cancel), collect);
        transcripts.sort_by_key(|transcript| transcript.challenge.index);
        if let Err(error) = self.keep(setting.epoch, slot, terms.provider, encode_bundle(&transcripts, &[])).await {
            warn!(%error, "evidence could not be stored");
        }
        // The seal is worth having and not worth waiting for: the answers' own evidence is stored already.
        match seal(link, &assignment, &report.unsigned).await {
            Ok(seal) => {
                if let Err(error) = self.keep(setting.epoch, slot, terms.provider, encode_bundle(&[], &[seal])).await {
                    warn!(%error, "a seal could not be stored");
                }
            }
            Err(error) => warn!(provider = %terms.provider, slot, %error, "the provider did not seal its answers"),
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
        subjects: &[Subject],
    ) -> Result<(VerifiedReveal, Commit), MeasureError> {
        let setting = &frame.setting;
        let (epoch, me) = (setting.epoch, self.signer.oracle());
        let mut observations = Vec::new();
        let mut facts = Vec::new();
        for subject in subjects {
            let terms = &subject.terms;
            let Some(class) = setting.params.class(terms.class_id) else { continue };
            let transcripts = self.transcripts(epoch, terms.provider).await?;
            let own_facts = match &subject.claims {
                Some(claims) => facts_of(&transcripts, claims, setting.params.facts_per_provider),
                None => Vec::new(),
            };
            let scheduled = ScheduledCounts::of(&vrfs, terms.provider, terms.keys.claims.blocks, &setting.params);
            let observation = summarise(epoch, terms.provider, me, class, &scheduled, &transcripts, &own_facts);
            observations.push(SaltedObservation { observation, salt: random_salt()? });
            facts.extend(own_facts);
        }
        observations.sort_by_key(|salted| salted.observation.provider);
        let reveal = Reveal { epoch, oracle: me, seeds, observations, vrfs, facts };
        let commit = Commit {
            epoch,
            oracle: me,
            seeds: reveal.seeds.digest(),
            secure: reveal.seeds.secure,
            root: reveal.root(),
            leaf_count: u32::try_from(reveal.observations.len()).unwrap_or(u32::MAX),
            log_head: Hash32::ZERO,
        };
        let keys = |provider| setting.provider(provider).map(|terms| terms.keys);
        let verified = reveal.verify(&commit, &setting.instance, self.signer.public_key(), &setting.params, keys)?;
        info!(epoch, providers = verified.reveal.observations.len(), facts = verified.reveal.facts.len(), "measured");
        Ok((verified, commit))
    }

    async fn transcripts(&self, epoch: u64, provider: ProviderId) -> Result<Vec<Transcript>, MeasureError> {
        let mut by_probe: BTreeMap<(u32, u32), Transcript> = BTreeMap::new();
        for bundle in self.store.evidence_about(epoch, provider).await? {
            let bundle = decode_bundle(&bundle.bundle).map_err(|_| MeasureError::Evidence { epoch })?;
            for transcript in bundle.transcripts {
                by_probe.entry((transcript.challenge.slot, transcript.challenge.index)).or_insert(transcript);
            }
        }
        Ok(by_probe.into_values().collect())
    }
}

fn random_salt() -> Result<Hash32, MeasureError> {
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).map_err(MeasureError::Randomness)?;
    Ok(Hash32(salt))
}

/// How long before an epoch its frame is read and its providers are connected to.
pub const LEAD: Duration = Duration::from_secs(2);

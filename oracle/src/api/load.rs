//! Certified epochs with their trees, loaded once; and the gate that nothing unrevealed passes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::merkle::{self, StandardTree};
use assay_core::report::{Certificate, Outcome, Setting, slash_leaf};
use assay_core::verdict::Verdict;
use assay_proto::oracle_convert;
use tokio::sync::OnceCell;

use super::error::ApiError;
use super::view::NodeView;
use crate::closing::Closing;
use crate::store::{AcceptedEpoch, CertifiedEpoch, Store};

/// Epochs kept decoded.
const KEPT: usize = 4;
/// An epoch that the chain has not finally accepted may still change: it is read again after so long.
const FRESH_MS: u64 = 1_000;
/// Epochs over which storage samples are summed: the length of an error budget.
const WINDOW: u32 = 28;
/// How far back the latest accepted report is looked for.
const LOOK_BACK: u32 = 64;

/// A certified and revealed epoch.
pub(super) struct Epoch {
    certificate: Certificate,
    outcome: Outcome,
    results: OnceLock<StandardTree>,
    slashes: OnceLock<StandardTree>,
    rewards: OnceLock<StandardTree>,
    closing: OnceCell<Arc<Closing>>,
}

impl Epoch {
    fn parse(number: u64, certified: CertifiedEpoch) -> Result<Self, ApiError> {
        let malformed = |what: String| ApiError::internal(format!("the stored certificate of epoch {number}: {what}"));
        let certificate = oracle_convert::decode_certificate(&certified.certificate).map_err(|error| malformed(error.to_string()))?;
        let outcome = certified.outcome;
        if certificate.report != outcome.report || outcome.report.epoch != number || outcome.report.digest() != outcome.ledger.digest {
            return Err(malformed("it certifies another report than the stored outcome".to_owned()));
        }
        Ok(Self {
            certificate,
            outcome,
            results: OnceLock::new(),
            slashes: OnceLock::new(),
            rewards: OnceLock::new(),
            closing: OnceCell::new(),
        })
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(super) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    pub(super) fn digest(&self) -> Hash32 {
        self.outcome.ledger.digest
    }

    pub(super) fn verdict(&self, provider: ProviderId) -> Option<&Verdict> {
        let verdicts = &self.outcome.verdicts;
        let index = verdicts.binary_search_by_key(&provider, |verdict| verdict.provider).ok()?;
        verdicts.get(index)
    }

    /// A leaf's proof under `resultRoot`.
    pub(super) fn prove_result(&self, leaf: &Hash32) -> Result<Vec<Hash32>, ApiError> {
        let tree = self.results.get_or_init(|| StandardTree::new(self.outcome.verdicts.iter().map(Verdict::leaf).collect()));
        proven("result", tree, &self.outcome.report.result_root, leaf)
    }

    /// A leaf's proof under `slashRoot`.
    pub(super) fn prove_slash(&self, leaf: &Hash32) -> Result<Vec<Hash32>, ApiError> {
        let tree = self.slashes.get_or_init(|| StandardTree::new(self.outcome.verdicts.iter().filter_map(slash_leaf).collect()));
        proven("slash", tree, &self.outcome.report.slash_root, leaf)
    }

    /// A leaf's proof under `rewardRoot`.
    pub(super) fn prove_reward(&self, token: &Address, leaf: &Hash32) -> Result<Vec<Hash32>, ApiError> {
        let tree = self.rewards.get_or_init(|| self.outcome.ledger.reward_tree(token));
        proven("reward", tree, &self.outcome.report.reward_root, leaf)
    }
}

/// No proof leaves that does not stand under the report.
fn proven(what: &str, tree: &StandardTree, root: &Hash32, leaf: &Hash32) -> Result<Vec<Hash32>, ApiError> {
    let proof = tree.proof(leaf).filter(|proof| merkle::verify(root, leaf, proof));
    proof.ok_or_else(|| ApiError::internal(format!("a {what} leaf does not stand under the report's root")))
}

/// Storage samples of one provider: over one epoch, or over several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Samples {
    pub(super) valid: u64,
    /// Signed as missing, or signed and wrong.
    pub(super) faulty: u64,
    pub(super) silent: u64,
}

impl Samples {
    fn of(verdict: &Verdict) -> Self {
        let storage = &verdict.storage;
        Self { valid: storage.valid, faulty: storage.invalid.saturating_add(storage.missing), silent: storage.silent }
    }

    fn add(&mut self, other: &Self) {
        self.valid = self.valid.saturating_add(other.valid);
        self.faulty = self.faulty.saturating_add(other.faulty);
        self.silent = self.silent.saturating_add(other.silent);
    }
}

/// One epoch's samples, ascending by provider.
type EpochSamples = Arc<[(ProviderId, Samples)]>;

struct Kept {
    number: u64,
    epoch: Arc<Epoch>,
    read_ms: u64,
    is_final: bool,
}

/// Reads epochs from the store, one at a time.
pub(super) struct Loader {
    store: Arc<dyn Store>,
    view: Arc<dyn NodeView>,
    /// Most recently used last.
    kept: Mutex<Vec<Kept>>,
    samples: Mutex<BTreeMap<u64, EpochSamples>>,
    /// A big epoch is decoded once, however many ask for it.
    loading: tokio::sync::Mutex<()>,
}

impl Loader {
    pub(super) fn new(store: Arc<dyn Store>, view: Arc<dyn NodeView>) -> Self {
        Self { store, view, kept: Mutex::default(), samples: Mutex::default(), loading: tokio::sync::Mutex::default() }
    }

    /// Passes once everybody's reveal of the epoch is due; the one check in front of all that was measured.
    pub(super) fn check_revealed(&self, epoch: u64) -> Result<(), ApiError> {
        match self.view.setting(epoch) {
            Some(setting) => check_time(epoch, reveals_due_ms(&setting), self.view.now_ms()),
            None => self.check_forgotten(epoch),
        }
    }

    /// Without an epoch's own setting the present one tells the time: genesis and the epoch's length never change. Its deadlines
    /// might have been longer, so two whole epochs must have passed.
    fn check_forgotten(&self, epoch: u64) -> Result<(), ApiError> {
        let present = self.view.health().epoch;
        let past = epoch.checked_add(2).is_some_and(|later| later < present);
        match self.view.setting(present) {
            Some(_) if past => Ok(()),
            _ => Err(unknown(epoch)),
        }
    }

    /// A certified epoch, after its reveals.
    pub(super) async fn epoch(&self, number: u64) -> Result<Arc<Epoch>, ApiError> {
        self.check_revealed(number)?;
        self.find(number).await?.ok_or_else(|| match self.view.setting(number) {
            Some(_) => ApiError::not_found(format!("epoch {number} has no certified report at this node")),
            None => unknown(number),
        })
    }

    /// What a certified epoch was closed with, from the node's own log: read once, whether the epoch is still open or long past.
    pub(super) async fn closing(&self, epoch: &Epoch) -> Result<Arc<Closing>, ApiError> {
        let read = async || {
            let report = epoch.outcome.report.clone();
            let inputs = self.store.inputs(report.epoch).await?;
            let setting = self.view.setting(report.epoch);
            // Every signature in it is a curve point.
            let reading = tokio::task::spawn_blocking(move || Closing::read(&report, &inputs, setting.as_deref()));
            reading.await.map(Arc::new).map_err(|error| ApiError::internal(format!("the inputs of an epoch: {error}")))
        };
        epoch.closing.get_or_try_init(read).await.cloned()
    }

    async fn find(&self, number: u64) -> Result<Option<Arc<Epoch>>, ApiError> {
        if let Some(epoch) = self.take_kept(number) {
            return Ok(Some(epoch));
        }
        let _loading = self.loading.lock().await;
        if let Some(epoch) = self.take_kept(number) {
            return Ok(Some(epoch));
        }
        let Some(certified) = self.store.outcome(number).await? else { return Ok(None) };
        let epoch = Arc::new(Epoch::parse(number, certified)?);
        let accepted = self.store.accepted(number).await?;
        let is_final = accepted.is_some_and(|accepted| accepted.digest == epoch.digest());
        self.keep(Kept { number, epoch: epoch.clone(), read_ms: self.view.now_ms(), is_final });
        Ok(Some(epoch))
    }

    fn take_kept(&self, number: u64) -> Option<Arc<Epoch>> {
        let now_ms = self.view.now_ms();
        let mut kept = locked(&self.kept);
        kept.retain(|entry| entry.is_final || now_ms.saturating_sub(entry.read_ms) < FRESH_MS);
        let index = kept.iter().position(|entry| entry.number == number)?;
        let entry = kept.remove(index);
        let epoch = entry.epoch.clone();
        kept.push(entry);
        Some(epoch)
    }

    fn keep(&self, entry: Kept) {
        let mut kept = locked(&self.kept);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(entry);
    }

    /// The newest certified and revealed epoch, if there is any.
    pub(super) async fn newest(&self) -> Result<Option<Arc<Epoch>>, ApiError> {
        for number in self.store.certified_epochs(LOOK_BACK).await? {
            if self.check_revealed(number).is_ok() {
                return self.find(number).await;
            }
        }
        Ok(None)
    }

    /// The newest epoch whose report the chain accepted and this node holds.
    pub(super) async fn newest_accepted(&self) -> Result<Option<(Arc<Epoch>, AcceptedEpoch)>, ApiError> {
        for number in self.store.certified_epochs(LOOK_BACK).await? {
            let Some(accepted) = self.store.accepted(number).await? else { continue };
            if self.check_revealed(number).is_err() {
                continue;
            }
            if let Some(epoch) = self.find(number).await?.filter(|epoch| epoch.digest() == accepted.digest) {
                return Ok(Some((epoch, accepted)));
            }
        }
        Ok(None)
    }

    /// Storage samples of every provider over the newest certified epochs.
    pub(super) async fn storage_history(&self) -> Result<StorageHistory, ApiError> {
        let mut numbers = self.store.certified_epochs(WINDOW).await?;
        numbers.retain(|number| self.check_revealed(*number).is_ok());
        let mut history = StorageHistory { epochs: Vec::with_capacity(numbers.len()) };
        for number in &numbers {
            history.epochs.extend(self.samples_of(*number).await?);
        }
        locked(&self.samples).retain(|number, _| numbers.contains(number));
        Ok(history)
    }

    async fn samples_of(&self, number: u64) -> Result<Option<EpochSamples>, ApiError> {
        if let Some(samples) = locked(&self.samples).get(&number) {
            return Ok(Some(samples.clone()));
        }
        let Some(epoch) = self.find(number).await? else { return Ok(None) };
        let samples: EpochSamples = epoch.outcome.verdicts.iter().map(|verdict| (verdict.provider, Samples::of(verdict))).collect();
        if self.store.accepted(number).await?.is_some_and(|accepted| accepted.digest == epoch.digest()) {
            locked(&self.samples).insert(number, samples.clone());
        }
        Ok(Some(samples))
    }
}

/// Samples of the newest epochs.
pub(super) struct StorageHistory {
    epochs: Vec<EpochSamples>,
}

impl StorageHistory {
    /// Epochs summed.
    pub(super) fn epochs(&self) -> usize {
        self.epochs.len()
    }

    /// One provider's sum.
    pub(super) fn of(&self, provider: ProviderId) -> Samples {
        let mut sum = Samples::default();
        for samples in &self.epochs {
            let found = samples.binary_search_by_key(&provider, |(id, _)| *id).ok().and_then(|index| samples.get(index));
            if let Some((_, found)) = found {
                sum.add(found);
            }
        }
        sum
    }
}

/// When the last honest reveal of an epoch has arrived, by any honest clock.
pub(crate) fn reveals_due_ms(setting: &Setting) -> u64 {
    setting.end_ms().saturating_add(setting.params.deadlines.reveal_ms).saturating_add(setting.params.skew_ms)
}

fn check_time(epoch: u64, opens_ms: u64, now_ms: u64) -> Result<(), ApiError> {
    match now_ms >= opens_ms {
        true => Ok(()),
        false => Err(ApiError::too_early(epoch, opens_ms, now_ms)),
    }
}

fn unknown(epoch: u64) -> ApiError {
    ApiError::not_found(format!("this node does not know epoch {epoch}"))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

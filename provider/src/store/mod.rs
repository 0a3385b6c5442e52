//! What the provider keeps and signs for.
//!
//! Promises: a claim set is signed only after every replica in it is complete, checked and durable; what was signed once is never
//! forgotten; every call may be repeated; what an owner released is kept for as long as a challenge may ask for it.

mod commit;
mod health;
mod keys;
mod propose;
mod release;

pub use health::Found;
pub use propose::Progress;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use assay_core::claim::{Claim, ClaimDomain, ClaimRoot, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Instance, ProviderId};
use assay_core::secp::SecretKey;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::config::{Config, Limits};
use crate::error::StoreError;
use crate::files::Files;
use crate::given::Given;
use crate::index::{Index, OwnedClaim};
use crate::log::Log;
use crate::replica::Replica;
use crate::tag_keys::TagKeys;

const CACHED_SETS: usize = 8;

/// Everything behind the two services.
pub struct Store {
    domain: ClaimDomain,
    instance: Instance,
    limits: Limits,
    key: SecretKey,
    files: Files,
    log: Log,
    tag_keys: Arc<TagKeys>,
    index: Index,
    /// Recently used claim sets, the newest use last.
    sets: Mutex<VecDeque<Arc<ClaimSet>>>,
    /// One commit, proposal or clean-up at a time.
    writing: tokio::sync::Mutex<()>,
    /// Claims that are being uploaded or committed.
    in_use: Mutex<HashSet<Hash32>>,
    transfers: Arc<Semaphore>,
    reads: Semaphore,
    /// Work that costs a core for a tenth of a second and more.
    proofs: Semaphore,
    bandwidth: Arc<Semaphore>,
    given: Given,
    /// Blocks on the list of damaged ones.
    damaged: AtomicU64,
    /// Something was released.
    released: Notify,
}

/// Keeps a claim from being uploaded or committed twice at a time.
pub struct InUse {
    store: Arc<Store>,
    claim_hash: Hash32,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.store.in_use.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.claim_hash);
    }
}

impl Store {
    /// Opens the data directory, brings the index up to the log, and drops what nobody went on with or asks for any more.
    pub async fn open(config: &Config, key: SecretKey) -> Result<Arc<Self>, StoreError> {
        let store = Self::open_beside(config, key).await?;
        let guard = store.writing.lock().await;
        store.recover().await?;
        store.drop_stale_proposals().await?;
        store.drop_orphans().await?;
        drop(guard);
        store.purge_before_serving().await?;
        Ok(store)
    }

    /// Opens the data directory to read from it, beside the process that serves from it.
    pub async fn open_beside(config: &Config, key: SecretKey) -> Result<Arc<Self>, StoreError> {
        let files = Files::open(&config.data_dir)?;
        let log = Log::open(&config.data_dir)?;
        let tag_keys = Arc::new(TagKeys::open(&config.data_dir)?);
        let index_path = config.data_dir.join("index.sqlite");
        let index = Index::open(&index_path).await.map_err(|error| error.of_index(&index_path))?;
        if config.provider_id.0 != 0 {
            index.bind(&config.domain()).await.map_err(|error| error.of_index(&index_path))?;
        }
        let damaged = AtomicU64::new(index.count_damaged().await?);
        Ok(Arc::new(Self {
            domain: config.domain(),
            instance: config.instance(),
            limits: config.limits.clone(),
            key,
            files,
            log,
            tag_keys,
            index,
            sets: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            in_use: Mutex::default(),
            transfers: Arc::new(Semaphore::new(config.limits.transfers)),
            reads: Semaphore::new(config.limits.reads),
            proofs: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            bandwidth: Arc::new(Semaphore::new(config.limits.bandwidth_streams)),
            given: Given::default(),
            damaged,
            released: Notify::new(),
        }))
    }

    /// What claims are bound to.
    pub fn domain(&self) -> &ClaimDomain {
        &self.domain
    }

    /// What challenges are bound to.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The receipt key.
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The configured bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The answers given.
    pub fn given(&self) -> &Given {
        &self.given
    }

    /// The index, for reading.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Refuses a request that is meant for another provider.
    pub fn expect_provider(&self, asked: ProviderId) -> Result<(), StoreError> {
        let ours = self.domain.provider;
        match (ours.0, ours == asked) {
            (0, _) => Err(StoreError::Unregistered),
            (_, false) => Err(StoreError::OtherProvider { ours, asked }),
            (_, true) => Ok(()),
        }
    }

    /// Refuses a request that is meant for another provider, chain or settlement contract.
    pub fn expect_ours(&self, instance: &Instance, provider: ProviderId) -> Result<(), StoreError> {
        self.expect_provider(provider)?;
        match *instance == self.instance {
            true => Ok(()),
            false => Err(StoreError::OtherInstance),
        }
    }

    /// A turn for one stream of a bandwidth window.
    pub fn bandwidth(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        Arc::clone(&self.bandwidth).try_acquire_owned().map_err(|_| StoreError::TooBusy)
    }

    /// A turn for an upload, commit or download.
    pub fn transfer(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        Arc::clone(&self.transfers).try_acquire_owned().map_err(|_| StoreError::TooBusy)
    }

    /// A proposal for the length of one upload or commit.
    pub async fn use_proposal(self: &Arc<Self>, claim_hash: Hash32) -> Result<(InUse, OwnedClaim), StoreError> {
        if !self.in_use.lock().unwrap_or_else(PoisonError::into_inner).insert(claim_hash) {
            return Err(StoreError::InUse(claim_hash));
        }
        let guard = InUse { store: Arc::clone(self), claim_hash };
        let owned = self.index.proposal(&claim_hash).await?.ok_or(StoreError::NotProposed(claim_hash))?;
        Ok((guard, owned))
    }

    /// The files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The claim set that a challenge names: any version that was ever signed and whose data was not removed by right. Builders make as many
    /// versions as they like, so their number is no bound.
    pub async fn claim_set(&self, root: &ClaimRoot) -> Result<Arc<ClaimSet>, StoreError> {
        if let Some(set) = self.cached(root) {
            return Ok(set);
        }
        let sequence = self.index.sequence_of(root).await?.ok_or(StoreError::UnknownClaimSet(*root))?;
        // Nobody may be brought to sign as lost what was removed by right.
        if self.index.has_purged(sequence).await? {
            return Err(StoreError::Purged(*root));
        }
        let set = self.with_keys(self.index.claims(sequence).await?).await?;
        if set.root() != *root {
            return Err(StoreError::Damaged("claims"));
        }
        self.cache(Arc::clone(&set));
        if self.index.has_purged(sequence).await? {
            self.forget_cached_sets();
            return Err(StoreError::Purged(*root));
        }
        Ok(set)
    }

    /// A set together with the tag keys that it names.
    async fn with_keys(&self, claims: Vec<Claim>) -> Result<Arc<ClaimSet>, StoreError> {
        let named: BTreeSet<_> = claims.iter().map(|claim| claim.tag_key_id).filter(|id| !id.is_zero()).collect();
        let keys = self.index.tag_keys(named).await?;
        Ok(Arc::new(spawn_blocking(move || ClaimSet::new(claims)?.with_tag_keys(keys)).await??))
    }

    fn cached(&self, root: &ClaimRoot) -> Option<Arc<ClaimSet>> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let at = sets.iter().position(|set| set.root() == *root)?;
        // What is asked for stays: many new versions must not push out the one that an epoch is measured on.
        let set = sets.remove(at)?;
        sets.push_back(Arc::clone(&set));
        Some(set)
    }

    fn forget_cached_sets(&self) {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn cache(&self, set: Arc<ClaimSet>) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|other| other.root() != set.root());
        sets.push_back(set);
        while sets.len() > CACHED_SETS {
            sets.pop_front();
        }
    }

    /// Runs disk reads of a challenge on a blocking thread, a bounded number at a time.
    pub async fn read<T: Send + 'static>(&self, work: impl FnOnce(&Files) -> T + Send + 'static) -> Result<T, StoreError> {
        let _turn = self.reads.acquire().await.map_err(|_| StoreError::TooBusy)?;
        let files = self.files.clone();
        Ok(spawn_blocking(move || work(&files)).await?)
    }

    /// Runs heavy arithmetic on a blocking thread, one for each core at a time.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
        let _turn = self.proofs.acquire().await.map_err(|_| StoreError::TooBusy)?;
        Ok(spawn_blocking(work).await?)
    }

    /// Opens a stored replica and tells its bytes.
    pub async fn replica(&self, root: Hash32) -> Result<(Arc<Replica>, u64), StoreError> {
        let hash = self.index.claim_on(&root).await?.ok_or(StoreError::UnknownReplica(root))?;
        let owned = self.index.claim(&hash).await?.ok_or(StoreError::Damaged("claim"))?;
        let (files, bytes) = (self.files.clone(), owned.claim.bytes());
        let replica = spawn_blocking(move || files.open_replica(&root, bytes)).await?;
        let replica = replica.map_err(|error| {
            warn!(%root, %error, "a stored replica does not open");
            StoreError::Unreadable
        })?;
        Ok((Arc::new(replica), bytes))
    }
}

pub(crate) fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

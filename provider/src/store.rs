//! What the provider keeps and signs for.
//!
//! Promises: a claim set is signed only after every replica in it is complete, checked and durable; what was signed once is never
//! forgotten; every call may be repeated.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use assay_core::claim::{ClaimDomain, ClaimRoot, ClaimSet, SignedClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Instance, ProviderId};
use assay_core::replica::BLOCK_BYTES;
use assay_core::secp::{self, SecretKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::config::{Config, Limits};
use crate::error::StoreError;
use crate::files::{Files, Replica};
use crate::given::Given;
use crate::index::{Index, OwnedClaim, small};

/// How many versions back a challenge may reach.
const MAX_VERSIONS_BACK: u64 = 256;
const CACHED_SETS: usize = 8;

/// Everything behind the two services.
pub struct Store {
    domain: ClaimDomain,
    instance: Instance,
    limits: Limits,
    key: SecretKey,
    files: Files,
    index: Index,
    /// Recently used claim sets, the newest use last.
    sets: RwLock<VecDeque<Arc<ClaimSet>>>,
    /// One commit, proposal or clean-up at a time.
    writing: tokio::sync::Mutex<()>,
    /// Claims that are being uploaded or committed.
    in_use: Mutex<HashSet<Hash32>>,
    transfers: Arc<Semaphore>,
    reads: Semaphore,
    bandwidth: Arc<Semaphore>,
    given: Given,
}

/// How far a proposal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes that are there.
    pub received_bytes: u64,
    /// Whether the claim stands.
    pub committed: bool,
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
    /// Opens the data directory and drops uploads that nobody went on with.
    pub async fn open(config: &Config, key: SecretKey) -> Result<Arc<Self>, StoreError> {
        let store = Self::open_beside(config, key).await?;
        let guard = store.writing.lock().await;
        store.drop_stale_proposals().await?;
        drop(guard);
        Ok(store)
    }

    /// Opens the data directory to read from it, beside the process that serves from it.
    pub async fn open_beside(config: &Config, key: SecretKey) -> Result<Arc<Self>, StoreError> {
        let files = Files::open(&config.data_dir)?;
        let index_path = config.data_dir.join("index.sqlite");
        let index = Index::open(&index_path).await.map_err(|error| error.of_index(&index_path))?;
        if config.provider_id.0 != 0 {
            index.bind(&config.domain()).await.map_err(|error| error.of_index(&index_path))?;
        }
        Ok(Arc::new(Self {
            domain: config.domain(),
            instance: config.instance(),
            limits: config.limits.clone(),
            key,
            files,
            index,
            sets: RwLock::default(),
            writing: tokio::sync::Mutex::default(),
            in_use: Mutex::default(),
            transfers: Arc::new(Semaphore::new(config.limits.transfers)),
            reads: Semaphore::new(config.limits.reads),
            bandwidth: Arc::new(Semaphore::new(config.limits.bandwidth_streams)),
            given: Given::default(),
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

    /// Takes or finds a proposal.
    pub async fn propose(&self, owned: OwnedClaim) -> Result<Progress, StoreError> {
        let claim = &owned.claim;
        claim.check()?;
        small(claim.bytes(), "replica")?;
        let hash = claim.hash();
        if secp::recover(&self.domain.claim_digest(&hash), &owned.signature) != Ok(claim.owner) {
            return Err(StoreError::OwnerSignature(claim.owner));
        }
        if !self.limits.owners.is_empty() && !self.limits.owners.contains(&claim.owner) {
            return Err(StoreError::OwnerRefused(claim.owner));
        }
        let _writing = self.writing.lock().await;
        match self.index.claim_on(&claim.root).await? {
            Some(found) if found == hash => return Ok(Progress { received_bytes: claim.bytes(), committed: true }),
            Some(_) => return Err(StoreError::RootTaken(claim.root)),
            None => (),
        }
        if self.index.proposal(&hash).await?.is_none() {
            self.expect_room(claim.bytes()).await?;
        }
        self.index.propose(&hash, &owned, now_s()).await?;
        let (files, claim) = (self.files.clone(), owned.claim);
        let received_bytes = spawn_blocking(move || {
            files.reclaim(&hash, &claim)?;
            files.received(&hash)
        });
        Ok(Progress { received_bytes: received_bytes.await??, committed: false })
    }

    async fn expect_room(&self, asked: u64) -> Result<(), StoreError> {
        for attempt in 0..2 {
            let reserved = self.index.reserved_blocks().await?.saturating_mul(BLOCK_BYTES as u64);
            let free = self.limits.capacity_bytes.saturating_sub(reserved);
            if asked <= free {
                return Ok(());
            }
            if attempt == 1 {
                return Err(StoreError::Capacity { asked, free });
            }
            self.drop_stale_proposals().await?;
        }
        Ok(())
    }

    async fn drop_stale_proposals(&self) -> Result<(), StoreError> {
        let before = now_s().saturating_sub(self.limits.proposal_ttl_s.cast_signed());
        for (hash, owned) in self.index.stale_proposals(before).await? {
            if self.in_use.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash) {
                continue;
            }
            let unclaimed = self.index.claim_on(&owned.claim.root).await?.is_none();
            let files = self.files.clone();
            spawn_blocking(move || {
                if unclaimed {
                    files.reclaim(&hash, &owned.claim)?;
                }
                files.discard(&hash)
            })
            .await??;
            self.index.forget_proposal(&hash).await?;
            info!(claim = %hash, "dropped an upload that nobody went on with");
        }
        Ok(())
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

    /// Checks a complete replica, keeps it, and signs the claim set that holds it. Gives the newest set.
    pub async fn commit(self: &Arc<Self>, claim_hash: Hash32) -> Result<SignedClaimSet, StoreError> {
        if self.index.claim(&claim_hash).await?.is_some() {
            return self.index.newest().await?.ok_or(StoreError::Damaged("claim_set"));
        }
        let (_in_use, owned) = self.use_proposal(claim_hash).await?;
        let (files, claim) = (self.files.clone(), owned.claim.clone());
        spawn_blocking(move || files.check(&claim_hash, &claim)).await??;

        let _writing = self.writing.lock().await;
        if self.index.claim_on(&owned.claim.root).await?.is_some() {
            return Err(StoreError::RootTaken(owned.claim.root));
        }
        let newest = self.index.newest().await?;
        let sequence = newest.map_or(0, |set| set.sequence) + 1;
        let mut claims = self.index.claims(sequence).await?;
        claims.push(owned.claim.clone());
        let set = Arc::new(spawn_blocking(move || ClaimSet::new(claims)).await??);
        let signed = SignedClaimSet::sign(&self.domain, sequence, &set, &self.key)?;

        let (files, claim) = (self.files.clone(), owned.claim.clone());
        spawn_blocking(move || files.keep(&claim_hash, &claim)).await??;
        self.index.commit(&claim_hash, &owned, &signed).await?;
        self.cache(set);
        info!(claim = %claim_hash, root = %owned.claim.root, sequence, "replica stored");
        Ok(signed)
    }

    /// The claim set that a challenge names, when it is one of the last versions.
    pub async fn claim_set(&self, root: &ClaimRoot) -> Result<Arc<ClaimSet>, StoreError> {
        if let Some(set) = self.cached(root) {
            return Ok(set);
        }
        let unknown = || StoreError::UnknownClaimSet(*root);
        let sequence = self.index.sequence_of(root).await?.ok_or_else(unknown)?;
        let newest = self.index.newest().await?.map_or(0, |set| set.sequence);
        if newest.saturating_sub(sequence) > MAX_VERSIONS_BACK {
            return Err(unknown());
        }
        let claims = self.index.claims(sequence).await?;
        let set = Arc::new(spawn_blocking(move || ClaimSet::new(claims)).await??);
        if set.root() != *root {
            return Err(StoreError::Damaged("claims"));
        }
        self.cache(Arc::clone(&set));
        Ok(set)
    }

    fn cached(&self, root: &ClaimRoot) -> Option<Arc<ClaimSet>> {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        sets.iter().find(|set| set.root() == *root).cloned()
    }

    fn cache(&self, set: Arc<ClaimSet>) {
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
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

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

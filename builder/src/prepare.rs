//! Encrypts one replica for one provider, without keeping it: what stays is a manifest and the tags.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assay_core::claim::{Claim, ClaimDomain};
use assay_core::compact::{Evaluation, Name, TAG_BYTES, TagSecret};
use assay_core::hash::Hash32;
use assay_core::replica::{Header, OwnerSecret, ReplicaKey, blocks_for, replica_bytes};

use crate::durable::{self, Lock};
use crate::encrypt::encrypt;
use crate::error::BuilderError;
use crate::keys::Keys;
use crate::manifest::{self, Manifest};
use crate::parallel;
use crate::progress::{Progress, Stage};
use crate::source::Source;
use crate::spool::Spool;

/// Blocks whose tags one thread makes at a time.
const TAGS_AT_A_TIME: usize = 64;

/// What is to be prepared.
#[derive(Clone, Debug)]
pub struct Order {
    /// The object.
    pub source: Source,
    /// Which of the owner's replicas.
    pub replica_index: u64,
    /// The provider that it is for.
    pub domain: ClaimDomain,
    /// Whether the claim has tags, so that compact proofs can be asked for.
    pub tags: bool,
}

/// A directory with the manifest and the tags of one replica. No other process prepares in it meanwhile.
#[derive(Clone, Debug)]
pub struct Prepared {
    directory: PathBuf,
    manifest: Manifest,
    _lock: Arc<Lock>,
}

impl Prepared {
    /// Opens what [`prepare`] left.
    pub fn open(directory: &Path) -> Result<Self, BuilderError> {
        if !directory.is_dir() {
            return Err(BuilderError::NotPrepared(directory.to_owned()));
        }
        let lock = Arc::new(Lock::take(directory)?);
        let manifest = Manifest::read(&manifest_file(directory))?.ok_or_else(|| BuilderError::NotPrepared(directory.to_owned()))?;
        Ok(Self { directory: directory.to_owned(), manifest, _lock: lock })
    }

    /// The claim.
    pub fn claim(&self) -> &Claim {
        &self.manifest.claim
    }

    /// Everything that is known about it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The tags, 48 bytes a block.
    pub fn tags_file(&self) -> PathBuf {
        tags_file(&self.directory)
    }

    /// Bytes of the tags: 0 without.
    pub fn tags_bytes(&self) -> u64 {
        match self.manifest.tags_hash {
            Some(_) => self.manifest.claim.blocks.saturating_mul(TAG_BYTES as u64),
            None => 0,
        }
    }

    /// Refuses a provider, an owner or a secret that the replica was not made for.
    pub fn expect(&self, domain: &ClaimDomain, keys: &Keys) -> Result<(), BuilderError> {
        if self.manifest.domain() != *domain {
            return Err(self.for_another("another provider, chain or registry"));
        }
        if self.manifest.claim.owner != keys.signer.address() {
            return Err(self.for_another("another builder key"));
        }
        if self.manifest.owner_tag_key_id != TagSecret::derive(&keys.secret).key().id() {
            return Err(self.for_another("another owner secret"));
        }
        Ok(())
    }

    fn for_another(&self, whom: &'static str) -> BuilderError {
        BuilderError::PreparedForAnother { path: self.directory.clone(), whom }
    }

    /// Reads the tags once and compares them with the manifest. Blocks.
    pub fn check_tags(&self) -> Result<(), BuilderError> {
        let Some(expected) = self.manifest.tags_hash else { return Ok(()) };
        let path = self.tags_file();
        let damaged = || BuilderError::Tags(path.clone());
        let mut file = File::open(&path).map_err(|_| damaged())?;
        if file.metadata().map_err(BuilderError::file(&path))?.len() != self.tags_bytes() {
            return Err(damaged());
        }
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).map_err(BuilderError::file(&path))? {
                0 => break,
                length => hasher.update(&buffer[..length]),
            };
        }
        if Hash32::from(hasher.finalize()) == expected { Ok(()) } else { Err(damaged()) }
    }

    /// Refuses a source that is no longer what was prepared: by its times and lengths, and when those differ, by its hash. Blocks.
    pub fn expect_source(&self) -> Result<(), BuilderError> {
        match self.manifest.of(&self.manifest.source)? {
            Some(_) => Ok(()),
            None => Err(BuilderError::SourceChanged),
        }
    }

    /// Whether what is there is what is asked for. The manifest then names the place where the same content was found.
    fn serves(&mut self, order: &Order) -> Result<bool, BuilderError> {
        let same_tags = self.manifest.tags_hash.is_some() == order.tags;
        if !same_tags || self.check_tags().is_err() {
            return Ok(false);
        }
        let Some(manifest) = self.manifest.of(&order.source)? else { return Ok(false) };
        if manifest != self.manifest {
            manifest.write(&manifest_file(&self.directory))?;
            self.manifest = manifest;
        }
        Ok(true)
    }

    /// Removes the directory.
    pub fn remove(self) -> Result<(), BuilderError> {
        durable::remove_dir(&self.directory)
    }
}

fn manifest_file(directory: &Path) -> PathBuf {
    directory.join("manifest.json")
}

fn tags_file(directory: &Path) -> PathBuf {
    directory.join("tags")
}

/// Prepares a replica in `directory`, or finds what an earlier call left there. Blocks. Memory does not depend on the object.
///
/// What is there for another provider or owner is refused; what is there of another content of the source is replaced.
pub fn prepare(directory: &Path, keys: &Keys, order: &Order, progress: &mut dyn Progress) -> Result<Prepared, BuilderError> {
    let order = Order { source: order.source.canonical()?, ..order.clone() };
    let lock = Arc::new(Lock::take(directory)?);
    if let Some(manifest) = Manifest::read(&manifest_file(directory))? {
        let mut found = Prepared { directory: directory.to_owned(), manifest, _lock: Arc::clone(&lock) };
        found.expect(&order.domain, keys)?;
        if found.manifest.claim.replica_index != order.replica_index {
            return Err(found.for_another("another replica"));
        }
        if found.serves(&order)? {
            return Ok(found);
        }
        durable::remove(&manifest_file(directory))?;
    }
    let manifest = make(directory, keys, &order, progress)?;
    manifest.write(&manifest_file(directory))?;
    Ok(Prepared { directory: directory.to_owned(), manifest, _lock: lock })
}

fn make(directory: &Path, keys: &Keys, order: &Order, progress: &mut dyn Progress) -> Result<Manifest, BuilderError> {
    let fingerprint = order.source.fingerprint()?;
    let expected = order.source.bytes()?;
    let header = order.source.identify(order.replica_index, &mut |bytes| progress.hear(Stage::Reading, bytes, expected))?;
    let secret = TagSecret::derive(&keys.secret);
    let tag_key_id = secret.key().id();
    let tag_secret = order.tags.then_some(secret);
    let encrypted = pass(directory, &keys.secret, tag_secret.as_ref(), order, &header, progress)?;
    let claim = Claim {
        object_id: header.object_id,
        replica_index: header.replica_index,
        root: encrypted.root,
        object_length: header.object_length,
        blocks: blocks_for(header.object_length),
        tag_key_id: if order.tags { tag_key_id } else { Hash32::ZERO },
        owner: keys.signer.address(),
    };
    claim.check()?;
    let tags_hash = match (tag_secret, encrypted.evaluations) {
        (Some(secret), Some(spool)) => Some(write_tags(directory, &secret, &claim, &order.domain, spool, progress)?),
        _ => None,
    };
    Ok(Manifest {
        version: manifest::VERSION,
        chain_id: order.domain.chain_id,
        provider_registry: order.domain.provider_registry,
        provider: order.domain.provider,
        claim_hash: claim.hash(),
        claim,
        owner_tag_key_id: tag_key_id,
        tags_hash,
        source: order.source.clone(),
        fingerprint,
    })
}

struct Encrypted {
    root: Hash32,
    evaluations: Option<Spool>,
}

/// The one pass over the encrypted blocks: the root, and every block's polynomial at the secret place.
fn pass(
    directory: &Path,
    secret: &OwnerSecret,
    tag_secret: Option<&TagSecret>,
    order: &Order,
    header: &Header,
    progress: &mut dyn Progress,
) -> Result<Encrypted, BuilderError> {
    let key = ReplicaKey::derive(secret, &header.object_id, header.replica_index, order.domain.provider);
    let total = replica_bytes(blocks_for(header.object_length)).unwrap_or(u64::MAX);
    let mut spool = tag_secret.map(|_| Spool::new(directory)).transpose()?;
    let mut hasher = blake3::Hasher::new();
    let evaluate = |block: &[u8]| Ok(tag_secret.map(|secret| secret.evaluate(block)).transpose()?);
    encrypt(&order.source, &key, header, 0, evaluate, |batch| {
        hasher.update(&batch.bytes);
        if let Some(spool) = &mut spool {
            batch.values.iter().flatten().try_for_each(|evaluation| spool.push(evaluation))?;
        }
        progress.hear(Stage::Encrypting, hasher.count(), total);
        Ok(())
    })?;
    Ok(Encrypted { root: hasher.finalize().into(), evaluations: spool })
}

/// Gives the BLAKE3 hash of the tags.
fn write_tags(
    directory: &Path,
    secret: &TagSecret,
    claim: &Claim,
    domain: &ClaimDomain,
    spool: Spool,
    progress: &mut dyn Progress,
) -> Result<Hash32, BuilderError> {
    let path = tags_file(directory);
    let name = Name::of(claim, domain.provider);
    let total = claim.blocks.saturating_mul(TAG_BYTES as u64);
    let mut hasher = blake3::Hasher::new();
    durable::write(&path, |out| {
        let produce = |send: &mut dyn FnMut((u64, Vec<Evaluation>)) -> bool| {
            let mut first_block = 0;
            spool.read(TAGS_AT_A_TIME, |evaluations| {
                let first = first_block;
                first_block += evaluations.len() as u64;
                send((first, evaluations))
            })
        };
        let work = |(first, evaluations): (u64, Vec<Evaluation>)| Ok(secret.tags(&name, first, &evaluations));
        parallel::in_order(parallel::threads(), produce, work, |tags| {
            hasher.update(&tags);
            progress.hear(Stage::Tagging, hasher.count(), total);
            out.write_all(&tags).map_err(BuilderError::file(&path))
        })
    })?;
    Ok(hasher.finalize().into())
}

/// Where `upload` prepares when no directory is named: one place for every source, provider and replica, beside the keys.
pub fn cache_directory(keys: &Path, order: &Order) -> Result<PathBuf, BuilderError> {
    let source = order.source.canonical()?;
    let text = format!("{:?} {} {:?}", order.domain, order.replica_index, source);
    let place = keys.join("prepared");
    durable::private_dir(&place)?;
    Ok(fs::canonicalize(&place).map_err(BuilderError::file(&place))?.join(hex::encode(&blake3::hash(text.as_bytes()).as_bytes()[..16])))
}

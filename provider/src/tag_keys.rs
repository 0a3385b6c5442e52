//! The powers of tag keys on disk: `tag-keys/<id>.powers` is the key (192 bytes) and its powers (196,608 bytes). Everything here blocks.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use assay_core::compact::{Powers, TAG_KEY_BYTES, TagKey};
use assay_core::hash::Hash32;
use assay_daemon::persistence::point;

use crate::check::random_seed;
use crate::error::StoreError;
use crate::files::{remove_if_there, sync_directory, write_whole};
use crate::replica::present;

/// Powers that stay in memory; each takes 400 KB.
const CACHED: usize = 4;

/// The directory, and the powers that were used last.
#[derive(Debug)]
pub struct TagKeys {
    directory: PathBuf,
    /// The newest use last.
    cache: Mutex<VecDeque<(Hash32, CachedPowers)>>,
}

#[derive(Clone)]
struct CachedPowers(Arc<Powers>);

impl std::fmt::Debug for CachedPowers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Powers")
    }
}

impl TagKeys {
    /// Opens, and creates where needed.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let directory = data_dir.join("tag-keys");
        fs::create_dir_all(&directory)?;
        sync_directory(data_dir)?;
        Ok(Self { directory, cache: Mutex::default() })
    }

    fn path(&self, id: &Hash32) -> PathBuf {
        self.directory.join(format!("{}.powers", hex::encode(id.0)))
    }

    /// Makes a key and its powers durable, which [`check_powers`] must have taken. One call at a time. Gives the file's checksum.
    pub fn keep(&self, key: &TagKey, powers: &[u8]) -> Result<Hash32, StoreError> {
        point("tag-key.before");
        let bytes = key.to_bytes();
        write_whole(&self.path(&key.id()), &[&bytes, powers])?;
        point("tag-key.after");
        Ok(checksum(&[&bytes, powers]))
    }

    /// Checks a file whose checksum is not known, as after the loss of the index; `None` when there is none that is whole.
    pub fn check_again(&self, key: &TagKey) -> Result<Option<Hash32>, StoreError> {
        let Some(bytes) = present(fs::read(self.path(&key.id())))? else { return Ok(None) };
        let Some((head, powers)) = bytes.split_first_chunk::<TAG_KEY_BYTES>() else { return Ok(None) };
        let is_whole = *head == key.to_bytes() && check_powers(key, powers).is_ok();
        Ok(is_whole.then(|| checksum(&[&bytes])))
    }

    /// Whether the file is as it was when it was checked.
    pub fn is_whole(&self, id: &Hash32, sum: &Hash32) -> Result<bool, StoreError> {
        Ok(present(fs::read(self.path(id)))?.is_some_and(|bytes| checksum(&[&bytes]) == *sum))
    }

    /// The powers of a key. Damaged powers are an error, never a wrong proof: [`TagKeys::keep`] mends them.
    pub fn powers(&self, id: &Hash32, sum: &Hash32) -> Result<Arc<Powers>, StoreError> {
        if let Some(powers) = self.cached(id) {
            return Ok(powers);
        }
        let damaged = || StoreError::PowersDamaged(*id);
        let bytes = present(fs::read(self.path(id)))?.filter(|bytes| checksum(&[bytes]) == *sum).ok_or_else(damaged)?;
        let (_, powers) = bytes.split_first_chunk::<TAG_KEY_BYTES>().ok_or_else(damaged)?;
        let powers = Arc::new(Powers::reopen(powers).map_err(|_| damaged())?);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.retain(|(other, _)| other != id);
        cache.push_back((*id, CachedPowers(Arc::clone(&powers))));
        while cache.len() > CACHED {
            cache.pop_front();
        }
        Ok(powers)
    }

    fn cached(&self, id: &Hash32) -> Option<Arc<Powers>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let place = cache.iter().position(|(other, _)| other == id)?;
        let used = cache.remove(place)?;
        let powers = Arc::clone(&used.1.0);
        cache.push_back(used);
        Some(powers)
    }

    /// Forgets a key.
    pub fn remove(&self, id: &Hash32) -> io::Result<()> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| other != id);
        remove_if_there(&self.path(id))
    }

    /// The keys of which there are files.
    pub fn list(&self) -> io::Result<Vec<TagKey>> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "powers") {
                let bytes = fs::read(&path)?;
                keys.extend(bytes.get(..TAG_KEY_BYTES).and_then(|key| TagKey::from_bytes(key).ok()));
            }
        }
        Ok(keys)
    }
}

/// Checks that the powers are the key's. Takes about half a second.
pub fn check_powers(key: &TagKey, powers: &[u8]) -> Result<(), StoreError> {
    Powers::parse(powers, key, &random_seed()?).map_err(StoreError::BadPowers)?;
    Ok(())
}

fn checksum(parts: &[&[u8]]) -> Hash32 {
    let mut hasher = blake3::Hasher::new();
    parts.iter().for_each(|part| {
        hasher.update(part);
    });
    hasher.finalize().into()
}

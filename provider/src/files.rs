//! Replicas on disk. Everything here blocks.
//!
//! `incoming/<claim hash>.part` and `.tags-part` grow by uploads. `replicas/<root>.replica` (what `b3sum` prints is its name),
//! `replicas/<root>.outboard` and, with a tag key, `replicas/<root>.tags` are complete, checked and durable.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use assay_core::claim::Claim;
use assay_core::compact::TAG_BYTES;
use assay_core::hash::Hash32;
use assay_daemon::persistence::point;

use crate::replica::{Replica, Tags};

/// The two directories.
#[derive(Clone, Debug)]
pub struct Files {
    incoming: PathBuf,
    replicas: PathBuf,
}

/// Bytes of a claim's tags as they are uploaded.
pub fn tag_bytes(claim: &Claim) -> u64 {
    match claim.tag_key_id.is_zero() {
        true => 0,
        false => claim.blocks.saturating_mul(TAG_BYTES as u64),
    }
}

/// Bytes of a whole upload: the replica's, then its tags'.
pub fn upload_bytes(claim: &Claim) -> u64 {
    claim.bytes().saturating_add(tag_bytes(claim))
}

impl Files {
    /// Opens, and creates where needed.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let files = Self { incoming: data_dir.join("incoming"), replicas: data_dir.join("replicas") };
        fs::create_dir_all(&files.incoming)?;
        fs::create_dir_all(&files.replicas)?;
        sync_directory(data_dir)?;
        Ok(files)
    }

    fn incoming(&self, claim: &Hash32, extension: &str) -> PathBuf {
        self.incoming.join(format!("{}.{extension}", hex::encode(claim.0)))
    }

    pub(crate) fn part(&self, claim: &Hash32) -> PathBuf {
        self.incoming(claim, "part")
    }

    pub(crate) fn tags_part(&self, claim: &Hash32) -> PathBuf {
        self.incoming(claim, "tags-part")
    }

    pub(crate) fn staged_outboard(&self, claim: &Hash32) -> PathBuf {
        self.incoming(claim, "outboard")
    }

    pub(crate) fn staged_tags(&self, claim: &Hash32) -> PathBuf {
        self.incoming(claim, "tags")
    }

    fn stored(&self, root: &Hash32, extension: &str) -> PathBuf {
        self.replicas.join(format!("{}.{extension}", hex::encode(root.0)))
    }

    /// Where a complete replica lies.
    pub fn replica(&self, root: &Hash32) -> PathBuf {
        self.stored(root, "replica")
    }

    /// Where its outboard lies.
    pub fn outboard(&self, root: &Hash32) -> PathBuf {
        self.stored(root, "outboard")
    }

    /// Where its tags lie: one record a block ([`crate::replica::tag_record`]).
    pub fn tags(&self, root: &Hash32) -> PathBuf {
        self.stored(root, "tags")
    }

    /// Bytes received of a proposed replica and its tags.
    pub fn received(&self, claim_hash: &Hash32, claim: &Claim) -> io::Result<u64> {
        let replica = length_of(&self.part(claim_hash))?;
        match replica < claim.bytes() {
            true => Ok(replica),
            false => Ok(replica.saturating_add(length_of(&self.tags_part(claim_hash))?)),
        }
    }

    /// Takes a replica back that was moved to its final name before a crash kept its claim from being written. Only for a root that no
    /// claim holds and that is not kept after a release.
    pub fn reclaim(&self, claim_hash: &Hash32, claim: &Claim) -> io::Result<()> {
        let part = self.part(claim_hash);
        if part.exists() || !self.replica(&claim.root).exists() {
            return Ok(());
        }
        fs::rename(self.replica(&claim.root), part)
    }

    /// Opens a replica in progress.
    pub fn open_upload(&self, claim_hash: &Hash32, claim: &Claim) -> io::Result<Upload> {
        let open = |path| OpenOptions::new().create(true).write(true).truncate(false).open(path);
        let tags = match tag_bytes(claim) {
            0 => None,
            _ => Some(open(self.tags_part(claim_hash))?),
        };
        Ok(Upload { replica: open(self.part(claim_hash))?, tags, replica_bytes: claim.bytes() })
    }

    /// Forgets a replica in progress.
    pub fn discard(&self, claim_hash: &Hash32) -> io::Result<()> {
        let all = [self.part(claim_hash), self.tags_part(claim_hash), self.staged_outboard(claim_hash), self.staged_tags(claim_hash)];
        all.iter().try_for_each(|path| remove_if_there(path))
    }

    /// Moves what was checked to its final names and makes that durable. May be repeated. The replica is moved last: until then its bytes
    /// are found under the old name, and afterwards [`Self::reclaim`] finds them under the new one.
    pub fn keep(&self, claim_hash: &Hash32, claim: &Claim) -> io::Result<()> {
        point("keep.before");
        fs::rename(self.staged_outboard(claim_hash), self.outboard(&claim.root))?;
        point("keep.outboard");
        if tag_bytes(claim) > 0 {
            fs::rename(self.staged_tags(claim_hash), self.tags(&claim.root))?;
            point("keep.tags");
        }
        fs::rename(self.part(claim_hash), self.replica(&claim.root))?;
        point("keep.replica");
        sync_directory(&self.replicas)?;
        sync_directory(&self.incoming)?;
        point("keep.after");
        Ok(())
    }

    /// Removes a stored replica and everything beside it. May be repeated.
    pub fn remove(&self, root: &Hash32) -> io::Result<()> {
        let all = [self.replica(root), self.outboard(root), self.tags(root)];
        all.iter().try_for_each(|path| remove_if_there(path))?;
        sync_directory(&self.replicas)
    }

    /// Removes the tags of a stored replica alone.
    pub fn remove_tags(&self, root: &Hash32) -> io::Result<()> {
        remove_if_there(&self.tags(root))?;
        sync_directory(&self.replicas)
    }

    /// Opens a complete replica.
    pub fn open_replica(&self, root: &Hash32, total_bytes: u64) -> io::Result<Replica> {
        Ok(Replica::new(*root, total_bytes, File::open(self.replica(root))?, File::open(self.outboard(root))?))
    }

    /// Opens the tags of a complete replica.
    pub fn open_tags(&self, root: &Hash32) -> io::Result<Tags> {
        Ok(Tags::new(*root, File::open(self.tags(root))?))
    }

    /// The claims that have files among the incoming ones which nobody wrote to for `idle`.
    pub fn idle_uploads(&self, idle: Duration) -> io::Result<Vec<Hash32>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.incoming)? {
            let entry = entry?;
            let age = SystemTime::now().duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            let name = entry.file_name();
            let hash = name.to_str().and_then(|name| name.split('.').next()).and_then(|stem| hex::decode(stem).ok());
            found.extend(hash.and_then(|hash| Hash32::from_slice(&hash)).filter(|_| age >= idle));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

/// A replica in progress.
#[derive(Debug)]
pub struct Upload {
    replica: File,
    /// Absent without a tag key.
    tags: Option<File>,
    replica_bytes: u64,
}

impl Upload {
    /// Writes bytes at an offset over the replica's bytes and the tags behind them.
    pub fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let room = usize::try_from(self.replica_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (replica, tags) = data.split_at(room.min(data.len()));
        self.replica.write_all_at(replica, offset)?;
        match &self.tags {
            Some(file) if !tags.is_empty() => file.write_all_at(tags, offset.saturating_sub(self.replica_bytes)),
            _ => Ok(()),
        }
    }
}

/// Writes a file so that it is there whole or not at all, and durable.
pub fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let written = write_synced(&beside, parts).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        // Room for the next attempt.
        remove_if_there(&beside)?;
        return Err(error);
    }
    sync_directory(path.parent().unwrap_or(path))
}

fn write_synced(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = File::create(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

fn length_of(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

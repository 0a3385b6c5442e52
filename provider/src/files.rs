//! Replicas on disk. Everything here blocks.
//!
//! `incoming/<claim hash>.part` grows by uploads; `replicas/<root>.replica` (what `b3sum` prints is its name) and
//! `replicas/<root>.outboard` are complete, checked and durable.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use assay_core::claim::Claim;
use assay_core::hash::Hash32;
use assay_core::slice::group::{Group, group_bytes, prove_group};
use assay_core::slice::{self, GROUP_BYTES, NODE_BYTES, OutboardBuilder, Slice};

use crate::error::StoreError;

const READ_BYTES: usize = 1 << 20;

/// The two directories.
#[derive(Clone, Debug)]
pub struct Files {
    incoming: PathBuf,
    replicas: PathBuf,
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

    fn part(&self, claim: &Hash32) -> PathBuf {
        self.incoming.join(format!("{}.part", hex::encode(claim.0)))
    }

    fn part_outboard(&self, claim: &Hash32) -> PathBuf {
        self.incoming.join(format!("{}.outboard", hex::encode(claim.0)))
    }

    /// Where a complete replica lies.
    pub fn replica(&self, root: &Hash32) -> PathBuf {
        self.replicas.join(format!("{}.replica", hex::encode(root.0)))
    }

    fn outboard(&self, root: &Hash32) -> PathBuf {
        self.replicas.join(format!("{}.outboard", hex::encode(root.0)))
    }

    /// Bytes received of a proposed replica.
    pub fn received(&self, claim_hash: &Hash32) -> io::Result<u64> {
        match fs::metadata(self.part(claim_hash)) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Takes a replica back that was moved to its final name before a crash kept its claim from being written. Only for a root that no
    /// claim holds.
    pub fn reclaim(&self, claim_hash: &Hash32, claim: &Claim) -> io::Result<()> {
        let part = self.part(claim_hash);
        if part.exists() || !self.replica(&claim.root).exists() {
            return Ok(());
        }
        fs::rename(self.replica(&claim.root), part)
    }

    /// Opens a replica in progress for [`FileExt::write_all_at`].
    pub fn open_part(&self, claim_hash: &Hash32) -> io::Result<File> {
        OpenOptions::new().create(true).write(true).truncate(false).open(self.part(claim_hash))
    }

    /// Forgets a replica in progress.
    pub fn discard(&self, claim_hash: &Hash32) -> io::Result<()> {
        remove_if_there(&self.part(claim_hash))?;
        remove_if_there(&self.part_outboard(claim_hash))
    }

    /// Checks a replica in progress against its claim, writes its outboard and makes both durable. Bytes that are not the replica are
    /// discarded, so that the builder starts again.
    pub fn check(&self, claim_hash: &Hash32, claim: &Claim) -> Result<(), StoreError> {
        let found = self.received(claim_hash)?;
        let expected = claim.bytes();
        if found < expected {
            return Err(StoreError::Incomplete { found, expected });
        }
        let data = File::open(self.part(claim_hash))?;
        let outboard = File::create(self.part_outboard(claim_hash))?;
        let root = write_outboard(&data, &outboard, expected)?;
        if root != Some(claim.root) {
            self.discard(claim_hash)?;
            return Err(StoreError::WrongRoot { expected: claim.root, found: root.unwrap_or_default() });
        }
        data.sync_all()?;
        outboard.sync_all()?;
        Ok(())
    }

    /// Moves a checked replica to its final name and makes that durable. May be repeated.
    pub fn keep(&self, claim_hash: &Hash32, claim: &Claim) -> io::Result<()> {
        fs::rename(self.part_outboard(claim_hash), self.outboard(&claim.root))?;
        fs::rename(self.part(claim_hash), self.replica(&claim.root))?;
        sync_directory(&self.replicas)?;
        sync_directory(&self.incoming)
    }

    /// Opens a complete replica.
    pub fn open_replica(&self, root: &Hash32, total_bytes: u64) -> io::Result<Replica> {
        Ok(Replica { root: *root, total_bytes, data: File::open(self.replica(root))?, outboard: File::open(self.outboard(root))? })
    }
}

/// An opened replica.
#[derive(Debug)]
pub struct Replica {
    root: Hash32,
    total_bytes: u64,
    data: File,
    outboard: File,
}

impl Replica {
    /// The slice of one chunk; `None` when bytes are missing or damaged. An error says nothing of the data: it must never be signed as a loss.
    pub fn slice(&self, chunk: u64) -> io::Result<Option<Slice>> {
        let (start, length) = slice::group_range(self.total_bytes, chunk);
        let mut group = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        if present(self.data.read_exact_at(&mut group, start))?.is_none() {
            return Ok(None);
        }
        let mut failed = None;
        let node = |position| {
            self.node(position).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        };
        let slice = slice::prove(&self.root, self.total_bytes, chunk, &group, node).ok();
        match failed {
            Some(error) => Err(error),
            None => Ok(slice),
        }
    }

    /// One group with its proof; `None` likewise.
    pub fn group(&self, index: u64) -> Option<Group> {
        let mut bytes = vec![0; usize::try_from(group_bytes(self.total_bytes, index)).ok()?];
        self.data.read_exact_at(&mut bytes, index.checked_mul(GROUP_BYTES)?).ok()?;
        prove_group(&self.root, self.total_bytes, index, bytes, |position| self.node(position).ok().flatten()).ok()
    }

    fn node(&self, position: u64) -> io::Result<Option<[u8; NODE_BYTES as usize]>> {
        let mut pair = [0; NODE_BYTES as usize];
        let offset = position.checked_mul(NODE_BYTES).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(present(self.outboard.read_exact_at(&mut pair, offset))?.map(|()| pair))
    }

    /// Reads bytes as they are on disk.
    pub fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.data.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// `None` when the file or its end is gone. Whatever else fails (too many open files, an interrupted read) says nothing of the data.
pub fn present<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives the root; `None` when the file has another length than announced.
fn write_outboard(data: &File, outboard: &File, total_bytes: u64) -> io::Result<Option<Hash32>> {
    let mut reader = data;
    let mut builder = OutboardBuilder::new(total_bytes);
    let mut buffer = vec![0; READ_BYTES];
    let mut nodes = Vec::new();
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        if builder.update(&buffer[..length], &mut nodes).is_err() {
            return Ok(None);
        }
        for node in nodes.drain(..) {
            outboard.write_all_at(&node.pair, node.position * NODE_BYTES)?;
        }
    }
    Ok(builder.finish().ok())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Defence: the kinds in `present`. Without it whoever fills our table of open files makes us sign that stored data is missing.
    #[test]
    fn only_what_is_gone_is_missing() {
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof] {
            assert!(matches!(present::<()>(Err(kind.into())), Ok(None)), "{kind}");
        }
        let too_many_open_files = io::Error::from_raw_os_error(24);
        for error in [too_many_open_files, io::ErrorKind::Interrupted.into(), io::ErrorKind::PermissionDenied.into()] {
            let text = error.to_string();
            assert!(present::<()>(Err(error)).is_err(), "{text}");
        }
        assert!(matches!(present(Ok(1)), Ok(Some(1))));
    }
}

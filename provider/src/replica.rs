//! Reading stored replicas. Everything here blocks.
//!
//! Wherever bytes may be gone or damaged, `None` says so. An error says nothing of the data: it must never be signed as a loss.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use assay_core::compact::TAG_BYTES;
use assay_core::hash::Hash32;
use assay_core::replica::BLOCK_BYTES;
use assay_core::slice::group::{Group, group_bytes, prove_group};
use assay_core::slice::{self, GROUP_BYTES, NODE_BYTES, Slice};

/// Bytes of a tag on disk: the tag and its check.
pub const TAG_RECORD_BYTES: usize = 64;

const CHECK_BYTES: usize = TAG_RECORD_BYTES - TAG_BYTES;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// An opened replica.
#[derive(Debug)]
pub struct Replica {
    root: Hash32,
    total_bytes: u64,
    data: File,
    outboard: File,
}

impl Replica {
    /// Of the opened files of a replica that has `total_bytes` bytes.
    pub fn new(root: Hash32, total_bytes: u64, data: File, outboard: File) -> Self {
        Self { root, total_bytes, data, outboard }
    }

    /// The slice of one chunk.
    pub fn slice(&self, chunk: u64) -> io::Result<Option<Slice>> {
        let (start, length) = slice::group_range(self.total_bytes, chunk);
        let Some(group) = self.bytes(start, length)? else { return Ok(None) };
        self.with_nodes(|node| slice::prove(&self.root, self.total_bytes, chunk, &group, node).ok())
    }

    /// One group with its proof.
    pub fn group(&self, index: u64) -> io::Result<Option<Group>> {
        let start = index.checked_mul(GROUP_BYTES).ok_or(io::ErrorKind::InvalidInput)?;
        let Some(bytes) = self.bytes(start, group_bytes(self.total_bytes, index))? else { return Ok(None) };
        self.proven(index, bytes)
    }

    /// One block, of which every group leads to the root.
    pub fn block(&self, block: u64) -> io::Result<Option<Vec<u8>>> {
        let start = block.checked_mul(BLOCK).ok_or(io::ErrorKind::InvalidInput)?;
        let first = start / GROUP_BYTES;
        let span_start = first * GROUP_BYTES;
        let span_end = start.saturating_add(BLOCK).next_multiple_of(GROUP_BYTES).min(self.total_bytes);
        let Some(mut span) = self.bytes(span_start, span_end.saturating_sub(span_start))? else { return Ok(None) };
        for (index, bytes) in (first..).zip(span.chunks(GROUP_BYTES as usize)) {
            if self.proven(index, bytes.to_vec())?.is_none() {
                return Ok(None);
            }
        }
        span.drain(..usize::try_from(start - span_start).map_err(io::Error::other)?);
        span.truncate(BLOCK_BYTES);
        Ok(Some(span).filter(|block| block.len() == BLOCK_BYTES))
    }

    fn proven(&self, index: u64, bytes: Vec<u8>) -> io::Result<Option<Group>> {
        self.with_nodes(|node| prove_group(&self.root, self.total_bytes, index, bytes, node).ok())
    }

    fn bytes(&self, start: u64, length: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        Ok(present(self.data.read_exact_at(&mut bytes, start))?.map(|()| bytes))
    }

    /// Lets `prove` ask for nodes of the outboard. What the system did not let us read is an error and no missing node.
    fn with_nodes<T>(&self, prove: impl FnOnce(&mut dyn FnMut(u64) -> Option<OutboardNode>) -> Option<T>) -> io::Result<Option<T>> {
        let mut failed = None;
        let mut node = |position| {
            self.node(position).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        };
        let proven = prove(&mut node);
        match failed {
            Some(error) => Err(error),
            None => Ok(proven),
        }
    }

    fn node(&self, position: u64) -> io::Result<Option<OutboardNode>> {
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

type OutboardNode = [u8; NODE_BYTES as usize];

/// The opened tags of a replica.
#[derive(Debug)]
pub struct Tags {
    root: Hash32,
    file: File,
}

impl Tags {
    /// Of an opened file of records.
    pub fn new(root: Hash32, file: File) -> Self {
        Self { root, file }
    }

    /// The tag of a block.
    pub fn tag(&self, block: u64) -> io::Result<Option<[u8; TAG_BYTES]>> {
        let mut record = [0; TAG_RECORD_BYTES];
        let offset = block.checked_mul(TAG_RECORD_BYTES as u64).ok_or(io::ErrorKind::InvalidInput)?;
        let read = present(self.file.read_exact_at(&mut record, offset))?;
        let tag = record.first_chunk::<TAG_BYTES>().filter(|tag| read.is_some() && tag_record(&self.root, block, tag) == record);
        Ok(tag.copied())
    }
}

/// A tag as it is kept: with a check, because no hash in the claim covers it, and a damaged tag must be a missing block and no wrong proof.
pub fn tag_record(root: &Hash32, block: u64, tag: &[u8; TAG_BYTES]) -> [u8; TAG_RECORD_BYTES] {
    let check = blake3::Hasher::new().update(&root.0).update(&block.to_be_bytes()).update(tag).finalize();
    let mut record = [0; TAG_RECORD_BYTES];
    record[..TAG_BYTES].copy_from_slice(tag);
    record[TAG_BYTES..].copy_from_slice(&check.as_bytes()[..CHECK_BYTES]);
    record
}

/// `None` when the file or its end is gone. Whatever else fails (too many open files, an interrupted read) says nothing of the data.
pub fn present<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(None),
        Err(error) => Err(error),
    }
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
        let (too_many_open_files, input_output_error) = (io::Error::from_raw_os_error(24), io::Error::from_raw_os_error(5));
        for error in [too_many_open_files, input_output_error, io::ErrorKind::Interrupted.into(), io::ErrorKind::PermissionDenied.into()] {
            let text = error.to_string();
            assert!(present::<()>(Err(error)).is_err(), "{text}");
        }
        assert!(matches!(present(Ok(1)), Ok(Some(1))));
    }

    // Defence: the check in a record. Without it one flipped bit in the tags makes a signed proof wrong, and the block's data is whole.
    #[test]
    fn a_flipped_or_misplaced_tag_is_missing() {
        let root = Hash32([7; 32]);
        let mut bytes = tag_record(&root, 0, &[1; TAG_BYTES]).to_vec();
        bytes.extend(tag_record(&root, 1, &[2; TAG_BYTES]));
        let tags = |bytes: &[u8]| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            Tags::new(root, file)
        };
        let whole = tags(&bytes);
        assert_eq!(whole.tag(1).unwrap(), Some([2; TAG_BYTES]));
        assert_eq!(whole.tag(2).unwrap(), None);
        let mut flipped = bytes.clone();
        flipped[TAG_RECORD_BYTES + 5] ^= 1;
        assert_eq!(tags(&flipped).tag(1).unwrap(), None);
        let misplaced = tags(&[&bytes[TAG_RECORD_BYTES..], &bytes[TAG_RECORD_BYTES..]].concat());
        assert_eq!(misplaced.tag(0).unwrap(), None);
    }
}

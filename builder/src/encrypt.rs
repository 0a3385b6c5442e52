//! The encrypted blocks of one replica, made on all cores, in order.

use std::io::{self, Write};

use assay_core::hash::Hash32;
use assay_core::replica::{BLOCK_BYTES, HEADER_BYTES, Header, ReplicaError, ReplicaKey, apply_keystream};

use crate::error::BuilderError;
use crate::parallel;
use crate::source::Source;

/// Blocks that one thread takes at a time: 1 MB.
const BATCH_BLOCKS: usize = 8;

/// Consecutive encrypted blocks with one value for each.
#[derive(Debug)]
pub struct Batch<T> {
    /// Number of the first block.
    pub first_block: u64,
    /// Whole blocks.
    pub bytes: Vec<u8>,
    /// What `each` made of every block.
    pub values: Vec<T>,
}

/// Gives `consume` all encrypted blocks from `first_block` on, in order, each with what `each` makes of it. Blocks.
///
/// Read from the beginning, a source that changed since it was identified ends in [`BuilderError::SourceChanged`] or a
/// [`ReplicaError::Length`]; from a later block on, only another length is noticed.
pub fn encrypt<T: Send>(
    source: &Source,
    key: &ReplicaKey,
    header: &Header,
    first_block: u64,
    each: impl Fn(&[u8]) -> Result<T, BuilderError> + Sync,
    consume: impl FnMut(Batch<T>) -> Result<(), BuilderError>,
) -> Result<(), BuilderError> {
    let produce = |send: &mut dyn FnMut((u64, Vec<u8>)) -> bool| plain_blocks(source, header, first_block, send);
    let work = |(first_block, mut bytes): (u64, Vec<u8>)| {
        let mut values = Vec::with_capacity(BATCH_BLOCKS);
        for (number, block) in (first_block..).zip(bytes.chunks_exact_mut(BLOCK_BYTES)) {
            apply_keystream(key, number, block).map_err(|_| ReplicaError::Blocks)?;
            values.push(each(block)?);
        }
        Ok(Batch { first_block, bytes, values })
    };
    parallel::in_order(parallel::threads(), produce, work, consume)
}

/// The offset in the object at which a block begins. The first block begins with the header.
fn object_offset(block: u64) -> u64 {
    block.saturating_mul(BLOCK_BYTES as u64).saturating_sub(HEADER_BYTES as u64)
}

fn plain_blocks(
    source: &Source,
    header: &Header,
    first_block: u64,
    send: &mut dyn FnMut((u64, Vec<u8>)) -> bool,
) -> Result<(), BuilderError> {
    let from = object_offset(first_block);
    let mut blocks = PlainBlocks::new(header, first_block, header.object_length.saturating_sub(from), send);
    let written = source.write_to(from, &mut blocks);
    // The error that the source met in the writer says less than the writer itself.
    match blocks.outcome {
        Outcome::Unwanted => return Err(BuilderError::Stopped),
        Outcome::TooLong => return Err(ReplicaError::Length { announced: header.object_length }.into()),
        Outcome::Fine => written?,
    }
    blocks.finish(header)
}

enum Outcome {
    Fine,
    TooLong,
    Unwanted,
}

/// Cuts the plain stream into batches of blocks.
struct PlainBlocks<'a> {
    send: &'a mut dyn FnMut((u64, Vec<u8>)) -> bool,
    first_block: u64,
    batch: Vec<u8>,
    /// Object bytes still due.
    left: u64,
    /// Of the object's bytes, when all of them pass.
    hasher: Option<blake3::Hasher>,
    outcome: Outcome,
}

impl<'a> PlainBlocks<'a> {
    fn new(header: &Header, first_block: u64, left: u64, send: &'a mut dyn FnMut((u64, Vec<u8>)) -> bool) -> Self {
        let mut batch = Vec::with_capacity(BATCH_BLOCKS * BLOCK_BYTES);
        let is_whole = first_block == 0;
        if is_whole {
            batch.extend_from_slice(&header.encode());
        }
        Self { send, first_block, batch, left, hasher: is_whole.then(blake3::Hasher::new), outcome: Outcome::Fine }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Outcome> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(Outcome::TooLong)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        while !bytes.is_empty() {
            let room = BATCH_BLOCKS * BLOCK_BYTES - self.batch.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.batch.extend_from_slice(now);
            bytes = later;
            if self.batch.len() == BATCH_BLOCKS * BLOCK_BYTES {
                self.pass_on()?;
            }
        }
        Ok(())
    }

    fn pass_on(&mut self) -> Result<(), Outcome> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_BLOCKS * BLOCK_BYTES));
        let blocks = (batch.len() / BLOCK_BYTES) as u64;
        let wanted = (self.send)((self.first_block, batch));
        self.first_block += blocks;
        if wanted { Ok(()) } else { Err(Outcome::Unwanted) }
    }

    fn finish(mut self, header: &Header) -> Result<(), BuilderError> {
        if self.left != 0 {
            return Err(ReplicaError::Length { announced: header.object_length }.into());
        }
        if self.hasher.as_ref().is_some_and(|hasher| Hash32::from(hasher.finalize()) != header.object_id) {
            return Err(BuilderError::SourceChanged);
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        self.batch.resize(self.batch.len().next_multiple_of(BLOCK_BYTES), 0);
        self.pass_on().map_err(|_| BuilderError::Stopped)
    }
}

impl Write for PlainBlocks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes).map(|()| bytes.len()).map_err(|outcome| {
            self.outcome = outcome;
            io::Error::other("no more bytes are taken")
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_core::ids::ProviderId;
    use assay_core::replica::{Encoder, OwnerSecret};

    fn object(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 31 % 251) as u8).collect()
    }

    fn key(header: &Header) -> ReplicaKey {
        ReplicaKey::derive(&OwnerSecret::new([3; 32]), &header.object_id, 0, ProviderId(1))
    }

    /// As the core's own encoder makes them.
    fn reference(bytes: &[u8], header: &Header) -> Vec<u8> {
        let mut out = Vec::new();
        let mut sink = |block: &[u8]| out.extend_from_slice(block);
        let mut encoder = Encoder::new(key(header), header);
        encoder.update(bytes, &mut sink).unwrap();
        encoder.finish(&mut sink).unwrap();
        out
    }

    fn gathered(source: &Source, header: &Header, first_block: u64) -> Result<Vec<u8>, BuilderError> {
        let mut out = Vec::new();
        let mut next = first_block;
        encrypt(
            source,
            &key(header),
            header,
            first_block,
            |block| Ok(block[0]),
            |batch| {
                assert_eq!(batch.first_block, next);
                next += batch.values.len() as u64;
                assert!(batch.bytes.chunks(BLOCK_BYTES).map(|block| block[0]).eq(batch.values));
                out.extend_from_slice(&batch.bytes);
                Ok(())
            },
        )?;
        Ok(out)
    }

    #[test]
    fn blocks_are_those_of_the_cores_encoder_from_every_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("object");
        let batch = BATCH_BLOCKS * BLOCK_BYTES;
        for length in [0, 1, 126_911, 126_912, 126_913, 126_976, 253_888, batch - 64, batch - 63, batch, 3 * batch + 5] {
            let bytes = object(length);
            std::fs::write(&path, &bytes).unwrap();
            let source = Source::File(path.clone());
            let header = source.identify(0, &mut |_| ()).unwrap();
            let expected = reference(&bytes, &header);
            for first_block in [0, 1, 7, 8, 9] {
                let start = first_block * BLOCK_BYTES;
                if start < expected.len() {
                    assert_eq!(gathered(&source, &header, first_block as u64).unwrap(), expected[start..], "{length} from {first_block}");
                }
            }
        }
    }

    // Defence: the second hash over the plain bytes. Without it a replica of mixed content would be claimed under the first content's id.
    #[test]
    fn a_source_that_changes_between_the_passes_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("object");
        std::fs::write(&path, object(300_000)).unwrap();
        let source = Source::File(path.clone());
        let header = source.identify(0, &mut |_| ()).unwrap();
        for length in [299_999, 300_001] {
            std::fs::write(&path, object(length)).unwrap();
            let error = gathered(&source, &header, 0).unwrap_err();
            assert!(matches!(error, BuilderError::Replica(ReplicaError::Length { .. })), "{error}");
            assert!(gathered(&source, &header, 1).is_err());
        }
        let mut other = object(300_000);
        other[200_000] ^= 1;
        std::fs::write(&path, other).unwrap();
        assert!(matches!(gathered(&source, &header, 0), Err(BuilderError::SourceChanged)));
    }
}

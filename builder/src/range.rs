//! Brings a part of an object back: only the groups that hold it.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use assay_core::claim::Claim;
use assay_core::replica::{BLOCK_BYTES, HEADER_BYTES, Header, OwnerSecret, ReplicaError, ReplicaKey, apply_keystream};
use assay_core::slice::GROUP_BYTES;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::client::Client;
use crate::durable;
use crate::error::BuilderError;
use crate::groups::{Found, Groups};
use crate::progress::{Progress, Stage};

const BLOCK: u64 = BLOCK_BYTES as u64;
const GROUPS_AHEAD: usize = 64;

/// Reads `START..END`.
pub fn parse(text: &str) -> Result<Range<u64>, String> {
    let read = || {
        let (start, end) = text.split_once("..")?;
        Some(start.trim().parse().ok()?..end.trim().parse().ok()?)
    };
    read()
        .filter(|range| range.start <= range.end)
        .ok_or_else(|| "expected START..END in bytes, as in 0..1048576; END is not included".into())
}

/// Fetches the groups that hold the object's bytes `range`, checks each against the claim's root before it is decrypted, and puts the
/// bytes into a new file. The header, which is always fetched, tells a wrong secret.
///
/// The claim must be one that the owner signed ([`crate::client::Wanted::owner`]): its root is what the bytes are held against.
pub async fn restore_range(
    client: &mut Client,
    secret: &OwnerSecret,
    claim: &Claim,
    range: Range<u64>,
    path: &Path,
    progress: &mut dyn Progress,
) -> Result<(), BuilderError> {
    if path.exists() {
        return Err(BuilderError::Exists(path.to_owned()));
    }
    if range.start > range.end || range.end > claim.object_length {
        return Err(BuilderError::Range { length: claim.object_length });
    }
    let key = ReplicaKey::derive(secret, &claim.object_id, claim.replica_index, client.domain.provider);
    let total = range.end - range.start;
    let (sender, receiver) = mpsc::channel(GROUPS_AHEAD);
    let decoder = RangeDecoder::new(key, claim, &range);
    let out = path.to_owned();
    let decoding = spawn_blocking(move || write(receiver, decoder, &out));
    let fetched = fetch(client, claim, &range, sender, &mut |bytes| progress.hear(Stage::Fetching, bytes.min(total), total)).await;
    let written = decoding.await?;
    // A decoder that gave up hung up, and says why.
    let out = match (fetched, written) {
        (Ok(()) | Err(BuilderError::Stopped), written) => written?,
        (Err(error), _) => return Err(error),
    };
    progress.hear(Stage::Fetching, total, total);
    out.persist_noclobber(path).map_err(|error| BuilderError::File { path: path.to_owned(), source: error.error })?;
    durable::sync_parent(path)
}

/// The groups of the header and of the range, ascending.
fn groups(range: &Range<u64>) -> impl Iterator<Item = u64> + Send + use<> {
    let header = HEADER_BYTES as u64;
    let of_range = match range.is_empty() {
        true => 0..0,
        false => (range.start + header) / GROUP_BYTES..(range.end + header - 1) / GROUP_BYTES + 1,
    };
    let of_header = (of_range.start > 0 || of_range.is_empty()).then_some(0);
    of_header.into_iter().chain(of_range)
}

async fn fetch(
    client: &mut Client,
    claim: &Claim,
    range: &Range<u64>,
    sender: mpsc::Sender<(u64, Vec<u8>)>,
    heard: &mut (dyn FnMut(u64) + Send),
) -> Result<(), BuilderError> {
    let mut replies = Groups::new(client, claim, groups(range));
    let mut bytes = 0;
    while let Some((group, found)) = replies.next().await? {
        let Found::Held(data) = found else {
            return Err(BuilderError::BadGroup { group, is_missing: found == Found::Missing });
        };
        bytes += data.len() as u64;
        heard(bytes);
        sender.send((group, data)).await.map_err(|_| BuilderError::Stopped)?;
    }
    Ok(())
}

fn write(mut groups: mpsc::Receiver<(u64, Vec<u8>)>, mut decoder: RangeDecoder, path: &Path) -> Result<NamedTempFile, BuilderError> {
    let directory = durable::parent(path);
    let mut out = NamedTempFile::new_in(directory).map_err(BuilderError::file(directory))?;
    while let Some((group, data)) = groups.blocking_recv() {
        decoder.take(group * GROUP_BYTES, &data, &mut |plain| out.write_all(plain).map_err(BuilderError::file(path)))?;
    }
    decoder.finish(&mut |plain| out.write_all(plain).map_err(BuilderError::file(path)))?;
    out.as_file().sync_all().map_err(BuilderError::file(path))?;
    Ok(out)
}

/// Decrypts ascending pieces of a replica. Holds one block.
struct RangeDecoder {
    key: ReplicaKey,
    header: Header,
    header_seen: bool,
    /// In the replica's bytes.
    range: Range<u64>,
    block: u64,
    /// The block's bytes so far; zeros where nothing was fetched.
    bytes: Vec<u8>,
    /// Where in the block the fetched bytes begin.
    from: usize,
}

type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), BuilderError> + 'a;

impl RangeDecoder {
    fn new(key: ReplicaKey, claim: &Claim, range: &Range<u64>) -> Self {
        let header = Header { object_length: claim.object_length, object_id: claim.object_id, replica_index: claim.replica_index };
        let shift = HEADER_BYTES as u64;
        let range = range.start + shift..range.end + shift;
        Self { key, header, header_seen: false, range, block: 0, bytes: Vec::with_capacity(BLOCK_BYTES), from: 0 }
    }

    /// Takes verified bytes at an offset of the replica, not before any that came earlier.
    fn take(&mut self, mut offset: u64, mut data: &[u8], sink: &mut Sink) -> Result<(), BuilderError> {
        while !data.is_empty() {
            let (block, at) = (offset / BLOCK, (offset % BLOCK) as usize);
            if block != self.block || at != self.bytes.len() {
                self.flush(sink)?;
                (self.block, self.from) = (block, at);
                self.bytes.resize(at, 0);
            }
            let (now, later) = data.split_at(data.len().min(BLOCK_BYTES - at));
            self.bytes.extend_from_slice(now);
            offset += now.len() as u64;
            data = later;
        }
        Ok(())
    }

    fn flush(&mut self, sink: &mut Sink) -> Result<(), BuilderError> {
        apply_keystream(&self.key, self.block, &mut self.bytes).map_err(|_| ReplicaError::Blocks)?;
        if self.block == 0 && self.from == 0 && !self.bytes.is_empty() {
            self.check_header()?;
        }
        let start = self.block * BLOCK;
        let within = |offset: u64| usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX).min(self.bytes.len());
        let (from, to) = (within(self.range.start).max(self.from), within(self.range.end));
        if from < to {
            sink(&self.bytes[from..to])?;
        }
        self.bytes.clear();
        Ok(())
    }

    fn check_header(&mut self) -> Result<(), ReplicaError> {
        let found = Header::parse(&self.bytes).map_err(ReplicaError::Header)?;
        if found != self.header {
            return Err(ReplicaError::OtherObject { expected: self.header.object_id, found: found.object_id });
        }
        self.header_seen = true;
        Ok(())
    }

    fn finish(mut self, sink: &mut Sink) -> Result<(), BuilderError> {
        self.flush(sink)?;
        if self.header_seen { Ok(()) } else { Err(ReplicaError::Blocks.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_core::hash::Hash32;
    use assay_core::ids::{Address, ProviderId};
    use assay_core::replica::{Encoder, blocks_for};

    fn fixture(length: usize) -> (Vec<u8>, Claim, ReplicaKey, Vec<u8>) {
        let object: Vec<u8> = (0..length).map(|i| (i * 17 % 253) as u8).collect();
        let claim = Claim {
            object_id: blake3::hash(&object).into(),
            replica_index: 0,
            root: Hash32::ZERO,
            object_length: length as u64,
            blocks: blocks_for(length as u64),
            tag_key_id: Hash32::ZERO,
            owner: Address([1; 20]),
        };
        let key = ReplicaKey::derive(&OwnerSecret::new([1; 32]), &claim.object_id, 0, ProviderId(1));
        let header = Header { object_length: length as u64, object_id: claim.object_id, replica_index: 0 };
        let mut replica = Vec::new();
        let mut sink = |block: &[u8]| replica.extend_from_slice(block);
        let mut encoder = Encoder::new(key.clone(), &header);
        encoder.update(&object, &mut sink).unwrap();
        encoder.finish(&mut sink).unwrap();
        (object, claim, key, replica)
    }

    fn decoded(claim: &Claim, key: ReplicaKey, replica: &[u8], range: &Range<u64>) -> Result<Vec<u8>, BuilderError> {
        let mut out = Vec::new();
        let mut sink = |plain: &[u8]| {
            out.extend_from_slice(plain);
            Ok(())
        };
        let mut decoder = RangeDecoder::new(key, claim, range);
        for group in groups(range) {
            let start = (group * GROUP_BYTES) as usize;
            let end = (start + GROUP_BYTES as usize).min(replica.len());
            decoder.take(start as u64, &replica[start..end], &mut sink)?;
        }
        decoder.finish(&mut sink)?;
        Ok(out)
    }

    #[test]
    fn every_range_is_the_objects() {
        let (object, claim, key, replica) = fixture(400_000);
        let edges = [0, 1, 16_319, 16_320, 16_321, 126_911, 126_912, 126_913, 131_008, 253_888, 300_000, 399_999, 400_000];
        for start in edges {
            for end in edges.into_iter().filter(|end| *end >= start) {
                let range = start as u64..end as u64;
                assert_eq!(decoded(&claim, key.clone(), &replica, &range).unwrap(), object[start..end], "{range:?}");
            }
        }
    }

    #[test]
    fn only_the_header_and_the_ranges_groups_are_asked_for() {
        assert_eq!(groups(&(0..10)).collect::<Vec<_>>(), [0]);
        assert_eq!(groups(&(0..0)).collect::<Vec<_>>(), [0]);
        assert_eq!(groups(&(100_000..100_000)).collect::<Vec<_>>(), [0]);
        assert_eq!(groups(&(16_319..16_321)).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(groups(&(100_000..120_000)).collect::<Vec<_>>(), [0, 6, 7]);
    }

    // Defence: the header is always fetched and checked. Without it another secret gives noise under the final name.
    #[test]
    fn a_wrong_secret_is_told_wherever_the_range_is() {
        let (_, claim, _, replica) = fixture(400_000);
        let wrong = ReplicaKey::derive(&OwnerSecret::new([2; 32]), &claim.object_id, 0, ProviderId(1));
        for range in [0..10, 300_000..300_010, 5..5] {
            let error = decoded(&claim, wrong.clone(), &replica, &range).unwrap_err();
            assert!(error.to_string().contains("owner secret"), "{error}");
        }
    }

    #[test]
    fn ranges_read() {
        assert_eq!(parse("5..10"), Ok(5..10));
        assert_eq!(parse("0..0"), Ok(0..0));
        for bad in ["", "5", "10..5", "a..b", "..5", "-1..3"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

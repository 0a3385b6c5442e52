//! `assay-provider bench`: whether this machine and disk answer in time, with the very code that answers challenges.

use std::fmt;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use assay_core::challenge::compact::SLICES_ONE_IN;
use assay_core::challenge::kinds::latency;
use assay_core::challenge::{Challenge, Kind, Kinds, answer_signing_digest};
use assay_core::claim::{Claim, ClaimSet};
use assay_core::compact::{Evaluation, Name, Powers, TAG_BYTES, TagSecret};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::params::Params;
use assay_core::replica::{BLOCK_BYTES, HEADER_BYTES, OwnerSecret};
use assay_core::secp::SecretKey;
use clap::Args;
use rustix::fs::{Advice, fadvise};
use serde::Serialize;
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::check::{random_seed, write_outboard};
use crate::error::StoreError;
use crate::files::Files;
use crate::replica::tag_record;
use crate::storage::{self, PowersByKey};

const PROVIDER: ProviderId = ProviderId(1);

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Directory on the disk that will hold the replicas; a temporary directory is made in it and removed.
    #[arg(long)]
    dir: PathBuf,
    /// Bytes to store for the measurement, as 1GiB, 500MiB or a number. More than the memory makes the disk answer, not the cache.
    #[arg(long, default_value = "1GiB", value_parser = byte_count)]
    bytes: u64,
    /// How long to measure.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

/// Why nothing was measured.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The directory or the disk.
    #[error("{}: {source}; give this user write permission there and enough room for --bytes", path.display())]
    Disk {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The code that answers.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Standard output.
    #[error("standard output does not work; start it where it does")]
    Output(#[from] io::Error),
}

fn byte_count(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1u64 << 40), ("", 1)];
    let parsed = units.iter().find_map(|(unit, factor)| text.strip_suffix(unit)?.trim().parse::<u64>().ok()?.checked_mul(*factor));
    parsed
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("{text} is no size: write a number, or one with KiB, MiB, GiB or TiB behind it"))
}

/// What one kind of answer took, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    answers: usize,
    p50_us: u64,
    p95_us: u64,
    p99_us: u64,
    max_us: u64,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(rank).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        };
        Self { answers: times.len(), p50_us: at(50), p95_us: at(95), p99_us: at(99), max_us: at(100) }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| us as f64 / 1000.0;
        let (p50, p95, p99, max) = (ms(self.p50_us), ms(self.p95_us), ms(self.p99_us), ms(self.max_us));
        write!(f, "p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max {max:.1} ms over {} answers", self.answers)
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    bytes: u64,
    /// Whether the page cache was dropped before every answer.
    cache_dropped: bool,
    /// A storage challenge answered by slices.
    slices: Times,
    /// A storage challenge answered by compact proofs: reading, proving and checking the proof.
    compact: Times,
    /// Of it, reading and checking the blocks.
    compact_read: Times,
    /// Of it, the proof.
    compact_prove: Times,
    /// One chunk for a latency challenge.
    block: Times,
    /// A chain of sixteen dependent reads, for the locality score.
    chain: Times,
    /// Sequential, from disk, MB/s.
    read_mb_per_s: u64,
    /// Hashing the replica, MB/s of one core.
    hash_mb_per_s: u64,
    verdict: Verdict,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    answers_in_time: bool,
    because: Vec<String>,
}

pub(crate) async fn run(arguments: Bench) -> Result<(), BenchError> {
    let (dir, bytes, seconds) = (arguments.dir, arguments.bytes, arguments.seconds);
    let report = spawn_blocking(move || measured(&dir, bytes, seconds)).await.map_err(|_| StoreError::Task)??;
    let mut out = io::stdout();
    if arguments.json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&report).map_err(io::Error::other)?)?);
    }
    report.lines().iter().try_for_each(|line| writeln!(out, "{line}"))?;
    Ok(())
}

/// A directory that goes with its value.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn measured(dir: &Path, bytes: u64, seconds: u64) -> Result<Report, BenchError> {
    let failed = |source| BenchError::Disk { path: dir.to_owned(), source };
    let temporary = Temporary(dir.join(format!("assay-bench-{}", std::process::id())));
    fs::create_dir_all(&temporary.0).map_err(failed)?;
    let files = Files::open(&temporary.0).map_err(failed)?;
    let stored = Stored::make(files, bytes.div_ceil(BLOCK_BYTES as u64)).map_err(|error| match error {
        StoreError::Io(source) => failed(source),
        StoreError::DiskFull => failed(io::ErrorKind::StorageFull.into()),
        error => error.into(),
    })?;
    Ok(stored.measure(Duration::from_secs(seconds))?)
}

/// A replica of random bytes with its outboard and tags.
struct Stored {
    files: Files,
    claim: Claim,
    set: Arc<ClaimSet>,
    powers: PowersByKey,
    key: SecretKey,
    hash_mb_per_s: u64,
}

impl Stored {
    fn make(files: Files, blocks: u64) -> Result<Self, StoreError> {
        let seed = random_seed()?;
        let secret = TagSecret::derive(&OwnerSecret::new(seed));
        let staged = Hash32(seed);
        write_random(&files.part(&staged), blocks, &seed)?;
        let (data, outboard) = (File::open(files.part(&staged))?, File::create(files.staged_outboard(&staged))?);
        let mut evaluations = Vec::new();
        write_outboard(&data, &outboard, blocks, |block| {
            evaluations.push(secret.evaluate(block).map_err(StoreError::BadTags)?);
            Ok(())
        })?;
        let hashing = Instant::now();
        let root = write_outboard(&data, &outboard, blocks, |_| Ok(()))?;
        let hash_mb_per_s = rate(blocks, hashing.elapsed());
        outboard.sync_all()?;
        let claim = Claim {
            object_id: Hash32(seed),
            replica_index: 0,
            root,
            object_length: (blocks * BLOCK_BYTES as u64).saturating_sub(HEADER_BYTES as u64),
            blocks,
            tag_key_id: secret.key().id(),
            owner: Address([1; 20]),
        };
        write_tags(&files.staged_tags(&staged), &secret, &claim, &evaluations)?;
        files.keep(&staged, &claim)?;
        let set = Arc::new(ClaimSet::new(vec![claim.clone()])?.with_tag_keys([secret.key()])?);
        let powers = Powers::reopen(&secret.powers()).map_err(StoreError::BadPowers)?;
        let powers = PowersByKey::from([(claim.tag_key_id, Arc::new(powers))]);
        let key = SecretKey::from_bytes(&[0x21; 32])?;
        Ok(Self { files, claim, set, powers, key, hash_mb_per_s })
    }

    fn challenge(&self, kind: Kind, index: u32) -> Challenge {
        let root = self.set.root();
        Challenge {
            instance: Instance { chain_id: 1, settlement: Address([1; 20]) },
            epoch: 1,
            slot: 0,
            oracle: OracleId(1),
            provider: PROVIDER,
            kind,
            index,
            class_id: 1,
            claim_root: root.hash,
            claim_blocks: root.blocks,
            chunks: Kinds::standard().get(kind).map_or(0, |kind| kind.chunks()),
            slices_one_in: SLICES_ONE_IN,
            extra: Vec::new(),
            child: *blake3::hash(&index.to_be_bytes()).as_bytes(),
        }
    }

    /// The first storage challenge from `index` on that is answered in this mode.
    fn storage_challenge(&self, index: &mut u32, by_slices: bool) -> Challenge {
        loop {
            *index = index.wrapping_add(1);
            let challenge = self.challenge(Kind::STORAGE, *index);
            if challenge.compact_plan(&self.set).is_empty() == by_slices {
                return challenge;
            }
        }
    }

    fn measure(&self, time: Duration) -> Result<Report, StoreError> {
        let mut cache_dropped = self.drop_cache()?;
        let reading = Instant::now();
        self.read_all()?;
        let read_mb_per_s = rate(self.claim.blocks, reading.elapsed());
        let (mut slices, mut reads, mut proofs, mut compact, mut blocks, mut chains) = (vec![], vec![], vec![], vec![], vec![], vec![]);
        let (begun, mut index) = (Instant::now(), 0);
        while slices.is_empty() || begun.elapsed() < time {
            let challenge = self.storage_challenge(&mut index, true);
            cache_dropped &= self.drop_cache()?;
            slices.push(timed(|| self.slices(&challenge))?);

            let challenge = self.storage_challenge(&mut index, false);
            cache_dropped &= self.drop_cache()?;
            let (read, prove) = self.compact(&challenge)?;
            reads.push(read);
            proofs.push(prove);
            compact.push(read + prove);

            let challenge = self.challenge(Kind::LATENCY_BLOCK, index);
            cache_dropped &= self.drop_cache()?;
            blocks.push(timed(|| self.latency_block(&challenge))?);

            let challenge = self.challenge(Kind::LOCALITY, index);
            cache_dropped &= self.drop_cache()?;
            chains.push(timed(|| self.chain(&challenge))?);
        }
        let (slices, compact, block) = (Times::of(slices), Times::of(compact), Times::of(blocks));
        Ok(Report {
            bytes: self.claim.bytes(),
            cache_dropped,
            slices,
            compact,
            compact_read: Times::of(reads),
            compact_prove: Times::of(proofs),
            block,
            chain: Times::of(chains),
            read_mb_per_s,
            hash_mb_per_s: self.hash_mb_per_s,
            verdict: verdict(&Params::devnet(), &slices, &compact, &block),
        })
    }

    fn slices(&self, challenge: &Challenge) -> Result<(), StoreError> {
        let (slices, found) = storage::read_slices(&self.files, &self.set, &challenge.samples())?;
        if !found.damaged.is_empty() {
            return Err(StoreError::Unreadable);
        }
        let answer = assay_core::challenge::Answer { payload: Vec::new(), samples: slices };
        black_box(self.key.sign(&answer_signing_digest(challenge, &answer.digest()))?);
        Ok(())
    }

    fn compact(&self, challenge: &Challenge) -> Result<(Duration, Duration), StoreError> {
        let begun = Instant::now();
        let (gathered, found) = storage::gather(&self.files, &self.set, challenge)?;
        let read = begun.elapsed();
        if !found.damaged.is_empty() {
            return Err(StoreError::Unreadable);
        }
        let answer = gathered.prove(&self.set, &self.powers)?;
        black_box(self.key.sign(&answer_signing_digest(challenge, &answer.digest()))?);
        Ok((read, begun.elapsed() - read))
    }

    fn latency_block(&self, challenge: &Challenge) -> Result<(), StoreError> {
        let (slices, _) = storage::read_slices(&self.files, &self.set, &challenge.samples())?;
        let slice = slices.into_iter().flatten().next().ok_or(StoreError::Unreadable)?;
        black_box(latency::block_mac(challenge, &slice.chunk));
        Ok(())
    }

    fn chain(&self, challenge: &Challenge) -> Result<(), StoreError> {
        let (slices, found) = storage::read_chain(&self.files, &self.set, challenge)?;
        black_box(slices);
        if found.damaged.is_empty() { Ok(()) } else { Err(StoreError::Unreadable) }
    }

    fn read_all(&self) -> Result<(), StoreError> {
        let replica = self.files.open_replica(&self.claim.root, self.claim.bytes())?;
        for block in 0..self.claim.blocks {
            black_box(replica.read(block * BLOCK_BYTES as u64, BLOCK_BYTES)?);
        }
        Ok(())
    }

    /// `false` when the file system does not do it.
    fn drop_cache(&self) -> io::Result<bool> {
        let root = &self.claim.root;
        let mut dropped = true;
        for path in [self.files.replica(root), self.files.outboard(root), self.files.tags(root)] {
            dropped &= fadvise(&File::open(path)?, 0, None, Advice::DontNeed).is_ok();
        }
        Ok(dropped)
    }
}

fn write_random(path: &Path, blocks: u64, seed: &[u8; 32]) -> io::Result<()> {
    let (mut file, mut stream) = (File::create(path)?, blake3::Hasher::new_keyed(seed).finalize_xof());
    let mut block = vec![0; BLOCK_BYTES];
    for _ in 0..blocks {
        stream.fill(&mut block);
        file.write_all(&block)?;
    }
    file.sync_all()
}

fn write_tags(path: &Path, secret: &TagSecret, claim: &Claim, evaluations: &[Evaluation]) -> io::Result<()> {
    let bytes = secret.tags(&Name::of(claim, PROVIDER), 0, evaluations);
    let (tags, _) = bytes.as_chunks::<TAG_BYTES>();
    let records: Vec<u8> = (0..).zip(tags).flat_map(|(block, tag)| tag_record(&claim.root, block, tag)).collect();
    let mut file = File::create(path)?;
    file.write_all(&records)?;
    file.sync_all()
}

fn timed(work: impl FnOnce() -> Result<(), StoreError>) -> Result<Duration, StoreError> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

fn rate(blocks: u64, time: Duration) -> u64 {
    (blocks as f64 * BLOCK_BYTES as f64 / 1e6 / time.as_secs_f64().max(1e-9)) as u64
}

/// Against the protocol's timeouts and the classes' levels. The line's round trip comes on top of what is measured here.
fn verdict(params: &Params, slices: &Times, compact: &Times, block: &Times) -> Verdict {
    let mut because = Vec::new();
    let mut holds = true;
    let mut judge = |what: String, found_us: u64, limit_us: u64| {
        if limit_us == 0 {
            return;
        }
        let fits = found_us < limit_us;
        holds &= fits;
        let (found, limit) = (found_us as f64 / 1000.0, limit_us as f64 / 1000.0);
        let sense = if fits { "within" } else { "NOT within" };
        because.push(format!("{what} takes {found:.1} ms: {sense} {limit:.0} ms"));
    };
    let timeout_us = params.probing.storage_timeout_ms.saturating_mul(1000);
    judge("the slowest of a hundred storage answers by slices".to_owned(), slices.p99_us, timeout_us);
    judge("the slowest of a hundred compact storage answers".to_owned(), compact.p99_us, timeout_us);
    for class in &params.classes {
        judge(format!("class {}: half of the block reads", class.name), block.p50_us, class.t50_us);
        judge(format!("class {}: 95 of a hundred block reads", class.name), block.p95_us, class.t95_us);
        judge(format!("class {}: 99 of a hundred block reads", class.name), block.p99_us, class.t99_us);
    }
    Verdict { answers_in_time: holds, because }
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let cache = match self.cache_dropped {
            true => "the page cache was dropped before every answer",
            false => "the page cache could not be dropped: the disk is slower than this",
        };
        let mut lines = vec![
            format!("{} bytes; {cache}", self.bytes),
            format!("storage by slices   {}", self.slices),
            format!("storage, compact    {}", self.compact),
            format!("  of it reading     {}", self.compact_read),
            format!("  of it proving     {}", self.compact_prove),
            format!("one block           {}", self.block),
            format!("16 dependent reads  {}", self.chain),
            format!("reading {} MB/s, hashing {} MB/s", self.read_mb_per_s, self.hash_mb_per_s),
        ];
        let word = if self.verdict.answers_in_time { "yes" } else { "no" };
        lines.push(format!("this machine can answer in time: {word}, because (without the line's round trip)"));
        lines.extend(self.verdict.because.iter().map(|reason| format!("  {reason}")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [("1GiB", 1 << 30), ("500 MiB", 500 << 20), ("7", 7), ("2TiB", 2 << 40)] {
            assert_eq!(byte_count(text), Ok(bytes));
        }
        for text in ["", "0", "GiB", "1GB", "-1", "99999999999TiB"] {
            assert!(byte_count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn percentiles_are_measured_values() {
        let times = Times::of((1..=200).rev().map(Duration::from_micros).collect());
        assert_eq!((times.p50_us, times.p95_us, times.p99_us, times.max_us), (100, 190, 198, 200));
        assert_eq!(Times::of(vec![]), Times::default());
    }

    #[test]
    fn the_verdict_names_what_is_too_slow() {
        let fast = Times { answers: 100, p50_us: 10, p95_us: 20, p99_us: 30, max_us: 40 };
        let params = Params::devnet();
        assert!(verdict(&params, &fast, &fast, &fast).answers_in_time);
        let slow = Times { p99_us: params.probing.storage_timeout_ms * 1_000 + 1, ..fast };
        let told = verdict(&params, &fast, &slow, &fast);
        assert!(!told.answers_in_time);
        assert_eq!(told.because.iter().filter(|reason| reason.contains("NOT")).count(), 1);
        assert!(told.because.iter().any(|reason| reason.contains("compact") && reason.contains("NOT")));
    }
}

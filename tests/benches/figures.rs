//! The figures that Assay is held to, measured: `make bench` prints them and writes `target/bench/results.json`.
//!
//! Warm-up first, then many samples of equal work, of which the median counts. A ratio is measured in pairs, ours and the yardstick
//! turn by turn, so that a machine that slows down slows both.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use assay_core::bls::{Domain, SecretKey, Signature};
use assay_core::challenge::{Answer, Stream};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{Observation, ProviderKeys, Reveal, SaltedObservation, Seeds, Tally, VerifiedReveal};
use assay_core::params::{Params, TOKEN};
use assay_core::replica::{BLOCK_BYTES, blocks_for};
use assay_core::report::{Certificate, Inputs, Ledger, Member, Outcome, ProviderTerms, Report, Setting, signing_message};
use assay_core::slice::{self, CHUNK_BYTES, GROUP_BYTES, OutboardBuilder, Slice};
use assay_proto::provider::v1::ChallengeReply;
use blst::BLST_ERROR;
use blst::min_sig as scheme;
use prost::Message as _;

/// Pairs of samples behind a ratio.
const PAIRS: usize = 301;
/// How long one sample takes at least: far above the clock's own grain.
const SAMPLE: Duration = Duration::from_millis(5);

fn main() {
    // `cargo test --benches` only asks whether this starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut figures = Figures::default();
    bls(&mut figures);
    slices(&mut figures);
    gas(&mut figures);
    close(&mut figures);
    let path = figures.write();
    println!("\nwritten to {}", path.strip_prefix(root()).unwrap_or(&path).display());
}

// ---- what is measured ----

/// Verifying one signature as it comes from the wire, against the same calls of `blst`.
fn bls(figures: &mut Figures) {
    let (secret, message) = (oracle_key(1), keccak([b"bench"]));
    let (key, bytes) = (secret.public_key(), secret.sign(Domain::Commit, &message).to_compressed());
    let their_key = scheme::PublicKey::key_validate(&key.to_compressed()).unwrap();
    let ours = || {
        let signature = Signature::from_compressed(black_box(&bytes)).unwrap();
        key.verify(Domain::Commit, &message, &signature).is_ok()
    };
    let theirs = || {
        let signature = scheme::Signature::sig_validate(black_box(&bytes), true).unwrap();
        signature.verify(false, &message.0, Domain::Commit.dst(), &[], &their_key, false) == BLST_ERROR::BLST_SUCCESS
    };
    let pair = Pair::measure(ours, theirs);
    figures.ratio("core.bls_verify_over_blst", &pair, "read, check and verify one signature / the same calls of blst");
    figures.put("core.bls_verify_us", pair.ours.as_secs_f64() * 1e6, "µs", "the same, alone");
    certificate(figures);
}

/// A certificate of 256 members from their signatures: digest, sum of signatures, sum of keys, one verification.
fn certificate(figures: &mut Figures) {
    let setting = setting(256, 0);
    let report = empty_report(&setting);
    let message = signing_message(&setting.instance, report.epoch, report.view, &report.digest());
    let signatures: BTreeMap<OracleId, Signature> =
        setting.members.iter().map(|member| (member.oracle, oracle_key(member.oracle.0).sign(Domain::Report, &message))).collect();
    let read = |bytes: [u8; 48]| scheme::Signature::from_bytes(&bytes).unwrap();
    let their_signatures: Vec<_> = signatures.values().map(|signature| read(signature.to_compressed())).collect();
    let their_keys: Vec<_> =
        setting.members.iter().map(|member| scheme::PublicKey::from_bytes(&member.key.to_compressed()).unwrap()).collect();
    let (signature_refs, key_refs): (Vec<_>, Vec<_>) = (their_signatures.iter().collect(), their_keys.iter().collect());
    let ours = || Certificate::assemble(&setting, report.clone(), black_box(&signatures)).is_ok();
    let theirs = || {
        let signature = scheme::AggregateSignature::aggregate(black_box(&signature_refs), false).unwrap().to_signature();
        let key = scheme::AggregatePublicKey::aggregate(&key_refs, false).unwrap().to_public_key();
        signature.verify(false, &message.0, Domain::Report.dst(), &[], &key, false) == BLST_ERROR::BLST_SUCCESS
    };
    let pair = Pair::measure(ours, theirs);
    figures.ratio("core.cert256_over_blst", &pair, "assemble and verify a certificate of 256 / blst's sums and verification");
    figures.put("core.cert256_us", pair.ours.as_secs_f64() * 1e6, "µs", "the same, alone");
}

/// Slices of a replica of 1 GiB.
fn slices(figures: &mut Figures) {
    let replica = Replica::new(1 << 30);
    let slice = replica.slice(replica.chunks() / 3);
    let bytes = [&slice.chunk[..], slice.siblings.as_flattened()].concat();
    let (total, index) = (replica.total_bytes, replica.chunks() / 3);
    let ours = || slice::verify(&replica.root, total, index, black_box(&slice)).is_ok();
    let theirs = || !black_box(blake3::hash(black_box(&bytes))).as_bytes().is_empty();
    let pair = Pair::measure(ours, theirs);
    figures.ratio("slice.verify_over_hash", &pair, "verify one slice / hash its bytes with BLAKE3");
    figures.put("slice.verify_us", pair.ours.as_secs_f64() * 1e6, "µs", "the same, alone");

    let mut stream = Stream::new(&[b"bench samples"]);
    let samples: Vec<_> = (0..30).map(|_| Some(replica.slice(stream.below(replica.chunks())))).collect();
    let payload: usize = samples.iter().flatten().map(|slice| slice.chunk.len() + slice.siblings.len() * 32).sum();
    let signature = assay_core::secp::Signature65([1; 65]);
    let reply = ChallengeReply::new(Answer::Storage(samples), Some(&signature)).encoded_len();
    figures.put("slice.bytes_c30_1gib", payload as f64, "B", "30 slices of a replica of 1 GiB: chunks and paths");
    figures.put("slice.reply_bytes_c30_1gib", reply as f64, "B", "the whole answer on the wire, signature included");
}

/// From the contracts' gas snapshots, which their own tests keep.
fn gas(figures: &mut Figures) {
    let text = std::fs::read_to_string(root().join("contracts/snapshots/gas.json")).unwrap();
    let snapshot: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    let gas = |name: &str| snapshot[name].parse::<f64>().unwrap();
    figures.put("gas.report_all", gas("submitReport n=256 all sign"), "gas", "post a report that all of 256 oracles signed");
    figures.put(
        "gas.report_third_missing",
        gas("submitReport n=256 third missing"),
        "gas",
        "post a report that a third of 256 did not sign",
    );
    figures.put("gas.claim", gas("claim first"), "gas", "a first claim");
}

/// From verified reveals to the report: panels, verdicts, ledger and all roots.
fn close(figures: &mut Figures) {
    for (key, oracles, what) in [
        ("epoch.close_10k_s", 7, "close an epoch of 10,000 providers, 7 observations each, a committee of 7"),
        ("epoch.close_10k_committee256_s", 256, "the same, panels of 7 drawn from a committee of 256"),
    ] {
        let setting = setting(oracles, 10_000);
        let reveals = reveals(&setting);
        let parent = Ledger::default();
        let inputs = Inputs { setting: &setting, view: 0, parent: &parent, bit_votes_root: Hash32::ZERO, reveals: &reveals };
        let outcome = Outcome::compute(&inputs);
        assert!(outcome.verdicts.len() == 10_000 && outcome.verdicts.iter().all(|verdict| verdict.dimensions[0].reporting == 7));
        let mut times: Vec<Duration> =
            (0..11).map(|_| timed(1, || Outcome::compute(black_box(&inputs)).verdicts.len() == 10_000)).collect();
        figures.put(key, median(&mut times).as_secs_f64(), "s", what);
    }
}

// ---- how it is measured ----

/// Medians of one call, and of the ratio.
struct Pair {
    ours: Duration,
    ratio: f64,
    /// Quartiles of the ratio.
    spread: (f64, f64),
}

impl Pair {
    fn measure(ours: impl Fn() -> bool, theirs: impl Fn() -> bool) -> Self {
        let (our_rounds, their_rounds) = (rounds(&ours), rounds(&theirs));
        let mut samples = Vec::with_capacity(PAIRS);
        for number in 0..PAIRS {
            // Who begins changes, so that neither always follows the other.
            let (a, b) = match number % 2 {
                0 => {
                    let a = timed(our_rounds, &ours);
                    (a, timed(their_rounds, &theirs))
                }
                _ => {
                    let b = timed(their_rounds, &theirs);
                    (timed(our_rounds, &ours), b)
                }
            };
            samples.push((a, a.as_secs_f64() / b.as_secs_f64()));
        }
        let mut times: Vec<Duration> = samples.iter().map(|(time, _)| *time).collect();
        let mut ratios: Vec<f64> = samples.iter().map(|(_, ratio)| *ratio).collect();
        ratios.sort_by(f64::total_cmp);
        Self { ours: median(&mut times), ratio: ratios[PAIRS / 2], spread: (ratios[PAIRS / 4], ratios[PAIRS * 3 / 4]) }
    }
}

/// Warms up and finds how many calls fill a sample.
fn rounds(call: &impl Fn() -> bool) -> u32 {
    let mut rounds = 1;
    let warm = Instant::now() + Duration::from_millis(200);
    loop {
        let each = timed(rounds, call);
        if each * rounds >= SAMPLE && Instant::now() >= warm {
            return rounds;
        }
        if each * rounds < SAMPLE {
            rounds *= 2;
        }
    }
}

/// The mean time of a call over `rounds` calls. Every call must succeed: a failure may be quicker.
fn timed(rounds: u32, call: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    let succeeded = (0..rounds).filter(|_| black_box(call())).count();
    let elapsed = start.elapsed();
    assert_eq!(succeeded, rounds as usize, "a measured call failed");
    elapsed / rounds
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Results by key, printed as they come.
#[derive(Default)]
struct Figures(BTreeMap<&'static str, f64>);

impl Figures {
    fn put(&mut self, key: &'static str, value: f64, unit: &str, what: &str) {
        let digits = if value >= 1_000.0 { 0 } else { 3 };
        println!("{key:<32} {value:>12.digits$} {unit:<4} {what}");
        self.0.insert(key, value);
    }

    fn ratio(&mut self, key: &'static str, pair: &Pair, what: &str) {
        let (low, high) = pair.spread;
        self.put(key, pair.ratio, "", &format!("{what} (quartiles {low:.3} to {high:.3})"));
    }

    fn write(&self) -> PathBuf {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../bench");
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.canonicalize().unwrap().join("results.json");
        // Counts as whole numbers, the rest with the digits that mean something.
        let shown = |value: f64| match value.fract() == 0.0 {
            true => serde_json::json!(value as u64),
            false => serde_json::json!((value * 1e6).round() / 1e6),
        };
        let results: BTreeMap<_, _> = self.0.iter().map(|(key, value)| (key, shown(*value))).collect();
        std::fs::write(&path, serde_json::to_string_pretty(&results).unwrap() + "\n").unwrap();
        path
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

// ---- what it is measured on ----

fn oracle_key(number: u64) -> SecretKey {
    SecretKey::key_gen(&keccak([b"bench oracle", &number.to_be_bytes()]).0).unwrap()
}

fn setting(oracles: u64, providers: u64) -> Setting {
    let member = |id: u64| Member {
        oracle: OracleId(id),
        weight: 100,
        key: oracle_key(id).public_key(),
        operator: Address(keccak([&id.to_be_bytes()]).0[..20].try_into().unwrap()),
        recipient: Address([1; 20]),
        network_group: id,
    };
    let claims = assay_core::claim::ClaimRoot { hash: Hash32([1; 32]), blocks: 10 };
    let keys = ProviderKeys { receipt_key: Address([50; 20]), class_id: 100, claims };
    let terms = |id| ProviderTerms { provider: ProviderId(id), class_id: 100, keys, stake: 1_000 * TOKEN, recipient: Address([2; 20]) };
    Setting {
        instance: Instance { chain_id: 31_337, settlement: Address([7; 20]) },
        epoch: 0,
        genesis_s: 1_000,
        params: Params::devnet(),
        token: Address([8; 20]),
        epoch_budget: 10_000_000 * TOKEN,
        set_epoch: 1,
        members: (1..=oracles).map(member).collect(),
        providers: (1..=providers).map(terms).collect(),
        ref_block: 5,
        ref_block_hash: Hash32([2; 32]),
        drand_round: 9,
    }
}

fn empty_report(setting: &Setting) -> Report {
    let inputs = Inputs { setting, view: 0, parent: &Ledger::default(), bit_votes_root: Hash32::ZERO, reveals: &BTreeMap::new() };
    Outcome::compute(&inputs).report
}

/// What every panel observed. Times differ, so that medians have something to sort.
fn reveals(setting: &Setting) -> BTreeMap<OracleId, VerifiedReveal> {
    let seeds = Seeds { epoch: Hash32([3; 32]), slots: vec![Hash32([4; 32]); setting.params.slots as usize], secure: true };
    let mut seen: BTreeMap<OracleId, Vec<SaltedObservation>> = setting.members.iter().map(|m| (m.oracle, vec![])).collect();
    for terms in &setting.providers {
        for oracle in setting.panel(&seeds.epoch, terms.provider) {
            let salted = SaltedObservation { observation: observation(terms.provider, oracle), salt: Hash32([5; 32]) };
            seen.entry(oracle).or_default().push(salted);
        }
    }
    let verified = |(oracle, observations): (OracleId, _)| {
        let reveal = Reveal { epoch: 0, oracle, seeds: seeds.clone(), observations, vrfs: vec![], facts: vec![] };
        let commit_digest = keccak([&oracle.0.to_be_bytes()]);
        (oracle, VerifiedReveal { reveal, commit_digest, faults: vec![] })
    };
    seen.into_iter().map(verified).collect()
}

fn observation(provider: ProviderId, oracle: OracleId) -> Observation {
    let mut observation = Observation::empty(0, provider, oracle);
    let noise = provider.0.wrapping_mul(31).wrapping_add(oracle.0.wrapping_mul(17)) % 13;
    (observation.availability_scheduled, observation.availability) = (25, Tally { counted: 25, bad: noise / 12 });
    (observation.latency_scheduled, observation.latency_counted) = (160, 160 - noise);
    (observation.over_t50, observation.over_t95) = (40 + noise, noise / 3);
    (observation.p50_us, observation.p95_us) = (50_000 + noise, 90_000 + noise);
    (observation.storage_scheduled, observation.storage_valid) = (150, 150);
    observation
}

/// A replica whose bytes are made anew whenever they are needed.
struct Replica {
    total_bytes: u64,
    root: Hash32,
    nodes: Vec<[u8; 64]>,
}

impl Replica {
    fn new(object_bytes: u64) -> Self {
        let total_bytes = blocks_for(object_bytes) * BLOCK_BYTES as u64;
        let (mut builder, mut found) = (OutboardBuilder::new(total_bytes), vec![]);
        for start in (0..total_bytes).step_by(GROUP_BYTES as usize) {
            builder.update(&group(start, GROUP_BYTES.min(total_bytes - start)), &mut found).unwrap();
        }
        let mut nodes = vec![[0; 64]; found.len()];
        for node in found {
            nodes[node.position as usize] = node.pair;
        }
        Self { total_bytes, root: builder.finish().unwrap(), nodes }
    }

    fn chunks(&self) -> u64 {
        self.total_bytes / CHUNK_BYTES
    }

    fn slice(&self, index: u64) -> Slice {
        let (start, length) = slice::group_range(self.total_bytes, index);
        let node = |position: u64| self.nodes.get(position as usize).copied();
        slice::prove(&self.root, self.total_bytes, index, &group(start, length), node).unwrap()
    }
}

/// The bytes of a group: they differ from group to group, and chunk to chunk.
fn group(start: u64, length: u64) -> Vec<u8> {
    (start..start + length).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

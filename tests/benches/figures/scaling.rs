//! What a close costs by provider, oracle and epoch: bytes of real messages in their production encoding, and unit costs.
//! `docs/SCALING.md` is written from these.

use std::time::Duration;

use assay_core::bls::Domain;
use assay_core::challenge::schedule::vrf_message;
use assay_core::epoch::{Basis, BitVote, Proposal, ReportSignature, SignedBitVote, Wish, wish_message};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::OracleId;
use assay_core::observation::{Commit, Reveal, SaltedObservation, SignedCommit};
use assay_core::params::Params;
use assay_core::report::{Certificate, ProviderTerms, Setting, signing_message};
use assay_core::transcript::PairSchedule;
use assay_proto::oracle_convert::{MAX_MESSAGE_BYTES, Message, encode_reveal};

use crate::epoch::{noisy, reveals, seeds};
use crate::fixture::{empty_report, observation, oracle_key, setting};
use crate::harness::{Plan, alone};
use crate::table::Table;

/// Every oracle of the table of messages measures about so many providers.
const PROVIDERS_PER_ORACLE: u64 = 1_000;
const PANEL: u64 = 7;
/// A check of a whole reveal is a sample by itself.
const PLAN: Plan = Plan { samples: 11, sample: Duration::ZERO, warm_up: Duration::from_millis(200) };

pub fn measure(table: &mut Table) {
    macro_rules! of_committee {
        ($($n:literal)*) => {$({
            let sizes = Sizes::of($n);
            let each = $n as f64 - 1.0;
            let what = concat!($n, " oracles, 1,000 providers each");
            table.put_exact(concat!("scaling.n", $n, ".commit_bytes"), sizes.commit, "B", what);
            table.put_exact(concat!("scaling.n", $n, ".reveal_bytes"), sizes.reveal, "B", what);
            table.put_exact(concat!("scaling.n", $n, ".bit_vote_bytes"), sizes.bit_vote, "B", what);
            table.put_exact(concat!("scaling.n", $n, ".proposal_bytes"), sizes.proposal, "B", what);
            table.put_exact(concat!("scaling.n", $n, ".signature_bytes"), sizes.signature, "B", what);
            table.put_exact(concat!("scaling.n", $n, ".wish_bytes"), sizes.wish, "B", what);
            table.put_exact(concat!("scaling.n", $n, ".certificate_bytes"), sizes.certificate, "B", what);
            // One proposal an epoch, by one of the oracles.
            let sent = each * (sizes.commit + sizes.reveal + sizes.bit_vote + sizes.signature + sizes.certificate + sizes.proposal / $n as f64);
            let sent_what = concat!("what an oracle of ", $n, " sends in an epoch, and as much comes in: full mesh, 1,000 providers an oracle");
            table.put_exact(concat!("epoch.bytes_n", $n), sent.round(), "B", sent_what);
            table.put_exact(concat!("epoch.messages_n", $n), each * (5.0 + 1.0 / $n as f64), "", "the same in messages");
        })*};
    }
    of_committee!(4 16 64 256);
    reveal_limit(table);
    verification(table);
}

/// Encoded messages of one epoch, in bytes.
struct Sizes {
    commit: f64,
    reveal: f64,
    bit_vote: f64,
    proposal: f64,
    signature: f64,
    wish: f64,
    certificate: f64,
}

impl Sizes {
    fn of(oracles: u64) -> Self {
        let setting = setting(oracles, oracles * PROVIDERS_PER_ORACLE / PANEL.min(oracles));
        let (instance, epoch) = (&setting.instance, setting.epoch);
        let reveals: Vec<Reveal> = reveals(&setting).into_values().map(|verified| with_vrfs(&setting, verified.reveal)).collect();
        let commits: Vec<SignedCommit> = reveals.iter().map(|reveal| signed_commit(&setting, commit_to(reveal))).collect();
        let held: Vec<(OracleId, Hash32)> = commits.iter().map(|signed| (signed.commit.oracle, signed.commit.digest(instance))).collect();
        let bit_vote = |oracle: OracleId| {
            let vote = BitVote { epoch, oracle, held: held.clone() };
            SignedBitVote { signature: oracle_key(oracle.0).sign(Domain::BitVote, &vote.digest(instance)), vote }
        };
        let bit_votes: Vec<SignedBitVote> = setting.members.iter().map(|member| bit_vote(member.oracle)).collect();
        let (report, leader) = (empty_report(&setting), OracleId(1));
        let digest = report.digest();
        let sign = |oracle: OracleId| oracle_key(oracle.0).sign(Domain::Report, &signing_message(instance, epoch, 0, &digest));
        let signatures = setting.members.iter().map(|member| (member.oracle, sign(member.oracle))).collect();
        let basis = Basis { commits: commits.clone(), bit_votes: bit_votes.clone() };
        let proposal = Proposal { epoch, view: 0, leader, basis, report_digest: digest, signature: sign(leader) };
        let wish = oracle_key(1).sign(Domain::ViewWish, &wish_message(instance, epoch, 1, leader));
        let certificate = Certificate::assemble(&setting, report, &signatures).unwrap();
        let mean_reveal = reveals.iter().map(|reveal| size(Message::Reveal(Box::new(reveal.clone())))).sum::<f64>() / oracles as f64;
        Self {
            commit: size(Message::Commit(commits[0])),
            reveal: mean_reveal.round(),
            bit_vote: size(Message::BitVote(bit_votes[0].clone())),
            proposal: size(Message::Proposal(Box::new(proposal))),
            signature: size(Message::Signature(ReportSignature { epoch, view: 0, oracle: leader, digest, signature: sign(leader) })),
            wish: size(Message::Wish(Wish { epoch, view: 1, oracle: leader, signature: wish })),
            certificate: size(Message::Certificate(Box::new(certificate))),
        }
    }
}

fn size(message: Message) -> f64 {
    message.encode().len() as f64
}

fn commit_to(reveal: &Reveal) -> Commit {
    Commit {
        epoch: reveal.epoch,
        oracle: reveal.oracle,
        seeds: reveal.seeds.digest(),
        secure: reveal.seeds.secure,
        root: reveal.root(),
        leaf_count: reveal.observations.len() as u32,
        log_head: Hash32::ZERO,
    }
}

fn signed_commit(setting: &Setting, commit: Commit) -> SignedCommit {
    SignedCommit { commit, signature: oracle_key(commit.oracle.0).sign(Domain::Commit, &commit.digest(&setting.instance)) }
}

/// The reveal with its VRFs, and with roots that no encoder can leave out.
fn with_vrfs(setting: &Setting, reveal: Reveal) -> Reveal {
    let key = oracle_key(reveal.oracle.0);
    let message = |(slot, seed)| vrf_message(&setting.instance, setting.epoch, slot, seed);
    let vrfs = (0u32..).zip(&reveal.seeds.slots).map(|slot| key.sign(Domain::Vrf, &message(slot))).collect();
    let rooted = |mut salted: SaltedObservation| {
        salted.observation.evidence_root = keccak([b"evidence", &salted.observation.provider.0.to_be_bytes()]);
        salted
    };
    Reveal { vrfs, observations: reveal.observations.into_iter().map(rooted).collect(), ..reveal }
}

/// How many providers one message can speak of.
fn reveal_limit(table: &mut Table) {
    let bytes = |providers: u64| {
        let setting = setting(1, providers);
        let reveal = reveals(&setting).into_values().next().unwrap().reveal;
        encode_reveal(&with_vrfs(&setting, reveal)).len() as f64
    };
    let (some, more) = (bytes(10_000), bytes(20_000));
    let each = (more - some) / 10_000.0;
    table.put_exact("scaling.observation_bytes", each, "B", "one observation in a reveal, without facts");
    let limit = (MAX_MESSAGE_BYTES as f64 - (some - 10_000.0 * each)) / each;
    table.put_exact("scaling.reveal_providers", limit.floor(), "", "providers that one reveal of 16 MiB can speak of");
}

/// What it takes to check somebody's reveal: schedules drawn anew, hashes, VRFs.
fn verification(table: &mut Table) {
    let devnet = Params::devnet();
    let mut day = Params::devnet();
    (day.slots, day.slot_ms) = (24, 3_600_000);
    (day.probing.availability_mean_ms, day.probing.latency_mean_ms) = (60_000, 60_000);
    for (key, params, providers, what) in [
        ("scaling.verify_observation_us", devnet, 400, "check one observation of a reveal: 5 slots of 5 s, 190 probes"),
        ("scaling.verify_observation_day_us", day, 100, "the same for a day: 24 slots of an hour, 2,880 probes"),
    ] {
        let setting = Setting { params, ..setting(PANEL, providers) };
        let reveal = scheduled_reveal(&setting);
        let commit = commit_to(&reveal);
        let empty = Reveal { observations: vec![], ..reveal.clone() };
        let empty_commit = commit_to(&empty);
        let fixed = alone(PLAN, || empty.clone().verify(&empty_commit, &setting).is_ok()).value;
        let whole = alone(PLAN, || reveal.clone().verify(&commit, &setting).is_ok());
        table.put(key, whole.map(|s| (s - fixed) / providers as f64 * 1e6), "µs", what);
    }
}

/// A reveal of the first oracle whose scheduled counts are those of its VRFs.
fn scheduled_reveal(setting: &Setting) -> Reveal {
    let (oracle, seeds) = (OracleId(1), seeds(setting));
    let bare = Reveal { epoch: 0, oracle, seeds: seeds.clone(), observations: vec![], vrfs: vec![], facts: vec![], struck: vec![] };
    let bare = with_vrfs(setting, bare);
    let observed = |terms: &ProviderTerms| {
        let panel = setting.panel(&seeds.epoch, terms.provider);
        let schedule = PairSchedule::new(setting, &panel, terms, oracle, &seeds, &bare.vrfs).unwrap();
        let mut observation = observation(terms.provider, oracle, &noisy(terms.provider, oracle));
        for counts in &mut observation.counts {
            counts.scheduled = schedule.scheduled(counts.kind);
            counts.counted = counts.scheduled;
            counts.bad.fill(0);
        }
        SaltedObservation { observation, salt: Hash32([5; 32]) }
    };
    Reveal { observations: setting.providers.iter().map(observed).collect(), ..bare }
}

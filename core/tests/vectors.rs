//! Golden vectors for what only Rust encodes so far: `tests/vectors/protocol.json`, `judgement.json` and, for every kind of challenge,
//! `kinds/*.json` say inputs and outputs, so that another implementation can be held against them. An encoding that drifts
//! turns this red. When it changed on purpose: `REGENERATE_VECTORS=1 cargo test -p assay-core --test vectors`, and a line in the changelog.

#[path = "vectors/judgement.rs"]
mod judgement;
mod judgement_cases;
#[path = "vectors/kinds.rs"]
mod kinds;

use std::path::PathBuf;

use assay_core::beacon;
use assay_core::bls::{self, Domain};
use assay_core::challenge::kinds::{availability, latency};
use assay_core::challenge::schedule::{PairSecret, SlotTerms, vrf_message};
use assay_core::challenge::window::windows;
use assay_core::challenge::{Answer, Challenge, Checked, Kind, Kinds, answer_signing_digest, seal_digest, seal_leaf};
use assay_core::epoch::{BitVote, wish_message};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{Commit, Fault, Observation, Seeds, Witness, facts_root};
use assay_core::panel::{self, Candidate};
use assay_core::params::Params;
use assay_core::secp;
use assay_core::slice::Slice;
use assay_core::transcript::{OracleFault, Outcome, Reading, Transcript, answers_root, evidence_root};
use assay_core::verdict::{Dimension, DimensionVerdict, Grade, StorageCounts, Verdict, silence_digest};
use serde_json::{Value, json};

const EPOCH: u64 = 41;
const SLOT: u32 = 3;
const ORACLE: OracleId = OracleId(5);
const PROVIDER: ProviderId = ProviderId(9);

#[test]
fn encodings_do_not_drift() {
    hold(
        "protocol.json",
        &json!({
            "note": "Made by core/tests/vectors.rs. Integers are JSON numbers; bytes are 0x and hex; amounts are decimal strings.",
            "instance": instance(),
            "seal": seal_vector(),
            "schedule": schedule_vector(),
            "windows": window_vectors(),
            "panels": panel_vectors(),
            "observations": observation_vectors(),
            "seeds": seeds_vector(),
            "commit": commit_vector(),
            "bitVotes": bit_vote_vectors(),
            "wish": { "view": 2, "oracle": ORACLE, "message": wish_message(&instance(), EPOCH, 2, ORACLE) },
            "params": { "devnet": Params::devnet(), "hash": Params::devnet().hash() },
            "transcripts": transcript_vectors(),
            "roots": root_vectors(),
            "silence": { "challenge": word("silent"), "digest": silence_digest(&word("silent")) },
            "verdict": verdict_vector(),
            "fallbackSeed": { "previous": word("previous"), "blockHash": word("block"), "seed": beacon::fallback_seed(&word("previous"), &word("block")) },
        }),
    );
}

/// Compares section by section with a committed file, or writes it when asked to.
fn hold(name: &str, ours: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    if std::env::var_os("REGENERATE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(ours).unwrap() + "\n").unwrap();
    }
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let sections = |file: &Value| file.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(sections(ours), sections(&committed), "{name}");
    for (section, value) in ours.as_object().unwrap() {
        assert_eq!(value, &committed[section], "the encoding of `{section}` in {name} changed");
    }
}

// ---- inputs: a word for a label, so that any language can make them ----

fn word(label: &str) -> Hash32 {
    keccak([b"assay vector ", label.as_bytes()])
}

fn address(label: &str) -> Address {
    Address::from_slice(&word(label).0[12..]).unwrap()
}

fn instance() -> Instance {
    Instance { chain_id: 31_337, settlement: address("settlement") }
}

fn shown(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn receipt_key() -> secp::SecretKey {
    secp::SecretKey::from_bytes(&word("receipt key").0).unwrap()
}

fn verdict_key() -> bls::SecretKey {
    bls::SecretKey::key_gen(&word("verdict key").0).unwrap()
}

fn pair() -> PairSecret {
    let vrf = verdict_key().sign(Domain::Vrf, &vrf_message(&instance(), EPOCH, SLOT, &word("slot seed")));
    PairSecret::new(&vrf, PROVIDER)
}

fn challenge(kind: Kind) -> Challenge {
    let index = u32::from(kind.0);
    Challenge {
        instance: instance(),
        epoch: EPOCH,
        slot: SLOT,
        oracle: ORACLE,
        provider: PROVIDER,
        kind,
        index,
        class_id: 100,
        claim_root: word("claims"),
        claim_blocks: 8_457,
        chunks: Kinds::standard().get(kind).unwrap().chunks(),
        slices_one_in: if kind == Kind::STORAGE { 16 } else { 0 },
        extra: vec![],
        child: pair().child(index),
    }
}

/// 1,024 bytes and three siblings; it proves nothing, its digest is what matters.
fn slice(label: &str) -> Slice {
    let chunk = word(label).0.repeat(32);
    Slice { chunk, siblings: (0..3u8).map(|level| keccak([&word(label).0, &[level]]).0).collect() }
}

fn block_answer() -> Answer {
    let slice = slice("block");
    let payload = latency::block_mac(&challenge(Kind::LATENCY_BLOCK), &slice.chunk).to_vec();
    Answer { payload, samples: vec![Some(slice)] }
}

/// Thirty samples, every seventh stated missing.
fn storage_answer() -> Answer {
    let samples = (0..30).map(|i| (i % 7 != 3).then(|| slice(&format!("sample {i}")))).collect();
    Answer { payload: vec![], samples }
}

fn availability_answer() -> Answer {
    Answer::of_payload(availability::echo(&challenge(Kind::AVAILABILITY)))
}

fn echo_answer() -> Answer {
    Answer::of_payload(latency::echo(&challenge(Kind::LATENCY_ECHO)))
}

// ---- seals ----

fn sealed_answers() -> Vec<(Hash32, Hash32)> {
    [(Kind::AVAILABILITY, availability_answer()), (Kind::LATENCY_ECHO, echo_answer()), (Kind::LATENCY_BLOCK, block_answer())]
        .map(|(kind, answer)| (challenge(kind).digest(), answer.digest()))
        .to_vec()
}

fn seal_vector() -> Value {
    let answers = sealed_answers();
    let root = answers_root(&answers);
    let digest = seal_digest(&instance(), PROVIDER, ORACLE, EPOCH, SLOT, answers.len() as u64, &root);
    json!({
        "answers": answers,
        "leaves": answers.iter().map(|(challenge, answer)| seal_leaf(challenge, answer)).collect::<Vec<_>>(),
        "answersRoot": root,
        "digest": digest,
        "signature": shown(&receipt_key().sign(&digest).unwrap().0),
    })
}

// ---- schedule and panels ----

fn schedule_vector() -> Value {
    let message = vrf_message(&instance(), EPOCH, SLOT, &word("slot seed"));
    let vrf = verdict_key().sign(Domain::Vrf, &message);
    let params = Params::devnet();
    let open = own_windows();
    let terms = SlotTerms { params: &params, class: &params.classes[0], oracle: ORACLE, windows: &open };
    let schedule = pair().schedule(Kinds::standard(), &terms);
    let all: Vec<_> = schedule.iter().map(|probe| json!([probe.index, probe.kind, probe.at_us])).collect();
    json!({
        "epoch": EPOCH, "slot": SLOT, "seed": word("slot seed"), "provider": PROVIDER, "oracle": ORACLE,
        "vrfMessage": message,
        "verdictKey": shown(&verdict_key().public_key().to_compressed()),
        "vrf": shown(&vrf.to_compressed()),
        "children": [shown(&pair().child(0)), shown(&pair().child(1))],
        "kept": [shown(&pair().kept(0)), shown(&pair().kept(1))],
        "windows": open.iter().map(|window| json!([window.oracle, window.start_us, window.end_us])).collect::<Vec<_>>(),
        "probes": all,
    })
}

/// The panel's windows in the slot of [`pair`].
fn own_windows() -> Vec<assay_core::challenge::window::Window> {
    windows(&word("epoch seed"), &word("slot seed"), SLOT, PROVIDER, &window_panel(), &Params::devnet())
}

fn window_panel() -> Vec<OracleId> {
    (1..=7).map(OracleId).collect()
}

fn window_vectors() -> Value {
    let params = Params::devnet();
    let slots: Vec<_> = (0..params.slots)
        .map(|slot| {
            let seed = word(&format!("slot {slot}"));
            let drawn = windows(&word("epoch seed"), &seed, slot, PROVIDER, &window_panel(), &params);
            let drawn: Vec<_> = drawn.iter().map(|window| json!([window.oracle, window.start_us, window.end_us])).collect();
            json!({ "slot": slot, "seed": seed, "windows": drawn })
        })
        .collect();
    json!({ "epochSeed": word("epoch seed"), "provider": PROVIDER, "panel": window_panel(), "slots": slots })
}

fn panel_vectors() -> Value {
    let candidates: Vec<Candidate> = (1..=16u8)
        .map(|id| Candidate {
            oracle: OracleId(id.into()),
            weight: u16::from(id) * 1_000,
            // Two oracles of one operator, groups of four.
            operator: Address([id.min(15); 20]),
            network_group: u64::from(id % 4),
        })
        .collect();
    let shown: Vec<_> = candidates.iter().map(|c| json!([c.oracle, c.weight, c.operator, c.network_group])).collect();
    let draws: Vec<_> = [(1, 7, 0), (2, 7, 2), (3, 1, 0), (4, 16, 0), (5, 30, 3)]
        .into_iter()
        .map(|(provider, size, group_limit)| {
            let drawn = panel::draw(&word("epoch seed"), ProviderId(provider), &candidates, size, group_limit);
            json!({ "provider": provider, "size": size, "groupLimit": group_limit, "panel": drawn })
        })
        .collect();
    json!({ "seed": word("epoch seed"), "candidates": shown, "draws": draws })
}

// ---- what oracles state ----

fn observation() -> Observation {
    let mut observation = Observation::empty(Kinds::standard(), EPOCH, PROVIDER, ORACLE);
    observation.counts = kinds::counts().to_vec().into();
    observation.witness = Witness::Silent(word("silent"));
    observation.struck = word("struck");
    (observation.evidence_root, observation.facts_root) = (word("evidence"), word("facts"));
    observation
}

fn observation_vectors() -> Value {
    let answered = Observation { witness: Witness::Answered(word("silent")), struck: Hash32::ZERO, ..observation() };
    let empty = Observation::empty(Kinds::standard(), EPOCH, PROVIDER, ORACLE);
    [observation(), answered, empty]
        .iter()
        .map(|observation| {
            json!({
                "observation": observation,
                "words": shown(observation.words().as_bytes()),
                "word": observation.word(),
                "salt": word("salt"),
                "leaf": observation.leaf(&word("salt")),
            })
        })
        .collect()
}

fn seeds() -> Seeds {
    Seeds { epoch: word("epoch seed"), slots: (0..5).map(|slot| word(&format!("slot {slot}"))).collect(), secure: true }
}

fn seeds_vector() -> Value {
    let insecure = Seeds { secure: false, ..seeds() };
    json!([{ "seeds": seeds(), "digest": seeds().digest() }, { "seeds": insecure, "digest": insecure.digest() }])
}

fn commit() -> Commit {
    let root = assay_core::merkle::root(vec![observation().leaf(&word("salt"))]);
    Commit { epoch: EPOCH, oracle: ORACLE, seeds: seeds().digest(), secure: true, root, leaf_count: 1, log_head: Hash32::ZERO }
}

fn commit_vector() -> Value {
    let digest = commit().digest(&instance());
    let signature = verdict_key().sign(Domain::Commit, &digest);
    json!({ "commit": commit(), "digest": digest, "signature": shown(&signature.to_compressed()) })
}

fn bit_vote_vectors() -> Value {
    let vote = |held: Vec<(OracleId, Hash32)>| {
        let vote = BitVote { epoch: EPOCH, oracle: ORACLE, held };
        let digest = vote.digest(&instance());
        let signature = verdict_key().sign(Domain::BitVote, &digest);
        json!({ "held": vote.held, "digest": digest, "signature": shown(&signature.to_compressed()) })
    };
    let others = (1..=3).map(|id| (OracleId(id), word(&format!("commit {id}"))));
    json!([vote(vec![]), vote(others.chain([(ORACLE, commit().digest(&instance()))]).collect())])
}

// ---- transcripts ----

fn transcripts() -> Vec<(&'static str, Transcript)> {
    let base = |kind, outcome| Transcript {
        challenge: challenge(kind),
        strike: 0,
        scheduled_at_us: 1_234_567,
        slip_us: 321,
        rtt_us: None,
        readings: vec![],
        outcome,
        answer: None,
        signature: None,
    };
    let checked = |valid, invalid, missing| Outcome::Checked(Checked { valid, invalid, missing });
    let retried = Transcript {
        rtt_us: Some(41_000),
        readings: vec![Reading { at_us: 0, value: None }, Reading { at_us: 300_000, value: Some(41_000) }],
        answer: Some(availability_answer()),
        ..base(Kind::AVAILABILITY, checked(1, vec![], vec![]))
    };
    let answer = storage_answer();
    let signature = receipt_key().sign(&answer_signing_digest(&challenge(Kind::STORAGE), &answer.digest())).unwrap();
    let audited = Transcript {
        strike: 2,
        rtt_us: Some(87_654),
        answer: Some(answer),
        signature: Some(signature),
        ..base(Kind::STORAGE, checked(25, vec![0], vec![3, 10, 17, 24]))
    };
    let loaded = Transcript {
        rtt_us: Some(801_000),
        readings: kinds::readings(12, 100_000, 300_000),
        answer: Some(kinds::ingress_answer()),
        ..base(Kind::INGRESS, checked(1, vec![], vec![]))
    };
    vec![
        ("availability, answered at the second attempt", retried),
        ("latency echo, silent", base(Kind::LATENCY_ECHO, Outcome::Silent)),
        ("latency block, the oracle's own stall", base(Kind::LATENCY_BLOCK, Outcome::OracleError(OracleFault::Stall))),
        ("storage, valid 25, invalid 0, missing 3 10 17 24, answer and signature of kinds/storage.json", audited),
        ("bandwidth in, answer of kinds/bandwidth.json", loaded),
    ]
}

fn transcript_vectors() -> Value {
    transcripts()
        .into_iter()
        .map(|(what, transcript)| {
            let readings: Vec<_> = transcript.readings.iter().map(|reading| json!([reading.at_us, reading.value])).collect();
            json!({
                "what": what, "kind": transcript.challenge.kind, "strike": transcript.strike, "scheduledAtUs": transcript.scheduled_at_us,
                "slipUs": transcript.slip_us, "rttUs": transcript.rtt_us, "readings": readings, "digest": transcript.digest(),
            })
        })
        .collect()
}

fn root_vectors() -> Value {
    let digests: Vec<Hash32> = transcripts().iter().map(|(_, transcript)| transcript.digest()).collect();
    let facts = [word("fact 1"), word("fact 2")];
    json!({ "evidenceOfTheseTranscripts": evidence_root(digests), "facts": facts, "factsRoot": facts_root(&facts) })
}

// ---- verdicts ----

fn verdict_vector() -> Value {
    let silence = silence_digest(&word("silent"));
    let verdict = Verdict {
        provider: PROVIDER,
        epoch: EPOCH,
        outcome: Grade::Fail,
        dimensions: [(Dimension::AVAILABILITY, Grade::Pass, 1), (Dimension::STORAGE, Grade::Fail, 150)]
            .map(|(dimension, grade, bad)| DimensionVerdict {
                dimension,
                grade,
                reporting: 5,
                bad,
                counted: 150,
                median_bad: bad + 1,
                median_counted: 149,
                burn_ppm: 20_000_000,
                multiplier_ppm: 0,
            })
            .to_vec(),
        p50_us: 41_234,
        in_kbps: 29_950,
        out_kbps: 19_876,
        storage: StorageCounts { valid: 600, invalid: 0, missing: 2, silent: 148 },
        multiplier_ppm: 0,
        reward: 0,
        slash: 50_000_000_000_000_000_000,
        slash_reason: Some(Fault::StorageSilent),
        facts_root: facts_root(&[silence]),
        watched: word("watched"),
    };
    json!({ "verdict": verdict, "dimensionsWord": verdict.dimensions_word(), "resultLeaf": verdict.leaf() })
}

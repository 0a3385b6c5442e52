//! Golden vectors for what only Rust encodes so far: `tests/vectors/protocol.json` says inputs and outputs, so that another
//! implementation can be held against it. An encoding that drifts turns this red. When it changed on purpose:
//! `REGENERATE_VECTORS=1 cargo test -p assay-core --test vectors`, and a line in the changelog.

use std::path::PathBuf;

use assay_core::beacon;
use assay_core::bls::{self, Domain};
use assay_core::challenge::schedule::{PairSecret, vrf_message};
use assay_core::challenge::{
    Answer, BlockAnswer, Challenge, Checked, Kind, answer_signing_digest, block_mac, echo, seal_digest, seal_leaf,
};
use assay_core::epoch::{BitVote, wish_message};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{Commit, Observation, Seeds, Tally, facts_root};
use assay_core::panel::{self, Candidate};
use assay_core::params::Params;
use assay_core::secp;
use assay_core::slice::Slice;
use assay_core::transcript::{Attempt, OracleFault, Outcome, Transcript, answers_root, evidence_root};
use serde_json::{Value, json};

const EPOCH: u64 = 41;
const SLOT: u32 = 3;
const ORACLE: OracleId = OracleId(5);
const PROVIDER: ProviderId = ProviderId(9);

#[test]
fn encodings_do_not_drift() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/protocol.json");
    let ours = json!({
        "note": "Made by core/tests/vectors.rs. Integers are JSON numbers; bytes are 0x and hex; amounts are decimal strings.",
        "instance": instance(),
        "challenges": Kind::ALL.map(challenge_vector),
        "seal": seal_vector(),
        "schedule": schedule_vector(),
        "panels": panel_vectors(),
        "observation": observation_vector(),
        "seeds": seeds_vector(),
        "commit": commit_vector(),
        "bitVotes": bit_vote_vectors(),
        "wish": { "view": 2, "oracle": ORACLE, "message": wish_message(&instance(), EPOCH, 2, ORACLE) },
        "params": { "devnet": Params::devnet(), "hash": Params::devnet().hash() },
        "transcripts": transcript_vectors(),
        "roots": root_vectors(),
        "fallbackSeed": { "previous": word("previous"), "blockHash": word("block"), "seed": beacon::fallback_seed(&word("previous"), &word("block")) },
    });
    if std::env::var_os("REGENERATE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&ours).unwrap() + "\n").unwrap();
    }
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let sections = |file: &Value| file.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(sections(&ours), sections(&committed));
    for (section, value) in ours.as_object().unwrap() {
        assert_eq!(value, &committed[section], "the encoding of `{section}` changed");
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
    let index = u32::from(kind.number());
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
        child: pair().child(index),
    }
}

/// 1,024 bytes and three siblings; it proves nothing, its digest is what matters.
fn slice(label: &str) -> Slice {
    let chunk = word(label).0.repeat(32);
    Slice { chunk, siblings: (0..3u8).map(|level| keccak([&word(label).0, &[level]]).0).collect() }
}

fn slice_json(slice: &Slice) -> Value {
    json!({ "chunk": shown(&slice.chunk), "siblings": slice.siblings.iter().map(|cv| shown(cv)).collect::<Vec<_>>() })
}

fn block_answer() -> BlockAnswer {
    let slice = slice("block");
    BlockAnswer { mac: block_mac(&challenge(Kind::LatencyBlock), &slice.chunk), slice }
}

/// Thirty samples, every seventh stated missing.
fn storage_answer() -> Vec<Option<Slice>> {
    (0..30).map(|i| (i % 7 != 3).then(|| slice(&format!("sample {i}")))).collect()
}

// ---- challenges and answers ----

fn challenge_vector(kind: Kind) -> Value {
    let challenge = challenge(kind);
    let samples: Vec<(u64, u32)> = challenge.samples().iter().map(|sample| (sample.block, sample.chunk)).collect();
    json!({
        "challenge": {
            "epoch": EPOCH, "slot": SLOT, "oracle": ORACLE, "provider": PROVIDER, "kind": kind.number(), "index": challenge.index,
            "classId": challenge.class_id, "claimRoot": challenge.claim_root, "claimBlocks": challenge.claim_blocks,
            "child": shown(&challenge.child),
        },
        "digest": challenge.digest(),
        "seed": challenge.seed(),
        "samples": samples,
        "answers": answer_vectors(&challenge),
    })
}

fn answer_vectors(challenge: &Challenge) -> Value {
    match challenge.kind {
        Kind::Availability | Kind::LatencyEcho => {
            let echo = echo(challenge);
            json!([{ "echo": shown(&echo), "answerDigest": Answer::Echo(echo).digest() }])
        }
        Kind::LatencyBlock => {
            let answer = block_answer();
            json!([
                { "mac": shown(&answer.mac), "slice": slice_json(&answer.slice), "sliceWord": answer.slice.digest(),
                  "answerDigest": Answer::Block(Some(answer)).digest() },
                { "missing": true, "answerDigest": Answer::Block(None).digest() },
            ])
        }
        Kind::Storage => {
            let samples = storage_answer();
            let words = Answer::sample_words(&samples);
            let answer_digest = Answer::Storage(samples).digest();
            let signed = answer_signing_digest(challenge, &answer_digest);
            json!([{
                "samples": "chunk i is keccak('assay vector sample i') 32 times, sibling j keccak of the same word and byte j; i % 7 = 3 is missing",
                "words": words,
                "answerDigest": answer_digest,
                "signingDigest": signed,
                "receiptKey": receipt_key().address(),
                "signature": shown(&receipt_key().sign(&signed).unwrap().0),
            }])
        }
    }
}

fn sealed_answers() -> Vec<(Hash32, Hash32)> {
    let echoes =
        [Kind::Availability, Kind::LatencyEcho].map(|kind| (challenge(kind).digest(), Answer::Echo(echo(&challenge(kind))).digest()));
    let block = (challenge(Kind::LatencyBlock).digest(), Answer::Block(Some(block_answer())).digest());
    [&echoes[..], &[block]].concat()
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
    let schedule = pair().schedule(&Params::devnet());
    let first: Vec<_> = schedule.iter().take(20).map(|probe| json!([probe.index, probe.kind.number(), probe.at_us])).collect();
    json!({
        "epoch": EPOCH, "slot": SLOT, "seed": word("slot seed"), "provider": PROVIDER,
        "vrfMessage": message,
        "verdictKey": shown(&verdict_key().public_key().to_compressed()),
        "vrf": shown(&vrf.to_compressed()),
        "children": [shown(&pair().child(0)), shown(&pair().child(1))],
        "count": schedule.len(),
        "first": first,
    })
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
    let mut observation = Observation::empty(EPOCH, PROVIDER, ORACLE);
    (observation.availability_scheduled, observation.availability) = (25, Tally { counted: 24, bad: 1 });
    (observation.latency_scheduled, observation.latency_counted) = (160, 158);
    (observation.over_t50, observation.over_t95, observation.over_t99) = (70, 8, 2);
    (observation.p50_us, observation.p95_us) = (41_234, 187_654);
    (observation.storage_scheduled, observation.storage_valid, observation.storage_invalid) = (150, 100, 3);
    (observation.storage_missing, observation.storage_silent, observation.storage_oracle_error) = (5, 12, 30);
    (observation.evidence_root, observation.facts_root) = (word("evidence"), word("facts"));
    observation
}

fn observation_vector() -> Value {
    let observation = observation();
    json!({
        "observation": observation,
        "words": shown(observation.words().as_bytes()),
        "word": observation.word(),
        "salt": word("salt"),
        "leaf": observation.leaf(&word("salt")),
    })
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
        scheduled_at_us: 1_234_567,
        slip_us: 321,
        rtt_us: None,
        attempts: vec![],
        outcome,
        answer: None,
        signature: None,
    };
    let checked = |valid, invalid, missing| Outcome::Checked(Checked { valid, invalid, missing });
    let attempts = vec![Attempt { offset_us: 0, rtt_us: None }, Attempt { offset_us: 300_000, rtt_us: Some(41_000) }];
    let retried = Transcript {
        rtt_us: Some(41_000),
        attempts,
        answer: Some(Answer::Echo(echo(&challenge(Kind::Availability)))),
        ..base(Kind::Availability, checked(1, vec![], vec![]))
    };
    let answer = Answer::Storage(storage_answer());
    let signature = receipt_key().sign(&answer_signing_digest(&challenge(Kind::Storage), &answer.digest())).unwrap();
    let audited = Transcript {
        rtt_us: Some(87_654),
        answer: Some(answer),
        signature: Some(signature),
        ..base(Kind::Storage, checked(25, vec![0], vec![3, 10, 17, 24]))
    };
    vec![
        ("availability, answered at the second attempt", retried),
        ("latency echo, silent", base(Kind::LatencyEcho, Outcome::Silent)),
        ("latency block, the oracle's own stall", base(Kind::LatencyBlock, Outcome::OracleError(OracleFault::Stall))),
        ("storage, valid 25, invalid 0, missing 3 10 17 24, answer and signature as above", audited),
    ]
}

fn transcript_vectors() -> Value {
    transcripts()
        .into_iter()
        .map(|(what, transcript)| {
            let attempts: Vec<_> = transcript.attempts.iter().map(|attempt| json!([attempt.offset_us, attempt.rtt_us])).collect();
            json!({
                "what": what, "kind": transcript.challenge.kind.number(), "scheduledAtUs": transcript.scheduled_at_us,
                "slipUs": transcript.slip_us, "rttUs": transcript.rtt_us, "attempts": attempts, "digest": transcript.digest(),
            })
        })
        .collect()
}

fn root_vectors() -> Value {
    let digests: Vec<Hash32> = transcripts().iter().map(|(_, transcript)| transcript.digest()).collect();
    let facts = [word("fact 1"), word("fact 2")];
    json!({ "evidenceOfTheseTranscripts": evidence_root(digests), "facts": facts, "factsRoot": facts_root(&facts) })
}

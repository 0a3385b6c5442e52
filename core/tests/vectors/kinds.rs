//! One file for every kind: challenge to digest, seed, samples and right answer; transcripts to counts; counts to the words of an
//! observation.

use assay_core::abi::Words;
use assay_core::challenge::compact::{CompactAnswer, Positions, ProofGroup};
use assay_core::challenge::kinds::bandwidth::{Total, ingress_bytes, rate_kbps};
use assay_core::challenge::kinds::locality;
use assay_core::challenge::{Answer, Challenge, Kind, Kinds, answer_signing_digest};
use assay_core::hash::{keccak, tag};
use assay_core::observation::{Counts, Observation};
use assay_core::params::Params;
use assay_core::transcript::{OracleFault, Outcome, Reading, Transcript};
use serde_json::{Value, json};

use super::{availability_answer, block_answer, challenge, echo_answer, hold, pair, receipt_key, shown, slice, storage_answer, word};

#[test]
fn kinds_do_not_drift() {
    let echo = |answer: Answer| json!([{ "what": "right", "payload": shown(&answer.payload), "answerDigest": answer.digest() }]);
    hold(
        "kinds/availability.json",
        &json!({
            "note": "Made by core/tests/vectors.rs. payload = BLAKE3 keyed_hash(child, \"availability\").",
            "challenges": [challenge_vector(Kind::AVAILABILITY, &echo(availability_answer()))],
            "summaries": [summary(Kind::AVAILABILITY, &probes(Kind::AVAILABILITY))],
        }),
    );
    hold(
        "kinds/latency.json",
        &json!({
            "note": "Made by core/tests/vectors.rs. Echo: payload = BLAKE3 keyed_hash(child, \"latency\"). Block: payload = BLAKE3 keyed_hash(child, chunk).",
            "challenges": [
                challenge_vector(Kind::LATENCY_ECHO, &echo(echo_answer())),
                challenge_vector(Kind::LATENCY_BLOCK, &block_answers()),
            ],
            "summaries": [
                summary(Kind::LATENCY_ECHO, &probes(Kind::LATENCY_ECHO)),
                summary(Kind::LATENCY_BLOCK, &probes(Kind::LATENCY_BLOCK)),
            ],
        }),
    );
    hold(
        "kinds/storage.json",
        &json!({
            "note": "Made by core/tests/vectors.rs. Counts are samples, thirty an audit; grounds: invalid, missing, silent.",
            "challenges": [challenge_vector(Kind::STORAGE, &storage_answers())],
            "summaries": [summary(Kind::STORAGE, &audits())],
        }),
    );
    hold(
        "kinds/locality.json",
        &json!({
            "note": "Made by core/tests/vectors.rs. Sample j + 1 follows from BLAKE3 keyed_hash(seed, chunk of sample j). Readings: shortest and median time.",
            "challenges": [challenge_vector(Kind::LOCALITY, &chain_answers())],
            "summaries": [summary(Kind::LOCALITY, &probes(Kind::LOCALITY))],
        }),
    );
    hold(
        "kinds/bandwidth.json",
        &json!({
            "note": "Made by core/tests/vectors.rs. payload = bytes as u64 BE, then their BLAKE3 hash. Counts are kbit/s of the class's floor.",
            "challenges": [challenge_vector(Kind::INGRESS, &ingress_answers()), challenge_vector(Kind::EGRESS, &egress_answers())],
            "ingress": ingress_vector(),
            "rates": rate_vectors(),
            "summaries": [summary(Kind::INGRESS, &tests(Kind::INGRESS)), summary(Kind::EGRESS, &tests(Kind::EGRESS))],
        }),
    );
}

/// What one epoch's transcripts of every kind become.
pub fn counts() -> [Counts; 7] {
    [
        counts_of(Kind::AVAILABILITY, &probes(Kind::AVAILABILITY)),
        counts_of(Kind::LATENCY_ECHO, &probes(Kind::LATENCY_ECHO)),
        counts_of(Kind::LATENCY_BLOCK, &probes(Kind::LATENCY_BLOCK)),
        counts_of(Kind::STORAGE, &audits()),
        counts_of(Kind::INGRESS, &tests(Kind::INGRESS)),
        counts_of(Kind::EGRESS, &tests(Kind::EGRESS)),
        counts_of(Kind::LOCALITY, &probes(Kind::LOCALITY)),
    ]
}

// ---- challenges and answers ----

fn challenge_vector(kind: Kind, answers: &Value) -> Value {
    let challenge = challenge(kind);
    let samples: Vec<(u64, u32)> = challenge.samples().iter().map(|sample| (sample.block, sample.chunk)).collect();
    let words = words_of(&challenge);
    assert_eq!(
        keccak([tag("assay.challenge.v1").as_bytes().as_slice(), words.as_bytes()]),
        challenge.digest(),
        "tag and words, nothing else"
    );
    json!({
        "name": Kinds::standard().get(kind).unwrap().name(),
        "challenge": challenge,
        "words": shown(words.as_bytes()),
        "digest": challenge.digest(),
        "seed": challenge.seed(),
        "samples": samples,
        "answers": answers,
    })
}

/// Written out once more, in the order of `docs/protocol.md`.
fn words_of(challenge: &Challenge) -> Words {
    Words::new()
        .with(&challenge.instance.chain_id)
        .with(&challenge.instance.settlement)
        .with(&challenge.epoch)
        .with(&challenge.slot)
        .with(&challenge.oracle.0)
        .with(&challenge.provider.0)
        .with(&challenge.kind.0)
        .with(&challenge.index)
        .with(&challenge.class_id)
        .with(&challenge.claim_root)
        .with(&challenge.claim_blocks)
        .with(&challenge.chunks)
        .with(&challenge.slices_one_in)
        .with(&assay_core::hash::Hash32(challenge.child))
}

fn chain_answers() -> Value {
    let (mut drawn, mut read) = (Vec::new(), 0);
    let samples = locality::walk(&challenge(Kind::LOCALITY), |sample| {
        drawn.push((sample.block, sample.chunk));
        read += 1;
        Ok::<_, std::convert::Infallible>(Some(slice(&format!("sample {}", read - 1))))
    });
    let answer = Answer { payload: vec![], samples: samples.unwrap() };
    json!([{
        "what": "chunk j is keccak('assay vector sample j') 32 times, sibling l keccak of the same word and byte l",
        "samples": drawn,
        "sampleWords": answer.sample_words(),
        "answerDigest": answer.digest(),
    }])
}

fn block_answers() -> Value {
    let (right, shown_slice) = (block_answer(), slice("block"));
    let missing = Answer { payload: vec![], samples: vec![None] };
    json!([
        {
            "what": "right",
            "payload": shown(&right.payload),
            "chunk": shown(&shown_slice.chunk),
            "siblings": shown_slice.siblings.iter().map(|value| shown(value)).collect::<Vec<_>>(),
            "sampleWords": right.sample_words(),
            "answerDigest": right.digest(),
        },
        { "what": "missing", "payload": "0x", "sampleWords": missing.sample_words(), "answerDigest": missing.digest() },
    ])
}

/// Two proofs, two missing samples, slices for the rest.
fn compact_storage_answer() -> Value {
    let (first, second): (Positions, Positions) = ((0..12).collect(), [14, 20, 21, 29].into_iter().collect());
    let mut keys = [word("tag key a"), word("tag key b")];
    keys.sort_unstable();
    let group = |key, positions, fill| ProofGroup { key, positions, proof: [fill; 128] };
    let compact =
        CompactAnswer { missing: [12, 13].into_iter().collect(), groups: vec![group(keys[0], first, 0x11), group(keys[1], second, 0x22)] };
    let covered = compact.covered();
    let samples: Vec<_> = (0..30).filter(|i| !covered.has(*i)).map(|i| Some(slice(&format!("sample {i}")))).collect();
    let answer = Answer { payload: compact.encode(), samples };
    let asked = Challenge { extra: vec![5, 8_000], ..challenge(Kind::STORAGE) };
    json!({
        "what": "samples 0-11 proven under the first key, 14, 20, 21 and 29 under the second, 12 and 13 missing, the rest by slices; proofs are 0x11 and 0x22 128 times",
        "keys": keys,
        "payload": shown(&answer.payload),
        "sampleWords": answer.sample_words(),
        "answerDigest": answer.digest(),
        "extra": { "blocks": asked.extra, "digest": asked.digest(), "samples": asked.samples()[30..].iter().map(|s| (s.block, s.chunk)).collect::<Vec<_>>() },
        "isForSlices": (0..32).filter(|index| Challenge { index: *index, ..asked.clone() }.is_for_slices()).collect::<Vec<_>>(),
    })
}

fn storage_answers() -> Value {
    let answer = storage_answer();
    let signed = answer_signing_digest(&challenge(Kind::STORAGE), &answer.digest());
    json!([compact_storage_answer(), {
        "what": "chunk i is keccak('assay vector sample i') 32 times, sibling j keccak of the same word and byte j; i % 7 = 3 is missing",
        "payload": "0x",
        "sampleWords": answer.sample_words(),
        "answerDigest": answer.digest(),
        "signingDigest": signed,
        "receiptKey": receipt_key().address(),
        "signature": shown(&receipt_key().sign(&signed).unwrap().0),
    }])
}

// ---- bandwidth ----

const INGRESS_BYTES: usize = 100_000;

fn ingress_stream(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ingress_bytes(&pair().kept(u32::from(Kind::INGRESS.0))).fill(&mut bytes);
    bytes
}

fn total_of(bytes: &[u8]) -> Total {
    Total { bytes: bytes.len() as u64, hash: *blake3::hash(bytes).as_bytes() }
}

pub fn ingress_answer() -> Answer {
    Answer::of_payload(total_of(&ingress_stream(INGRESS_BYTES)).to_payload())
}

fn ingress_answers() -> Value {
    let answer = ingress_answer();
    json!([{ "what": "right, after 100000 bytes", "payload": shown(&answer.payload), "answerDigest": answer.digest() }])
}

fn egress_answers() -> Value {
    let answer = Answer::of_payload(total_of(b"groups and siblings as they were sent").to_payload());
    json!([{ "what": "'groups and siblings as they were sent'", "payload": shown(&answer.payload), "answerDigest": answer.digest() }])
}

fn ingress_vector() -> Value {
    let bytes = ingress_stream(INGRESS_BYTES);
    let hashes = [0, 1, 64, 16_384, INGRESS_BYTES].map(|length| (length, shown(blake3::hash(&bytes[..length]).as_bytes())));
    json!({
        "kept": shown(&pair().kept(u32::from(Kind::INGRESS.0))),
        "first64": shown(&bytes[..64]),
        "hashes": hashes,
    })
}

/// `slices + 1` readings, one every `slice_us` from the start, of equal slices.
pub fn readings(slices: u64, slice_us: u64, slice_bytes: u64) -> Vec<Reading> {
    (0..=slices).map(|at| Reading { at_us: at * slice_us, value: Some(at * slice_bytes) }).collect()
}

fn rate_vectors() -> Value {
    let ramp_us = Params::devnet().bandwidth.ramp_ms * 1_000;
    let steady = readings(7, 100_000, 300_000);
    let mut melted = steady.clone();
    melted[5].value = None;
    let mut ramped = steady.clone();
    for (at, reading) in ramped.iter_mut().enumerate() {
        reading.value = Some(if at < 4 { 0 } else { (at as u64 - 3) * 250_000 });
    }
    let mut stalled = steady.clone();
    for reading in &mut stalled[5..] {
        reading.value = Some(1_200_000);
    }
    let cases = [
        ("steady", steady.clone()),
        ("one slice spoilt by the oracle", melted),
        ("nothing in the ramp, then steady", ramped),
        ("stalls after 400 ms", stalled),
        ("too few slices behind the ramp", steady[..5].to_vec()),
        ("nothing", vec![]),
    ];
    cases
        .into_iter()
        .map(|(what, readings)| {
            let shown: Vec<_> = readings.iter().map(|reading| json!([reading.at_us, reading.value])).collect();
            json!({ "what": what, "rampUs": ramp_us, "readings": shown, "rateKbps": rate_kbps(&readings, ramp_us) })
        })
        .collect()
}

// ---- transcripts and counts ----

fn transcript(kind: Kind, index: u32, outcome: Outcome, rtt_us: Option<u64>) -> Transcript {
    Transcript {
        challenge: Challenge { index, ..challenge(kind) },
        strike: 0,
        scheduled_at_us: 0,
        slip_us: 0,
        rtt_us,
        readings: vec![],
        outcome,
        answer: None,
        signature: None,
    }
}

fn checked(valid: u32, invalid: Vec<u32>, missing: Vec<u32>) -> Outcome {
    Outcome::Checked(assay_core::challenge::Checked { valid, invalid, missing })
}

fn probes(kind: Kind) -> Vec<Transcript> {
    [
        (checked(1, vec![], vec![]), Some(41_234)),
        (checked(1, vec![], vec![]), Some(100_000)),
        (checked(1, vec![], vec![]), Some(100_001)),
        (checked(1, vec![], vec![]), Some(250_000)),
        (checked(0, vec![0], vec![]), Some(30_000)),
        (Outcome::Silent, None),
        (Outcome::OracleError(OracleFault::Stall), None),
    ]
    .into_iter()
    .zip(0..)
    .map(|((outcome, rtt_us), index)| transcript(kind, index, outcome, rtt_us))
    .collect()
}

fn audits() -> Vec<Transcript> {
    [checked(30, vec![], vec![]), checked(25, vec![0], vec![3, 10, 17, 24]), Outcome::Silent, Outcome::OracleError(OracleFault::SendSlip)]
        .into_iter()
        .zip(0..)
        .map(|(outcome, index)| transcript(Kind::STORAGE, index, outcome, Some(50_000)))
        .collect()
}

/// A fast test, one below the floor, one that counts more than the provider states, one without an answer, one of no account.
fn tests(kind: Kind) -> Vec<Transcript> {
    let answered = |index, readings: Vec<Reading>, bytes| Transcript {
        readings,
        answer: Some(Answer::of_payload(Total { bytes, hash: [7; 32] }.to_payload())),
        ..transcript(kind, index, checked(1, vec![], vec![]), Some(800_000))
    };
    vec![
        answered(0, readings(7, 100_000, 375_000), 2_625_000),
        answered(1, readings(7, 100_000, 200_000), 1_500_000),
        answered(2, readings(7, 100_000, 375_000), 2_624_999),
        transcript(kind, 3, Outcome::Silent, None),
        transcript(kind, 4, Outcome::OracleError(OracleFault::Stall), None),
    ]
}

fn counts_of(kind: Kind, transcripts: &[Transcript]) -> Counts {
    let params = Params::devnet();
    let (plug, class) = (Kinds::standard().get(kind).unwrap(), &params.classes[0]);
    let scheduled = transcripts.len() as u64 * plug.weight(class);
    plug.summarise(&params, class, scheduled, &transcripts.iter().collect::<Vec<_>>())
}

fn summary(kind: Kind, transcripts: &[Transcript]) -> Value {
    let counts = counts_of(kind, transcripts);
    let shown_transcripts: Vec<_> = transcripts
        .iter()
        .map(|transcript| {
            let readings: Vec<_> = transcript.readings.iter().map(|reading| json!([reading.at_us, reading.value])).collect();
            let payload = transcript.answer.as_ref().map(|answer| shown(&answer.payload));
            json!({ "outcome": told(&transcript.outcome), "rttUs": transcript.rtt_us, "readings": readings, "payload": payload })
        })
        .collect();
    json!({ "class": Params::devnet().classes[0].name, "transcripts": shown_transcripts, "counts": counts, "words": shown(&words_of_counts(&counts)) })
}

fn told(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Checked(checked) => json!({ "valid": checked.valid, "invalid": checked.invalid, "missing": checked.missing }),
        Outcome::Silent => json!("silent"),
        Outcome::OracleError(_) => json!("oracle error"),
    }
}

/// What one kind's counts add to an observation's words, between its four first words and the number of kinds, and its five last ones.
fn words_of_counts(counts: &Counts) -> Vec<u8> {
    let mut observation = Observation::empty(Kinds::standard(), 0, super::PROVIDER, super::ORACLE);
    observation.counts = vec![counts.clone()].into();
    let words = observation.words();
    let (head, tail) = (5 * 32, 5 * 32);
    words.as_bytes()[head..words.as_bytes().len() - tail].to_vec()
}

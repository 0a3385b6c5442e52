//! Evidence bundles: what comes out is what went in, and hostile ones are errors.

use assay_core::challenge::{Answer, Challenge, Checked, Kind};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::secp::Signature65;
use assay_core::slice::Slice;
use assay_core::transcript::{OracleFault, Outcome, Reading, SlotSeal, Transcript};
use assay_proto::bundle::{Bundle, BundleError, MAX_BUNDLE_BYTES, decode_bundle, encode_bundle};

/// Field key of a transcript in a bundle.
const TRANSCRIPT_KEY: u8 = 0x0a;

fn transcript(kind: Kind, outcome: Outcome, answer: Option<Answer>) -> Transcript {
    let signature = (kind == Kind::STORAGE && answer.is_some()).then_some(Signature65([8; 65]));
    Transcript {
        challenge: Challenge {
            instance: Instance { chain_id: 1, settlement: Address([2; 20]) },
            epoch: 3,
            slot: 4,
            oracle: OracleId(5),
            provider: ProviderId(6),
            kind,
            index: 7,
            class_id: 100,
            claim_root: Hash32([9; 32]),
            claim_blocks: 10,
            chunks: 2,
            slices_one_in: 0,
            extra: vec![],
            child: [11; 32],
        },
        strike: 1,
        scheduled_at_us: 12,
        slip_us: 13,
        rtt_us: answer.is_some().then_some(0),
        readings: vec![Reading { at_us: 0, value: None }, Reading { at_us: 300_000, value: Some(0) }],
        outcome,
        answer,
        signature,
    }
}

fn checked(valid: u32, invalid: &[u32], missing: &[u32]) -> Outcome {
    Outcome::Checked(Checked { valid, invalid: invalid.to_vec(), missing: missing.to_vec() })
}

fn bundle() -> Bundle {
    let slice = Slice { chunk: vec![1; 1024], siblings: vec![[2; 32]; 7] };
    let seal = SlotSeal {
        instance: Instance { chain_id: 1, settlement: Address([2; 20]) },
        provider: ProviderId(6),
        oracle: OracleId(5),
        epoch: 3,
        slot: 4,
        count: 2,
        answers_root: Hash32([4; 32]),
        signature: Signature65([5; 65]),
    };
    let block = Answer { payload: vec![3; 32], samples: vec![Some(slice.clone())] };
    let transcripts = vec![
        transcript(Kind::AVAILABILITY, checked(1, &[], &[]), Some(Answer::of_payload([1; 32]))),
        transcript(Kind::LATENCY_BLOCK, checked(1, &[], &[]), Some(block)),
        transcript(Kind::LATENCY_BLOCK, checked(0, &[], &[0]), Some(Answer { payload: vec![], samples: vec![None] })),
        transcript(Kind::STORAGE, checked(0, &[0], &[1]), Some(Answer { payload: vec![], samples: vec![Some(slice), None] })),
        transcript(Kind::STORAGE, Outcome::Silent, None),
        transcript(Kind::LATENCY_ECHO, Outcome::OracleError(OracleFault::Stall), None),
    ];
    Bundle { transcripts, seals: vec![seal] }
}

#[test]
fn bundles_survive_the_wire() {
    let bundle = bundle();
    let bytes = encode_bundle(&bundle.transcripts, &bundle.seals);
    let read = decode_bundle(&bytes).unwrap();
    assert_eq!(read, bundle);
    assert_eq!(encode_bundle(&read.transcripts, &read.seals), bytes);
    assert_eq!(decode_bundle(&[]).unwrap(), Bundle::default());
}

#[test]
fn every_cut_is_refused_or_a_whole_prefix() {
    let Bundle { transcripts, seals } = bundle();
    let bytes = encode_bundle(&transcripts, &seals);
    for end in 0..bytes.len() {
        if let Ok(prefix) = decode_bundle(&bytes[..end]) {
            assert_eq!(prefix.transcripts, transcripts[..prefix.transcripts.len()]);
            assert_eq!(encode_bundle(&prefix.transcripts, &prefix.seals).len(), end);
        }
    }
}

// Defence: the checks of `transcript_from_wire`; without them this turns red.
#[test]
fn contradictions_are_refused() {
    let [answered, .., silent, _] = &bundle().transcripts[..] else { unreachable!() };
    let contradictions = [
        Transcript { answer: None, ..answered.clone() },
        Transcript { outcome: Outcome::Silent, ..answered.clone() },
        Transcript { outcome: checked(1, &[], &[]), ..silent.clone() },
        Transcript { outcome: checked(1, &[1, 1], &[]), ..answered.clone() },
        Transcript { outcome: checked(1, &[2, 1], &[]), ..answered.clone() },
        Transcript { readings: vec![Reading { at_us: 0, value: None }; 65], ..answered.clone() },
    ];
    for transcript in contradictions {
        let bytes = encode_bundle(std::slice::from_ref(&transcript), &[]);
        assert!(matches!(decode_bundle(&bytes), Err(BundleError::Field(_))), "{transcript:?}");
    }
}

// Defence: reading entry by entry; a plain decode makes 300 bytes of memory of each two bytes here.
#[test]
fn few_bytes_do_not_claim_much_memory() {
    let empty_entries = [TRANSCRIPT_KEY, 0].repeat(1_000_000);
    assert!(matches!(decode_bundle(&empty_entries), Err(BundleError::Field(_))));
    assert!(matches!(decode_bundle(&[TRANSCRIPT_KEY, 0xff, 0xff, 0xff, 0x7f]), Err(BundleError::TooLarge { .. })));
    assert!(matches!(decode_bundle(&[0x1a, 0]), Err(BundleError::Encoding)));
    assert!(matches!(decode_bundle(&vec![0; MAX_BUNDLE_BYTES + 1]), Err(BundleError::TooLarge { .. })));
}

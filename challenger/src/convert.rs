//! Transcripts and seals to `assay.audit.v1` and back. The provider's messages are converted in `assay_proto::convert`.
//!
//! A bundle from elsewhere is hostile: it is read entry by entry, each bounded, so that few bytes cannot claim much memory. What is read
//! is well formed and no more: an outcome is its oracle's word until the answer is judged again.

use assay_core::challenge::Checked;
use assay_core::ids::{Instance, OracleId, ProviderId};
use assay_core::transcript::{OracleFault, Outcome, Reading, SlotSeal, Transcript};
use assay_proto::audit::v1 as wire;
use assay_proto::convert::{ConvertError, absent, address, hash, malformed, signature, wire_bytes};
use assay_proto::provider::v1::{ChallengeReply, ChallengeRequest};
use prost::Message;

/// The largest bundle that is read.
pub const MAX_BUNDLE_BYTES: usize = 64 * 1024 * 1024;
/// The most entries of a bundle.
pub const MAX_ENTRIES: usize = 200_000;
/// The largest entry: a storage answer has at most 64 slices of 2,752 bytes.
const MAX_ENTRY_BYTES: usize = 256 * 1024;
/// The most samples whose positions an outcome names.
const MAX_POSITIONS: usize = 64;
/// The most readings of one transcript.
const MAX_READINGS: usize = 64;

/// Field keys of `EvidenceBundle`: number · 8 + 2, length-delimited.
const TRANSCRIPT_KEY: u8 = 0x0a;
const SEAL_KEY: u8 = 0x12;

/// What one oracle keeps of one provider for one epoch.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Bundle {
    /// All transcripts.
    pub transcripts: Vec<Transcript>,
    /// The seals that the provider gave.
    pub seals: Vec<SlotSeal>,
}

/// Why bytes are not a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Too many bytes, or too many in one entry.
    #[error("{bytes} bytes are too many")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
    },
    /// Too many entries.
    #[error("more than {MAX_ENTRIES} entries")]
    TooMany,
    /// Not the protobuf message.
    #[error("not an evidence bundle")]
    Encoding,
    /// Not the protobuf message, inside an entry.
    #[error(transparent)]
    Decode(#[from] prost::DecodeError),
    /// A field of an entry.
    #[error(transparent)]
    Field(#[from] ConvertError),
}

/// The bytes of an `EvidenceBundle`. The same transcripts in the same order give the same bytes.
pub fn encode_bundle(transcripts: &[Transcript], seals: &[SlotSeal]) -> Vec<u8> {
    let bundle = wire::EvidenceBundle {
        transcripts: transcripts.iter().map(transcript_to_wire).collect(),
        seals: seals.iter().map(seal_to_wire).collect(),
    };
    bundle.encode_to_vec()
}

/// Reads an `EvidenceBundle`; unknown fields are refused.
pub fn decode_bundle(bytes: &[u8]) -> Result<Bundle, BundleError> {
    if bytes.len() > MAX_BUNDLE_BYTES {
        return Err(BundleError::TooLarge { bytes: bytes.len() });
    }
    let (mut bundle, mut rest) = (Bundle::default(), bytes);
    while let Some((key, after_key)) = rest.split_first() {
        let (entry, after) = split_entry(after_key)?;
        match *key {
            TRANSCRIPT_KEY => bundle.transcripts.push(transcript_from_wire(wire::Transcript::decode(entry)?)?),
            SEAL_KEY => bundle.seals.push(seal_from_wire(wire::Seal::decode(entry)?)?),
            _ => return Err(BundleError::Encoding),
        }
        if bundle.transcripts.len() + bundle.seals.len() > MAX_ENTRIES {
            return Err(BundleError::TooMany);
        }
        rest = after;
    }
    Ok(bundle)
}

fn split_entry(mut bytes: &[u8]) -> Result<(&[u8], &[u8]), BundleError> {
    let length = prost::decode_length_delimiter(&mut bytes)?;
    if length > MAX_ENTRY_BYTES {
        return Err(BundleError::TooLarge { bytes: length });
    }
    bytes.split_at_checked(length).ok_or(BundleError::Encoding)
}

fn transcript_to_wire(transcript: &Transcript) -> wire::Transcript {
    let readings = transcript.readings.iter().map(|r| wire::Reading { at_us: r.at_us, value: r.value });
    let answer = transcript.answer.clone().map(|answer| ChallengeReply::new(answer, transcript.signature.as_ref()));
    wire::Transcript {
        challenge: Some((&transcript.challenge).into()),
        scheduled_at_us: transcript.scheduled_at_us,
        slip_us: transcript.slip_us,
        rtt_us: transcript.rtt_us,
        readings: readings.collect(),
        outcome: Some(outcome_to_wire(&transcript.outcome)),
        answer,
        strike: transcript.strike,
    }
}

fn outcome_to_wire(outcome: &Outcome) -> wire::transcript::Outcome {
    use wire::transcript::Outcome as Wire;
    match outcome {
        Outcome::Checked(checked) => {
            Wire::Checked(wire::Checked { valid: checked.valid, invalid: checked.invalid.clone(), missing: checked.missing.clone() })
        }
        Outcome::Silent => Wire::Silent(wire::Silent {}),
        Outcome::OracleError(fault) => Wire::OracleFault(i32::from(fault.number())),
    }
}

fn transcript_from_wire(transcript: wire::Transcript) -> Result<Transcript, ConvertError> {
    if transcript.readings.len() > MAX_READINGS {
        return Err(malformed("readings"));
    }
    let challenge: ChallengeRequest = transcript.challenge.ok_or(absent("challenge"))?;
    let challenge = assay_core::challenge::Challenge::try_from(challenge)?;
    let outcome = outcome_from_wire(transcript.outcome.ok_or(absent("outcome"))?)?;
    let (answer, signature) = match transcript.answer.map(ChallengeReply::parse).transpose()? {
        Some((answer, signature)) => (Some(answer), signature),
        None => (None, None),
    };
    if answer.is_some() != matches!(outcome, Outcome::Checked(_)) || (signature.is_some() && answer.is_none()) {
        return Err(malformed("answer"));
    }
    let readings = transcript.readings.into_iter().map(|r| Reading { at_us: r.at_us, value: r.value });
    Ok(Transcript {
        challenge,
        strike: transcript.strike,
        scheduled_at_us: transcript.scheduled_at_us,
        slip_us: transcript.slip_us,
        rtt_us: transcript.rtt_us,
        readings: readings.collect(),
        outcome,
        answer,
        signature,
    })
}

fn outcome_from_wire(outcome: wire::transcript::Outcome) -> Result<Outcome, ConvertError> {
    use wire::transcript::Outcome as Wire;
    match outcome {
        Wire::Checked(wire::Checked { valid, invalid, missing }) => {
            let ascending = |positions: &[u32]| positions.windows(2).all(|pair| pair.first() < pair.last());
            if invalid.len() + missing.len() > MAX_POSITIONS || !ascending(&invalid) || !ascending(&missing) {
                return Err(malformed("checked"));
            }
            Ok(Outcome::Checked(Checked { valid, invalid, missing }))
        }
        Wire::Silent(wire::Silent {}) => Ok(Outcome::Silent),
        Wire::OracleFault(number) => {
            let fault = u32::try_from(number).ok().and_then(OracleFault::from_number);
            fault.map(Outcome::OracleError).ok_or(malformed("oracle_fault"))
        }
    }
}

fn seal_to_wire(seal: &SlotSeal) -> wire::Seal {
    wire::Seal {
        chain_id: seal.instance.chain_id,
        settlement: wire_bytes(&seal.instance.settlement.0),
        provider_id: seal.provider.0,
        oracle_id: seal.oracle.0,
        epoch: seal.epoch,
        slot: seal.slot,
        count: seal.count,
        answers_root: wire_bytes(&seal.answers_root.0),
        signature: wire_bytes(&seal.signature.0),
    }
}

fn seal_from_wire(seal: wire::Seal) -> Result<SlotSeal, ConvertError> {
    Ok(SlotSeal {
        instance: Instance { chain_id: seal.chain_id, settlement: address(&seal.settlement, "settlement")? },
        provider: ProviderId(seal.provider_id),
        oracle: OracleId(seal.oracle_id),
        epoch: seal.epoch,
        slot: seal.slot,
        count: seal.count,
        answers_root: hash(&seal.answers_root, "answers_root")?,
        signature: signature(&seal.signature)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_core::challenge::{Answer, BlockAnswer, Challenge};
    use assay_core::hash::Hash32;
    use assay_core::ids::Address;
    use assay_core::secp::Signature65;
    use assay_core::slice::Slice;

    fn transcript(kind: Kind, outcome: Outcome, answer: Option<Answer>) -> Transcript {
        let signature = (kind == Kind::Storage && answer.is_some()).then_some(Signature65([8; 65]));
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
                child: [11; 32],
            },
            scheduled_at_us: 12,
            slip_us: 13,
            rtt_us: answer.is_some().then_some(0),
            attempts: vec![Attempt { offset_us: 0, rtt_us: None }, Attempt { offset_us: 300_000, rtt_us: Some(0) }],
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
        let block = Answer::Block(Some(BlockAnswer { mac: [3; 32], slice: slice.clone() }));
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
        let transcripts = vec![
            transcript(Kind::Availability, checked(1, &[], &[]), Some(Answer::Echo([1; 32]))),
            transcript(Kind::LatencyBlock, checked(1, &[], &[]), Some(block)),
            transcript(Kind::LatencyBlock, checked(0, &[], &[0]), Some(Answer::Block(None))),
            transcript(Kind::Storage, checked(0, &[0], &[1]), Some(Answer::Storage(vec![Some(slice), None]))),
            transcript(Kind::Storage, Outcome::Silent, None),
            transcript(Kind::LatencyEcho, Outcome::OracleError(OracleFault::Stall), None),
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
            Transcript { attempts: vec![Attempt { offset_us: 0, rtt_us: None }; 17], ..answered.clone() },
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
}

//! Transcripts and seals to `assay.audit.v1` and back. The provider's messages are converted in [`crate::convert`].
//!
//! A bundle from elsewhere is hostile: it is read entry by entry, each bounded, so that few bytes cannot claim much memory. What is read
//! is well formed and no more: an outcome is its oracle's word until the answer is judged again.

use assay_core::challenge::Checked;
use assay_core::ids::{Instance, OracleId, ProviderId};
use assay_core::transcript::{OracleFault, Outcome, Reading, SlotSeal, Transcript};
use prost::Message;

use crate::audit::v1 as wire;
use crate::convert::{ConvertError, absent, address, hash, malformed, signature, wire_bytes};
use crate::provider::v1::{ChallengeReply, ChallengeRequest};

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

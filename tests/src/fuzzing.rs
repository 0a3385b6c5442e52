//! Every decoder of bytes from outside, as a function from bytes: `fuzz/` runs them under libFuzzer, `tests/fuzz_smoke.rs` on stable
//! with deterministic mutations. An entry panics when a decoder does, or when what it accepted breaks a promise.

mod seeds;

use std::io::Write;
use std::path::Path;

use assay_challenger::convert::{decode_bundle, encode_bundle};
use assay_challenger::endpoint::ProviderEndpoint;
use assay_core::beacon::ChainInfo;
use assay_core::bls::{PublicKey, SecretKey, Signature};
use assay_core::challenge::compact::{CompactAnswer, named};
use assay_core::challenge::kinds::bandwidth::{Total, rate_kbps};
use assay_core::challenge::kinds::{latency, locality};
use assay_core::challenge::{Answer, Asked, Challenge, Kind, Kinds, MAX_CHUNKS, STORAGE_SAMPLES};
use assay_core::claim::{ClaimDomain, ClaimSet, SignedClaimSet};
use assay_core::compact::{Proof, TagKey, verify};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, OracleId, ProviderId};
use assay_core::observation::{Observation, SaltedObservation};
use assay_core::params::Params;
use assay_core::replica::{HEADER_BYTES, Header};
use assay_core::report::Outcome;
use assay_core::secp::{self, Signature65};
use assay_core::slice::{self, CHUNK_BYTES, Slice};
use assay_core::transcript::{self, Outcome as Judged, Reading, Transcript};
use assay_daemon::keystore::{self, Password};
use assay_oracle::beacon::{BeaconClient, BeaconConfig, decode_info, decode_round};
use assay_oracle::peers::tls::{Certificate, Verifier};
use assay_proto::oracle::v1 as oracle_wire;
use assay_proto::oracle_convert::{LogEntry, Message, decode_certificate, decode_reveal, encode_certificate, encode_reveal};
use assay_proto::provider::v1 as wire;
use prost::Message as _;

/// A decoder, by name.
pub struct Target {
    /// Name of the libFuzzer target and of its corpus.
    pub name: &'static str,
    /// Decodes, and checks what was decoded. `true` when the bytes were accepted.
    pub run: fn(&[u8]) -> bool,
    /// Inputs that are accepted: where mutations begin.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 23] = [
    Target { name: "message", run: message, seeds: seeds::messages },
    Target { name: "log_entry", run: log_entry, seeds: seeds::log_entries },
    Target { name: "reveal", run: reveal, seeds: seeds::reveals },
    Target { name: "observation", run: observation, seeds: seeds::observations },
    Target { name: "certificate", run: certificate, seeds: seeds::certificates },
    Target { name: "outcome", run: outcome, seeds: seeds::outcomes },
    Target { name: "challenge_request", run: challenge_request, seeds: seeds::challenge_requests },
    Target { name: "challenge_reply", run: challenge_reply, seeds: seeds::challenge_replies },
    Target { name: "bandwidth_test", run: bandwidth_test, seeds: seeds::bandwidth_tests },
    Target { name: "signed_claim", run: signed_claim, seeds: seeds::signed_claims },
    Target { name: "signed_claim_set", run: signed_claim_set, seeds: seeds::signed_claim_sets },
    Target { name: "bundle", run: bundle, seeds: seeds::bundles },
    Target { name: "slice", run: slice, seeds: seeds::slices },
    Target { name: "replica_header", run: replica_header, seeds: seeds::replica_headers },
    Target { name: "tls_certificate", run: tls_certificate, seeds: seeds::tls_certificates },
    Target { name: "points", run: points, seeds: seeds::points },
    Target { name: "compact", run: compact, seeds: seeds::compact_parts },
    Target { name: "beacon_round", run: beacon_round, seeds: seeds::beacon_rounds },
    Target { name: "beacon_json", run: beacon_json, seeds: seeds::beacon_answers },
    Target { name: "protection_import", run: protection_import, seeds: seeds::protection_exports },
    Target { name: "endpoint", run: endpoint, seeds: seeds::endpoints },
    Target { name: "keystore", run: keystore, seeds: seeds::keystores },
    Target { name: "config", run: config, seeds: seeds::configs },
];

// ---- the committee's messages ----

/// An envelope between oracles. What decodes has one encoding.
pub fn message(bytes: &[u8]) -> bool {
    let Ok(message) = Message::decode(bytes) else { return false };
    let canonical = message.encode();
    assert_eq!(Message::decode(&canonical).as_ref(), Ok(&message));
    let _ = (message.epoch(), message.oracle(), message.name());
    true
}

/// An entry of a node's own log.
pub fn log_entry(bytes: &[u8]) -> bool {
    let Ok(entry) = LogEntry::decode(bytes) else { return false };
    assert_eq!(LogEntry::decode(&entry.encode()).as_ref(), Ok(&entry));
    true
}

/// A reveal that was asked for. Its digests must not panic before it is verified.
pub fn reveal(bytes: &[u8]) -> bool {
    let Ok(reveal) = decode_reveal(bytes) else { return false };
    assert_eq!(decode_reveal(&encode_reveal(&reveal)).as_ref(), Ok(&reveal));
    let _ = (reveal.root(), reveal.seeds.digest());
    for fact in &reveal.facts {
        let _ = fact.digest();
    }
    true
}

/// An observation with its counts, which travel as numbers in one string. What decodes has one encoding.
pub fn observation(bytes: &[u8]) -> bool {
    let Some(salted) = oracle_wire::Observation::decode(bytes).ok().and_then(|wire| SaltedObservation::try_from(wire).ok()) else {
        return false;
    };
    let again = oracle_wire::Observation::from(&salted);
    assert_eq!(SaltedObservation::try_from(again.clone()).as_ref(), Ok(&salted));
    let wire = oracle_wire::Observation::decode(bytes).unwrap();
    assert_eq!(wire.counts, again.counts, "the same counts have one encoding");
    let Observation { counts, .. } = &salted.observation;
    assert!(counts.len() <= 16 && counts.iter().all(|counts| counts.bad.len() <= 16 && counts.readings.len() <= 16));
    let _ = (salted.observation.word(), salted.observation.leaf(&salted.salt));
    true
}

/// A certificate from a peer or the store, verified against a committee that did not sign it.
pub fn certificate(bytes: &[u8]) -> bool {
    let Ok(certificate) = decode_certificate(bytes) else { return false };
    assert_eq!(decode_certificate(&encode_certificate(&certificate)).as_ref(), Ok(&certificate));
    let _ = (certificate.verify(seeds::setting()), certificate.signer_bits().count(), certificate.signers_word());
    true
}

/// A report's outcome as JSON, which a peer sends beside its certificate.
pub fn outcome(bytes: &[u8]) -> bool {
    let Ok(outcome) = serde_json::from_slice::<Outcome>(bytes) else { return false };
    let token = Address([8; 20]);
    let _ = outcome.supports(&outcome.report, &token);
    for verdict in &outcome.verdicts {
        let _ = (outcome.verdict_proof(verdict.provider), outcome.slash_proof(verdict.provider));
    }
    true
}

// ---- between oracle and provider ----

/// A challenge as a provider gets it: what it asks for is derived before anything of it is believed.
pub fn challenge_request(bytes: &[u8]) -> bool {
    let Some(challenge) = wire::ChallengeRequest::decode(bytes).ok().and_then(|request| Challenge::try_from(request).ok()) else {
        return false;
    };
    assert_eq!(Challenge::try_from(wire::ChallengeRequest::from(&challenge)).as_ref(), Ok(&challenge));
    let samples = challenge.samples();
    let is_possible = challenge.has_possible_extra();
    assert!(samples.iter().all(|sample| (sample.block < challenge.claim_blocks || !is_possible) && sample.chunk < 124));
    assert!(samples.len() <= MAX_CHUNKS as usize);
    let _ = (challenge.digest(), latency::echo(&challenge));
    true
}

/// An answer as an oracle gets it, judged as an answer to a challenge of every kind.
pub fn challenge_reply(bytes: &[u8]) -> bool {
    let Some((answer, signature)) = wire::ChallengeReply::decode(bytes).ok().and_then(|reply| reply.parse().ok()) else {
        return false;
    };
    let again = wire::ChallengeReply::new(answer.clone(), signature.as_ref()).parse();
    assert_eq!(again.as_ref(), Ok(&(answer.clone(), signature)));
    // A total of gigabytes costs seconds to hash; what a provider may state is bounded where the bytes are counted.
    let is_costly = Total::from_payload(&answer.payload).is_some_and(|total| total.bytes > 1 << 20);
    for plug in Kinds::standard().iter().filter(|plug| plug.kind() != Kind::INGRESS || !is_costly) {
        let (challenge, kept) = seeds::challenge(plug.kind());
        let asked = Asked { challenge: &challenge, claims: Some(seeds::claims()), kept: Some(kept) };
        let _ = transcript::judge(Kinds::standard(), &asked, &answer, signature.as_ref(), &Address([1; 20]));
        if let Ok(checked) = plug.verify(&asked, &answer) {
            let told = checked.valid + checked.invalid.len() as u32 + checked.missing.len() as u32;
            let is_chain = plug.kind() == Kind::LOCALITY && told as usize <= locality::READS;
            assert!(told == 1 || told == plug.chunks() || is_chain, "every sample is counted once");
        }
    }
    let _ = answer.digest();
    true
}

/// An oracle's readings of one test, in any order and of any size: the rate is bounded, and the counts are possible ones.
pub fn bandwidth_test(bytes: &[u8]) -> bool {
    let Some((_kept, rest)) = bytes.split_first_chunk::<32>() else { return false };
    let Some((ramp_us, rest)) = rest.split_first_chunk::<8>() else { return false };
    let (readings, _) = rest.as_chunks::<17>();
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let readings: Vec<Reading> = readings
        .iter()
        .map(|reading| Reading { at_us: number(&reading[..8]), value: (reading[8] & 1 == 1).then_some(number(&reading[9..])) })
        .collect();
    let rate = rate_kbps(&readings, u64::from_le_bytes(*ramp_us));
    assert!(rate.is_none() || readings.len() > 2, "a rate of too few slices");
    let most = readings.iter().filter_map(|reading| reading.value).max().unwrap_or(0);
    let (params, kinds) = (Params::devnet(), Kinds::standard());
    let plug = kinds.get(Kind::INGRESS).unwrap();
    let test = Transcript {
        challenge: seeds::challenge(Kind::INGRESS).0,
        strike: 0,
        scheduled_at_us: 0,
        slip_us: 0,
        rtt_us: None,
        readings,
        outcome: Judged::Checked(assay_core::challenge::Checked::all_or_nothing(true)),
        answer: Some(Answer::of_payload(Total { bytes: most, hash: [0; 32] }.to_payload())),
        signature: None,
    };
    let counts = plug.summarise(&params, &params.classes[0], plug.weight(&params.classes[0]), &[&test]);
    assert!(counts.counted == counts.scheduled && counts.bad[0] <= counts.counted);
    let mut observation = Observation::empty(kinds, 0, ProviderId(9), OracleId(1));
    observation.counts = vec![counts].into();
    let _ = observation.word();
    rate.is_some()
}

/// A claim with its owner's signature, as a provider gets it.
pub fn signed_claim(bytes: &[u8]) -> bool {
    let Some((claim, signature)) = wire::SignedClaim::decode(bytes).ok().and_then(|claim| claim.parse().ok()) else {
        return false;
    };
    assert_eq!(wire::SignedClaim::new(&claim, &signature).parse().as_ref(), Ok(&(claim.clone(), signature)));
    let _ = secp::recover(&domain().claim_digest(&claim.hash()), &signature);
    let consistent = claim.check().is_ok();
    assert_eq!(ClaimSet::new(vec![claim.clone()]).is_ok(), consistent);
    assert!(ClaimSet::new(vec![claim.clone(), claim]).is_err(), "one replica serves one claim");
    true
}

/// A signed claim set, as an oracle gets it.
pub fn signed_claim_set(bytes: &[u8]) -> bool {
    let Some(set) = wire::SignedClaimSet::decode(bytes).ok().and_then(|set| SignedClaimSet::try_from(set).ok()) else {
        return false;
    };
    assert_eq!(SignedClaimSet::try_from(wire::SignedClaimSet::from(&set)).as_ref(), Ok(&set));
    let _ = set.is_by(&Address([1; 20]), &domain());
    true
}

fn domain() -> ClaimDomain {
    ClaimDomain { chain_id: 31_337, provider_registry: Address([2; 20]), provider: ProviderId(9) }
}

/// An evidence bundle: what is read once reads the same again, and its transcripts can be judged again.
pub fn bundle(bytes: &[u8]) -> bool {
    let Ok(bundle) = decode_bundle(bytes) else { return false };
    let canonical = encode_bundle(&bundle.transcripts, &bundle.seals);
    assert_eq!(decode_bundle(&canonical).unwrap(), bundle);
    for kept in &bundle.transcripts {
        let _ = (kept.digest(), kept.unsigned_answer());
        if let Some(answer) = &kept.answer {
            let asked = Asked { challenge: &kept.challenge, claims: Some(seeds::claims()), kept: None };
            let _ = transcript::judge(Kinds::standard(), &asked, answer, kept.signature.as_ref(), &Address([1; 20]));
        }
    }
    let facts = transcript::facts_of(&bundle.transcripts, seeds::claims(), 4);
    let _ = facts.iter().map(|fact| fact.digest()).collect::<Vec<_>>();
    let _ = bundle.seals.iter().map(|seal| seal.is_by(&Address([1; 20])) || seal.covers(&[])).collect::<Vec<_>>();
    true
}

/// 16 bytes (chunk index, length of the chunk), then chunk and siblings: `true` only for the real chunk of known data.
///
/// No input may pass another chunk off as the one at its index.
pub fn slice(bytes: &[u8]) -> bool {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else { return false };
    let (index, length) = (u64::from_le_bytes(head[..8].try_into().unwrap()), u64::from_le_bytes(head[8..].try_into().unwrap()));
    let (chunk, siblings) = rest.split_at(usize::try_from(length).unwrap_or(usize::MAX).min(rest.len()));
    let (siblings, _) = siblings.as_chunks::<32>();
    let slice = Slice { chunk: chunk.to_vec(), siblings: siblings.to_vec() };
    let data = seeds::data();
    let total = data.len() as u64;
    // Hostile sizes: whatever the claim says, no arithmetic may fail.
    for total in [0, 1, index, index.wrapping_mul(CHUNK_BYTES), u64::MAX] {
        let _ = slice::verify(&Hash32::ZERO, total, index, &slice);
        let _ = slice::prove(&Hash32::ZERO, total, index, chunk, |position| (position < 99).then_some([7; 64]));
    }
    let _ = Answer { payload: vec![], samples: vec![Some(slice.clone()); STORAGE_SAMPLES as usize] }.digest();
    if slice::verify(&blake3::hash(data).into(), total, index, &slice).is_err() {
        return false;
    }
    let start = (index * CHUNK_BYTES) as usize;
    assert_eq!(slice.chunk, data[start..data.len().min(start + CHUNK_BYTES as usize)], "another chunk passed as chunk {index}");
    true
}

/// The header of a decrypted replica.
pub fn replica_header(bytes: &[u8]) -> bool {
    let Ok(header) = Header::parse(bytes) else { return false };
    assert_eq!(header.encode()[..], bytes[..HEADER_BYTES], "a header has one encoding");
    true
}

// ---- cryptography ----

/// A compact answer's payload, a proof, a tag key, a tag. What decodes has one encoding; a proof that decodes is verified.
pub fn compact(bytes: &[u8]) -> bool {
    let mut accepted = false;
    if let Some(answer) = CompactAnswer::parse(bytes) {
        assert_eq!(answer.encode(), bytes);
        let groups = answer.groups.iter().flat_map(|group| group.positions.iter());
        assert_eq!(groups.chain(answer.missing.iter()).count(), answer.covered().iter().count(), "no position twice");
        accepted = true;
    }
    if let Ok(proof) = Proof::from_bytes(bytes) {
        assert_eq!(proof.to_bytes(), bytes);
        let (challenge, _) = seeds::challenge(Kind::STORAGE);
        let positions = (0..4).collect();
        let key = seeds::claims().tag_keys().next().unwrap();
        let terms = challenge.compact_terms(&key.id(), positions, |sample| named(seeds::claims(), challenge.provider, sample)).unwrap();
        assert!(verify(key, &terms, &proof).is_err(), "no seed proves these samples");
        accepted = true;
    }
    if let Ok(key) = TagKey::from_bytes(bytes) {
        assert_eq!(key.to_bytes(), bytes);
        let _ = key.id();
        accepted = true;
    }
    accepted | Signature::from_slice(bytes).is_ok()
}

/// A peer's TLS certificate. What is read has one encoding, and nothing stands but what the members' keys signed.
pub fn tls_certificate(bytes: &[u8]) -> bool {
    if let Some(certificate) = Certificate::parse(bytes) {
        assert_eq!(certificate.encode(), bytes);
    }
    let verifier = Verifier::new(seeds::terms(), seeds::members());
    let Ok(peer) = verifier.verify(bytes, None, seeds::NOW_S) else { return false };
    assert!(seeds::tls_certificates().iter().any(|issued| issued == bytes), "a certificate that nobody issued");
    assert_eq!(verifier.verify(bytes, Some(peer.oracle), seeds::NOW_S), Ok(peer.clone()));
    assert!(verifier.verify(bytes, Some(OracleId(peer.oracle.0 + 1)), seeds::NOW_S).is_err());
    true
}

/// Keys and signatures in both forms: what is accepted has this one encoding, and is neither infinity nor outside the subgroup.
pub fn points(bytes: &[u8]) -> bool {
    let mut accepted = false;
    if let Ok(form) = <&[u8; 48]>::try_from(bytes)
        && let Ok(signature) = Signature::from_compressed(form)
    {
        assert_eq!(signature.to_compressed(), *form);
        assert_eq!(Signature::from_eip2537(&signature.to_eip2537()), Ok(signature));
        accepted = true;
    }
    if let Ok(form) = <&[u8; 96]>::try_from(bytes)
        && let Ok(key) = PublicKey::from_compressed(form)
    {
        assert_eq!(key.to_compressed(), *form);
        assert_eq!(PublicKey::from_eip2537(&key.to_eip2537()), Ok(key));
        accepted = true;
    }
    if let Ok(form) = <&[u8; 128]>::try_from(bytes)
        && let Ok(signature) = Signature::from_eip2537(form)
    {
        assert_eq!(signature.to_eip2537(), *form);
        accepted = true;
    }
    if let Ok(form) = <&[u8; 256]>::try_from(bytes)
        && let Ok(key) = PublicKey::from_eip2537(form)
    {
        assert_eq!(key.to_eip2537(), *form);
        accepted = true;
    }
    if let Ok(form) = <[u8; 65]>::try_from(bytes) {
        accepted |= secp::recover(&Hash32([1; 32]), &Signature65(form)).is_ok();
    }
    if let Ok(scalar) = <&[u8; 32]>::try_from(bytes)
        && let Ok(secret) = SecretKey::from_bytes(scalar)
    {
        assert_eq!(*secret.to_bytes(), *scalar);
        accepted = true;
    }
    accepted
}

/// Round number (8 bytes) and signature, as a relay gives them. A round has exactly one signature.
pub fn beacon_round(bytes: &[u8]) -> bool {
    let Some((number, signature)) = bytes.split_first_chunk::<8>() else { return false };
    let number = u64::from_le_bytes(*number);
    let chain: &ChainInfo = seeds::beacon();
    let _ = (chain.time_of(number), chain.first_round_at_or_after(number));
    let Ok(round) = chain.verify(number, signature) else { return false };
    assert_eq!(round.signature.to_compressed(), signature);
    assert_eq!(round.signature, assay_core::beacon::sign(seeds::beacon_key(), number), "a second signature of round {number}");
    true
}

// ---- text ----

/// A relay's `/info` or round as JSON: what is accepted is the pinned chain, or the one signature of its round.
pub fn beacon_json(bytes: &[u8]) -> bool {
    let (config, chain) = seeds::beacon_config();
    let info = decode_info(bytes, config, &chain.public_key);
    if let Ok(info) = &info {
        assert_eq!(info.0, *chain, "a relay shifted the rounds");
    }
    let round = decode_round(bytes, None, chain);
    if let Ok(round) = &round {
        assert_eq!(round.signature, assay_core::beacon::sign(seeds::beacon_key(), round.number));
        assert!(decode_round(bytes, Some(round.number), chain).is_ok());
        assert!(decode_round(bytes, Some(round.number.wrapping_add(1)), chain).is_err());
    }
    for error in [info.as_ref().err(), round.as_ref().err()].into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
    info.is_ok() || round.is_ok()
}

/// An exported signing record, imported into an empty one: all of it or nothing, and a second time nothing new.
pub fn protection_import(bytes: &[u8]) -> bool {
    // What is not JSON needs no database to be refused.
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()) else {
        return false;
    };
    seeds::runtime().block_on(async {
        let (_directory, record) = seeds::empty_record().await;
        let empty = record.export_json().await.unwrap();
        let Ok(first) = record.import_json(text).await else {
            assert_eq!(record.export_json().await.unwrap(), empty, "part of a refused import stayed");
            return false;
        };
        let merged = record.export_json().await.unwrap();
        let second = record.import_json(text).await.unwrap();
        assert_eq!(second.added, 0, "{first:?} {second:?}");
        assert!(first.contradicted > 0 || record.export_json().await.unwrap() == merged);
        true
    })
}

/// A provider's endpoint as it is registered on chain.
pub fn endpoint(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| ProviderEndpoint::parse(text).is_ok())
}

/// A keystore file of either kind. Files that ask for much work are left out: that bound is the daemon's and has its own test.
pub fn keystore(bytes: &[u8]) -> bool {
    if work_asked_for(bytes) > 4_096 {
        return false;
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let password = Password::new(seeds::PASSWORD);
    keystore::load_bls(file.path(), &password).is_ok() || keystore::load_secp(file.path(), &password).is_ok()
}

/// Rounds of the key derivation, as far as the text says.
fn work_asked_for(bytes: &[u8]) -> u64 {
    fn largest(value: &serde_json::Value) -> u64 {
        match value {
            serde_json::Value::Number(number) => number.as_u64().unwrap_or(0),
            serde_json::Value::Array(items) => items.iter().map(largest).max().unwrap_or(0),
            serde_json::Value::Object(fields) => fields.values().map(largest).max().unwrap_or(0),
            _ => 0,
        }
    }
    serde_json::from_slice(bytes).map_or(0, |value| largest(&value))
}

/// The config files of both daemons, with their own checks.
pub fn config(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let path = Path::new("fuzz.toml");
    let oracle = assay_daemon::config::parse::<assay_oracle::config::Config>(path, text);
    if let Ok(config) = &oracle {
        let _ = config.contradiction();
    }
    let beacon = assay_daemon::config::parse::<BeaconConfig>(path, text);
    if let Ok(config) = &beacon {
        let _ = BeaconClient::with_info(config, seeds::beacon().clone());
    }
    let provider = assay_daemon::config::parse::<assay_provider::config::Config>(path, text);
    for error in [oracle.as_ref().err(), beacon.as_ref().err(), provider.as_ref().err()].into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
    oracle.is_ok() || beacon.is_ok() || provider.is_ok()
}

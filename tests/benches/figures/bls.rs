//! Signatures and certificates against the library that they are made with.

use std::collections::BTreeMap;
use std::hint::black_box;

use assay_core::bls::{Domain, Signature};
use assay_core::hash::keccak;
use assay_core::ids::OracleId;
use assay_core::report::{Certificate, signing_message};
use blst::BLST_ERROR;
use blst::min_sig as scheme;

use crate::fixture::{empty_report, oracle_key, setting};
use crate::harness::{Plan, pair};
use crate::table::Table;

pub fn measure(table: &mut Table) {
    one_signature(table);
    certificate(table);
}

/// Verifying one signature as it comes from the wire, against the same calls of `blst`.
fn one_signature(table: &mut Table) {
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
    let pair = pair(Plan::SHORT, ours, theirs);
    table.put("core.bls_verify_over_blst", pair.ratio, "", "time to read, check and verify one signature / the same calls of blst");
    table.put("core.bls_verify_us", pair.ours.map(|s| s * 1e6), "µs", "the same, alone");
}

/// A certificate of 256 members from their signatures: digest, sum of signatures, sum of keys, one verification.
fn certificate(table: &mut Table) {
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
    let pair = pair(Plan::SHORT, ours, theirs);
    table.put("core.cert256_over_blst", pair.ratio, "", "time to assemble and verify a certificate of 256 / blst's sums and verification");
    table.put("epoch.cert256_over_blst", pair.ratio, "", "the same ratio, as the epoch's close counts it");
    table.put("core.cert256_us", pair.ours.map(|s| s * 1e6), "µs", "the same, alone");
}

//! The golden certificate of the committee's transport: whoever builds another implementation compares its bytes with these.
//!
//! After an intended change: `REGENERATE_VECTORS=1 cargo test -p assay-oracle --test tls_vectors`, and a line in the changelog.

use std::path::PathBuf;

use assay_core::bls::SecretKey;
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId};
use assay_oracle::peers::tls::{Certificate, Terms, certificate};
use serde_json::{Value, json};

/// A word for a label, so that any language can make it.
fn word(label: &str) -> Hash32 {
    keccak([b"assay vector ", label.as_bytes()])
}

fn hex_of(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

#[test]
fn the_certificate_of_given_keys_is_the_committed_one() {
    let instance = Instance { chain_id: 31_337, settlement: Address::from_slice(&word("settlement").0[12..]).unwrap() };
    let terms = Terms { instance, params_hash: word("params"), oracle: OracleId(3) };
    // As in protocol.json: `key_gen` of draft-irtf-cfrg-bls-signature over the word.
    let (verdict_seed, tls_secret, not_after_s) = (word("verdict key"), word("tls key"), 1_800_000_000);
    let verdict = SecretKey::key_gen(&verdict_seed.0).unwrap();
    let der = certificate(&terms, &verdict, not_after_s, &tls_secret.0).unwrap();
    let read = Certificate::parse(&der).unwrap();
    let ours = json!({
        "chainId": instance.chain_id,
        "settlement": instance.settlement,
        "oracle": terms.oracle,
        "paramsHash": terms.params_hash,
        "notAfter": not_after_s,
        "verdictSeed": verdict_seed,
        "verdictKey": hex_of(&verdict.public_key().to_compressed()),
        "tlsSecret": tls_secret,
        "tlsKey": hex_of(&read.binding.tls_key),
        "message": read.binding.message(),
        "signedByTlsKey": hex_of(&read.signed()),
        "certificate": hex_of(&der),
    });
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/tls.json");
    if std::env::var_os("REGENERATE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&ours).unwrap() + "\n").unwrap();
    }
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(ours, committed);
    assert!(read.is_bound_by(&verdict.public_key()));
}

//! `tests/vectors/compact.json`: keys, tags, challenges and proofs that stand or do not, in the forms of files and of contracts.
//! After an intended change: `REGENERATE_VECTORS=1 cargo test -p assay-core --test compact_vectors`, and a line in the changelog.

mod compact_common;

use std::path::PathBuf;

use assay_core::compact::{CompactError, Proof, SCALAR_BYTES, TAG_DST, Terms, statement, verify};
use assay_core::hash::decode_hex;
use assay_core::replica::BLOCK_BYTES;
use compact_common::{Owner, PROVIDER, Replica, owner, prove, replica, tagged, terms};
use serde_json::{Value, json};

const ORDER: &str = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name)
}

fn read(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path(name)).unwrap()).unwrap()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

#[test]
fn encodings_and_outcomes_do_not_drift() {
    let ours = computed(owner());
    if std::env::var_os("REGENERATE_VECTORS").is_some() {
        std::fs::write(path("compact.json"), serde_json::to_string_pretty(&ours).unwrap() + "\n").unwrap();
    }
    let committed = read("compact.json");
    assert_eq!(ours["tagKey"], committed["tagKey"]);
    assert_eq!(ours["replicas"], committed["replicas"]);
    assert_eq!(ours, committed);
}

fn computed(owner: &Owner) -> Value {
    let mut replicas: Vec<Replica> = [("one", 1), ("two", 4), ("three", 40)].map(|(label, blocks)| replica(owner, label, blocks)).into();
    replicas.push(tagged(owner, "constant", vec![constant(1), constant(200)]));
    let many: Vec<(usize, u64)> = (0..30).map(|at| (at % 3, [0, at as u64 % 4, at as u64 * 7 % 40][at % 3])).collect();
    let samples: [&[(usize, u64)]; 4] = [&[(0, 0)], &[(1, 3), (0, 0), (1, 3)], &many, &[(3, 1), (3, 0)]];
    json!({
        "note": "Made by core/tests/compact_vectors.rs. Byte b of block n of replica L is byte b of BLAKE3's extended output over the ASCII text `L n`; \
    of replica `constant`, the first scalar is 1 or 200 and the others are zero. Roots and object ids are made up. Points of contracts are in EIP-2537 form, \
    `proof` is sigma and psi compressed, then y, all big-endian. a = sum nu H + y g1. `refused` says where a bad proof must fail: `encoding` when it is read, `equation` when it is checked.",
        "dst": std::str::from_utf8(TAG_DST).unwrap(),
        "order": format!("0x{ORDER}"),
        "ownerSecret": hex([1; 32]),
        "tagKey": {
            "bytes": hex(owner.key.to_bytes()),
            "v": hex(owner.key.v_eip2537()),
            "w": hex(owner.key.w_eip2537()),
            "id": owner.key.id(),
            "powersBlake3": hex(blake3::hash(&owner.power_bytes).as_bytes()),
        },
        "replicas": replicas.iter().map(replica_vector).collect::<Vec<_>>(),
        "cases": samples.iter().enumerate().map(|(at, samples)| case(owner, &format!("compact {at}"), &replicas, samples)).collect::<Vec<_>>(),
    })
}

/// A block of which only the first scalar is not zero.
fn constant(scalar: u8) -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    block[0] = scalar;
    block
}

fn replica_vector(replica: &Replica) -> Value {
    json!({
        "claim": replica.claim,
        "provider": PROVIDER,
        "name": replica.name.0,
        "firstScalar": hex(&replica.blocks[0][..SCALAR_BYTES]),
        "tags": replica.tags.chunks(48).map(hex).collect::<Vec<_>>(),
    })
}

fn case(owner: &Owner, label: &str, replicas: &[Replica], samples: &[(usize, u64)]) -> Value {
    let terms = terms(owner, label, replicas, samples);
    let proof = prove(owner, &terms, replicas);
    let items = terms.items.iter().map(|item| json!({ "name": item.name.0, "block": item.block, "nu": hex(item.nu.to_be_bytes()) }));
    json!({
        "samples": samples.len(),
        "seed": compact_common::word(label),
        "items": items.collect::<Vec<_>>(),
        "r": hex(terms.r()),
        "proofs": proofs(owner, &terms, &proof),
    })
}

/// The honest proof, and others that must be refused.
fn proofs(owner: &Owner, terms: &Terms, good: &Proof) -> Vec<Value> {
    let bytes = good.to_bytes();
    let other_terms = Terms::draw(&compact_common::word("other"), &owner.key.id(), terms.items.iter().map(|item| (item.name, item.block)));
    let mut all = vec![well_formed(owner, "honest", terms, &bytes, None)];
    all.push(well_formed(owner, "wrong y", terms, &with(&bytes, 96, &plus_one(&bytes[96..])), None));
    all.push(well_formed(owner, "sigma of another", terms, &with(&bytes, 0, &generator()), None));
    all.push(well_formed(owner, "psi of another", terms, &with(&bytes, 48, &generator()), None));
    let a = statement(&other_terms, good).unwrap();
    all.push(well_formed(owner, "a of other coefficients", terms, &bytes, Some(a)));
    let outside: Vec<u8> = decode_hex(read("curve_points.json")["g1"]["wrongSubgroup"].as_str().unwrap()).unwrap();
    let a = statement(terms, good).unwrap();
    let [sigma, psi] = [good.sigma_eip2537(), good.psi_eip2537()];
    all.push(malformed("sigma of the wrong subgroup", &with(&bytes, 0, &compressed(&outside)), &outside, &psi, &a));
    all.push(malformed("psi of the wrong subgroup", &with(&bytes, 48, &compressed(&outside)), &sigma, &outside, &a));
    let nothing = [infinity(), infinity(), vec![0; 32]].concat();
    all.push(malformed("sigma, psi and a at infinity", &nothing, &[0; 128], &[0; 128], &[0; 128]));
    all.push(malformed("y plus the order", &with(&bytes, 96, &plus_order(&bytes[96..])), &sigma, &psi, &a));
    all
}

fn well_formed(owner: &Owner, what: &str, terms: &Terms, bytes: &[u8], a: Option<[u8; 128]>) -> Value {
    let proof = Proof::from_bytes(bytes).unwrap();
    let is_valid = a.is_none() && verify(&owner.key, terms, &proof).is_ok();
    assert_eq!(is_valid, what == "honest", "{what}");
    json!({
        "what": what,
        "valid": is_valid,
        "refused": if is_valid { Value::Null } else { json!("equation") },
        "proof": hex(bytes),
        "sigma": hex(proof.sigma_eip2537()),
        "psi": hex(proof.psi_eip2537()),
        "y": hex(proof.y()),
        "a": hex(a.unwrap_or_else(|| statement(terms, &proof).unwrap())),
    })
}

fn malformed(what: &str, bytes: &[u8], sigma: &[u8], psi: &[u8], a: &[u8; 128]) -> Value {
    let error = Proof::from_bytes(bytes).unwrap_err();
    assert!(matches!(error, CompactError::Point { .. } | CompactError::Scalar { .. }), "{what}: {error}");
    let y = &bytes[96..];
    json!({ "what": what, "valid": false, "refused": "encoding", "proof": hex(bytes), "sigma": hex(sigma), "psi": hex(psi), "y": hex(y), "a": hex(a) })
}

fn with(bytes: &[u8], at: usize, part: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at..at + part.len()].copy_from_slice(part);
    changed
}

fn plus(number: &[u8], other: &[u8]) -> Vec<u8> {
    let (mut sum, mut carry) = (number.to_vec(), 0);
    for (to, from) in sum.iter_mut().zip(other).rev() {
        let digit = u16::from(*to) + u16::from(*from) + carry;
        (*to, carry) = (digit as u8, digit >> 8);
    }
    sum
}

fn plus_one(number: &[u8]) -> Vec<u8> {
    let mut one = [0; 32];
    one[31] = 1;
    plus(number, &one)
}

fn plus_order(number: &[u8]) -> Vec<u8> {
    plus(number, &hex::decode(ORDER).unwrap())
}

fn infinity() -> Vec<u8> {
    let mut bytes = vec![0; 48];
    bytes[0] = 0xc0;
    bytes
}

/// The generator, which is the first power of every key.
fn generator() -> Vec<u8> {
    owner().power_bytes[..48].to_vec()
}

/// Compressed, without the checks of `assay_core`.
fn compressed(eip2537: &[u8]) -> Vec<u8> {
    let raw = [&eip2537[16..64], &eip2537[80..128]].concat();
    blst::min_sig::Signature::deserialize(&raw).unwrap().compress().to_vec()
}

/// What a reader of the file does: every proof stands or fails as the file says.
#[test]
fn the_file_says_which_proofs_stand() {
    let file = read("compact.json");
    let bytes = |value: &Value| decode_hex(value.as_str().unwrap()).unwrap();
    let key = assay_core::compact::TagKey::from_bytes(&bytes(&file["tagKey"]["bytes"])).unwrap();
    let mut honest = 0;
    for case in file["cases"].as_array().unwrap() {
        let name = |item: &Value| assay_core::compact::Name(assay_core::hash::Hash32::from_hex(item["name"].as_str().unwrap()).unwrap());
        let items: Vec<_> = case["items"].as_array().unwrap().iter().map(|item| (name(item), item["block"].as_u64().unwrap())).collect();
        let seed = assay_core::hash::Hash32::from_hex(case["seed"].as_str().unwrap()).unwrap();
        let terms = Terms::draw(&seed, &key.id(), items.into_iter());
        assert_eq!(hex(terms.r()), case["r"].as_str().unwrap());
        for vector in case["proofs"].as_array().unwrap() {
            match (Proof::from_bytes(&bytes(&vector["proof"])), vector["refused"].as_str()) {
                (Ok(proof), None) => {
                    assert_eq!(verify(&key, &terms, &proof), Ok(()));
                    honest += 1;
                }
                (Ok(_), Some(refused)) => assert_eq!(refused, "equation"),
                (Err(_), refused) => assert_eq!(refused, Some("encoding")),
            }
        }
    }
    assert_eq!(honest, 4);
}

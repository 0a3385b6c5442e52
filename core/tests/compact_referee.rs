//! A second implementation of `core::compact` in arkworks, which shares no code with `blst`: keys, tags, challenges, proofs and the
//! check, from `docs/protocol.md` alone. It is slow and knows the owner's secret, so it computes psi without the powers.

mod compact_common;

use ark_bls12_381::{Bls12_381, Fq, Fr, G1Affine, G1Projective, G2Affine, G2Projective, g1};
use ark_ec::hashing::HashToCurve;
use ark_ec::hashing::curve_maps::wb::WBMap;
use ark_ec::hashing::map_to_curve_hasher::MapToCurveBasedHasher;
use ark_ec::pairing::{Pairing, PairingOutput};
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::field_hashers::DefaultFieldHasher;
use ark_ff::{BigInteger, Field, PrimeField, Zero};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use assay_core::claim::Claim;
use assay_core::compact::{CompactError, Item, Name, Proof, Terms, statement, verify, verify_batch};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::ProviderId;
use compact_common::{PROVIDER, Replica, SEED, claim, owner, prove, replica, tagged, terms, word};
use proptest::prelude::*;
use sha2::Sha256;

type Hasher = MapToCurveBasedHasher<G1Projective, DefaultFieldHasher<Sha256>, WBMap<g1::Config>>;

// ---- the second implementation ----

/// The secret of the owner whose 32 bytes are all `byte`.
struct Secret {
    epsilon: Fr,
    alpha: Fr,
}

fn secret(byte: u8) -> Secret {
    let mut bytes = [0; 128];
    blake3::Hasher::new_derive_key("assay 2026-11 tag key v1").update(&[byte; 32]).finalize_xof().fill(&mut bytes);
    Secret { epsilon: Fr::from_be_bytes_mod_order(&bytes[..64]), alpha: Fr::from_be_bytes_mod_order(&bytes[64..]) }
}

impl Secret {
    fn v(&self) -> G2Affine {
        (G2Projective::generator() * self.epsilon).into_affine()
    }

    fn w(&self) -> G2Affine {
        (G2Projective::generator() * (self.epsilon * self.alpha)).into_affine()
    }

    fn tag(&self, name: &Name, index: u64, block: &[u8]) -> G1Affine {
        let content = G1Projective::generator() * value(&polynomial(block), self.alpha);
        ((hash(name, index) + content) * self.epsilon).into_affine()
    }
}

fn hash(name: &Name, block: u64) -> G1Projective {
    let message = [&name.0.0[..], &block.to_be_bytes()].concat();
    Hasher::new(b"ASSAY-V1-TAG_BLS12381G1_XMD:SHA-256_SSWU_RO_").unwrap().hash(&message).unwrap().into()
}

fn polynomial(block: &[u8]) -> Vec<Fr> {
    block.chunks(31).map(Fr::from_le_bytes_mod_order).collect()
}

fn value(polynomial: &[Fr], x: Fr) -> Fr {
    polynomial.iter().rev().fold(Fr::zero(), |sum, coefficient| sum * x + coefficient)
}

fn padded(element: Fq) -> Vec<u8> {
    [vec![0; 16], element.into_bigint().to_bytes_be()].concat()
}

fn eip_g1(point: G1Affine) -> Vec<u8> {
    point.xy().map_or(vec![0; 128], |(x, y)| [padded(x), padded(y)].concat())
}

fn eip_g2(point: G2Affine) -> Vec<u8> {
    [point.x.c0, point.x.c1, point.y.c0, point.y.c1].map(padded).concat()
}

fn from_eip(bytes: &[u8]) -> G1Affine {
    if bytes.iter().all(|byte| *byte == 0) {
        return G1Affine::zero();
    }
    let point = G1Affine::new_unchecked(Fq::from_be_bytes_mod_order(&bytes[..64]), Fq::from_be_bytes_mod_order(&bytes[64..]));
    assert!(point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve());
    point
}

fn compressed(point: &impl CanonicalSerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    point.serialize_compressed(&mut bytes).unwrap();
    bytes
}

/// Coefficients and place from keccak, word by word.
fn drawn(seed: &Hash32, key_id: &Hash32, count: usize) -> (Vec<u128>, Fr) {
    let tag = keccak([b"assay.compact.v1"]);
    let block = |counter: u64| keccak([&tag.0, &seed.0, &key_id.0, &counter.to_be_bytes()]).0;
    let stream: Vec<u8> = (0..).take(count + 4).flat_map(block).collect();
    let nus = stream.chunks(16).take(count).map(|bytes| u128::from_be_bytes(bytes.try_into().unwrap())).collect();
    (nus, Fr::from_be_bytes_mod_order(&stream[16 * count..16 * count + 64]))
}

fn referee_proof(secret: &Secret, items: &[Item], r: Fr, replicas: &[Replica]) -> Vec<u8> {
    let (mut sum, mut sigma) = (vec![Fr::zero(); 4096], G1Projective::zero());
    for item in items {
        let block = &replicas.iter().find(|replica| replica.name == item.name).unwrap().blocks[item.block as usize];
        sum.iter_mut().zip(polynomial(block)).for_each(|(to, from)| *to += from * Fr::from(item.nu));
        sigma += secret.tag(&item.name, item.block, block) * Fr::from(item.nu);
    }
    let y = value(&sum, r);
    let quotient = (value(&sum, secret.alpha) - y) * (secret.alpha - r).inverse().unwrap();
    let psi = G1Projective::generator() * quotient;
    [compressed(&sigma.into_affine()), compressed(&psi.into_affine()), y.into_bigint().to_bytes_be()].concat()
}

/// A, and whether the proof stands; every point is read by arkworks from the contract's form.
fn referee_verifies(v: G2Affine, w: G2Affine, items: &[Item], r: Fr, proof: &Proof) -> (G1Affine, bool) {
    let (sigma, psi) = (from_eip(&proof.sigma_eip2537()), from_eip(&proof.psi_eip2537()));
    let hashes: G1Projective = items.iter().map(|item| hash(&item.name, item.block) * Fr::from(item.nu)).sum();
    let a = (hashes + G1Projective::generator() * Fr::from_be_bytes_mod_order(&proof.y())).into_affine();
    let shifted = (a - psi * r).into_affine();
    let product = Bls12_381::multi_pairing([(-sigma.into_group()).into_affine(), shifted, psi], [G2Affine::generator(), v, w]);
    (a, product == PairingOutput::zero())
}

// ---- both agree ----

#[test]
fn keys_and_their_ids_agree() {
    let secret = secret(1);
    let key = &owner().key;
    assert_eq!(key.to_bytes().to_vec(), [compressed(&secret.v()), compressed(&secret.w())].concat());
    assert_eq!((key.v_eip2537().to_vec(), key.w_eip2537().to_vec()), (eip_g2(secret.v()), eip_g2(secret.w())));
    assert_eq!(key.id(), keccak([&keccak([b"assay.tagkey.v1"]).0, &eip_g2(secret.v()), &eip_g2(secret.w())]));
}

#[test]
fn powers_agree() {
    let secret = secret(1);
    for at in [0_usize, 1, 2, 31, 4094, 4095] {
        let power = (G1Projective::generator() * secret.alpha.pow([at as u64])).into_affine();
        assert_eq!(owner().power_bytes[48 * at..48 * (at + 1)], compressed(&power), "{at}");
    }
}

#[test]
fn names_agree() {
    let claim = claim(owner(), "name", 3);
    let number = |value: u64| [vec![0; 24], value.to_be_bytes().to_vec()].concat();
    let of = |claim: &Claim, provider: u64| {
        let tag = keccak([b"assay.tagname.v1"]);
        let words: [&[u8]; 7] = [
            &tag.0,
            &claim.tag_key_id.0,
            &claim.object_id.0,
            &number(claim.replica_index),
            &claim.root.0,
            &number(claim.object_length),
            &number(provider),
        ];
        Name(keccak([&words.concat()]))
    };
    let second = Claim { replica_index: 1, ..claim.clone() };
    for (claim, provider) in [(&claim, 1), (&claim, u64::MAX), (&second, 1)] {
        assert_eq!(Name::of(claim, ProviderId(provider)), of(claim, provider));
    }
}

// A tag of a block of zeros is the hash times epsilon, so this compares the hash to the curve alone.
#[test]
fn hashes_to_the_curve_agree_under_our_tag() {
    let secret = secret(1);
    let zeros = owner().secret.evaluate(&vec![0; 126_976]).unwrap();
    for (label, block) in [("a", 0), ("b", 1), ("c", u64::from(u32::MAX) + 1), ("d", u64::MAX)] {
        let name = Name(word(label));
        let tag = owner().secret.tags(&name, block, std::slice::from_ref(&zeros));
        assert_eq!(tag, compressed(&(hash(&name, block) * secret.epsilon).into_affine()));
    }
}

#[test]
fn tags_agree_also_of_extreme_blocks() {
    let secret = secret(1);
    let mut mixed = vec![0xff; 126_976];
    mixed[..40].fill(0);
    let blocks = vec![compact_common::block("tag"), vec![0; 126_976], vec![0xff; 126_976], mixed];
    let replica = tagged(owner(), "tags", blocks);
    for (index, block) in (0..).zip(&replica.blocks) {
        assert_eq!(replica.tag(index), compressed(&secret.tag(&replica.name, index, block)), "{index}");
    }
}

#[test]
fn draws_agree() {
    for count in [1, 2, 3, 30, 61] {
        let (seed, id) = (word("draw"), owner().key.id());
        let (nus, r) = drawn(&seed, &id, count);
        let terms = Terms::draw(&seed, &id, (0..count as u64).map(|block| (Name(word("n")), block)));
        assert_eq!(terms.items.iter().map(|item| item.nu).collect::<Vec<_>>(), nus);
        assert_eq!(terms.r().to_vec(), r.into_bigint().to_bytes_be());
    }
}

// More products than the prover sums up before it reduces.
#[test]
fn long_sums_of_largest_scalars_agree() {
    let secret = secret(1);
    let replicas = [tagged(owner(), "largest", vec![vec![0xff; 126_976]])];
    let mut terms = terms(owner(), "largest", &replicas, &[(0, 0); 600]);
    terms.items.iter_mut().for_each(|item| item.nu = u128::MAX);
    let proof = prove(owner(), &terms, &replicas);
    let (_, r) = drawn(&word("largest"), &owner().key.id(), 600);
    assert_eq!(proof.y().to_vec(), {
        let sum = value(&polynomial(&replicas[0].blocks[0]), r) * Fr::from(u128::MAX) * Fr::from(600_u64);
        sum.into_bigint().to_bytes_be()
    });
    let sigma = secret.tag(&replicas[0].name, 0, &replicas[0].blocks[0]) * (Fr::from(u128::MAX) * Fr::from(600_u64));
    assert_eq!(proof.sigma_eip2537().to_vec(), eip_g1(sigma.into_affine()));
    assert_eq!(verify(&owner().key, &terms, &proof), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn proofs_and_outcomes_agree(
        sizes in prop::collection::vec(1_usize..4, 1..4),
        picks in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 1..9),
        label in any::<u32>(),
        tampered in 0_usize..128,
        bit in 0_u8..8,
    ) {
        let (owner, secret) = (owner(), secret(1));
        let replicas: Vec<Replica> = sizes.iter().enumerate().map(|(at, blocks)| replica(owner, &format!("{label} {at}"), *blocks)).collect();
        let samples: Vec<(usize, u64)> = picks.iter().map(|(which, block)| {
            let which = which.index(sizes.len());
            (which, block.index(sizes[which]) as u64)
        }).collect();
        let terms = terms(owner, &label.to_string(), &replicas, &samples);
        let (_, r) = drawn(&word(&label.to_string()), &owner.key.id(), samples.len());

        let proof = prove(owner, &terms, &replicas);
        prop_assert_eq!(proof.to_bytes().to_vec(), referee_proof(&secret, &terms.items, r, &replicas));
        prop_assert_eq!(Proof::from_bytes(&proof.to_bytes()), Ok(proof));
        prop_assert_eq!(verify(&owner.key, &terms, &proof), Ok(()));
        prop_assert_eq!(verify_batch(&owner.key, &[(terms.clone(), proof), (terms.clone(), proof)], &SEED), Ok(()));
        let (a, stands) = referee_verifies(secret.v(), secret.w(), &terms.items, r, &proof);
        prop_assert!(stands);
        prop_assert_eq!(statement(&terms, &proof).unwrap().to_vec(), eip_g1(a));

        let mut bytes = proof.to_bytes();
        bytes[tampered] ^= 1 << bit;
        let is_readable = bytes[96..] < *Fr::MODULUS.to_bytes_be()
            && bytes[..96].chunks(48).all(|point| G1Affine::deserialize_compressed(point).is_ok_and(|read| compressed(&read) == point));
        let read = Proof::from_bytes(&bytes);
        prop_assert_eq!(read.is_ok(), is_readable);
        if let Ok(bad) = read {
            prop_assert_eq!(verify(&owner.key, &terms, &bad), Err(CompactError::Proof));
            prop_assert_eq!(verify_batch(&owner.key, &[(terms.clone(), proof), (terms.clone(), bad)], &SEED), Err(CompactError::Proof));
            prop_assert!(!referee_verifies(secret.v(), secret.w(), &terms.items, r, &bad).1);
        }
    }

    // Any block index, so also beyond what a replica has, and the provider that the name says.
    #[test]
    fn tags_agree_anywhere(first in any::<u64>(), label in any::<u32>()) {
        let (secret, name) = (secret(1), Name::of(&claim(owner(), &label.to_string(), 1), PROVIDER));
        let block = compact_common::block(&label.to_string());
        let evaluation = owner().secret.evaluate(&block).unwrap();
        prop_assert_eq!(assay_core::compact::Evaluation::from_bytes(&evaluation.to_bytes()).unwrap().to_bytes(), evaluation.to_bytes());
        let tag = owner().secret.tags(&name, first, &[evaluation]);
        prop_assert_eq!(tag, compressed(&secret.tag(&name, first, &block)));
    }
}

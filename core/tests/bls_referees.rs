//! Outside referees for `core::bls`: arkworks shares no code with `blst`, RFC 9380 publishes points, noble made the shared vectors.

use ark_bls12_381::{Bls12_381, Fq, Fq2, Fr, G1Affine, G1Projective, G2Affine, G2Projective, g1};
use ark_ec::hashing::HashToCurve;
use ark_ec::hashing::curve_maps::wb::WBMap;
use ark_ec::hashing::map_to_curve_hasher::MapToCurveBasedHasher;
use ark_ec::pairing::Pairing;
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::PrimeField;
use ark_ff::field_hashers::DefaultFieldHasher;
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use assay_core::bls::{BlsError, Domain, PublicKey, SecretKey, Signature};
use assay_core::hash::{Hash32, decode_hex, keccak};
use serde_json::Value;
use sha2::Sha256;

/// `BLS12381G1_XMD:SHA-256_SSWU_RO_` as arkworks has it.
type ArkHasher = MapToCurveBasedHasher<G1Projective, DefaultFieldHasher<Sha256>, WBMap<g1::Config>>;

const DOMAINS: [Domain; 8] = [
    Domain::ProofOfPossession,
    Domain::Report,
    Domain::Commit,
    Domain::BitVote,
    Domain::ViewWish,
    Domain::Vrf,
    Domain::TlsKey,
    Domain::Drand,
];

fn ark_hash(message: &[u8], dst: &[u8]) -> G1Affine {
    ArkHasher::new(dst).unwrap().hash(message).unwrap()
}

fn ark_scalar(secret: &SecretKey) -> Fr {
    Fr::from_be_bytes_mod_order(&*secret.to_bytes())
}

fn compressed<T: CanonicalSerialize>(point: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    point.serialize_compressed(&mut bytes).unwrap();
    bytes
}

/// `e(signature, g2) = e(H(message), key)`, on points that arkworks itself read from our bytes and checked.
fn ark_verifies(key: &PublicKey, domain: Domain, message: &[u8], signature: &Signature) -> bool {
    let key = G2Affine::deserialize_compressed(&key.to_compressed()[..]).unwrap();
    let signature = G1Affine::deserialize_compressed(&signature.to_compressed()[..]).unwrap();
    Bls12_381::pairing(signature, G2Affine::generator()) == Bls12_381::pairing(ark_hash(message, domain.dst()), key)
}

fn secrets(count: u8) -> Vec<SecretKey> {
    (1..=count).map(|seed| SecretKey::key_gen(&[seed; 32]).unwrap()).collect()
}

fn vectors(name: &str) -> Value {
    let path = format!("{}/../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    decode_hex(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

// ---- arkworks ----

#[test]
fn arkworks_makes_the_same_keys_and_signatures_and_accepts_ours() {
    for (index, domain) in DOMAINS.into_iter().enumerate() {
        let message = keccak([b"referee", &[index as u8]]);
        for secret in secrets(3) {
            let (key, signature) = (secret.public_key(), secret.sign(domain, &message));
            let scalar = ark_scalar(&secret);
            let ark_key = (G2Affine::generator() * scalar).into_affine();
            let ark_signature = (ark_hash(&message.0, domain.dst()) * scalar).into_affine();
            assert_eq!(compressed(&ark_key), key.to_compressed(), "{domain:?}");
            assert_eq!(compressed(&ark_signature), signature.to_compressed(), "{domain:?}");
            assert!(ark_verifies(&key, domain, &message.0, &signature), "{domain:?}");
            assert!(!ark_verifies(&key, domain, &[9; 32], &signature), "{domain:?}");
        }
    }
}

#[test]
fn we_read_and_accept_what_arkworks_made() {
    let message = Hash32([5; 32]);
    for number in [1u64, 2, u64::MAX] {
        let scalar = Fr::from(number);
        let key = compressed(&(G2Affine::generator() * scalar).into_affine());
        let key = PublicKey::from_compressed(&key.try_into().unwrap()).unwrap();
        for domain in DOMAINS {
            let signature = compressed(&(ark_hash(&message.0, domain.dst()) * scalar).into_affine());
            let signature = Signature::from_slice(&signature).unwrap();
            assert_eq!(key.verify(domain, &message, &signature), Ok(()));
        }
    }
}

#[test]
fn no_domain_verifies_as_another() {
    let (secret, message) = (&secrets(1)[0], Hash32([6; 32]));
    for signed in DOMAINS {
        let signature = secret.sign(signed, &message);
        for read in DOMAINS {
            assert_eq!(secret.public_key().verify(read, &message, &signature).is_ok(), signed == read);
            assert_eq!(ark_verifies(&secret.public_key(), read, &message.0, &signature), signed == read);
        }
    }
}

#[test]
fn aggregates_are_arkworks_sums() {
    let (secrets, message) = (secrets(33), Hash32([7; 32]));
    let signatures: Vec<Signature> = secrets.iter().map(|secret| secret.sign(Domain::Report, &message)).collect();
    let keys: Vec<PublicKey> = secrets.iter().map(SecretKey::public_key).collect();
    for count in [1, 2, 32, 33] {
        let signature = Signature::aggregate(&signatures[..count]).unwrap();
        let key = PublicKey::aggregate(&keys[..count]).unwrap();
        let scalar: Fr = secrets[..count].iter().map(ark_scalar).sum();
        let hash = ark_hash(&message.0, Domain::Report.dst());
        assert_eq!(compressed(&(hash * scalar).into_affine()), signature.to_compressed());
        assert_eq!(compressed(&(G2Affine::generator() * scalar).into_affine()), key.to_compressed());
        assert!(ark_verifies(&key, Domain::Report, &message.0, &signature));
    }
}

// Each coordinate of the EIP-2537 form, against arkworks' own field elements.
#[test]
fn on_chain_forms_hold_arkworks_coordinates() {
    let element = |value: Fq| {
        let mut big_endian = vec![0; 16];
        let mut little_endian = compressed(&value);
        little_endian.reverse();
        big_endian.extend(little_endian);
        big_endian
    };
    let pair = |value: Fq2| [element(value.c0), element(value.c1)].concat();
    let secret = &secrets(1)[0];
    let key = (G2Affine::generator() * ark_scalar(secret)).into_affine();
    assert_eq!(secret.public_key().to_eip2537().to_vec(), [pair(key.x), pair(key.y)].concat());
    let message = Hash32([8; 32]);
    let signature = (ark_hash(&message.0, Domain::Report.dst()) * ark_scalar(secret)).into_affine();
    let ours = secret.sign(Domain::Report, &message).to_eip2537();
    assert_eq!(ours.to_vec(), [element(signature.x), element(signature.y)].concat());
}

// ---- RFC 9380 ----

/// A signature by the secret key 1 is the hash itself.
fn one() -> [u8; 32] {
    let mut one = [0; 32];
    one[31] = 1;
    one
}

#[test]
fn both_libraries_hash_as_rfc_9380_says() {
    let file = vectors("rfc9380_g1");
    let dst = file["dst"].as_str().unwrap().as_bytes();
    let one = blst::min_sig::SecretKey::from_bytes(&one()).unwrap();
    for vector in file["vectors"].as_array().unwrap() {
        let message = vector["message"].as_str().unwrap().as_bytes();
        let point = Signature::from_eip2537(&bytes(&vector["point128"])).unwrap();
        assert_eq!(compressed(&ark_hash(message, dst)), point.to_compressed());
        // The RFC's tag is none of ours, so this asks the library below `core::bls` directly.
        assert_eq!(one.sign(message, dst, &[]).compress(), point.to_compressed());
    }
}

#[test]
fn our_domains_hash_as_the_referee_that_keeps_the_rfc() {
    let one = SecretKey::from_bytes(&one()).unwrap();
    for domain in DOMAINS {
        for seed in 0..8u8 {
            let message = keccak([b"rfc", &[seed]]);
            assert_eq!(one.sign(domain, &message).to_compressed().to_vec(), compressed(&ark_hash(&message.0, domain.dst())));
        }
    }
}

// ---- what must be refused ----

fn ark_g1(padded: &[u8; 128]) -> G1Affine {
    let element = |at: usize| Fq::from_be_bytes_mod_order(&padded[at + 16..at + 64]);
    G1Affine::new_unchecked(element(0), element(64))
}

fn ark_g2(padded: &[u8; 256]) -> G2Affine {
    let element = |at: usize| Fq::from_be_bytes_mod_order(&padded[at + 16..at + 64]);
    G2Affine::new_unchecked(Fq2::new(element(0), element(64)), Fq2::new(element(128), element(192)))
}

// Defence: `validate` in the constructors. Without it a point of another subgroup lets a forger shift an aggregate.
#[test]
fn wrong_subgroup_points_are_refused_in_every_form() {
    let points = vectors("curve_points");
    let (g1, g2) = (bytes::<128>(&points["g1"]["wrongSubgroup"]), bytes::<256>(&points["g2"]["wrongSubgroup"]));
    let (g1_point, g2_point) = (ark_g1(&g1), ark_g2(&g2));
    assert!(g1_point.is_on_curve() && !g1_point.is_in_correct_subgroup_assuming_on_curve());
    assert!(g2_point.is_on_curve() && !g2_point.is_in_correct_subgroup_assuming_on_curve());
    assert_eq!(Signature::from_eip2537(&g1), Err(BlsError::Subgroup));
    assert_eq!(PublicKey::from_eip2537(&g2), Err(BlsError::Subgroup));
    assert_eq!(Signature::from_slice(&compressed(&g1_point)), Err(BlsError::Subgroup));
    assert_eq!(PublicKey::from_compressed(&compressed(&g2_point).try_into().unwrap()), Err(BlsError::Subgroup));
}

// The pairing alone would not notice: a good signature plus a point of small order.
#[test]
fn a_good_point_shifted_by_a_small_order_one_is_refused() {
    let points = vectors("curve_points");
    // The order times a point leaves only its part outside the subgroup.
    let small = ark_g1(&bytes(&points["g1"]["wrongSubgroup"])).mul_bigint(Fr::MODULUS);
    assert_ne!(small, G1Projective::default());
    let good = G1Affine::deserialize_compressed(&secrets(1)[0].sign(Domain::Report, &Hash32([1; 32])).to_compressed()[..]).unwrap();
    assert_eq!(Signature::from_slice(&compressed(&(small + good).into_affine())), Err(BlsError::Subgroup));

    let small = ark_g2(&bytes(&points["g2"]["wrongSubgroup"])).mul_bigint(Fr::MODULUS);
    assert_ne!(small, G2Projective::default());
    let good = G2Affine::deserialize_compressed(&secrets(1)[0].public_key().to_compressed()[..]).unwrap();
    let shifted = compressed(&(small + good).into_affine());
    assert_eq!(PublicKey::from_compressed(&shifted.try_into().unwrap()), Err(BlsError::Subgroup));
}

#[test]
fn points_off_the_curve_and_other_encodings_are_refused() {
    let points = vectors("curve_points");
    assert_eq!(Signature::from_eip2537(&bytes(&points["g1"]["offCurve"])), Err(BlsError::Encoding));
    assert_eq!(PublicKey::from_eip2537(&bytes(&points["g2"]["offCurve"])), Err(BlsError::Encoding));

    let good = secrets(1)[0].sign(Domain::Report, &Hash32([1; 32]));
    let with = |change: fn(&mut [u8; 48])| {
        let mut changed = good.to_compressed();
        change(&mut changed);
        Signature::from_compressed(&changed)
    };
    assert_eq!(with(|bytes| bytes[0] &= 0x7f), Err(BlsError::Encoding), "without the compression flag");
    assert_eq!(with(|bytes| bytes[0] |= 0x40), Err(BlsError::Encoding), "infinity with coordinates");
    assert_eq!(with(|bytes| bytes.fill(0xff)), Err(BlsError::Encoding), "a coordinate beyond the field");
    assert_eq!(Signature::from_slice(&good.to_compressed()[..47]), Err(BlsError::Encoding));

    // x + p is the same residue: only the smaller of the two is an encoding.
    let mut above_modulus = good.to_eip2537();
    add_modulus(&mut above_modulus[..64]);
    assert_eq!(Signature::from_eip2537(&above_modulus), Err(BlsError::Encoding));
    for at in [0, 15, 64, 79] {
        let mut dirty = good.to_eip2537();
        dirty[at] = 1;
        assert_eq!(Signature::from_eip2537(&dirty), Err(BlsError::Encoding), "padding byte {at}");
    }
}

/// Adds the field's modulus to a 64-byte big-endian number.
fn add_modulus(number: &mut [u8]) {
    let mut modulus = Vec::new();
    Fq::MODULUS.serialize_compressed(&mut modulus).unwrap();
    let mut carry = 0u16;
    for (to, from) in number.iter_mut().rev().zip(modulus.into_iter().chain(std::iter::repeat(0))) {
        let sum = u16::from(*to) + u16::from(from) + carry;
        (*to, carry) = (sum as u8, sum >> 8);
    }
}

// Defence: infinity would verify for the sum of no keys, or of keys that cancel out.
#[test]
fn infinity_is_refused_also_as_a_sum() {
    let g1: [u8; 48] = compressed(&G1Affine::zero()).try_into().unwrap();
    let g2: [u8; 96] = compressed(&G2Affine::zero()).try_into().unwrap();
    assert_eq!(Signature::from_compressed(&g1), Err(BlsError::Infinity));
    assert_eq!(PublicKey::from_compressed(&g2), Err(BlsError::Infinity));
    assert_eq!(Signature::from_eip2537(&[0; 128]), Err(BlsError::Infinity));
    assert_eq!(PublicKey::from_eip2537(&[0; 256]), Err(BlsError::Infinity));

    let secret = &secrets(1)[0];
    let mut negated = compressed(&-ark_scalar(secret));
    negated.reverse();
    let opposite = SecretKey::from_bytes(&negated.try_into().unwrap()).unwrap();
    let message = Hash32([2; 32]);
    let both = [secret.sign(Domain::Report, &message), opposite.sign(Domain::Report, &message)];
    assert_eq!(Signature::aggregate(&both), Err(BlsError::Infinity));
    assert_eq!(PublicKey::aggregate(&[secret.public_key(), opposite.public_key()]), Err(BlsError::Infinity));
    assert_eq!(Signature::aggregate(&[]), Err(BlsError::Empty));
    assert_eq!(PublicKey::aggregate(&[]), Err(BlsError::Empty));
}

#[test]
fn secrets_are_scalars_below_the_order() {
    let mut order = compressed(&-Fr::from(1u64));
    order.reverse();
    let largest: [u8; 32] = order.try_into().unwrap();
    assert!(SecretKey::from_bytes(&largest).is_ok());
    let mut beyond = largest;
    beyond[31] += 1;
    assert!(matches!(SecretKey::from_bytes(&beyond), Err(BlsError::Secret)));
    assert!(matches!(SecretKey::from_bytes(&[0; 32]), Err(BlsError::Secret)));
    assert!(matches!(SecretKey::from_bytes(&[0xff; 32]), Err(BlsError::Secret)));
}

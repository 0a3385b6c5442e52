//! What a lazy provider, a malicious owner or a forger tries against `core::compact`, one test for each, and that honest ones pass.

mod compact_common;

use ark_bls12_381::{Fq, Fr, G1Affine, G1Projective, G2Affine};
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{BigInteger, PrimeField};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use assay_core::bls::BlsError;
use assay_core::challenge::Stream;
use assay_core::claim::Claim;
use assay_core::compact::{
    CompactError, Evaluation, Name, Powers, Proof, Prover, TAG_BYTES, TagCheck, TagKey, Terms, statement, verify, verify_batch,
};
use assay_core::hash::{decode_hex, keccak};
use assay_core::ids::ProviderId;
use assay_core::replica::BLOCK_BYTES;
use compact_common::{Owner, PROVIDER, Replica, SEED, block, claim, other_owner, owner, prove, replica, tagged, terms, word};

// ---- points, by arkworks ----

fn compressed(point: &impl CanonicalSerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    point.serialize_compressed(&mut bytes).unwrap();
    bytes
}

fn point(bytes: &[u8]) -> G1Projective {
    G1Affine::deserialize_compressed(bytes).unwrap().into()
}

fn bytes(point: G1Projective) -> Vec<u8> {
    compressed(&point.into_affine())
}

fn g1() -> G1Projective {
    G1Projective::generator()
}

fn infinity() -> Vec<u8> {
    compressed(&G1Affine::zero())
}

fn vector_point(group: &str) -> Vec<u8> {
    let path = format!("{}/../tests/vectors/curve_points.json", env!("CARGO_MANIFEST_DIR"));
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    decode_hex(file[group]["wrongSubgroup"].as_str().unwrap()).unwrap()
}

/// On the curve; a multiple of a point outside the subgroup whose part in the subgroup is gone.
fn small_order() -> G1Projective {
    let padded = vector_point("g1");
    let element = |at: usize| Fq::from_be_bytes_mod_order(&padded[at + 16..at + 64]);
    G1Affine::new_unchecked(element(0), element(64)).mul_bigint(Fr::MODULUS)
}

fn outside_g2() -> Vec<u8> {
    let padded = vector_point("g2");
    let element = |at: usize| Fq::from_be_bytes_mod_order(&padded[at + 16..at + 64]);
    let coordinate = |at: usize| ark_bls12_381::Fq2::new(element(at), element(at + 64));
    compressed(&G2Affine::new_unchecked(coordinate(0), coordinate(128)))
}

/// The same bytes with another part.
fn with(bytes: &[u8], at: usize, part: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at..at + part.len()].copy_from_slice(part);
    changed
}

fn plus_y(proof: &Proof, more: Fr) -> Proof {
    let y = Fr::from_be_bytes_mod_order(&proof.y()) + more;
    Proof::from_bytes(&with(&proof.to_bytes(), 96, &y.into_bigint().to_bytes_be())).unwrap()
}

fn shift_sigma(proof: &Proof, by: G1Projective) -> Proof {
    let bytes_of = proof.to_bytes();
    Proof::from_bytes(&with(&bytes_of, 0, &bytes(point(&bytes_of[..48]) + by))).unwrap()
}

/// Bytes that are no canonical encoding, though a lax reader finds a point in most of them.
fn non_canonical(canonical: &[u8]) -> Vec<Vec<u8>> {
    let small = (1..).map(|factor| bytes(g1() * Fr::from(factor))).find(|bytes| bytes[0] & 0x1f < 6).unwrap();
    // x plus the modulus, which still fits below the flags.
    let (mut above, mut carry) = (with(&small, 0, &[small[0] & 0x1f]), 0);
    for (to, from) in above.iter_mut().zip(Fq::MODULUS.to_bytes_be()).rev() {
        let sum = u16::from(*to) + u16::from(from) + carry;
        (*to, carry) = (sum as u8, sum >> 8);
    }
    above[0] |= small[0] & 0xe0;
    vec![
        above,
        with(canonical, 0, &[canonical[0] & 0x7f]),
        with(canonical, 0, &[canonical[0] | 0x40]),
        with(&infinity(), 47, &[1]),
        with(&infinity(), 0, &[0xe0]),
        vec![0xff; 48],
        vec![0; 48],
    ]
}

// ---- a replica and a proof to attack ----

/// Two replicas of four and two blocks, four samples, and the honest answer.
fn scene() -> (Vec<Replica>, Terms, Proof) {
    let replicas = vec![replica(owner(), "scene a", 4), replica(owner(), "scene b", 2)];
    let terms = terms(owner(), "scene", &replicas, &[(0, 1), (1, 0), (0, 3), (0, 2)]);
    let proof = prove(owner(), &terms, &replicas);
    assert_eq!(verify(&owner().key, &terms, &proof), Ok(()));
    (replicas, terms, proof)
}

fn check(replica: &Replica) -> Result<(), CompactError> {
    let mut check = TagCheck::new(&owner().key, &owner().powers, replica.name, &SEED);
    for block in &replica.blocks {
        check.block(block)?;
    }
    check.tags(&replica.tags)?;
    check.finish()
}

// ---- who is honest passes ----

#[test]
fn honest_proofs_stand_for_one_block_repeated_blocks_and_many_objects() {
    let many: Vec<Replica> = (1..=7).map(|blocks| replica(owner(), &format!("many {blocks}"), blocks)).collect();
    let every: Vec<(usize, u64)> = (0..30).map(|at| (at % 7, at as u64 % (at as u64 % 7 + 1))).collect();
    for samples in [&[(0, 0)][..], &[(0, 0), (0, 0)], &[(3, 2), (1, 1), (3, 2), (3, 2)], &every] {
        let terms = terms(owner(), "honest", &many, samples);
        let proof = prove(owner(), &terms, &many);
        assert_eq!(verify(&owner().key, &terms, &proof), Ok(()), "{samples:?}");
        assert_eq!(Proof::from_bytes(&proof.to_bytes()), Ok(proof));
    }
}

// Defence: psi may be infinity. Otherwise an owner stores constant blocks and every provider of them fails.
#[test]
fn constant_blocks_do_not_frame_the_provider() {
    let constant = |scalar: u8| with(&vec![0; BLOCK_BYTES], 0, &[scalar]);
    let replicas = [tagged(owner(), "constant", vec![constant(1), constant(9), vec![0; BLOCK_BYTES]])];
    assert_eq!(check(&replicas[0]), Ok(()));
    for samples in [&[(0, 0)][..], &[(0, 2)], &[(0, 0), (0, 1), (0, 2), (0, 1)]] {
        let terms = terms(owner(), "constant", &replicas, samples);
        let proof = prove(owner(), &terms, &replicas);
        assert_eq!(proof.to_bytes()[48..96], infinity());
        let read = Proof::from_bytes(&proof.to_bytes()).unwrap();
        assert_eq!(verify(&owner().key, &terms, &read), Ok(()));
        assert_eq!(verify_batch(&owner().key, &[(terms.clone(), read), scene_pair()], &SEED), Ok(()));
        refused!(verify(&owner().key, &terms, &plus_y(&proof, Fr::from(1))), CompactError::Proof);
    }
}

fn scene_pair() -> (Terms, Proof) {
    let (_, terms, proof) = scene();
    (terms, proof)
}

#[test]
fn honest_tags_pass_in_any_pieces_and_mixture() {
    // More blocks than the sum takes before it is reduced.
    let replica = replica(owner(), "mixture", 300);
    assert_eq!(check(&replica), Ok(()));
    let mut check = TagCheck::new(&owner().key, &owner().powers, replica.name, &SEED);
    let mut tags = replica.tags.chunks(7 * TAG_BYTES);
    for (at, block) in replica.blocks.iter().enumerate() {
        if at % 5 == 3 {
            check.tags(tags.next().unwrap_or_default()).unwrap();
        }
        check.block(block).unwrap();
    }
    check.tags(&[]).unwrap();
    tags.for_each(|piece| check.tags(piece).unwrap());
    assert_eq!(check.finish(), Ok(()));
}

// ---- a provider without the data ----

// Defence: the equation counts every item. Without it a provider answers for the blocks that it kept.
#[test]
fn a_dropped_block_is_noticed() {
    let (replicas, full, _) = scene();
    for missing in 0..full.items.len() {
        let mut kept = full.clone();
        kept.items.remove(missing);
        refused!(verify(&owner().key, &full, &prove(owner(), &kept, &replicas)), CompactError::Proof);
        let mut zeros = replicas.clone();
        zeros.iter_mut().filter(|replica| replica.name == full.items[missing].name).for_each(|replica| {
            replica.blocks[full.items[missing].block as usize] = vec![0; BLOCK_BYTES];
        });
        refused!(verify(&owner().key, &full, &prove(owner(), &full, &zeros)), CompactError::Proof);
    }
}

// Defence: the tag binds every bit of the block.
#[test]
fn a_flipped_bit_is_noticed_anywhere_in_a_block() {
    let (replicas, terms, _) = scene();
    for at in [0, 1, 30, 31, 63_488, BLOCK_BYTES - 31, BLOCK_BYTES - 1] {
        let mut damaged = replicas.clone();
        damaged[0].blocks[1][at] ^= 1 << (at % 8);
        refused!(verify(&owner().key, &terms, &prove(owner(), &terms, &damaged)), CompactError::Proof);
    }
}

// Defence: the block's number is hashed into its tag. Without it any block that was kept answers for another.
#[test]
fn a_block_does_not_answer_for_another() {
    let (mut replicas, terms, _) = scene();
    replicas[0].blocks.swap(1, 2);
    refused!(verify(&owner().key, &terms, &prove(owner(), &terms, &replicas)), CompactError::Proof);
    // With their tags, too, the block is in the wrong place.
    let mut both = replica(owner(), "scene a", 4);
    both.blocks.swap(1, 2);
    let (left, right) = (both.tag(1).to_vec(), both.tag(2).to_vec());
    both.tags = with(&with(&both.tags, TAG_BYTES, &right), 2 * TAG_BYTES, &left);
    replicas[0] = both;
    refused!(verify(&owner().key, &terms, &prove(owner(), &terms, &replicas)), CompactError::Proof);
}

// Defence: every item's own coefficient. With equal ones the sum of all blocks, kept once, would answer for any order of samples.
#[test]
fn swapped_coefficients_are_noticed() {
    let (_, terms, proof) = scene();
    let mut swapped = terms;
    let (first, second) = (swapped.items[0].nu, swapped.items[1].nu);
    (swapped.items[0].nu, swapped.items[1].nu) = (second, first);
    refused!(verify(&owner().key, &swapped, &proof), CompactError::Proof);
}

// Defence: coefficients and place follow from the seed. Without it one proof is good for ever.
#[test]
fn a_proof_is_not_good_for_another_seed() {
    let (replicas, _, proof) = scene();
    let later = terms(owner(), "the next epoch", &replicas, &[(0, 1), (1, 0), (0, 3), (0, 2)]);
    refused!(verify(&owner().key, &later, &proof), CompactError::Proof);
}

// Defence: the place is drawn, too: of another place no one knows the value.
#[test]
fn a_proof_is_not_good_for_another_place() {
    let (replicas, terms, _) = scene();
    let mut other = compact_common::terms(owner(), "elsewhere", &replicas, &[(0, 1), (1, 0), (0, 3), (0, 2)]);
    other.items.clone_from(&terms.items);
    refused!(verify(&owner().key, &terms, &prove(owner(), &other, &replicas)), CompactError::Proof);
}

// Defence: the place and the coefficients come from 256-bit hashes over everything that is asked. Without the key's id two owners share them.
#[test]
fn draws_differ_by_seed_key_and_sample_count() {
    let replicas = [replica(owner(), "draws", 1)];
    let blocks = |count: usize| vec![(replicas[0].name, 0); count];
    let draw = |seed: &str, owner: &Owner, count| Terms::draw(&word(seed), &owner.key.id(), blocks(count).into_iter());
    let base = draw("a", owner(), 3);
    for other in [draw("b", owner(), 3), draw("a", other_owner(), 3)] {
        assert_ne!(base.r(), other.r());
        assert!(base.items.iter().all(|item| other.items.iter().all(|of_other| item.nu != of_other.nu)));
    }
    assert_ne!(base.r(), draw("a", owner(), 4).r());
}

// Defence: the provider is in the name. Without it two providers keep one copy.
#[test]
fn another_providers_proof_is_refused() {
    let (replicas, terms, proof) = scene();
    let mut mine = terms.clone();
    for item in &mut mine.items {
        let claim = &replicas.iter().find(|replica| replica.name == item.name).unwrap().claim;
        item.name = Name::of(claim, ProviderId(PROVIDER.0 + 1));
    }
    refused!(verify(&owner().key, &mine, &proof), CompactError::Proof);
}

// Defence: v and w in the equation.
#[test]
fn a_proof_is_refused_under_another_tag_key() {
    let (_, terms, proof) = scene();
    refused!(verify(&other_owner().key, &terms, &proof), CompactError::Proof);
    refused!(verify_batch(&other_owner().key, &[(terms, proof)], &SEED), CompactError::Proof);
}

// Defence: a block that was sampled twice counts twice. Without it the verifier refuses who is honest, or takes half an answer.
#[test]
fn a_block_sampled_twice_must_be_answered_twice() {
    let replicas = [replica(owner(), "twice", 2)];
    let twice = terms(owner(), "twice", &replicas, &[(0, 1), (0, 1)]);
    assert_ne!(twice.items[0].nu, twice.items[1].nu);
    let mut once = twice.clone();
    once.items.pop();
    refused!(verify(&owner().key, &twice, &prove(owner(), &once, &replicas)), CompactError::Proof);
    assert_eq!(verify(&owner().key, &twice, &prove(owner(), &twice, &replicas)), Ok(()));
}

// Defence: the prover compares what it was given with the terms. Without it a slip of the driver becomes a bad proof.
#[test]
fn the_prover_refuses_to_answer_for_other_items() {
    let (replicas, terms, _) = scene();
    let with_items = |picks: &[usize]| {
        let mut prover = Prover::new();
        for item in picks.iter().map(|pick| &terms.items[*pick]) {
            let replica = replicas.iter().find(|replica| replica.name == item.name).unwrap();
            prover.add(item.nu, &replica.blocks[item.block as usize], replica.tag(item.block)).unwrap();
        }
        prover.finish(&terms, &owner().powers)
    };
    assert!(with_items(&[0, 1, 2, 3]).is_ok());
    for picks in [&[][..], &[0, 1, 2], &[1, 0, 2, 3], &[0, 1, 2, 3, 3]] {
        refused!(with_items(picks), CompactError::Count { expected: 4, .. });
    }
    let mut prover = Prover::new();
    let tag = replicas[0].tag(0);
    refused!(prover.add(1, &replicas[0].blocks[0][1..], tag), CompactError::Length { found: 126_975, .. });
    refused!(prover.add(1, &replicas[0].blocks[0], &tag[1..]), CompactError::Length { found: 47, .. });
    refused!(prover.add(1, &replicas[0].blocks[0], &infinity()), CompactError::Point { .. });
}

// Defence: no items, no proof. The owner's own key makes sigma = epsilon · y · g1 stand for nothing, here with y = 1.
#[test]
fn a_proof_of_nothing_is_refused() {
    let mut derived = [0; 128];
    blake3::Hasher::new_derive_key("assay 2026-11 tag key v1").update(&[1; 32]).finalize_xof().fill(&mut derived);
    let sigma = g1() * Fr::from_be_bytes_mod_order(&derived[..64]);
    let nothing = Proof::from_bytes(&[bytes(sigma), infinity(), Fr::from(1).into_bigint().to_bytes_be()].concat()).unwrap();
    let (_, mut empty, _) = scene();
    empty.items.clear();
    refused!(verify(&owner().key, &empty, &nothing), CompactError::Empty { .. });
    refused!(statement(&empty, &nothing), CompactError::Empty { .. });
    refused!(verify_batch(&owner().key, &[(empty.clone(), nothing)], &SEED), CompactError::Empty { .. });
    refused!(verify_batch(&owner().key, &[scene_pair(), (empty.clone(), nothing)], &SEED), CompactError::Empty { .. });
    refused!(verify_batch(&owner().key, &[], &SEED), CompactError::Empty { .. });
    refused!(Prover::new().finish(&empty, &owner().powers), CompactError::Empty { .. });
}

// ---- encodings of proofs ----

// Defence: sigma is not infinity. With A at infinity it would stand.
#[test]
fn sigma_at_infinity_is_refused() {
    let (.., proof) = scene();
    let at_infinity = Proof::from_bytes(&with(&proof.to_bytes(), 0, &infinity()));
    refused!(at_infinity, CompactError::Point { what: "sigma", source: BlsError::Infinity });
}

// Defence: the subgroup check. The pairing does not see a point of small order that is added, so one proof would have many forms.
#[test]
fn points_of_the_wrong_subgroup_are_refused_in_proofs() {
    let (.., proof) = scene();
    let bytes_of = proof.to_bytes();
    for at in [0, 48] {
        for outside in [bytes(small_order()), bytes(point(&bytes_of[at..at + 48]) + small_order())] {
            let read = Proof::from_bytes(&with(&bytes_of, at, &outside));
            refused!(read, CompactError::Point { source: BlsError::Subgroup, .. });
        }
    }
}

// Defence: only the canonical encoding is read. With a second form a refused proof comes back under another hash.
#[test]
fn other_encodings_of_a_proof_are_refused() {
    let (.., proof) = scene();
    let bytes_of = proof.to_bytes();
    for at in [0, 48] {
        for (which, form) in non_canonical(&bytes_of[at..at + 48]).iter().enumerate() {
            let read = Proof::from_bytes(&with(&bytes_of, at, form));
            assert!(matches!(read, Err(CompactError::Point { source: BlsError::Encoding, .. })), "{which} at {at}");
        }
    }
    for length in [0, 96, 127, 129] {
        let mut other = bytes_of.to_vec();
        other.resize(length, 0);
        refused!(Proof::from_bytes(&other), CompactError::Length { expected: 128, .. });
    }
}

// Defence: y is below the order. y plus the order is the same number to the equation.
#[test]
fn y_beyond_the_group_order_is_refused() {
    let (_, terms, good) = scene();
    let mut order = Fr::MODULUS.to_bytes_be();
    for small in 0..3_u8 {
        let read = Proof::from_bytes(&with(&good.to_bytes(), 96, &order));
        refused!(read, CompactError::Scalar { what: "y" });
        order[31] += 1 + small;
    }
    let mut y = Fr::MODULUS;
    y.add_with_carry(&Fr::from_be_bytes_mod_order(&good.y()).into_bigint());
    refused!(Proof::from_bytes(&with(&good.to_bytes(), 96, &y.to_bytes_be())), CompactError::Scalar { what: "y" });
    assert_eq!(verify(&owner().key, &terms, &good), Ok(()));
    refused!(Evaluation::from_bytes(&order.try_into().unwrap()), CompactError::Scalar { .. });
}

// ---- batches ----

#[test]
fn a_tampered_y_spoils_a_batch() {
    let (_, terms, proof) = scene();
    let mut batch = vec![(terms.clone(), proof); 5];
    assert_eq!(verify_batch(&owner().key, &batch, &SEED), Ok(()));
    batch[3].1 = plus_y(&proof, Fr::from(1));
    refused!(verify_batch(&owner().key, &batch, &SEED), CompactError::Proof);
}

// Defence: a random coefficient for every proof. Without it two bad proofs cancel each other.
#[test]
fn bad_proofs_do_not_cancel_in_a_batch() {
    let (_, terms, proof) = scene();
    let shifted = [shift_sigma(&proof, g1()), shift_sigma(&proof, -g1())];
    for bad in shifted {
        refused!(verify(&owner().key, &terms, &bad), CompactError::Proof);
    }
    let batch = shifted.map(|bad| (terms.clone(), bad));
    refused!(verify_batch(&owner().key, &batch, &SEED), CompactError::Proof);
    let by_y = [plus_y(&proof, Fr::from(5)), plus_y(&proof, -Fr::from(5))].map(|bad| (terms.clone(), bad));
    refused!(verify_batch(&owner().key, &by_y, &SEED), CompactError::Proof);
}

// Defence: the coefficients hash the proofs. With the seed alone, known beforehand, bad proofs are made to cancel.
#[test]
fn a_known_seed_does_not_help_to_cancel_in_a_batch() {
    let (_, terms, proof) = scene();
    let mut stream = Stream::new(&[&keccak([b"assay.compactbatch.v1"]).0, &SEED, &owner().key.id().0]);
    let mut guess = || Fr::from(u128::from(stream.word()) << 64 | u128::from(stream.word()));
    let (first, second) = (guess(), guess());
    let batch = [shift_sigma(&proof, g1() * second), shift_sigma(&proof, -(g1() * first))].map(|bad| (terms.clone(), bad));
    refused!(verify_batch(&owner().key, &batch, &SEED), CompactError::Proof);
}

// ---- an owner with bad tags ----

// Defence: the check of all tags at ingest. Without it one bad tag makes an honest provider fail when it is sampled.
#[test]
fn a_single_bad_tag_among_many_is_noticed() {
    let good = replica(owner(), "ingest", 40);
    assert_eq!(check(&good), Ok(()));
    for at in [0, 1, 17, 39] {
        let other = [bytes(point(good.tag(at)) + g1()), good.tag((at + 1) % 40).to_vec(), other_tag(&good, at)];
        for tag in other {
            let tags = with(&good.tags, at as usize * TAG_BYTES, &tag);
            refused!(check(&Replica { tags, ..good.clone() }), CompactError::Tags);
        }
    }
}

/// A good tag of the block, but under another key.
fn other_tag(replica: &Replica, at: u64) -> Vec<u8> {
    let other = other_owner();
    let evaluation = other.secret.evaluate(&replica.blocks[at as usize]).unwrap();
    other.secret.tags(&replica.name, at, &[evaluation])
}

// Defence: a random coefficient for every tag. Without it two bad tags cancel in the sum, and fail when one of them is sampled.
#[test]
fn bad_tags_do_not_cancel_at_ingest() {
    let good = replica(owner(), "cancel", 6);
    let (second, fourth) = (bytes(point(good.tag(2)) + g1()), bytes(point(good.tag(4)) - g1()));
    let tags = with(&with(&good.tags, 2 * TAG_BYTES, &second), 4 * TAG_BYTES, &fourth);
    refused!(check(&Replica { tags, ..good }), CompactError::Tags);
}

// Defence: the same, for blocks that are swapped or changed behind good tags.
#[test]
fn blocks_that_are_not_those_of_the_tags_are_noticed_at_ingest() {
    let good = replica(owner(), "blocks", 6);
    let mut swapped = good.clone();
    swapped.blocks.swap(1, 2);
    refused!(check(&swapped), CompactError::Tags);
    let mut flipped = good.clone();
    flipped.blocks[5][126_975] ^= 0x80;
    refused!(check(&flipped), CompactError::Tags);
    refused!(check(&Replica { name: Name(word("another name")), ..good }), CompactError::Tags);
}

// Defence: as many tags as blocks. Without it the last blocks of a replica have no tags.
#[test]
fn missing_and_surplus_tags_are_refused_at_ingest() {
    let good = replica(owner(), "count", 3);
    let tags = |bytes: &[u8]| Replica { tags: bytes.to_vec(), ..good.clone() };
    refused!(check(&tags(&good.tags[..2 * TAG_BYTES])), CompactError::Count { expected: 3, found: 2, .. });
    refused!(check(&tags(&[&good.tags[..], good.tag(0)].concat())), CompactError::Count { expected: 3, found: 4, .. });
    refused!(check(&tags(&good.tags[..143])), CompactError::Length { expected: 48, found: 47, .. });
    refused!(check(&Replica { blocks: vec![], tags: vec![], ..good.clone() }), CompactError::Empty { .. });
    let short = Replica { blocks: vec![good.blocks[0][31..].to_vec()], ..good.clone() };
    refused!(check(&short), CompactError::Length { expected: BLOCK_BYTES, .. });
}

// Defence: every tag is checked as a point. A part of small order cancels in no pairing, but in three of its proofs.
#[test]
fn tags_that_are_no_points_of_the_group_are_refused_at_ingest() {
    let good = replica(owner(), "points", 3);
    let with_tag = |tag: &[u8]| check(&Replica { tags: with(&good.tags, TAG_BYTES, tag), ..good.clone() });
    refused!(with_tag(&bytes(point(good.tag(1)) + small_order())), CompactError::Point { source: BlsError::Subgroup, .. });
    refused!(with_tag(&infinity()), CompactError::Point { source: BlsError::Infinity, .. });
    for form in non_canonical(good.tag(1)) {
        refused!(with_tag(&form), CompactError::Point { source: BlsError::Encoding, .. });
    }
}

// Defence: the root is in the name. Two contents under one name and number would give the secret away, and answer for each other.
#[test]
fn another_content_has_another_name() {
    let base = claim(owner(), "names", 2);
    let name = Name::of(&base, PROVIDER);
    let others = [
        Claim { root: word("other root"), ..base.clone() },
        Claim { object_id: word("other object"), ..base.clone() },
        Claim { replica_index: 1, ..base.clone() },
        Claim { object_length: base.object_length - 1, ..base.clone() },
        Claim { tag_key_id: word("other key"), ..base.clone() },
    ];
    for other in others {
        assert_ne!(Name::of(&other, PROVIDER), name, "{other:?}");
    }
    assert_ne!(Name::of(&base, ProviderId(PROVIDER.0 + 1)), name);

    // So a tag of the old content does not serve the new one.
    let old = tagged(owner(), "old root", vec![block("old")]);
    let mut new = tagged(owner(), "new root", vec![block("new")]);
    new.tags = old.tags;
    refused!(check(&new), CompactError::Tags);
}

// ---- an owner with a bad key ----

fn parse(bytes: &[u8], key: &TagKey) -> Result<Powers, CompactError> {
    Powers::parse(bytes, key, &SEED)
}

#[test]
fn good_powers_are_read_and_opened_again() {
    let replicas = [replica(owner(), "reopened", 2)];
    let terms = terms(owner(), "reopened", &replicas, &[(0, 1)]);
    let mut prover = Prover::new();
    prover.add(terms.items[0].nu, &replicas[0].blocks[1], replicas[0].tag(1)).unwrap();
    let proof = prover.finish(&terms, &Powers::reopen(&owner().power_bytes).unwrap()).unwrap();
    assert_eq!(proof, prove(owner(), &terms, &replicas));
}

// Defence: the random sum over all powers. With one bad power every proof of the provider fails.
#[test]
fn powers_that_are_not_geometric_are_refused() {
    let good = &owner().power_bytes;
    for at in [1, 2, 2048, 4095] {
        let bad = bytes(point(&good[48 * at..48 * (at + 1)]) + g1());
        refused!(parse(&with(good, 48 * at, &bad), &owner().key), CompactError::Powers);
    }
    let swapped = with(&with(good, 48, &good[96..144]), 96, &good[48..96]);
    refused!(parse(&swapped, &owner().key), CompactError::Powers);
}

// Defence: random coefficients. Without them what one power has too much the next may have too little.
#[test]
fn bad_powers_do_not_cancel() {
    let good = &owner().power_bytes;
    let (more, less) = (bytes(point(&good[48..96]) + g1()), bytes(point(&good[96..144]) - g1()));
    refused!(parse(&with(&with(good, 48, &more), 96, &less), &owner().key), CompactError::Powers);
}

// Defence: w in the check. The powers of another secret are geometric, too.
#[test]
fn powers_of_another_secret_are_refused() {
    refused!(parse(&other_owner().power_bytes, &owner().key), CompactError::Powers);
}

// Defence: the same, for a key whose halves are of two secrets.
#[test]
fn a_key_whose_halves_disagree_is_refused() {
    let (mine, other) = (owner().key.to_bytes(), other_owner().key.to_bytes());
    let mixed = TagKey::from_bytes(&[&mine[..96], &other[96..]].concat()).unwrap();
    assert_ne!(mixed.id(), owner().key.id());
    refused!(parse(&owner().power_bytes, &mixed), CompactError::Powers);
    let swapped = TagKey::from_bytes(&[&mine[96..], &mine[..96]].concat()).unwrap();
    refused!(parse(&owner().power_bytes, &swapped), CompactError::Powers);
}

// Defence: the first power is g1. All powers times two are geometric and agree with the key, but no proof made of them stands.
#[test]
fn powers_that_do_not_begin_with_the_generator_are_refused() {
    let doubled: Vec<u8> = owner().power_bytes.chunks(48).flat_map(|power| bytes(point(power) * Fr::from(2))).collect();
    refused!(parse(&doubled, &owner().key), CompactError::Powers);
    refused!(Powers::reopen(&doubled), CompactError::Powers);
}

// Defence: every power is checked as a point.
#[test]
fn powers_that_are_no_points_of_the_group_are_refused() {
    let good = &owner().power_bytes;
    let at = 48 * 100;
    let outside = bytes(point(&good[at..at + 48]) + small_order());
    refused!(parse(&with(good, at, &outside), &owner().key), CompactError::Point { source: BlsError::Subgroup, .. });
    refused!(parse(&with(good, at, &infinity()), &owner().key), CompactError::Point { source: BlsError::Infinity, .. });
    for form in non_canonical(&good[at..at + 48]) {
        refused!(parse(&with(good, at, &form), &owner().key), CompactError::Point { source: BlsError::Encoding, .. });
        refused!(Powers::reopen(&with(good, at, &form)), CompactError::Point { source: BlsError::Encoding, .. });
    }
    refused!(parse(&good[48..], &owner().key), CompactError::Length { expected: 196_608, .. });
    refused!(Powers::reopen(&good[1..]), CompactError::Length { .. });
}

// Defence: v and w are keys: in the subgroup, not infinity. With w at infinity the powers 1, 0, 0 … would agree.
#[test]
fn tag_keys_that_are_no_points_of_the_group_are_refused() {
    let good = owner().key.to_bytes();
    assert_eq!(TagKey::from_bytes(&good).unwrap(), owner().key);
    for at in [0, 96] {
        let outside = TagKey::from_bytes(&with(&good, at, &outside_g2()));
        refused!(outside, CompactError::Point { source: BlsError::Subgroup, .. });
        let infinite = TagKey::from_bytes(&with(&good, at, &compressed(&G2Affine::zero())));
        refused!(infinite, CompactError::Point { source: BlsError::Infinity, .. });
        refused!(TagKey::from_bytes(&with(&good, at, &[good[at] & 0x7f])), CompactError::Point { source: BlsError::Encoding, .. });
    }
    refused!(TagKey::from_bytes(&good[..191]), CompactError::Length { expected: 192, found: 191, .. });
}

// ---- secrets ----

// Defence: `Debug` by hand. A secret in a log is a forger's key.
#[test]
fn secrets_do_not_show() {
    let evaluation = owner().secret.evaluate(&block("hidden")).unwrap();
    assert_eq!(format!("{:?} {evaluation:?}", owner().secret), "TagSecret(hidden) Evaluation(hidden)");
    refused!(owner().secret.evaluate(&block("hidden")[1..]), CompactError::Length { .. });
}

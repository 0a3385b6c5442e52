//! Tags in, compact answers out, over real gRPC.

mod common;

use std::os::unix::fs::FileExt;

use assay_core::challenge::{Kind, answer_signing_digest};
use assay_core::compact::TagKey;
use assay_core::secp::recover;
use assay_core::slice::group::{Group, verify_group};
use assay_proto::convert::wire_bytes;
use assay_proto::provider::v1 as wire;
use common::*;
use tonic::Code;

/// Object lengths around every border of the format.
const LENGTHS: [usize; 14] = [0, 1, 30, 31, 32, 1023, 1024, 1025, 16_383, 16_384, 16_385, 126_975, 126_976, 126_977];

#[tokio::test(flavor = "multi_thread")]
async fn every_size_is_taken_with_tags_and_answered_in_both_modes() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replicas: Vec<_> = LENGTHS.iter().map(|length| Replica::tagged(&format!("size {length}"), *length)).collect();
    for replica in &replicas {
        let signed = node.finish(replica).await.unwrap();
        assert!(signed.is_by(&receipt_key().address(), &domain()));
        assert_eq!(std::fs::read(replica.file(directory.path(), "replica")).unwrap(), replica.bytes);
    }
    assert_eq!(std::fs::read_dir(directory.path().join("incoming")).unwrap().count(), 0);
    let set = set(&replicas.iter().collect::<Vec<_>>());
    let (mut by_slices, mut compact) = (0, 0);
    for index in 0..40 {
        let mut challenge = challenge(Kind::STORAGE, index, &set);
        challenge.extra = vec![0, set.root().blocks - 1, 0];
        let (answer, signature) = node.ask(&challenge).await.unwrap();
        match answer.payload.is_empty() {
            true => by_slices += 1,
            false => compact += 1,
        }
        assert!(check(&challenge, &set, &answer).all_valid());
        let digest = answer_signing_digest(&challenge, &answer.digest());
        assert_eq!(recover(&digest, &signature.unwrap()), Ok(receipt_key().address()));
    }
    assert!(by_slices > 0 && compact > 20, "{by_slices} by slices, {compact} compact");
    let page =
        node.provider.claims(wire::ClaimsRequest { sequence: 0, offset: 0, limit: 100, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(page.tag_keys, [wire_bytes(&tag_owner().key.to_bytes())]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_with_and_without_tags_are_answered_together() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let (tagged, plain) = (Replica::tagged("tagged", 1_000_000), Replica::new("plain", 1_000_000));
    node.finish(&tagged).await.unwrap();
    node.finish(&plain).await.unwrap();
    node.stop().await;
    let mut node = Node::start(&config(directory.path())).await;
    let set = set(&[&tagged, &plain]);
    for index in 0..5 {
        let challenge = challenge(Kind::STORAGE, index, &set);
        let (answer, _) = node.ask(&challenge).await.unwrap();
        assert!(check(&challenge, &set, &answer).all_valid());
        assert!(!answer.samples.is_empty(), "plain blocks need slices in every mode");
    }
    let mut impossible = challenge(Kind::STORAGE, 0, &set);
    impossible.extra = vec![set.root().blocks];
    assert_eq!(node.ask(&impossible).await.unwrap_err().code(), Code::InvalidArgument);
    let mut elsewhere = challenge(Kind::LATENCY_BLOCK, 0, &set);
    elsewhere.extra = vec![0];
    assert_eq!(node.ask(&elsewhere).await.unwrap_err().code(), Code::InvalidArgument);
    node.stop().await;
}

// Defence: `TagCheck` in `Files::check`. Without it an owner uploads a wrong tag, and every proof that hits its block slashes the provider.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_cannot_frame_the_provider_with_wrong_tags() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let good = Replica::tagged("framed", 500_000);
    let total = good.upload().len() as u64;
    let swapped = [&good.tags[48..96], &good.tags[..48], &good.tags[96..]].concat();
    let strangers = Replica::tagged_by(&TagOwner::new(9), "framed", 500_000).tags;
    let mut infinity = good.tags.clone();
    infinity[48..96].copy_from_slice(&[&[0xc0][..], &[0; 47]].concat());
    let mut no_point = good.tags.clone();
    no_point[60] ^= 1;
    for (name, tags) in [("swapped", swapped), ("strangers", strangers), ("infinity", infinity), ("no point", no_point)] {
        let bad = Replica { claim: good.claim.clone(), bytes: good.bytes.clone(), object: vec![], tags };
        let there = node.propose(&bad).await.unwrap();
        assert_eq!(there.received_bytes, 0, "{name}: nothing of the last attempt is left");
        if there.needs_tag_key {
            assert_eq!(node.commit(&bad).await.unwrap_err().code(), Code::FailedPrecondition, "no key yet");
            node.put_tag_key(tag_owner()).await.unwrap();
        }
        node.upload(&bad, 0, total).await.unwrap();
        let status = node.commit(&bad).await.unwrap_err();
        assert_eq!(status.code(), Code::DataLoss, "{name}: {status}");
        assert_eq!(node.describe().await.newest, None, "nothing was signed");
    }
    assert!(!good.file(directory.path(), "replica").exists());
    assert_eq!(node.finish(&good).await.unwrap().sequence, 1);
    node.stop().await;
}

// Defence: `Powers::parse` in `put_tag_key`. Without it an owner gives powers under which no proof stands.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_cannot_frame_the_provider_with_wrong_powers() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let (owner, other) = (tag_owner(), TagOwner::new(9));
    let mut swapped = owner.powers.clone();
    let (left, right) = swapped.split_at_mut(1000 * 48);
    left[999 * 48..].swap_with_slice(&mut right[..48]);
    let mut mixed = owner.key.to_bytes();
    mixed[96..].copy_from_slice(&other.key.to_bytes()[96..]);
    let w_of_another = TagKey::from_bytes(&mixed).unwrap();
    for (key, powers) in [
        (owner.key.to_bytes(), &other.powers[..]),
        (owner.key.to_bytes(), &swapped),
        (owner.key.to_bytes(), &owner.powers[48..]),
        (w_of_another.to_bytes(), &owner.powers),
    ] {
        let status = node.put(&key, powers).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    }
    assert_eq!(node.put(&[1; 192], &owner.powers).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(std::fs::read_dir(directory.path().join("tag-keys")).unwrap().count(), 0);
    node.put_tag_key(owner).await.unwrap();
    node.put_tag_key(owner).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_compact_answer_is_missing_and_never_invalid() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::tagged("damaged", 1_500_000);
    node.finish(&replica).await.unwrap();
    let set = set(&[&replica]);
    let challenge = storage_challenge(&set, false);
    let flip = |extension: &str, at: u64| {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(replica.file(directory.path(), extension)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    };
    let (middle_of_block_5, tag_of_block_2) = (5 * 126_976 + 60_000, 2 * 64 + 7);
    for (extension, at, block) in [("replica", middle_of_block_5, 5), ("tags", tag_of_block_2, 2)] {
        flip(extension, at);
        let (answer, signature) = node.ask(&challenge).await.unwrap();
        assert!(signature.is_some());
        let checked = check(&challenge, &set, &answer);
        let hit = |(_, sample): &(usize, assay_core::challenge::Sample)| sample.block == block;
        let expected: Vec<_> = challenge.samples().into_iter().enumerate().filter(hit).map(|(position, _)| position as u32).collect();
        assert!(!expected.is_empty());
        assert_eq!((checked.invalid, checked.missing), (vec![], expected), "{extension}");
        assert_eq!(node.describe().await.damaged_blocks, 1);
        flip(extension, at);
        assert!(check(&challenge, &set, &node.ask(&challenge).await.unwrap().0).all_valid());
        assert_eq!(node.describe().await.damaged_blocks, 0, "a block that reads again is taken off the list");
    }
    std::fs::remove_file(replica.file(directory.path(), "replica")).unwrap();
    let checked = check(&challenge, &set, &node.ask(&challenge).await.unwrap().0);
    assert_eq!((checked.valid, checked.invalid.len(), checked.missing.len()), (0, 0, 30));
    node.stop().await;
}

// Defence: `present` and the errors of `Opened`. Without it a failure of the system is signed as a loss and slashed.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_system_is_not_signed_as_a_loss_in_any_mode() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::tagged("system", 700_000);
    node.finish(&replica).await.unwrap();
    let set = set(&[&replica]);
    for extension in ["replica", "outboard", "tags"] {
        // A directory opens, and every read of it fails with an error that says nothing of the data.
        let (path, aside) = (replica.file(directory.path(), extension), directory.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        std::fs::create_dir(&path).unwrap();
        for by_slices in [true, false] {
            let challenge = storage_challenge(&set, by_slices);
            let asked = node.ask(&challenge).await;
            if extension == "tags" && by_slices {
                assert!(check(&challenge, &set, &asked.unwrap().0).all_valid());
                continue;
            }
            assert_eq!(asked.unwrap_err().code(), Code::Internal, "{extension}");
        }
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
    }
    assert_eq!(node.describe().await.damaged_blocks, 0);
    node.stop().await;
}

// Defence: the checksum of the powers' file, and `verify` in `Gathered::prove` behind it. Without both a damaged file makes a signed proof
// wrong although all data is whole.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_powers_silence_compact_answers_until_the_key_is_put_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::tagged("powers", 700_000);
    node.finish(&replica).await.unwrap();
    node.stop().await;
    let path = directory.path().join("tag-keys").join(format!("{}.powers", hex::encode(tag_owner().key.id().0)));
    let mut bytes = std::fs::read(&path).unwrap();
    // Two powers in each other's place are still points.
    let (left, right) = bytes.split_at_mut(192 + 48 * 7);
    left[192 + 48 * 6..].swap_with_slice(&mut right[..48]);
    std::fs::write(&path, &bytes).unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let set = set(&[&replica]);
    let challenge = storage_challenge(&set, false);
    assert_eq!(node.ask(&challenge).await.unwrap_err().code(), Code::Internal);
    node.put_tag_key(tag_owner()).await.unwrap();
    assert!(check(&challenge, &set, &node.ask(&challenge).await.unwrap().0).all_valid());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_come_back_with_their_paths() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("groups", 900_000);
    node.store(&replica).await;
    let (root, total) = (replica.claim.root, replica.bytes.len() as u64);
    let last = total.div_ceil(16_384) - 1;
    let file = std::fs::OpenOptions::new().write(true).open(replica.file(directory.path(), "replica")).unwrap();
    file.write_all_at(&[0; 100], 3 * 16_384).unwrap();
    let numbers = vec![last, 0, 3, 7, 7];
    let request = wire::RetrieveGroupsRequest { root: wire_bytes(&root.0), groups: numbers.clone() };
    let mut groups = node.ingest.retrieve_groups(request).await.unwrap().into_inner();
    for number in numbers {
        let group: Group = groups.message().await.unwrap().unwrap().try_into().unwrap();
        assert_eq!(group.bytes.is_empty(), number == 3);
        assert_eq!(verify_group(&root, total, number, &group).is_ok(), number != 3);
    }
    assert!(groups.message().await.unwrap().is_none());
    for (groups, code) in [(vec![last + 1], Code::OutOfRange), (vec![0; 4097], Code::InvalidArgument)] {
        let request = wire::RetrieveGroupsRequest { root: wire_bytes(&root.0), groups };
        assert_eq!(node.ingest.retrieve_groups(request).await.unwrap_err().code(), code);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_broke_off_within_the_tags_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::tagged("resumed", 1_000_000);
    let within_tags = replica.bytes.len() as u64 + 100;
    node.propose(&replica).await.unwrap();
    node.upload(&replica, 0, within_tags).await.unwrap();
    node.stop().await;
    let mut node = Node::start(&config(directory.path())).await;
    assert_eq!(node.propose(&replica).await.unwrap().received_bytes, within_tags);
    node.finish(&replica).await.unwrap();
    let again = node.propose(&replica).await.unwrap();
    assert_eq!((again.received_bytes, again.committed), (replica.upload().len() as u64, true));
    node.stop().await;
}

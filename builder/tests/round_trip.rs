//! Upload to a real provider over loopback, and back.

mod common;

use std::fs;

use assay_builder::client::{Client, Wanted};
use assay_builder::error::BuilderError;
use assay_builder::keys::Keys;
use assay_builder::prepare::{Order, Prepared, prepare};
use assay_builder::range::restore_range;
use assay_builder::release::{self, release};
use assay_builder::restore::{Target, restore};
use assay_builder::source::Source;
use assay_builder::status::status;
use assay_builder::upload::upload;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::replica::OwnerSecret;
use assay_core::secp::SecretKey;
use common::{Node, keys, store, upload_bytes, wanted, write_object};

#[tokio::test]
async fn a_file_comes_back_from_two_providers_that_hold_different_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("object");
    let bytes = write_object(&file, 5_000_000);
    let mut roots = Vec::new();
    for id in [1, 2] {
        let node = Node::start(&directory.path().join(format!("provider {id}")), id).await;
        let mut client = node.client().await;
        let mut heard = Vec::new();
        let uploaded = store(&mut client, &Source::File(file.clone()), 0, |done, total| heard.push((done, total))).await.unwrap();
        assert_eq!(uploaded.claim.object_id, Hash32::from(blake3::hash(&bytes)));
        let total = upload_bytes(&uploaded.claim);
        assert_eq!(heard.first(), Some(&(0, total)));
        assert_eq!(heard.last(), Some(&(total, total)));
        roots.push(uploaded.claim.root);

        let again = store(&mut client, &Source::File(file.clone()), 0, |_, _| ()).await.unwrap();
        assert_eq!((again.claim, again.set), (uploaded.claim.clone(), uploaded.set), "repeating is harmless");

        let back = directory.path().join(format!("back {id}"));
        let target = Target::File(back.clone());
        restore(&mut client, &keys().secret, &uploaded.claim, &target, &mut |_, _, _| ()).await.unwrap();
        assert_eq!(fs::read(&back).unwrap(), bytes);
        let exists = restore(&mut client, &keys().secret, &uploaded.claim, &target, &mut |_, _, _| ()).await;
        assert!(matches!(exists, Err(BuilderError::Exists(_))));
        drop(client);
        node.stop().await;
    }
    assert_ne!(roots[0], roots[1], "one copy cannot serve two providers");
}

#[tokio::test]
async fn a_wrong_secret_is_told_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("object");
    write_object(&file, 2_000_000);
    let node = Node::start(&directory.path().join("provider"), 1).await;
    let mut client = node.client().await;
    let claim = store(&mut client, &Source::File(file), 3, |_, _| ()).await.unwrap().claim;
    let out = directory.path().join("out");
    fs::create_dir(&out).unwrap();
    let target = Target::File(out.join("back"));
    let error = restore(&mut client, &OwnerSecret::new([1; 32]), &claim, &target, &mut |_, _, _| ()).await.unwrap_err();
    assert!(error.to_string().contains("owner secret"), "{error}");
    let range = restore_range(&mut client, &OwnerSecret::new([1; 32]), &claim, 5..90_000, &out.join("part"), &mut |_, _, _| ()).await;
    assert!(range.unwrap_err().to_string().contains("owner secret"));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);

    node.damage(&claim, 1_000_000);
    let error = restore(&mut client, &keys().secret, &claim, &target, &mut |_, _, _| ()).await.unwrap_err();
    assert!(matches!(error, BuilderError::WrongRoot { .. } | BuilderError::Refused(_)), "{error}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    drop(client);
    node.stop().await;
}

#[tokio::test]
async fn only_the_claim_asked_for_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("object");
    write_object(&file, 1000);
    let node = Node::start(&directory.path().join("provider"), 1).await;
    let mut client = node.client().await;
    let claim = store(&mut client, &Source::File(file), 0, |_, _| ()).await.unwrap().claim;
    let ours = wanted(&claim);
    assert_eq!(client.find(&ours).await.unwrap(), claim);
    let others = [
        changed(&ours, |w| w.owner = Some(Address([7; 20]))),
        changed(&ours, |w| w.replica = 1),
        changed(&ours, |w| w.object = Hash32([7; 32])),
    ];
    for other in others {
        assert!(matches!(client.find(&other).await, Err(BuilderError::NotClaimed { .. })));
    }
    // On another chain the owner signed nothing.
    client.domain.chain_id = 1;
    assert!(matches!(client.find(&ours).await, Err(BuilderError::Untrusted(_))));
    drop(client);
    node.stop().await;
}

fn changed(ours: &Wanted, change: impl FnOnce(&mut Wanted)) -> Wanted {
    let mut other = *ours;
    change(&mut other);
    other
}

#[tokio::test]
async fn a_range_is_the_files_range_and_never_of_damaged_data() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("object");
    let bytes = write_object(&file, 3_000_000);
    let node = Node::start(&directory.path().join("provider"), 1).await;
    let mut client = node.client().await;
    let claim = store(&mut client, &Source::File(file), 0, |_, _| ()).await.unwrap().claim;
    let out = directory.path().join("out");
    fs::create_dir(&out).unwrap();
    let part = out.join("part");
    for range in [0..1, 0..3_000_000, 126_911..126_913, 1_000_000..2_000_001, 2_999_999..3_000_000, 7..7] {
        restore_range(&mut client, &keys().secret, &claim, range.clone(), &part, &mut |_, _, _| ()).await.unwrap();
        assert_eq!(fs::read(&part).unwrap(), bytes[range.start as usize..range.end as usize], "{range:?}");
        let exists = restore_range(&mut client, &keys().secret, &claim, range, &part, &mut |_, _, _| ()).await;
        assert!(matches!(exists, Err(BuilderError::Exists(_))));
        fs::remove_file(&part).unwrap();
    }
    let behind = restore_range(&mut client, &keys().secret, &claim, 0..3_000_001, &part, &mut |_, _, _| ()).await;
    assert!(matches!(behind, Err(BuilderError::Range { length: 3_000_000 })));

    node.damage(&claim, 1_500_000);
    let damaged = restore_range(&mut client, &keys().secret, &claim, 1_000_000..2_000_000, &part, &mut |_, _, _| ()).await;
    assert!(matches!(damaged, Err(BuilderError::BadGroup { group: 91, is_missing: true })), "{damaged:?}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    restore_range(&mut client, &keys().secret, &claim, 2_000_000..2_500_000, &part, &mut |_, _, _| ()).await.unwrap();
    assert_eq!(fs::read(&part).unwrap(), bytes[2_000_000..2_500_000]);
    drop(client);
    node.stop().await;
}

#[tokio::test]
async fn a_directory_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("deep/empty")).unwrap();
    fs::write(tree.join("a"), "alpha").unwrap();
    fs::write(tree.join("deep").join("x".repeat(150)), vec![7; 300_000]).unwrap();
    let node = Node::start(&directory.path().join("provider"), 1).await;
    let mut client = node.client().await;
    let claim = store(&mut client, &Source::Directory(tree.clone()), 0, |_, _| ()).await.unwrap().claim;
    let copy = directory.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::create_dir_all(copy.join("deep/empty")).unwrap();
    fs::write(copy.join("deep").join("x".repeat(150)), vec![7; 300_000]).unwrap();
    fs::write(copy.join("a"), "alpha").unwrap();
    let header = Source::Directory(copy).identify(0, &mut |_| ()).unwrap();
    assert_eq!(header.object_id, claim.object_id, "an archive is deterministic");

    let back = directory.path().join("back");
    restore(&mut client, &keys().secret, &claim, &Target::Directory(back.clone()), &mut |_, _, _| ()).await.unwrap();
    assert_eq!(fs::read_to_string(back.join("a")).unwrap(), "alpha");
    assert_eq!(fs::read(back.join("deep").join("x".repeat(150))).unwrap(), vec![7; 300_000]);
    assert!(back.join("deep/empty").is_dir());

    std::os::unix::fs::symlink("/etc/passwd", tree.join("link")).unwrap();
    let refused = store(&mut client, &Source::Directory(tree), 0, |_, _| ()).await;
    assert!(matches!(refused, Err(BuilderError::NotAFile(_))));
    drop(client);
    node.stop().await;
}

#[tokio::test]
async fn an_upload_goes_on_where_it_broke() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("object");
    write_object(&file, 3_000_000);
    let node = Node::start(&directory.path().join("provider"), 1).await;
    let mut client = node.client().await;
    let source = Source::File(file);
    let (mut first, broken) = (client.clone(), source.clone());
    let reached = std::sync::Arc::new(tokio::sync::Notify::new());
    let tell = reached.clone();
    let task = tokio::spawn(async move {
        let notice = move |done, _| {
            if done > 500_000 {
                tell.notify_one()
            }
        };
        store(&mut first, &broken, 0, notice).await.is_ok()
    });
    reached.notified().await;
    task.abort();
    let _ = task.await;
    let uploaded = store(&mut client, &source, 0, |_, _| ()).await.unwrap();
    assert_eq!(uploaded.set.sequence, 1);
    drop(client);
    node.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_from_a_directory_that_is_not_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (file, out) = (directory.path().join("object"), directory.path().join("out"));
    write_object(&file, 300_000);
    let node = Node::start(&directory.path().join("provider"), 1).await;
    let mut client = node.client().await;
    let order = Order { source: Source::File(file.clone()), replica_index: 0, domain: client.domain, tags: true };
    let other = assay_core::claim::ClaimDomain { provider: ProviderId(2), ..client.domain };
    let for_another =
        prepare(&directory.path().join("other"), &keys(), &Order { domain: other, ..order.clone() }, &mut |_, _, _| ()).unwrap();
    let refused = upload(&mut client, &keys(), &for_another, &mut |_, _, _| ()).await;
    assert!(matches!(refused, Err(BuilderError::PreparedForAnother { .. })));

    let prepared = prepare(&out, &keys(), &order, &mut |_, _, _| ()).unwrap();
    let thief = Keys { signer: SecretKey::from_bytes(&[1; 32]).unwrap(), ..keys() };
    let refused = upload(&mut client, &thief, &prepared, &mut |_, _, _| ()).await;
    assert!(matches!(refused, Err(BuilderError::PreparedForAnother { .. })));

    let tags = fs::read(prepared.tags_file()).unwrap();
    fs::write(prepared.tags_file(), vec![1; tags.len()]).unwrap();
    let refused = upload(&mut client, &keys(), &prepared, &mut |_, _, _| ()).await;
    assert!(matches!(refused, Err(BuilderError::Tags(_))));
    fs::write(prepared.tags_file(), tags).unwrap();

    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[1..]).unwrap();
    let refused = upload(&mut client, &keys(), &prepared, &mut |_, _, _| ()).await;
    assert!(matches!(refused, Err(BuilderError::SourceChanged)));
    assert!(client.signed_set(0).await.unwrap().is_none(), "nothing was claimed");

    fs::write(&file, bytes).unwrap();
    drop(prepared);
    let prepared = Prepared::open(&out).unwrap();
    upload(&mut client, &keys(), &prepared, &mut |_, _, _| ()).await.unwrap();
    drop(client);
    node.stop().await;
}

#[tokio::test]
async fn a_release_takes_the_claim_out_and_may_be_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("object");
    write_object(&file, 1000);
    let node = Node::start(&directory.path().join("provider"), 1).await;
    let mut client = node.client().await;
    let kept = store(&mut client, &Source::File(file.clone()), 0, |_, _| ()).await.unwrap().claim;
    let given_up = store(&mut client, &Source::File(file), 1, |_, _| ()).await.unwrap().claim;
    let thief = release(&mut client, &SecretKey::from_bytes(&[1; 32]).unwrap(), &given_up).await;
    assert!(matches!(thief, Err(BuilderError::Refused(_))));

    let found = release::find(&mut client, &wanted(&given_up)).await.unwrap();
    assert_eq!(found, given_up);
    let released = release(&mut client, &keys().signer, &found).await.unwrap();
    assert_eq!((released.set.sequence, released.set.count), (3, 1));
    assert!(released.kept_until.is_some());
    assert!(matches!(client.find(&wanted(&given_up)).await, Err(BuilderError::NotClaimed { .. })));

    let found = release::find(&mut client, &wanted(&given_up)).await.unwrap();
    assert_eq!(found, given_up, "a release that was not published is found again");
    assert_eq!(release(&mut client, &keys().signer, &found).await.unwrap().set, released.set);

    let status = status(&mut client, Some(keys().signer.address()), None).await.unwrap();
    assert_eq!(status.claims.iter().map(|listed| &listed.claim).collect::<Vec<_>>(), [&kept]);
    let text = status.text();
    assert!(text.contains(&kept.object_id.to_string()) && text.contains("claim set 3: 1 claims"), "{text}");
    assert_eq!(status.json()["claims"][0]["tagKeyId"], serde_json::json!(kept.tag_key_id));
    drop(client);
    node.stop().await;
}

#[tokio::test]
async fn another_provider_behind_the_endpoint_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(&directory.path().join("provider"), 1).await;
    let error = Client::connect(&node.endpoint, ProviderId(2)).await.unwrap_err();
    assert!(matches!(error, BuilderError::OtherProvider { .. }), "{error}");
    node.stop().await;
}

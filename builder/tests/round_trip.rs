//! Upload to a real provider over loopback, and back.

use std::fs;
use std::path::{Path, PathBuf};

use assay_builder::client::Client;
use assay_builder::error::BuilderError;
use assay_builder::keys::Keys;
use assay_builder::restore::{Target, restore};
use assay_builder::source::Source;
use assay_builder::upload::upload;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::replica::OwnerSecret;
use assay_core::secp::SecretKey;
use assay_provider::app::{self, Running};
use assay_provider::config::{Config, Limits};
use tokio_util::sync::CancellationToken;

fn keys() -> Keys {
    Keys { secret: OwnerSecret::new([9; 32]), signer: SecretKey::from_bytes(&[8; 32]).unwrap() }
}

struct Node {
    endpoint: String,
    id: ProviderId,
    running: Running,
    shutdown: CancellationToken,
}

impl Node {
    async fn start(data_dir: &Path, id: u64) -> Self {
        let config = Config {
            provider_id: ProviderId(id),
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: data_dir.to_owned(),
            keystore: PathBuf::new(),
            password_file: PathBuf::new(),
            chain_id: 31_337,
            provider_registry: Address([1; 20]),
            settlement: Address([2; 20]),
            limits: Limits::default(),
            telemetry: Default::default(),
        };
        let shutdown = CancellationToken::new();
        let key = SecretKey::from_bytes(&[id as u8; 32]).unwrap();
        let running = app::start(&config, key, shutdown.clone()).await.unwrap();
        Self { endpoint: format!("http://{}", running.address), id: ProviderId(id), running, shutdown }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.endpoint, self.id).await.unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.running.wait().await.unwrap();
    }
}

fn write_object(path: &Path, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"builder test").finalize_xof().fill(&mut bytes);
    fs::write(path, &bytes).unwrap();
    bytes
}

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
        let uploaded = upload(&mut client, &keys(), &Source::File(file.clone()), 0, |done, total| heard.push((done, total))).await.unwrap();
        assert_eq!(uploaded.claim.object_id, Hash32::from(blake3::hash(&bytes)));
        assert_eq!(heard.first(), Some(&(0, uploaded.claim.bytes())));
        assert_eq!(heard.last(), Some(&(uploaded.claim.bytes(), uploaded.claim.bytes())));
        roots.push(uploaded.claim.root);

        let again = upload(&mut client, &keys(), &Source::File(file.clone()), 0, |_, _| ()).await.unwrap();
        assert_eq!((again.claim, again.set), (uploaded.claim.clone(), uploaded.set), "repeating is harmless");

        let back = directory.path().join(format!("back {id}"));
        let target = Target::File(back.clone());
        restore(&mut client, &keys().secret, &uploaded.claim.object_id, 0, &target).await.unwrap();
        assert_eq!(fs::read(&back).unwrap(), bytes);
        let exists = restore(&mut client, &keys().secret, &uploaded.claim.object_id, 0, &target).await;
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
    let uploaded = upload(&mut client, &keys(), &Source::File(file), 3, |_, _| ()).await.unwrap();
    let out = directory.path().join("out");
    fs::create_dir(&out).unwrap();
    let target = Target::File(out.join("back"));
    let object = uploaded.claim.object_id;
    let error = restore(&mut client, &OwnerSecret::new([1; 32]), &object, 3, &target).await.unwrap_err();
    assert!(error.to_string().contains("owner secret"), "{error}");
    let error = restore(&mut client, &keys().secret, &object, 0, &target).await.unwrap_err();
    assert!(matches!(error, BuilderError::NotClaimed { replica: 0, .. }));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);

    let stored = directory.path().join("provider/replicas").join(format!("{}.replica", hex::encode(uploaded.claim.root.0)));
    let mut damaged = fs::read(&stored).unwrap();
    damaged[1_000_000] ^= 1;
    fs::write(&stored, damaged).unwrap();
    let error = restore(&mut client, &keys().secret, &object, 3, &target).await.unwrap_err();
    assert!(matches!(error, BuilderError::WrongRoot { .. }), "{error}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
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
    let uploaded = upload(&mut client, &keys(), &Source::Directory(tree.clone()), 0, |_, _| ()).await.unwrap();
    let copy = directory.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::create_dir_all(copy.join("deep/empty")).unwrap();
    fs::write(copy.join("deep").join("x".repeat(150)), vec![7; 300_000]).unwrap();
    fs::write(copy.join("a"), "alpha").unwrap();
    assert_eq!(Source::Directory(copy).identify(0).unwrap().object_id, uploaded.claim.object_id, "an archive is deterministic");

    let back = directory.path().join("back");
    restore(&mut client, &keys().secret, &uploaded.claim.object_id, 0, &Target::Directory(back.clone())).await.unwrap();
    assert_eq!(fs::read_to_string(back.join("a")).unwrap(), "alpha");
    assert_eq!(fs::read(back.join("deep").join("x".repeat(150))).unwrap(), vec![7; 300_000]);
    assert!(back.join("deep/empty").is_dir());

    std::os::unix::fs::symlink("/etc/passwd", tree.join("link")).unwrap();
    let refused = upload(&mut client, &keys(), &Source::Directory(tree), 0, |_, _| ()).await;
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
        upload(&mut first, &keys(), &broken, 0, move |done, _| {
            if done > 500_000 {
                tell.notify_one()
            }
        })
        .await
        .is_ok()
    });
    reached.notified().await;
    task.abort();
    let _ = task.await;
    let uploaded = upload(&mut client, &keys(), &source, 0, |_, _| ()).await.unwrap();
    assert_eq!(uploaded.set.sequence, 1);
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

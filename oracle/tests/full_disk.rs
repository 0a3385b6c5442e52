//! A disk that is full for a while, by a limit on the size of this process's files.
#![cfg(target_os = "linux")]

use std::path::Path;

use assay_core::bls::SecretKey;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::Commit;
use assay_oracle::signer::{Protection, Signer};
use assay_oracle::store::{EvidenceBundle, SqliteStore, Store};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Sent to a process that writes beyond its limit; unless it is handled, the process ends.
const SIGXFSZ: i32 = 25;
const INSTANCE: Instance = Instance { chain_id: 31_337, settlement: Address([7; 20]) };

/// Lets no file of this process grow beyond so many bytes; none lifts the limit.
fn limit_files(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

fn bundle(number: u64) -> EvidenceBundle {
    let bundle = number.to_be_bytes().repeat(2_000);
    EvidenceBundle { digest: blake3::hash(&bundle).into(), epoch: 1, slot: 0, provider: ProviderId(1), bundle }
}

fn commit(epoch: u64) -> Commit {
    let zero = Hash32([0; 32]);
    Commit { epoch, oracle: OracleId(1), seeds: zero, secure: true, root: zero, leaf_count: 0, log_head: zero }
}

// Alone in its program: the limit is the whole process's.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_be_written_is_on_the_disk_though_it_was_full_for_a_while() {
    let _ignored = signal(SignalKind::from_raw(SIGXFSZ)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    store(&directory.path().join("node.sqlite")).await;
    record(&directory.path().join("protection.sqlite")).await;
}

// Defence: `sqlite::is_clean` before a connection is lent; without it all that is stored after the disk was full is lost.
async fn store(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    let mut stored = Vec::new();
    let mut refused = 0;
    for number in 0..60 {
        match number {
            20 => limit_files(Some(400_000)),
            40 => limit_files(None),
            _ => {}
        }
        match store.put_evidence(&bundle(number)).await {
            Ok(()) => stored.push(number),
            Err(error) => {
                assert!(error.to_string().contains("free space"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "the disk was never full");
    assert_eq!(stored[stored.len() - 20..], (40..60).collect::<Vec<u64>>(), "there is room again");
    store.pool().close().await;
    drop(store);
    let reopened = SqliteStore::open(path).await.unwrap();
    for number in stored {
        assert!(reopened.evidence(&bundle(number).digest).await.unwrap().is_some(), "bundle {number} was said to be stored");
    }
}

// Defence: `Protection::begin` opens a failed record again; without it nothing is signed until a restart.
async fn record(path: &Path) {
    let key = || SecretKey::key_gen(&[1; 32]).unwrap();
    Protection::create(path, &key().public_key(), &INSTANCE).await.unwrap();
    let open = async || {
        let protection = Protection::open(path, &key().public_key(), &INSTANCE).await.unwrap();
        Signer::new(key(), OracleId(1), INSTANCE, protection).unwrap()
    };
    let signer = open().await;
    signer.sign_commit(commit(1)).await.unwrap();
    limit_files(Some(2_048));
    for epoch in [2, 3] {
        let error = signer.sign_commit(commit(epoch)).await.expect_err("no room, no signature");
        assert!(error.to_string().contains("free space"), "{error}");
    }
    limit_files(None);
    signer.sign_commit(commit(3)).await.unwrap();
    let other = Commit { root: Hash32([9; 32]), ..commit(3) };
    assert!(signer.sign_commit(other).await.is_err(), "it signs nothing twice");
    drop(signer);
    let reopened = open().await;
    assert!(reopened.sign_commit(other).await.is_err(), "nor after a restart");
    reopened.sign_commit(commit(2)).await.unwrap();
}

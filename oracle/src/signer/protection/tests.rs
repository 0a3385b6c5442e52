use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use assay_core::bls::SecretKey;
use assay_core::ids::Address;
use tempfile::TempDir;

use super::interchange::{Export, ExportedStatement, shown_key};
use super::*;

const INSTANCE: Instance = Instance { chain_id: 31_337, settlement: Address([7; 20]) };
const CHILD_FILE: &str = "ASSAY_TEST_PROTECTION_FILE";
const CHILD_ACT: &str = "ASSAY_TEST_PROTECTION_ACT";

fn key(seed: u8) -> PublicKey {
    SecretKey::key_gen(&[seed; 32]).unwrap().public_key()
}

fn digest(byte: u8) -> Hash32 {
    Hash32([byte; 32])
}

pub(super) async fn fresh() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("protection.sqlite");
    Protection::create(&path, &key(1), &INSTANCE).await.unwrap();
    (directory, path)
}

pub(super) async fn open(path: &Path) -> Protection {
    Protection::open(path, &key(1), &INSTANCE).await.unwrap()
}

async fn refusal(path: &Path) -> ProtectionError {
    Protection::open(path, &key(1), &INSTANCE).await.err().unwrap()
}

/// This test binary again, as another process that runs [`child`] alone.
fn run_child(path: &Path, act: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "signer::protection::tests::child", "--nocapture"])
        .env(CHILD_FILE, path)
        .env(CHILD_ACT, act)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The other process of the tests below; does nothing when it runs as a test of its own.
#[tokio::test]
async fn child() {
    let (Ok(path), Ok(act)) = (std::env::var(CHILD_FILE), std::env::var(CHILD_ACT)) else { return };
    match Protection::open(Path::new(&path), &key(1), &INSTANCE).await {
        Err(error) => println!("refused: {error}"),
        Ok(protection) => {
            println!("opened");
            if act == "record and crash" {
                protection.check_and_record(StatementKind::Commit, 8, 0, &digest(1)).await.unwrap();
                println!("recorded");
                std::process::abort();
            }
        }
    }
}

#[tokio::test]
async fn signing_twice_across_a_crash() {
    let (_directory, path) = fresh().await;
    let said = run_child(&path, "record and crash");
    assert!(said.contains("recorded"), "{said}");
    // The process died after it recorded and before it signed: the digest counts as signed.
    let protection = open(&path).await;
    let error = protection.check_and_record(StatementKind::Commit, 8, 0, &digest(2)).await.unwrap_err();
    assert!(matches!(error, SignerError::WouldEquivocate { recorded, .. } if recorded == digest(1)), "{error}");
    protection.check_and_record(StatementKind::Commit, 8, 0, &digest(1)).await.unwrap();
    protection.check_and_record(StatementKind::BitVote, 8, 0, &digest(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_cannot_hold_one_record() {
    let (_directory, path) = fresh().await;
    let held = open(&path).await;
    let expected = format!("another oracle process holds {}; stop it first", path.display());
    let said = run_child(&path, "open");
    assert!(said.contains(&expected), "{said}");
    // Nor can this process open it twice.
    assert_eq!(refusal(&path).await.to_string(), expected);
    held.check_and_record(StatementKind::Report, 1, 1, &digest(1)).await.unwrap();
    held.close().await.unwrap();
    assert!(run_child(&path, "open").contains("opened"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_different_digests_exactly_one_wins() {
    let (_directory, path) = fresh().await;
    let protection = Arc::new(open(&path).await);
    for view in 0..5 {
        let tasks: Vec<_> = (0..20u8)
            .map(|byte| {
                let protection = protection.clone();
                tokio::spawn(async move { protection.check_and_record(StatementKind::Report, 3, view, &digest(byte)).await.map(|()| byte) })
            })
            .collect();
        let mut winners = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Ok(byte) => winners.push(byte),
                Err(error) => assert!(matches!(error, SignerError::WouldEquivocate { .. }), "{error}"),
            }
        }
        assert_eq!(winners.len(), 1);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_open_transaction() {
    let (_directory, path) = fresh().await;
    let protection = open(&path).await;
    let first = digest(1);
    for polls in 0..12 {
        let mut call = Box::pin(protection.check_and_record(StatementKind::Report, 1, polls, &first));
        for _ in 0..polls {
            let _ = futures::poll!(&mut call);
            tokio::task::yield_now().await;
        }
    }
    protection.check_and_record(StatementKind::Report, 2, 0, &digest(1)).await.unwrap();
    assert!(protection.check_and_record(StatementKind::Report, 2, 0, &digest(2)).await.is_err());
}

#[tokio::test]
async fn a_missing_record_is_never_made_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("protection.sqlite");
    let error = refusal(&path).await;
    assert!(matches!(error, ProtectionError::Missing { .. }));
    assert!(error.to_string().contains("protection init") && error.to_string().contains("protection import"));
    assert!(!path.exists());
    File::create(&path).unwrap();
    assert!(matches!(refusal(&path).await, ProtectionError::Damaged { .. }));
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

#[tokio::test]
async fn a_record_is_never_overwritten() {
    let (_directory, path) = fresh().await;
    let error = Protection::create(&path, &key(1), &INSTANCE).await.unwrap_err();
    assert!(matches!(error, ProtectionError::Exists { .. }), "{error}");
    // What an interrupted creation left behind does no harm.
    let other = path.with_file_name("other.sqlite");
    fs::write(path.with_file_name("other.sqlite.new"), b"half").unwrap();
    Protection::create(&other, &key(1), &INSTANCE).await.unwrap();
    open(&other).await;
    assert!(!path.with_file_name("other.sqlite.new").exists());
}

#[tokio::test]
async fn another_key_or_instance_is_refused() {
    let (_directory, path) = fresh().await;
    let error = Protection::open(&path, &key(2), &INSTANCE).await.err().unwrap();
    assert!(matches!(error, ProtectionError::Foreign { chain_id: 31_337, .. }), "{error}");
    let elsewhere = Instance { chain_id: 1, ..INSTANCE };
    let error = Protection::open(&path, &key(1), &elsewhere).await.err().unwrap();
    assert!(matches!(error, ProtectionError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_named_as_such() {
    let (_directory, path) = fresh().await;
    let protection = open(&path).await;
    for epoch in 0..400 {
        protection.check_and_record(StatementKind::Report, epoch, 0, &digest(1)).await.unwrap();
    }
    protection.close().await.unwrap();
    let whole = fs::read(&path).unwrap();

    let mut torn = whole.clone();
    torn.truncate(whole.len() / 2);
    let mut scribbled = whole.clone();
    let half = whole.len() / 2;
    scribbled[half..half + 4096].fill(0x5a);
    for bytes in [b"not a database, but long enough to have a header that is read".repeat(20), torn, scribbled] {
        fs::write(&path, bytes).unwrap();
        let error = refusal(&path).await;
        assert!(matches!(error, ProtectionError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
    fs::write(&path, whole).unwrap();
    open(&path).await;
}

#[tokio::test]
async fn pruned_epochs_are_closed() {
    let (_directory, path) = fresh().await;
    let protection = open(&path).await;
    protection.check_and_record(StatementKind::Commit, 4, 0, &digest(1)).await.unwrap();
    protection.check_and_record(StatementKind::Commit, 6, 0, &digest(1)).await.unwrap();
    protection.prune(5).await.unwrap();
    protection.prune(2).await.unwrap();
    for epoch in 0..=5 {
        let error = protection.check_and_record(StatementKind::Commit, epoch, 0, &digest(1)).await.unwrap_err();
        assert!(matches!(error, SignerError::Pruned { through: 5, .. }), "{error}");
    }
    assert!(protection.check_and_record(StatementKind::Commit, 6, 0, &digest(2)).await.is_err());
    assert_eq!(protection.record().await.unwrap().statements.len(), 1);
}

#[tokio::test]
async fn an_import_leaves_nothing_more_to_sign() {
    let (_directory, path) = fresh().await;
    let (_other_directory, other_path) = fresh().await;
    let (ours, theirs) = (open(&path).await, open(&other_path).await);
    for (protection, epoch, byte) in [(&ours, 5, 1), (&theirs, 5, 1), (&ours, 6, 1), (&theirs, 6, 2), (&theirs, 7, 3), (&ours, 2, 1)] {
        protection.check_and_record(StatementKind::Commit, epoch, 0, &digest(byte)).await.unwrap();
    }
    theirs.prune(3).await.unwrap();
    let text = theirs.export_json().await.unwrap();
    let summary = ours.import_json(&text).await.unwrap();
    assert_eq!(summary, ImportSummary { added: 1, known: 1, contradicted: 1, pruned: 0 });

    assert!(matches!(ours.check_and_record(StatementKind::Commit, 2, 0, &digest(1)).await, Err(SignerError::Pruned { through: 3, .. })));
    ours.check_and_record(StatementKind::Commit, 5, 0, &digest(1)).await.unwrap();
    for byte in [1, 2] {
        let error = ours.check_and_record(StatementKind::Commit, 6, 0, &digest(byte)).await.unwrap_err();
        assert!(matches!(error, SignerError::Blocked { epoch: 6, .. }), "{error}");
    }
    assert!(matches!(
        ours.check_and_record(StatementKind::Commit, 7, 0, &digest(1)).await,
        Err(SignerError::WouldEquivocate { recorded, .. }) if recorded == digest(3)
    ));
    // Contradictions travel on, and importing again changes nothing.
    let merged = ours.record().await.unwrap();
    assert_eq!(ours.merge_record(&merged).await.unwrap(), ImportSummary { known: 3, ..ImportSummary::default() });
    assert_eq!(ours.record().await.unwrap(), merged);
    assert_eq!(theirs.merge_record(&merged).await.unwrap().contradicted, 1);
    assert_eq!(theirs.record().await.unwrap(), merged);
}

#[tokio::test]
async fn a_foreign_or_unreadable_import_is_refused_whole() {
    let (_directory, path) = fresh().await;
    let protection = open(&path).await;
    let mut export = protection.record().await.unwrap();
    export.statements = vec![ExportedStatement { kind: StatementKind::Report, epoch: 1, view: 0, digest: Some(digest(1)) }];
    let foreign = [
        Export { public_key: shown_key(&key(2)), ..export.clone() },
        Export { public_key: "0x00".into(), ..export.clone() },
        Export { chain_id: 1, ..export.clone() },
        Export { settlement: Address([8; 20]), ..export.clone() },
        Export { version: 2, ..export.clone() },
    ];
    for foreign in foreign {
        assert!(matches!(protection.merge_record(&foreign).await, Err(ProtectionError::Import { .. })));
    }
    export.statements.push(ExportedStatement { epoch: u64::MAX, ..export.statements[0] });
    assert!(matches!(protection.merge_record(&export).await, Err(ProtectionError::TooLarge { what: "epoch", .. })));
    for text in ["", "{}", "[1]"] {
        assert!(matches!(protection.import_json(text).await, Err(ProtectionError::Import { .. })));
    }
    assert!(protection.record().await.unwrap().statements.is_empty());
}

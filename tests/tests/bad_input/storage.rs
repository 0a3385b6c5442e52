//! Databases that are locked, shared, damaged, read-only or out of room.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use assay_core::ids::ProviderId;
use assay_oracle::store::{EvidenceBundle, SqliteStore, Store};
use assay_proto::oracle::v1::{Outcome, Reason};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteLockingMode};
use sqlx::{Connection, raw_sql};
use tokio::process::Command;

use crate::world::{Node, Setup, assert_says, files, key, program, refused, wish, works, world};

/// Of no epoch that a node replays.
const EPOCH: u64 = 7_000_000;

fn evidence() -> EvidenceBundle {
    let bundle = b"kept".to_vec();
    EvidenceBundle { digest: blake3::hash(&bundle).into(), epoch: EPOCH, slot: 0, provider: ProviderId(1), bundle }
}

/// Fills the node's database as a node that ran before did.
async fn used(setup: &Setup) -> PathBuf {
    let database = setup.database();
    fs::create_dir_all(database.parent().unwrap()).unwrap();
    let store = SqliteStore::open(&database).await.unwrap();
    store.append_input(EPOCH, 1, b"kept").await.unwrap();
    store.put_evidence(&evidence()).await.unwrap();
    store.pool().close().await;
    database
}

async fn is_kept(database: &Path) {
    let store = SqliteStore::open(database).await.unwrap();
    assert_eq!(store.inputs(EPOCH).await.unwrap()[0].message, b"kept");
    assert_eq!(store.evidence(&evidence().digest).await.unwrap(), Some(evidence()));
    store.pool().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_another_program_locks() {
    let setup = Setup::new(1).await;
    let database = used(&setup).await;
    let options = SqliteConnectOptions::new().filename(&database).locking_mode(SqliteLockingMode::Exclusive);
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    raw_sql("BEGIN EXCLUSIVE; INSERT INTO inputs (epoch, received_ms, digest, message) VALUES (1, 1, zeroblob(32), x'00')")
        .execute(&mut other)
        .await
        .unwrap();
    let message = refused(&mut setup.run()).await;
    assert_says(&message, &[&database.display().to_string(), "locked", "stop it (a second node, a backup, an SQL shell)"]);
    raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    is_kept(&database).await;
    setup.start().await.stop().await;
}

// Defence: the lock of `SqliteStore::open`; without it a second node works in the first one's database.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_the_same_data() {
    let setup = Setup::new(1).await;
    let mut first = setup.start().await;
    let mut second = Setup::new(2).await;
    let data = setup.shown("data");
    let message = refused(&mut second.set("data_dir", data.as_str()).run()).await;
    assert_says(&message, &[&setup.shown("data/node.sqlite"), "used by another node", "stop that node", "data_dir of its own"]);
    // The same node once more, which would sign with the same key.
    let message = refused(&mut setup.run()).await;
    assert_says(&message, &[&setup.shown("protection.sqlite"), "another oracle process holds", "stop it first"]);
    assert!(first.process.ended().is_none(), "the first one goes on");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database() {
    let setup = Setup::new(1).await;
    let database = used(&setup).await;
    let whole = fs::read(&database).unwrap();
    let shown = database.display().to_string();

    // The header is right, the pages behind it are not.
    File::options().write(true).open(&database).unwrap().write_all_at(&vec![0xff; whole.len() - 4_096], 4_096).unwrap();
    let damaged = fs::read(&database).unwrap();
    assert_says(&refused(&mut setup.run()).await, &[&shown, "malformed", "restore a backup"]);
    assert!(fs::read(&database).unwrap() == damaged, "what is left of it is left alone");
    fs::write(&database, vec![0x5a; 20_000]).unwrap();
    assert_says(&refused(&mut setup.run()).await, &[&shown, "not a database", "keep a copy", "restore a backup"]);
    assert_eq!(fs::read(&database).unwrap(), vec![0x5a; 20_000]);
    // The remedy is one.
    fs::write(&database, whole).unwrap();
    setup.start().await.stop().await;
    is_kept(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_signing_record() {
    let setup = Setup::new(1).await;
    for spoilt in [vec![], vec![0x5a; 20_000]] {
        fs::write(setup.path("protection.sqlite"), &spoilt).unwrap();
        let message = setup.refused().await;
        assert_says(&message, &[&setup.shown("protection.sqlite"), "is damaged or is no signing record", "import the last export"]);
    }
}

/// Root may write what is read-only unless it gives that up.
fn without_override(command: &Command) -> Command {
    let command = command.as_std();
    let mut bound = match rustix::process::geteuid().is_root() {
        true => Command::new("setpriv"),
        false => return program_of(command.get_program(), command.get_args()),
    };
    bound
        .args(["--bounding-set", "-dac_override", "--inh-caps", "-dac_override", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    bound
}

fn program_of<'a>(name: &OsStr, args: impl Iterator<Item = &'a OsStr>) -> Command {
    let mut command = Command::new(name);
    command.args(args);
    command
}

// Defence: the trial write of `SqliteStore::open`; without it the node runs, and every message is refused in the middle of an epoch.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database() {
    let setup = Setup::new(1).await;
    let database = used(&setup).await;
    let data = database.parent().unwrap();
    let record = setup.path("protection.sqlite");
    let spoil = async |path: &Path, mode: u32| {
        let usual = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let (bytes, recorded) = (fs::read(&database).unwrap(), fs::read(&record).unwrap());
        let message = refused(&mut without_override(&setup.run())).await;
        fs::set_permissions(path, usual).unwrap();
        assert!(fs::read(&database).unwrap() == bytes);
        assert!(path != record || fs::read(&record).unwrap() == recorded);
        message
    };
    let shown = database.display().to_string();
    assert_says(&spoil(&database, 0o444).await, &[&shown, "readonly", "give this user write permission"]);
    assert_says(&spoil(&record, 0o444).await, &[&setup.shown("protection.sqlite"), "readonly", "give this user write permission"]);
    fs::remove_file(data.join("node.lock")).unwrap();
    assert_says(&spoil(data, 0o555).await, &[&data.display().to_string(), "Permission denied", "give this user write permission"]);
    setup.start().await.stop().await;
    is_kept(&database).await;
}

// ---- room

/// A disk without room: a small file system where that can be had, else a limit on the size of files, which every system has.
enum Disk {
    Small(PathBuf),
    Limited,
}

impl Disk {
    /// Both kinds; only the second one where mounting is not allowed.
    fn kinds() -> Vec<fn(&Path) -> Option<Self>> {
        vec![Self::small, |_| Some(Self::Limited)]
    }

    fn small(at: &Path) -> Option<Self> {
        let mounted =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(at).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self::Small(at.to_owned()))
    }

    /// Takes the room away from a running node.
    fn fill(&self, node: &Node, database: &Path) {
        match self {
            Self::Small(at) => fill(at),
            Self::Limited => limit(node, Some(fs::metadata(database.with_extension("sqlite-wal")).unwrap().len())),
        }
    }

    fn free(&self, node: &Node) {
        match self {
            Self::Small(at) => fs::remove_file(at.join("filler")).unwrap(),
            Self::Limited => limit(node, None),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Small(at) = self {
            let _ = std::process::Command::new("umount").arg("-l").arg(at).status();
        }
    }
}

fn fill(disk: &Path) {
    let mut filler = File::create(disk.join("filler")).unwrap();
    while filler.write_all(&[0; 4_096]).is_ok() {}
}

fn limit(node: &Node, bytes: Option<u64>) {
    let pid = node.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

// Defence: an input is stored before it is acknowledged, and a failure to store is said and survived.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_while_the_node_runs() {
    for kind in Disk::kinds() {
        let mut setup = Setup::new(1).await;
        fs::create_dir(setup.path("disk")).unwrap();
        let Some(disk) = kind(&setup.path("disk")) else { continue };
        let data = setup.shown("disk/data");
        setup.set("data_dir", data);
        let mut node = setup.start_bare().await;
        let epoch = node.open_epoch().await;
        let (before, during) = (wish(2, epoch, 2, &key(2)), wish(3, epoch, 2, &key(3)));
        assert_eq!(node.deliver(&before).await.outcome(), Outcome::Accepted);

        disk.fill(&node, &setup.database());
        let reply = node.deliver(&during).await;
        assert_eq!((reply.outcome(), reply.reason()), (Outcome::Refused, Reason::NotYet), "what is not stored is not acknowledged");
        assert_eq!(reply.text, "it cannot be stored here now");
        let shown = setup.database().display().to_string();
        node.says(&["a message could not be stored and is not acknowledged", &shown, "free space"]).await;

        // With room again it goes on by itself, and the sender, who was not acknowledged, comes again.
        disk.free(&node);
        assert!(node.stored().await.contains(&before) && !node.stored().await.contains(&during));
        assert_eq!(node.deliver(&during).await.outcome(), Outcome::Accepted);
        node.stop().await;
        let node = setup.start().await;
        let stored = node.stored().await;
        assert!(stored.contains(&before) && stored.contains(&during));
        node.stop().await;
    }
}

/// The same command under a limit of nothing at all for every file it writes, pipes aside.
fn without_room(command: &Command) -> Command {
    let command = command.as_std();
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    limited
}

// Defence: keystores are staged and linked whole, `keys` takes the first away when the second fails, and an import is one transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_no_half_written_key_and_no_half_imported_record() {
    let setup = Setup::new(1).await;
    fs::create_dir(setup.path("new")).unwrap();
    let (verdict, transmitter, password) = (setup.shown("new/verdict.json"), setup.shown("new/transmitter.json"), setup.shown("password"));
    let keys = ["keys", "--verdict", &verdict, "--transmitter", &transmitter, "--password-file", &password, "--kdf", "pbkdf2"];
    let message = refused(&mut without_room(&program("assay-oracle", &keys))).await;
    assert_says(&message, &[&verdict, "cannot be written", "the free space", "caused by"]);
    assert!(files(&setup.path("new")).is_empty());
    if let Some(_disk) = Disk::small(&setup.path("new")) {
        // Room for one keystore, not for two.
        fill(&setup.path("new"));
        let filler = File::options().write(true).open(setup.path("new/filler")).unwrap();
        filler.set_len(filler.metadata().unwrap().len() - 4_096).unwrap();
        let message = refused(&mut program("assay-oracle", &keys)).await;
        assert_says(&message, &[&transmitter, "cannot be written", "the free space"]);
        assert_eq!(files(&setup.path("new")).into_keys().collect::<Vec<_>>(), [setup.path("new/filler")]);
    }
    works(&mut program("assay-oracle", &keys)).await;

    let (config, export) = (setup.write(), setup.path("export.json"));
    let exported = works(&mut program("assay-oracle", &["protection", "export", "--config", &config])).await;
    let mut record: serde_json::Value = serde_json::from_str(&exported).unwrap();
    assert_eq!(record["publicKey"], format!("{:?}", key(1).public_key()));
    assert_eq!(record["settlement"], json!(world().deployment.settlement));
    let digest = format!("0x{}", "11".repeat(32));
    record["statements"] = (0..500).map(|epoch| json!({ "kind": "commit", "epoch": epoch, "view": 0, "digest": digest })).collect();
    fs::write(&export, record.to_string()).unwrap();
    let import = ["protection", "import", "--config", &config, "--file", &setup.shown("export.json")];
    let message = refused(&mut without_room(&program("assay-oracle", &import))).await;
    assert_says(&message, &[&setup.shown("protection.sqlite"), "free space", "untouched"]);
    assert_eq!(works(&mut program("assay-oracle", &["protection", "export", "--config", &config])).await, exported);
    assert_says(&works(&mut program("assay-oracle", &import)).await, &["500 statements added"]);
    // An import that is none is refused whole.
    let merged = works(&mut program("assay-oracle", &["protection", "export", "--config", &config])).await;
    for spoilt in ["", "{}", &record.to_string().replace("31337", "1")] {
        fs::write(&export, spoilt).unwrap();
        assert_says(&refused(&mut program("assay-oracle", &import)).await, &["cannot be imported", "name the unchanged output"]);
    }
    assert_eq!(works(&mut program("assay-oracle", &["protection", "export", "--config", &config])).await, merged);
}

// Defence: `print` in the command line; `println!` panics, and a lost export passes for a good one.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_finds_no_room_is_an_error() {
    let setup = Setup::new(1).await;
    let config = setup.write();
    let script = "exec \"$@\" > /dev/full";
    let mut export = Command::new("/bin/sh");
    export.args(["-c", script, "sh"]).arg(assay_tests::binaries::path("assay-oracle")).args(["protection", "export", "--config", &config]);
    assert_says(&refused(&mut export).await, &["standard output cannot be written", "free space"]);
}

//! Damaged disks, full disks, lost indexes.

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use assay_proto::provider::v1 as wire;
use assay_provider::config::Scrub;
use assay_provider::index::{Index, ScrubRun};
use common::*;
use tonic::Code;

fn scrubbing(data_dir: &Path, bytes_per_s: u64) -> assay_provider::config::Config {
    let mut config = config(data_dir);
    config.scrub = Scrub { bytes_per_s, every_s: 3600 };
    config
}

async fn scrubbed(node: &mut Node) -> wire::DescribeReply {
    for _ in 0..400 {
        let described = node.describe().await;
        if described.scrubbed_at > 0 {
            return described;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the scrub does not end");
}

async fn newest_run(data_dir: &Path) -> ScrubRun {
    Index::open(&data_dir.join("index.sqlite")).await.unwrap().scrubs(1).await.unwrap().remove(0)
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_finds_a_flipped_bit_and_the_next_challenge_states_it_missing() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let (whole, damaged) = (Replica::tagged("whole", 1_000_000), Replica::tagged("damaged", 1_000_000));
    node.finish(&whole).await.unwrap();
    node.finish(&damaged).await.unwrap();
    let before = node.describe().await;
    assert_eq!((before.damaged_blocks, before.scrubbed_at), (0, 0));
    node.stop().await;

    // In the middle of block 3, in the tag of block 6, and nowhere else.
    flip(&damaged.file(directory.path(), "replica"), 3 * 126_976 + 63_000);
    flip(&damaged.file(directory.path(), "tags"), 6 * 64);
    let mut node = Node::start(&scrubbing(directory.path(), 1 << 30)).await;
    assert_eq!(scrubbed(&mut node).await.damaged_blocks, 2);
    let set = set(&[&whole, &damaged]);
    let challenge = storage_challenge(&set, false);
    let checked = check(&challenge, &set, &node.ask(&challenge).await.unwrap().0);
    let is_lost = |block: u64| set.locate(block).is_some_and(|(claim, at)| *claim == damaged.claim && (at == 3 || at == 6));
    let lost = challenge.samples().iter().filter(|sample| is_lost(sample.block)).count();
    assert_eq!((checked.invalid.len(), checked.missing.len()), (0, lost));
    node.stop().await;
    let run = newest_run(directory.path()).await;
    assert_eq!((run.damaged_blocks, run.unreadable_blocks, run.blocks), (2, 0, set.root().blocks));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_makes_a_damaged_outboard_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::tagged("outboard", 1_000_000);
    node.finish(&replica).await.unwrap();
    flip(&replica.file(directory.path(), "outboard"), 5);
    let set = set(&[&replica]);
    let challenge = storage_challenge(&set, true);
    let checked = check(&challenge, &set, &node.ask(&challenge).await.unwrap().0);
    assert!(checked.invalid.is_empty() && checked.missing.len() > 5, "{checked:?}");
    node.stop().await;
    let mut node = Node::start(&scrubbing(directory.path(), 1 << 30)).await;
    assert_eq!(scrubbed(&mut node).await.damaged_blocks, 0);
    for by_slices in [true, false] {
        let challenge = storage_challenge(&set, by_slices);
        assert!(check(&challenge, &set, &node.ask(&challenge).await.unwrap().0).all_valid());
    }
    node.stop().await;
    assert_eq!(newest_run(directory.path()).await.blocks, replica.claim.blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_goes_on_after_a_restart_and_stops_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let replica = Replica::new("long", 10_000_000);
    node.store(&replica).await;
    node.stop().await;

    // 4 MiB take 40 seconds at this rate.
    let node = Node::start(&scrubbing(directory.path(), 100_000)).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let begun = std::time::Instant::now();
    node.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let interrupted = newest_run(directory.path()).await;
    assert_eq!((interrupted.finished_at, interrupted.blocks, interrupted.at_block), (None, 32, 32));

    let mut node = Node::start(&scrubbing(directory.path(), 1 << 30)).await;
    scrubbed(&mut node).await;
    node.stop().await;
    let run = newest_run(directory.path()).await;
    assert_eq!((run.id, run.blocks, run.damaged_blocks), (interrupted.id, replica.claim.blocks, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_made_again_at_the_start_and_numbers_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    let (one, two, three) = (Replica::tagged("one", 300_000), Replica::new("two", 10), Replica::tagged("three", 10));
    node.finish(&one).await.unwrap();
    node.store(&two).await;
    let released = node.release(&two).await.unwrap();
    let newest = node.describe().await.newest;
    node.stop().await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(directory.path().join(format!("index.sqlite{suffix}")));
    }

    let mut node = Node::start(&config(directory.path())).await;
    assert_eq!(node.describe().await.newest, newest, "the very set that was signed");
    assert_eq!(node.release(&two).await.unwrap(), released);
    let set = set(&[&one, &two]);
    let challenge = storage_challenge(&set, false);
    assert!(check(&challenge, &set, &node.ask(&challenge).await.unwrap().0).all_valid());
    assert_eq!(node.finish(&three).await.unwrap().sequence, 4, "no number is used twice");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_older_than_the_log_gets_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    node.store(&Replica::new("one", 10)).await;
    node.finish(&Replica::tagged("two", 10)).await.unwrap();
    let newest = node.describe().await.newest;
    node.stop().await;
    fs::remove_dir_all(directory.path().join("claim-sets")).unwrap();
    Node::start(&config(directory.path())).await.stop().await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(directory.path().join(format!("index.sqlite{suffix}")));
    }
    let mut node = Node::start(&config(directory.path())).await;
    assert_eq!(node.describe().await.newest, newest);
    node.stop().await;
}

// Defence: the log's order and checksums. Without them another set is signed under a number that is used.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_does_not_start_when_it_cannot_know_what_it_signed() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(&config(directory.path())).await;
    for name in ["one", "two", "three"] {
        node.store(&Replica::new(name, 10)).await;
    }
    node.stop().await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(directory.path().join(format!("index.sqlite{suffix}")));
    }
    let refused = async || {
        let token = tokio_util::sync::CancellationToken::new();
        assay_provider::app::start(&config(directory.path()), receipt_key(), token).await.err().unwrap().to_string()
    };
    let file = |sequence: u64| directory.path().join("claim-sets").join(format!("{sequence:020}.set"));
    fs::rename(file(2), directory.path().join("aside")).unwrap();
    assert!(refused().await.contains("claim set 2 is missing"));
    fs::rename(directory.path().join("aside"), file(2)).unwrap();
    flip(&file(3), 50);
    assert!(refused().await.contains("is damaged"));
    flip(&file(3), 50);
    let mut node = Node::start(&config(directory.path())).await;
    assert_eq!(node.describe().await.newest.unwrap().sequence, 3);
    node.stop().await;
}

fn provider(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_assay-provider")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_says_what_to_do_and_that_helps() {
    let directory = tempfile::tempdir().unwrap();
    let (data, password) = (directory.path().join("data"), directory.path().join("password"));
    fs::write(&password, "a password").unwrap();
    let (data_dir, password) = (data.to_str().unwrap(), password.to_str().unwrap());
    let (registry, settlement) = (domain().provider_registry.to_string(), instance().settlement.to_string());
    let (created, _, problem) = provider(&[
        "init",
        "--data-dir",
        data_dir,
        "--password-file",
        password,
        "--chain-id",
        "31337",
        "--provider-registry",
        &registry,
        "--settlement",
        &settlement,
        "--provider-id",
        "7",
        "--fast-kdf",
    ]);
    assert!(created, "{problem}");
    let config_file = data.join("provider.toml");
    let config_file = config_file.to_str().unwrap();
    let mut node = Node::start(&config(&data)).await;
    let replica = Replica::tagged("index", 300_000);
    node.finish(&replica).await.unwrap();
    let newest = node.describe().await.newest;
    let (refused, _, problem) = provider(&["index", "rebuild", "--config", config_file]);
    assert!(!refused && problem.contains("used by another process"), "{problem}");
    node.stop().await;

    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(data.join(format!("index.sqlite{suffix}")));
    }
    fs::write(data.join("index.sqlite"), vec![7; 20_000]).unwrap();
    let token = tokio_util::sync::CancellationToken::new();
    let error = assay_provider::app::start(&config(&data), receipt_key(), token).await.err().unwrap().to_string();
    assert!(error.contains("assay-provider index rebuild"), "{error}");
    let (rebuilt, shown, problem) = provider(&["index", "rebuild", "--config", config_file]);
    assert!(rebuilt && shown.contains("\"claims\":1"), "{shown} {problem}");

    let mut node = Node::start(&config(&data)).await;
    assert_eq!(node.describe().await.newest, newest);
    let set = set(&[&replica]);
    let challenge = storage_challenge(&set, false);
    assert!(check(&challenge, &set, &node.ask(&challenge).await.unwrap().0).all_valid());
    let (scrubbed, shown, problem) = provider(&["scrub", "--now", "--json", "--config", config_file]);
    assert!(scrubbed && shown.contains("\"damagedBlocks\":0"), "beside the running provider: {shown} {problem}");
    let (known, shown, _) = provider(&["status", "--config", config_file]);
    assert!(known && shown.contains("1 claims with 3 blocks") && shown.contains("finished"), "{shown}");
    node.stop().await;
}

/// A small file system of its own, unmounted with its value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }

    /// Leaves `free` bytes.
    fn fill(&self, free: u64) -> PathBuf {
        let path = self.0.join("filler");
        let file = fs::File::create(&path).unwrap();
        let mut at = 0;
        while file.write_all_at(&[1; 4096], at).is_ok() {
            at += 4096;
        }
        file.set_len(at.saturating_sub(free)).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_loses_nothing_and_is_no_end() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&directory.path().join("disk"), 16 << 20) else {
        println!("skipped: this user may not mount a tmpfs");
        return;
    };
    let data = disk.0.join("data");
    let mut node = Node::start(&config(&data)).await;
    let first = Replica::new("first", 200_000);
    node.store(&first).await;
    let replica = Replica::tagged("full", 2_000_000);
    let total = replica.upload().len() as u64;
    node.propose(&replica).await.unwrap();

    let filler = disk.fill(65_536);
    let status = node.put_tag_key(tag_owner()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    fs::remove_file(&filler).unwrap();
    node.put_tag_key(tag_owner()).await.unwrap();

    let filler = disk.fill(1_000_000);
    let status = node.upload(&replica, 0, total).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("Free space"), "{status}");
    fs::remove_file(&filler).unwrap();
    let received = node.propose(&replica).await.unwrap().received_bytes;
    assert!(received > 500_000 && received < total, "{received}");
    node.upload(&replica, received, total).await.unwrap();

    for free in [0, 4096, 12_288, 20_480] {
        let filler = disk.fill(free);
        if let Err(status) = node.commit(&replica).await {
            assert_eq!(status.code(), Code::ResourceExhausted, "{free} bytes free: {status}");
        }
        fs::remove_file(&filler).unwrap();
    }
    assert_eq!(node.finish(&replica).await.unwrap().sequence, 2);
    let set = set(&[&first, &replica]);
    for by_slices in [true, false] {
        let challenge = storage_challenge(&set, by_slices);
        assert!(check(&challenge, &set, &node.ask(&challenge).await.unwrap().0).all_valid());
    }
    node.stop().await;
}

#[test]
fn the_bench_measures_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().to_str().unwrap();
    let (ran, shown, problem) = provider(&["bench", "--dir", dir, "--bytes", "4MiB", "--seconds", "1"]);
    assert!(ran, "{problem}");
    assert!(shown.contains("this machine can answer in time: ") && shown.contains("storage, compact"), "{shown}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    let (ran, shown, _) = provider(&["bench", "--dir", dir, "--bytes", "4MiB", "--seconds", "1", "--json"]);
    assert!(ran && shown.contains("\"answersInTime\":"), "{shown}");
    let file = directory.path().join("file");
    fs::write(&file, "no directory").unwrap();
    let (ran, _, problem) = provider(&["bench", "--dir", file.to_str().unwrap(), "--bytes", "4MiB"]);
    assert!(!ran && problem.contains("give this user write permission"), "{problem}");
}

//! A provider that is killed at every step of an ingest with tags. The process that dies is this very test binary, run again.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use assay_daemon::persistence;
use common::*;
use rustix::process::{Signal, getpid, kill_process};
use tokio_util::sync::CancellationToken;

const POINTS: [&str; 9] = [
    "tag-key.before",
    "tag-key.after",
    "keep.before",
    "keep.outboard",
    "keep.tags",
    "keep.replica",
    "keep.after",
    "claim-set.before",
    "claim-set.after",
];

/// No test: the process that dies.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the test below"]
async fn a_mortal_provider() {
    let (Ok(point), Ok(directory)) = (std::env::var("TEST_DIE_AT"), std::env::var("TEST_DATA_DIR")) else { return };
    persistence::install(move |passed| {
        if passed == point {
            // As a power cut ends it: no destructor runs.
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    });
    let running = assay_provider::app::start(&config(Path::new(&directory)), receipt_key(), CancellationToken::new()).await.unwrap();
    println!("\naddress {}", running.address);
    running.wait().await.unwrap();
}

/// Starts it and gives the address where it serves.
fn start_mortal(point: &str, directory: &Path) -> (Child, String) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_mortal_provider", "--ignored", "--nocapture"])
        .env("TEST_DIE_AT", point)
        .env("TEST_DATA_DIR", directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.find_map(|line| line.strip_prefix("address ").map(str::to_owned)).unwrap();
    (process, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_an_ingest_with_tags_it_goes_on_where_it_was() {
    let replica = Replica::tagged("mortal", 300_000);
    let set = set(&[&replica]);
    for point in POINTS {
        let directory = tempfile::tempdir().unwrap();
        let (mut process, address) = start_mortal(point, directory.path());
        Hands::connect(&address).await.finish(&replica).await.expect_err(point);
        let ended = process.wait().unwrap();
        assert!(!ended.success(), "{point}");

        let mut node = Node::start(&config(directory.path())).await;
        let there = node.propose(&replica).await.unwrap();
        assert_eq!(there.committed, point == "claim-set.after", "{point}: what was signed stands, and nothing else");
        if !point.starts_with("tag-key") {
            assert_eq!(there.received_bytes, replica.upload().len() as u64, "{point}: nothing is sent twice");
        }
        let signed = node.finish(&replica).await.unwrap();
        assert_eq!((signed.sequence, signed.root), (1, set.root()), "{point}");
        for by_slices in [true, false] {
            let challenge = storage_challenge(&set, by_slices);
            assert!(check(&challenge, &set, &node.ask(&challenge).await.unwrap().0).all_valid(), "{point}");
        }
        assert_eq!(std::fs::read(replica.file(directory.path(), "replica")).unwrap(), replica.bytes, "{point}");
        node.stop().await;
        let mut tidy = config(directory.path());
        tidy.limits.proposal_ttl_s = 0;
        Node::start(&tidy).await.stop().await;
        assert_eq!(std::fs::read_dir(directory.path().join("incoming")).unwrap().count(), 0, "{point}");
    }
}

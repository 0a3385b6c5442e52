//! Ctrl-C at any time leaves no process behind.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use assay_tests::binaries;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Set for the demo and inherited by everything it starts.
const MARK: &str = "ASSAY_INTERRUPT_TEST";

/// Interrupts the demo right after it said `line`, and looks for anything that still carries its mark.
async fn interrupt_after(line: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mark = format!("{}-{}", std::process::id(), line.len());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut demo = Command::new(binaries::path("assay-devnet"))
        .args(["demo", "--dir", &dir.path().display().to_string(), "--data", &data.display().to_string()])
        .env(MARK, &mark)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let reached = async {
        while let Some(said) = lines.next_line().await.unwrap() {
            if said.contains(line) {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(Duration::from_secs(90), reached).await.unwrap(), "the demo never said {line}");
    assert!(!marked(&mark).is_empty(), "the mark is inherited");
    kill_process(Pid::from_raw(i32::try_from(demo.id().unwrap()).unwrap()).unwrap(), Signal::INT).unwrap();
    let status = tokio::time::timeout(Duration::from_secs(20), demo.wait()).await.expect("it ends in time").unwrap();
    assert_eq!(status.code(), Some(130));
    let gone = async {
        while !marked(&mark).is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap_or_else(|_| panic!("left behind: {:?}", marked(&mark)));
}

/// Command lines of living processes that carry the mark.
fn marked(mark: &str) -> Vec<String> {
    let wanted = format!("{MARK}={mark}");
    let processes =
        std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    processes
        .filter_map(|entry| {
            let environment = std::fs::read(entry.path().join("environ")).ok()?;
            let carries = environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
            carries.then(|| String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).unwrap_or_default()).replace('\0', " "))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_the_chain_starts_leaves_nothing_behind() {
    interrupt_after("chain: anvil").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_data_is_uploaded_leaves_nothing_behind() {
    interrupt_after("builder: one encrypted replica").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_oracles_measure_leaves_nothing_behind() {
    interrupt_after("epoch 0: measuring").await;
}

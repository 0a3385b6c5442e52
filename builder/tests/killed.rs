//! The real binary, killed with SIGKILL at random points of every command that changes something, and finished by repeating it.

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use assay_builder::client::Client;
use assay_builder::prepare::Prepared;
use assay_builder::verify::verify;
use assay_core::hash::Hash32;
use common::{Node, Owner, builder, hash, kill_after, run, strings, wanted, write_object};
use serde_json::Value;

const KILLS: u32 = 8;

/// A random part of `whole`.
fn part_of(whole: Duration) -> Duration {
    let mut byte = [0; 2];
    getrandom::fill(&mut byte).unwrap();
    whole.mul_f64(f64::from(u16::from_le_bytes(byte)) / 65_536.0)
}

fn file_args(file: &Path) -> Vec<String> {
    strings(&["--file", &file.display().to_string()])
}

/// Kills the command a few times, then lets it finish. The first run, undisturbed elsewhere, tells how long it takes.
async fn finished(parts: &[Vec<String>], whole: Duration) -> Value {
    let mut killed = 0;
    for _ in 0..KILLS {
        killed += u32::from(kill_after(parts, part_of(whole)).await);
    }
    assert!(killed > 0, "every run was over before it was killed");
    run(parts).await.unwrap()
}

async fn restored(node: &Node, owner: &Owner, object: &Hash32, replica: u64, out: &Path) -> Vec<u8> {
    let args = strings(&["--object-id", &object.to_string(), "--replica", &replica.to_string(), "--output", &out.display().to_string()]);
    run(&[strings(&["restore"]), owner.args(), node.args(), args]).await.unwrap();
    let bytes = fs::read(out).unwrap();
    fs::remove_file(out).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn preparing_and_uploading_survive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let owner = Owner::new(directory.path());
    let file = directory.path().join("object");
    let bytes = write_object(&file, 24_000_000);
    let node = Node::start(&directory.path().join("provider"), 1).await;

    let prepare = |out: &str| {
        let out = directory.path().join(out).display().to_string();
        [strings(&["prepare", "--out", &out]), owner.args(), node.args(), file_args(&file)]
    };
    let began = Instant::now();
    let undisturbed = run(&prepare("undisturbed")).await.unwrap();
    let printed = finished(&prepare("killed"), began.elapsed()).await;
    for field in ["objectId", "root", "claimHash", "tagKeyId", "tagsBytes"] {
        assert_eq!(printed[field], undisturbed[field], "{field}");
    }
    let both = ["undisturbed", "killed"].map(|name| fs::read(directory.path().join(name).join("tags")).unwrap());
    assert_eq!(both[0], both[1]);
    Prepared::open(&directory.path().join("killed")).unwrap().check_tags().unwrap();

    let upload = |replica: &str| [strings(&["upload", "--replica", replica]), owner.args(), node.args(), file_args(&file)];
    let began = Instant::now();
    run(&upload("1")).await.unwrap();
    let printed = finished(&upload("2"), began.elapsed()).await;
    let object = hash(&printed["objectId"]);
    assert_eq!(restored(&node, &owner, &object, 2, &directory.path().join("back")).await, bytes);
    assert_eq!(fs::read_dir(owner.keys.join("prepared")).unwrap().count(), 0, "what was prepared on the way is gone");

    let prepared = directory.path().join("killed").display().to_string();
    let from_directory = [strings(&["upload", "--prepared", &prepared]), owner.args(), node.args()];
    let printed = run(&from_directory).await.unwrap();
    assert_eq!(printed["claimHash"], undisturbed["claimHash"]);
    assert_eq!(printed["sequence"], 3);
    node.stop().await;
}

/// Never gone from both: while the old provider is released, the new one holds the replica and shows it.
async fn held_somewhere(old: &mut Client, new: &mut Client, of: &assay_builder::client::Wanted) -> bool {
    if old.find(of).await.is_ok() {
        return true;
    }
    let claim = new.find(of).await.expect("released and not stored at the new provider");
    assert!(verify(new, &claim, 1000).await.unwrap().is_clean());
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_survives_kill_9_and_never_leaves_the_replica_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let owner = Owner::new(directory.path());
    let file = directory.path().join("object");
    let bytes = write_object(&file, 16_000_000);
    let old = Node::start(&directory.path().join("old"), 1).await;
    let new = Node::start(&directory.path().join("new"), 2).await;
    let (mut old_client, mut new_client) = (old.client().await, new.client().await);
    let mut whole = Duration::ZERO;
    for replica in ["0", "1"] {
        let upload = [strings(&["upload", "--replica", replica]), owner.args(), old.args(), file_args(&file)];
        let printed = run(&upload).await.unwrap();
        let object = printed["objectId"].as_str().unwrap();
        let endpoints = ["--from-endpoint", &old.endpoint, "--from-id", "1", "--to-endpoint", &new.endpoint, "--to-id", "2"];
        let what = strings(&["move", "--object-id", object, "--replica", replica]);
        let relocate = [what, strings(&endpoints), owner.args()];
        let of = wanted(
            &old_client.claim_set(0).await.unwrap().unwrap().1.claims().find(|c| c.replica_index.to_string() == replica).unwrap().clone(),
        );
        if replica == "0" {
            let began = Instant::now();
            run(&relocate).await.unwrap();
            whole = began.elapsed();
        } else {
            for _ in 0..KILLS {
                kill_after(&relocate, part_of(whole)).await;
                held_somewhere(&mut old_client, &mut new_client, &of).await;
            }
            run(&relocate).await.unwrap();
        }
        assert!(!held_somewhere(&mut old_client, &mut new_client, &of).await, "the old provider is released");
        let again = run(&relocate).await.unwrap();
        assert_eq!(again["proof"], Value::Null, "a finished move is not begun again");
        let back = restored(&new, &owner, &hash(&printed["objectId"]), of.replica, &directory.path().join("back")).await;
        assert_eq!(back, bytes);
    }
    for state in fs::read_dir(owner.keys.join("moves")).unwrap() {
        let mut names: Vec<_> = fs::read_dir(state.unwrap().path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["lock", "move.json"], "no plain bytes stay behind");
    }
    drop((old_client, new_client));
    old.stop().await;
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_asks_before_it_does_what_cannot_be_undone() {
    let directory = tempfile::tempdir().unwrap();
    let owner = Owner::new(directory.path());
    let made = directory.path().join("made").display().to_string();
    let keygen = strings(&["keygen", "--fast-kdf", "--keys", &made, "--password-file", &owner.password.display().to_string()]);
    let output = builder(std::slice::from_ref(&keygen)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("the data is lost") && said.contains("--i-understand"), "{said}");
    assert!(!Path::new(&made).exists(), "nothing was made");
    let printed = run(&[keygen, strings(&["--i-understand"])]).await.unwrap();
    assert!(printed["ownerSecret"].as_str().unwrap().ends_with("owner-secret.json"));
    let secret = fs::read_to_string(printed["ownerSecret"].as_str().unwrap()).unwrap();
    assert!(secret.contains("pbkdf2") && secret.contains("cipher"), "it is encrypted");

    let file = directory.path().join("object");
    write_object(&file, 100_000);
    let node = Node::start(&directory.path().join("provider"), 1).await;
    let printed = run(&[strings(&["upload"]), owner.args(), node.args(), file_args(&file)]).await.unwrap();
    let object = strings(&["--object-id", printed["objectId"].as_str().unwrap()]);
    let release = [strings(&["release"]), owner.args(), node.args(), object.clone()];
    assert!(run(&release).await.unwrap_err().contains("--yes"));

    let only_keys = strings(&["--keys", &owner.keys.display().to_string()]);
    let verify = [strings(&["verify"]), only_keys.clone(), node.args(), object.clone()];
    let verified = run(&verify).await.unwrap();
    assert_eq!((&verified["held"], &verified["groups"], &verified["lossBound"]), (&8.into(), &8.into(), &0.0.into()));
    let back = directory.path().join("back").display().to_string();
    let restore = [strings(&["restore", "--output", &back, "--range", "5..10"]), only_keys, node.args(), object.clone()];
    assert!(run(&restore).await.unwrap_err().contains("--password-file"));
    let restore = [strings(&["restore", "--output", &back, "--range", "5..99000"]), owner.args(), node.args(), object.clone()];
    run(&restore).await.unwrap();
    assert_eq!(fs::read(&back).unwrap(), fs::read(&file).unwrap()[5..99_000]);

    let claim = node.client().await.claim_set(0).await.unwrap().unwrap().1.claims().next().unwrap().clone();
    node.damage(&claim, 100);
    let error = run(&verify).await.unwrap_err();
    assert!(error.contains("7 of 8 places are held"), "{error}");

    let released = run(&[release.concat(), strings(&["--yes"])]).await.unwrap();
    assert_eq!(released["sequence"], 2);
    let status = run(&[strings(&["status"]), node.args()]).await.unwrap();
    assert_eq!(status["count"], 0);
    assert!(run(&verify).await.unwrap_err().contains("claims no replica 0"));
    node.stop().await;
}

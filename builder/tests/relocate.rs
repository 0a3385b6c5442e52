//! Moves that break at every step, and moves that fail.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use assay_builder::client::Client;
use assay_builder::error::BuilderError;
use assay_builder::relocate::{Move, Moved, relocate};
use assay_builder::source::Source;
use assay_core::claim::Claim;
use assay_provider::config::Limits;
use common::{Node, keys, store, wanted, write_object};

struct Bench {
    directory: tempfile::TempDir,
    old: Node,
    new: Node,
    claim: Claim,
}

impl Bench {
    async fn new(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let old = Node::start(&directory.path().join("old"), 1).await;
        let new = Node::with(&directory.path().join("new"), 2, limits).await;
        write_object(&directory.path().join("object"), 1_000_000);
        let source = Source::File(directory.path().join("object"));
        let claim = store(&mut old.client().await, &source, 0, |_, _| ()).await.unwrap().claim;
        Self { directory, old, new, claim }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("object")
    }

    /// Moves; `tell` may break it.
    async fn relocate(&self, source: Option<Source>, tell: impl FnMut(&str) + Send + 'static) -> Result<Result<Moved, BuilderError>, ()> {
        let (mut from, mut to) = (self.old.client().await, self.new.client().await);
        let (claim, work) = (self.claim.clone(), self.directory.path().join("work"));
        let mut tell = tell;
        let task = tokio::spawn(async move {
            let keys = keys();
            let (object, replica) = (claim.object_id, claim.replica_index);
            let order = Move { keys: &keys, object, replica, source, tags: true, work, registry: None, samples: 300 };
            relocate(&order, &mut from, &mut to, &mut tell).await
        });
        task.await.map_err(|_| ())
    }

    async fn stands_at(&self, node: &Node) -> bool {
        node.client().await.find(&wanted(&self.claim)).await.is_ok()
    }

    async fn stop(self) {
        self.old.stop().await;
        self.new.stop().await;
    }
}

/// A word that is heard in the `n`th step breaks the task there, as a crash would.
fn breaks_at(step: usize) -> impl FnMut(&str) + Send + 'static {
    let mut heard = 0;
    move |_| {
        heard += 1;
        if heard == step {
            std::panic::resume_unwind(Box::new("broken on purpose"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_breaks_at_any_step_is_finished_by_a_repeat() {
    // fetching, encrypting, storing, checking, releasing.
    for step in 1..=5 {
        let bench = Bench::new(Limits::default()).await;
        assert!(bench.relocate(None, breaks_at(step)).await.is_err(), "step {step}");
        assert!(bench.stands_at(&bench.old).await, "not released before it is proved");
        let moved = bench.relocate(None, |_| ()).await.unwrap().unwrap();
        assert_eq!(moved.old, bench.claim);
        assert_ne!(moved.new.root, moved.old.root);
        assert!(moved.proof.unwrap().is_clean());
        assert!(!bench.stands_at(&bench.old).await && bench.stands_at(&bench.new).await);
        let again = bench.relocate(None, |_| panic!("nothing is left to do")).await.unwrap().unwrap();
        assert_eq!((again.new, again.proof), (moved.new, None));
        bench.stop().await;
    }
}

// Defence: the proof before the release. Without it the only whole copy is given up.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_new_provider_does_not_hold_is_not_released_at_the_old_one() {
    let bench = Bench::new(Limits::default()).await;
    let replicas = bench.new.data_dir.join("replicas");
    let damage = move |step: &str| {
        if step == "checking the new provider" {
            only_replica(&replicas);
        }
    };
    let error = bench.relocate(None, damage).await.unwrap().unwrap_err();
    assert!(matches!(error, BuilderError::NotHeld(_)), "{error}");
    assert!(bench.stands_at(&bench.old).await);
    let error = bench.relocate(None, |_| ()).await.unwrap().unwrap_err();
    assert!(matches!(error, BuilderError::NotHeld(_)), "an earlier attempt proves nothing: {error}");
    assert!(bench.stands_at(&bench.old).await);
    bench.stop().await;
}

/// Damages the one stored replica.
fn only_replica(replicas: &Path) {
    let is_replica = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "replica");
    let path = fs::read_dir(replicas).unwrap().map(|entry| entry.unwrap().path()).find(is_replica).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[500_000] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_the_new_provider_refuses_leaves_the_old_claim() {
    let bench = Bench::new(Limits { capacity_bytes: 1000, ..Limits::default() }).await;
    let error = bench.relocate(None, |_| ()).await.unwrap().unwrap_err();
    assert!(matches!(error, BuilderError::Refused(_)), "{error}");
    assert!(bench.stands_at(&bench.old).await && !bench.stands_at(&bench.new).await);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_at_hand_moves_what_the_old_provider_lost() {
    let bench = Bench::new(Limits::default()).await;
    bench.old.damage(&bench.claim, 700_000);
    bench.relocate(None, |_| ()).await.unwrap().unwrap_err();
    assert!(bench.stands_at(&bench.old).await);

    let other = bench.directory.path().join("other");
    fs::write(&other, "something else").unwrap();
    let error = bench.relocate(Some(Source::File(other)), |_| ()).await.unwrap().unwrap_err();
    assert!(matches!(error, BuilderError::OtherSource { .. }), "{error}");
    assert!(!bench.stands_at(&bench.new).await);

    bench.relocate(Some(Source::File(bench.file())), |_| ()).await.unwrap().unwrap();
    assert!(!bench.stands_at(&bench.old).await && bench.stands_at(&bench.new).await);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_moves_away_and_back_and_away_again() {
    let bench = Bench::new(Limits::default()).await;
    bench.relocate(None, |_| ()).await.unwrap().unwrap();
    let (mut old, mut new): (Client, Client) = (bench.old.client().await, bench.new.client().await);
    let keys = keys();
    let back = Move {
        keys: &keys,
        object: bench.claim.object_id,
        replica: 0,
        source: None,
        tags: true,
        work: bench.directory.path().join("work back"),
        registry: None,
        samples: 300,
    };
    let same = relocate(&back, &mut old.clone(), &mut old, &mut |_| ()).await;
    assert!(matches!(same, Err(BuilderError::SameProvider(_))));
    relocate(&back, &mut new, &mut old, &mut |_| ()).await.unwrap();
    assert!(bench.stands_at(&bench.old).await && !bench.stands_at(&bench.new).await);
    let elsewhere = Move { work: bench.directory.path().join("work"), ..back };
    let wrong = relocate(&elsewhere, &mut new, &mut old, &mut |_| ()).await;
    assert!(matches!(wrong, Err(BuilderError::OtherMove(_))), "{wrong:?}");
    bench.relocate(None, |_| ()).await.unwrap().unwrap();
    assert!(!bench.stands_at(&bench.old).await && bench.stands_at(&bench.new).await);
    bench.stop().await;
}

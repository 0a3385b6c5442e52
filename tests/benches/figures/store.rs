//! Transcripts into the oracle's own store, durable as in production, against a bare table that takes the same bytes.
//!
//! The transcripts are real: a slot of the devnet's mix (echoes, stored blocks, storage audits of 30 slices) from a real provider. The node
//! puts what arrived from one provider as one bundle, one transaction, one sync of the disk. How much that is depends on the load: while
//! puts wait for each other, up to [`ARRIVALS`] transcripts gather behind each; with little load a bundle holds what comes in 200 ms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use assay_challenger::convert::encode_bundle;
use assay_core::ids::ProviderId;
use assay_core::params::Params;
use assay_core::transcript::Transcript;
use assay_oracle::store::{EvidenceBundle, SqliteStore, Store};
use futures::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::runtime::Runtime;

use crate::harness::{Pair, Plan, pair};
use crate::plane::{Plane, patient};
use crate::table::Table;

/// What waits behind a put at most (`assay_oracle::measure`).
const ARRIVALS: usize = 1_024;
/// What the devnet's schedule brings of one provider within its 200 ms, rounded up.
const TRICKLE: usize = 3;
/// Providers whose bundles are put side by side.
const PROVIDERS: u64 = 4;

const INSERT_BARE: &str = "INSERT INTO bare (bundle) VALUES (?)";

const PLAN: Plan = Plan { samples: 31, sample: Duration::from_millis(50), warm_up: Duration::from_millis(500) };

pub fn measure(table: &mut Table) {
    let transcripts = transcripts();
    let bytes = encode_bundle(&transcripts, &[]).len() / transcripts.len();
    table.put_exact(
        "store.transcript_bytes",
        bytes as f64,
        "B",
        "mean of an encoded transcript in what follows: the devnet's mix of probes",
    );

    let full = Bench::new(&transcripts).measure();
    let rate = |batch: usize| move |seconds: f64| (batch as u64 * PROVIDERS) as f64 / seconds;
    table.put(
        "store.sqlite_rows_s",
        full.ours.map(rate(ARRIVALS)),
        "1/s",
        "transcripts into the node's store, encoding included, batches of a busy node (1,024)",
    );
    table.put(
        "store.bare_rows_s",
        full.theirs.map(rate(ARRIVALS)),
        "1/s",
        "the floor: the same bytes into a bare table with the same pragmas",
    );
    table.put("store.sqlite_over_bare", full.ratio.map(f64::recip), "", "the one / the other");
    let small = Bench::new(&transcripts[..TRICKLE]).measure();
    table.put(
        "store.sqlite_rows_trickle_s",
        small.ours.map(rate(TRICKLE)),
        "1/s",
        "the same in batches of an idle node (3): what one disk sync each allows",
    );
    table.put("store.bare_rows_trickle_s", small.theirs.map(rate(TRICKLE)), "1/s", "the floor of that");
}

/// As many transcripts as a full batch has, from slots of the devnet's schedule.
fn transcripts() -> Vec<Transcript> {
    let (plane, params) = (Plane::start(), patient(Params::devnet()));
    let line = plane.line();
    let mut transcripts = Vec::new();
    for epoch in 0.. {
        if transcripts.len() >= ARRIVALS {
            break;
        }
        let slot = plane.slot(plane.assignment(epoch + 1, epoch, &params), line.clone());
        transcripts.extend(plane.clients.block_on(slot).1);
    }
    transcripts.truncate(ARRIVALS);
    transcripts
}

struct Bench {
    batch: Arc<Vec<Transcript>>,
    runtime: Runtime,
    count: AtomicU64,
}

impl Bench {
    fn new(batch: &[Transcript]) -> Self {
        Self { batch: Arc::new(batch.to_vec()), runtime: Runtime::new().unwrap(), count: AtomicU64::new(0) }
    }

    /// One call: a bundle of each provider.
    fn measure(&self) -> Pair {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let store = Arc::new(self.runtime.block_on(SqliteStore::open(&directory.path().join("node.sqlite"))).unwrap());
        let bare = self.runtime.block_on(bare_table(&directory.path().join("bare.sqlite")));
        self.runtime.block_on(fill_logs(&store, &bare));
        let encoded = Arc::new(encode_bundle(&self.batch, &[]));
        let ours = || {
            let puts = (1..=PROVIDERS).map(|provider| {
                let (store, batch, number) = (store.clone(), self.batch.clone(), self.count.fetch_add(1, Ordering::Relaxed));
                self.runtime.spawn(async move {
                    let bundle = stamped(encode_bundle(&batch, &[]), number);
                    let digest = blake3::hash(&bundle).into();
                    store
                        .put_evidence(&EvidenceBundle { digest, epoch: number, slot: 0, provider: ProviderId(provider), bundle })
                        .await
                        .is_ok()
                })
            });
            let puts: Vec<_> = puts.collect();
            self.runtime.block_on(join_all(puts)).into_iter().all(|put| put.unwrap())
        };
        let theirs = || {
            let puts = (1..=PROVIDERS).map(|_| {
                let (bare, encoded, number) = (bare.clone(), encoded.clone(), self.count.fetch_add(1, Ordering::Relaxed));
                self.runtime.spawn(async move {
                    let bundle = stamped(encoded.to_vec(), number);
                    sqlx::query(INSERT_BARE).bind(bundle).execute(&bare).await.is_ok()
                })
            });
            let puts: Vec<_> = puts.collect();
            self.runtime.block_on(join_all(puts)).into_iter().all(|put| put.unwrap())
        };
        pair(PLAN, ours, theirs)
    }
}

/// Makes both write-ahead logs as long as they become and empties them, as they are in a node that runs: from then on they are written
/// over. A log that still grows costs a change of the file system's metadata for every sync.
async fn fill_logs(store: &SqliteStore, bare: &SqlitePool) {
    let checkpoint = "PRAGMA wal_checkpoint(RESTART)";
    for number in 0..2u8 {
        let bundle = vec![number; 16 << 20];
        let evidence =
            EvidenceBundle { digest: blake3::hash(&bundle).into(), epoch: 0, slot: 0, provider: ProviderId(9), bundle: bundle.clone() };
        store.put_evidence(&evidence).await.unwrap();
        sqlx::query(INSERT_BARE).bind(bundle).execute(bare).await.unwrap();
        sqlx::query(checkpoint).execute(store.pool()).await.unwrap();
        sqlx::query(checkpoint).execute(bare).await.unwrap();
    }
}

/// Eight bytes more, so that no bundle is one that the store has already.
fn stamped(mut bundle: Vec<u8>, number: u64) -> Vec<u8> {
    bundle.extend_from_slice(&number.to_be_bytes());
    bundle
}

/// A table of nothing but blobs, with the pragmas of [`SqliteStore::open`].
async fn bare_table(path: &std::path::Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE bare (bundle BLOB NOT NULL)").execute(&pool).await.unwrap();
    pool
}

//! From the reveal deadline to the report on the chain: sixteen oracles as processes of their own, two honest providers, and a chain with a
//! block a second.
//!
//! The clock starts at `end + reveal_ms`: whatever comes later than that does not have to count. What an oracle may do then is the protocol's:
//! it signs its bit-vote `skew_ms` later, and the leader waits for missing ones until `bit_vote_ms`. Steps are read from what the oracles
//! left when they have ended, so that nothing looks at them while they work; the chain alone is asked meanwhile.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_chain::{BlockTag, Client};
use assay_tests::devnet::steps::{Steps, Traces};
use assay_tests::devnet::{Changes, Devnet, Fault, OracleFault, Plan};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::harness::Estimate;
use crate::table::Table;

const ORACLES: usize = 16;
const PROVIDERS: usize = 2;
const EPOCHS: u64 = 5;
/// The oracles start one after the other, and all must run when the first epoch begins.
const GENESIS_DELAY_S: u64 = 60;
/// Between two looks at the chain.
const LOOK: Duration = Duration::from_millis(50);

/// An epoch's close, in ms after its reveal deadline.
struct Settled {
    steps: Steps,
    /// A reader of the chain saw the report there.
    seen_ms: u64,
    /// The timestamp of the block that has it.
    block_ms: u64,
}

type Figure = (&'static str, fn(&Settled) -> u64, &'static str);

/// Steps on the way, in their order.
const STEPS: [Figure; 6] = [
    ("epoch.settle_voted_s", |s| s.steps.voted_ms, "of this: the last of 16 signed its bit-vote (0.25 at the earliest)"),
    ("epoch.settle_votes_s", |s| s.steps.votes_ms, "of this: the leader had checked all bit-votes that it proposed with"),
    ("epoch.settle_proposal_s", |s| s.steps.proposal_ms, "of this: the last of the others had checked the proposal"),
    ("epoch.settle_certified_s", |s| s.steps.certified_ms, "of this: the first oracle had the certificate: the protocol's share"),
    ("epoch.settle_sent_s", |s| s.steps.sent_ms, "of this: the transaction was given to the chain"),
    ("epoch.settle_seen_s", |s| s.seen_ms, "a reader of the chain saw the report there"),
];

pub fn measure(table: &mut Table) {
    let settled = Runtime::new().unwrap().block_on(run());
    if settled.is_empty() {
        return;
    }
    let median = |ms: fn(&Settled) -> u64| Estimate::median(&settled.iter().map(|s| seconds(ms(s))).collect::<Vec<_>>());
    table.put(
        "epoch.settle_s",
        median(|s| s.block_ms),
        "s",
        "16 oracles as processes: reveal deadline to the timestamp of the block with the report, a block a second",
    );
    let range = settled.iter().map(|s| s.block_ms).fold((u64::MAX, 0), |(least, most), ms| (least.min(ms), most.max(ms)));
    table.put_exact("epoch.settle_least_s", seconds(range.0), "s", "the fastest of these epochs");
    table.put_exact("epoch.settle_most_s", seconds(range.1), "s", "the slowest of these epochs");
    for (key, ms, what) in STEPS {
        table.put(key, median(ms), "s", what);
    }
}

/// Closes the epochs; those without a report are said and left out.
async fn run() -> Vec<Settled> {
    let devnet = start().await;
    let client = Client::connect(devnet.deployment.chain.clone()).await.unwrap();
    let mut accepted = Vec::new();
    for epoch in 0..EPOCHS {
        accepted.push((epoch, accept(&devnet, &client, epoch).await));
    }
    let (places, deadlines) = (devnet.places(), (0..EPOCHS).map(|epoch| deadline_ms(&devnet, epoch)).collect::<Vec<_>>());
    // What does not stop in time is killed, and left as much.
    if let Err(error) = devnet.stop().await {
        eprintln!("settle: {error}");
    }
    let traces = Traces::read(&places).await.unwrap();
    let mut settled = Vec::new();
    for ((epoch, accepted), since_ms) in accepted.into_iter().zip(deadlines) {
        match (accepted, traces.steps(epoch, since_ms)) {
            (Some((block_ms, seen_ms)), Some(steps)) => {
                println!("  settle: epoch {epoch}: {steps:?}, block {block_ms}, seen {seen_ms}");
                settled.push(Settled { steps, seen_ms, block_ms });
            }
            (accepted, steps) => eprintln!("settle: epoch {epoch} is left out: accepted {accepted:?}, steps {steps:?}"),
        }
    }
    settled
}

async fn start() -> Devnet {
    let plan = Plan {
        dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("settle"),
        data: Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        oracles: vec![OracleFault::None; ORACLES],
        faults: vec![Fault::None; PROVIDERS],
    };
    let changes = Changes { genesis_delay_s: Some(GENESIS_DELAY_S), ..Changes::default() };
    let devnet = Devnet::start_changed(&plan, &changes, |_| {}).await.unwrap();
    let genesis_ms = devnet.deployment.genesis_s * 1_000;
    assert!(now_ms() < genesis_ms, "the oracles took {GENESIS_DELAY_S} s to start: this machine is too busy");
    devnet
}

/// Waits until the chain has a report of the epoch: (timestamp of its block, when it was seen), both in ms after the reveal deadline. `None`
/// when it can have none any more.
async fn accept(devnet: &Devnet, client: &Client, epoch: u64) -> Option<(u64, u64)> {
    let since_ms = deadline_ms(devnet, epoch);
    let expired_ms = since_ms + devnet.params.valid_epochs * devnet.params.epoch_ms();
    sleep(Duration::from_millis(since_ms.saturating_sub(now_ms()))).await;
    while now_ms() < expired_ms {
        // Trouble with the chain is another look.
        if let Ok(Some(accepted)) = client.accepted_report(epoch, BlockTag::Latest).await {
            return Some(((accepted.accepted_at_s * 1_000).saturating_sub(since_ms), now_ms().saturating_sub(since_ms)));
        }
        sleep(LOOK).await;
    }
    None
}

/// When reveals of the epoch are due, unix ms.
fn deadline_ms(devnet: &Devnet, epoch: u64) -> u64 {
    devnet.deployment.genesis_s * 1_000 + (epoch + 1) * devnet.params.epoch_ms() + devnet.params.deadlines.reveal_ms
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

//! The crash table: an oracle of a real network is killed at every point around a durable write, started again, and goes on as if nothing
//! had been.
//!
//! One network of four serves all points. In the close of each epoch one oracle is killed again and again, in the order in which it passes
//! its points; while the next epoch is measured and the report is paid, another one. Who is killed is started again at once, and only then
//! may somebody die: never more than a quarter of the weight is down.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{PipeWriter, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use assay_challenger::convert::decode_bundle;
use assay_core::hash::Hash32;
use assay_core::ids::{Instance, OracleId};
use assay_daemon::persistence::POINTS;
use assay_oracle::clock::{now_ms, until_unix_ms};
use assay_oracle::signer::StatementKind;
use assay_tests::binaries;
use assay_tests::devnet::outcome::{EpochSummary, ask};
use assay_tests::devnet::{Devnet, Fault, OracleFault, Plan};
use assay_tests::process::{Process, ProcessError, Spec};
use assay_tests::record::Record;
use tokio::time::{sleep, sleep_until};

/// Around the end of an epoch, one oracle each, in the order in which it passes them. Those at the end are passed at any time.
const CLOSING: [&[&str]; 4] = [
    &["observation.before", "received.before", "bit-vote.before", "candidate.before", "evidence.before"],
    &["observation.after", "received.after", "bit-vote.after", "candidate.after", "evidence.after"],
    &["commit.before", "statement.before", "report.before", "outcome.before", "accepted.before"],
    &["commit.after", "statement.after", "report.after", "outcome.after", "accepted.after"],
];
/// When it claims its reward, one oracle each: the neighbour of the one that dies in the close.
const PAYING: [&[&str]; 4] = [
    &["outbox.queued.after", "outbox.signed.before", "outbox.signed.after"],
    &["outbox.queued.before"],
    &["outbox.mined.after", "outbox.final.before", "outbox.final.after"],
    &["outbox.broadcast.before", "outbox.broadcast.after", "outbox.mined.before"],
];
/// From the end of an epoch: when its close is over, and when the next one comes near.
const CLOSED_MS: u64 = 12_000;
const PAID_MS: u64 = 23_500;
/// Before the end of an epoch.
const LEAD_MS: u64 = 1_000;
/// A point that was passed over in one close (the machine was busy) gets another; after so many the table is red.
const MOST_CLOSES: u64 = 8;

/// A killed oracle.
#[derive(Clone, Copy, Debug)]
struct Death {
    point: &'static str,
    node: usize,
    /// The epoch in course.
    epoch: u64,
}

/// Who took part in an accepted report.
#[derive(Debug)]
struct Participants {
    signers: Vec<OracleId>,
    revealed: Vec<OracleId>,
}

struct Node {
    id: OracleId,
    dir: PathBuf,
    api: String,
    process: Option<Process>,
    orders: Option<PipeWriter>,
}

impl Node {
    fn start(&mut self, die_at: Option<&str>) {
        let (theirs, ours) = std::io::pipe().unwrap();
        let spec = Spec::new(binaries::path("assay-devnet"), self.dir.join("oracle.log"))
            .args(["oracle", "--until-stdin-closes", "--config"])
            .arg(self.dir.join("oracle.toml").display())
            .args(die_at.iter().flat_map(|point| ["--die-at", point]));
        self.process = Some(spec.start_with_stdin(theirs.into()).unwrap());
        self.orders = Some(ours);
    }

    fn order(&mut self, die_at: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{die_at}").unwrap();
    }

    /// Waits for its end at the point it was given; `false` when it still runs at `until_ms`.
    async fn died(&mut self, point: &str, until_ms: u64) -> bool {
        let left = Duration::from_millis(until_ms.saturating_sub(now_ms()));
        match self.process.as_mut().unwrap().wait(left).await {
            Ok(status) => {
                assert_eq!(status.signal(), Some(9), "{point}: oracle {} ended otherwise; its log is in {}", self.id, self.dir.display());
                true
            }
            Err(ProcessError::StillRuns { .. }) => false,
            Err(error) => panic!("{point}: {error}"),
        }
    }

    async fn ready(&self) {
        let url = format!("{}/healthz", self.api);
        let answered = async {
            while reqwest::get(&url).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap_or_else(|_| panic!("oracle {} does not answer", self.id));
    }

    /// SIGTERM drains it: it ends within five seconds, and by itself.
    async fn terminate(&mut self, when: &str) {
        let begun = Instant::now();
        let status = self.process.take().unwrap().stop(Duration::from_secs(5)).await;
        let status = status.unwrap_or_else(|error| panic!("SIGTERM {when}: {error}"));
        assert_eq!(status.code(), Some(0), "SIGTERM {when}: {status}");
        println!("SIGTERM {when}: oracle {} ended in {:?}", self.id, begun.elapsed());
    }
}

struct Net {
    devnet: Devnet,
    nodes: Vec<Node>,
    deaths: Vec<Death>,
    /// What each oracle had stored when it was killed last.
    stored: Vec<BTreeSet<Hash32>>,
    reports: BTreeMap<u64, Participants>,
}

impl Net {
    async fn start(dir: &Path) -> Self {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let plan = Plan { dir: dir.to_path_buf(), data, oracles: vec![OracleFault::None; 4], faults: vec![Fault::None] };
        let mut devnet = Devnet::start(&plan, |line| println!("{line}")).await.unwrap();
        let mut nodes = Vec::new();
        for index in 0..devnet.oracles.len() {
            devnet.kill_oracle(index).await.unwrap();
            let oracle = &devnet.oracles[index];
            // Each claims for itself, so that each has something for its outbox.
            let path = oracle.dir.join("oracle.toml");
            let config = std::fs::read_to_string(&path).unwrap();
            assert!(config.contains("claim = \"all\""));
            std::fs::write(&path, config.replace("claim = \"all\"", "claim = \"own\"")).unwrap();
            let (dir, api) = (oracle.dir.clone(), oracle.api.clone());
            let mut node = Node { id: oracle.id, dir, api, process: None, orders: None };
            node.start(None);
            node.ready().await;
            nodes.push(node);
        }
        let stored = vec![BTreeSet::new(); nodes.len()];
        Self { devnet, nodes, deaths: Vec::new(), stored, reports: BTreeMap::new() }
    }

    fn end_ms(&self, epoch: u64) -> u64 {
        self.devnet.deployment.genesis_s * 1_000 + (epoch + 1) * self.devnet.params.epoch_ms()
    }

    fn current_epoch(&self) -> u64 {
        now_ms().saturating_sub(self.devnet.deployment.genesis_s * 1_000) / self.devnet.params.epoch_ms()
    }

    async fn wait_until(&self, unix_ms: u64) {
        sleep_until(until_unix_ms(unix_ms)).await;
    }

    /// Kills the oracle at its points, one after the other, and starts it again each time. Points that it did not pass stay in the list.
    async fn die_through(&mut self, index: usize, points: &mut VecDeque<&'static str>, until_ms: u64) {
        let Some(first) = points.front() else { return };
        self.nodes[index].order(first);
        while let Some(point) = points.front().copied() {
            let died = self.nodes[index].died(point, until_ms).await;
            if !died {
                println!("{point}: oracle {} did not pass it in time", self.nodes[index].id);
                self.nodes[index].process.take().unwrap().kill().await.unwrap();
                self.nodes[index].start(None);
                break;
            }
            points.pop_front();
            self.buried(point, index).await;
            self.nodes[index].start(points.front().copied());
        }
        self.nodes[index].ready().await;
    }

    /// Looks at what a killed oracle has left.
    async fn buried(&mut self, point: &'static str, index: usize) {
        let epoch = self.current_epoch();
        let node = &self.nodes[index];
        let left: BTreeSet<Hash32> = Record::of(&node.dir).evidence().await.unwrap().into_keys().collect();
        let since_ms = now_ms().saturating_sub(self.end_ms(epoch) - self.devnet.params.epoch_ms());
        println!("{point}: oracle {} killed {since_ms} ms into epoch {epoch}, {} bundles on its disk", node.id, left.len());
        assert!(left.is_superset(&self.stored[index]), "{point}: oracle {} has lost evidence", node.id);
        self.stored[index] = left;
        self.deaths.push(Death { point, node: index, epoch });
    }

    /// Asks for the reports of all epochs up to `last` while there are oracles that know these epochs' committees.
    async fn note_reports(&mut self, last: u64) {
        for epoch in (0..=last).filter(|epoch| !self.reports.contains_key(epoch)).collect::<Vec<_>>() {
            for node in &self.nodes {
                let Ok(Some(summary)) = ask::<EpochSummary>(format!("{}/v1/epochs/{epoch}", node.api)).await else { continue };
                if let (Some(report), Some(_)) = (summary.report, summary.accepted)
                    && let Some(signers) = report.signers
                {
                    println!("epoch {epoch}: accepted in view {}, signed by {signers:?}, revealed {:?}", report.view, report.paid_oracles);
                    self.reports.insert(epoch, Participants { signers, revealed: report.paid_oracles });
                    break;
                }
            }
        }
    }

    fn last_death(&self, index: usize) -> u64 {
        self.deaths.iter().filter(|death| death.node == index).map(|death| death.epoch).max().unwrap_or(0)
    }
}

// Defence: the replay in `Actor::begin`. Without it an oracle that was killed over a report takes no part in it any more, its later points
// are never passed, and the table runs out of closes.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_point_costs_no_vote_no_evidence_and_no_second_signature() {
    let listed: Vec<&str> = CLOSING.iter().chain(&PAYING).flat_map(|points| points.iter().copied()).collect();
    assert_eq!(listed.iter().collect::<BTreeSet<_>>(), POINTS.iter().collect(), "each point stands in one list");
    assert_eq!(listed.len(), POINTS.len());

    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let mut net = Net::start(&dir.path().join("net")).await;
    let mut closing = CLOSING.map(|points| points.iter().copied().collect::<VecDeque<_>>());
    let mut paying = PAYING.map(|points| points.iter().copied().collect::<VecDeque<_>>());
    let mut close = net.current_epoch();
    let first = close;
    while closing.iter().chain(&paying).any(|points| !points.is_empty()) {
        assert!(close < first + MOST_CLOSES, "never passed: {closing:?} {paying:?}");
        let end_ms = net.end_ms(close);
        let turn = |points: &[VecDeque<&str>; 4], whose: u64| {
            let order = (0..4).map(|step| usize::try_from((close - first + step) % 4).unwrap() ^ usize::try_from(whose).unwrap());
            order.into_iter().find(|index| !points[*index].is_empty())
        };
        net.wait_until(end_ms - LEAD_MS).await;
        if let Some(index) = turn(&closing, 0) {
            net.die_through(index, &mut closing[index], end_ms + CLOSED_MS).await;
        }
        if let Some(index) = turn(&paying, 1) {
            net.die_through(index, &mut paying[index], end_ms + PAID_MS).await;
        }
        net.wait_until(end_ms + CLOSED_MS).await;
        net.note_reports(close).await;
        close += 1;
    }
    println!("every point was passed {:.0} s after the start", begun.elapsed().as_secs_f64());

    terminate_at_several_moments(&mut net, close).await;
    everybody_takes_part(&mut net).await;
    for node in &mut net.nodes {
        node.terminate("at the end").await;
    }
    nothing_was_signed_twice(&net).await;
    no_evidence_is_lost(&net).await;
    net.devnet.stop().await.unwrap();
    println!("{} points, {:.0} s", POINTS.len(), begun.elapsed().as_secs_f64());
}

/// While it commits, while it votes and while it measures. Only oracles that are not expected to prove themselves in this epoch.
async fn terminate_at_several_moments(net: &mut Net, mut close: u64) {
    let idle = |net: &Net, close: u64| (0..net.nodes.len()).filter(|index| net.last_death(*index) + 1 < close).collect::<Vec<_>>();
    while idle(net, close).len() < 2 {
        close += 1;
    }
    let idle = idle(net, close);
    let end_ms = net.end_ms(close);
    let moments = [(1_000, "while commits come in"), (4_300, "while bit-votes are due"), (14_000, "in the middle of measuring")];
    for ((after_ms, when), index) in moments.into_iter().zip(idle.into_iter().cycle()) {
        net.wait_until(end_ms + after_ms).await;
        net.nodes[index].terminate(when).await;
        net.nodes[index].start(None);
        net.nodes[index].ready().await;
    }
    net.note_reports(close).await;
}

/// Defence: the lock on the signing record is the kernel's, which a kill releases, and both databases recover by being opened. With a lock
/// file of our own, say, nobody who was killed comes back.
async fn everybody_takes_part(net: &mut Net) {
    let last = net.deaths.iter().map(|death| death.epoch + 1).max().unwrap();
    let give_up_ms = net.end_ms(last) + 20_000;
    while !net.reports.contains_key(&last) && now_ms() < give_up_ms {
        sleep(Duration::from_millis(250)).await;
        net.note_reports(last).await;
    }
    for Death { point, node, epoch } in &net.deaths {
        let id = net.nodes[*node].id;
        let next = net.reports.get(&(epoch + 1)).unwrap_or_else(|| panic!("{point}: epoch {} has no accepted report", epoch + 1));
        let takes_part = next.signers.contains(&id) || next.revealed.contains(&id);
        assert!(takes_part, "{point}: oracle {id}, killed in epoch {epoch}, is missing from the next: {next:?}");
    }
    let killed_at: BTreeSet<&str> = net.deaths.iter().map(|death| death.point).collect();
    assert_eq!(killed_at, POINTS.iter().copied().collect());
}

/// Defence: `check_and_record` before each signature. Without it peers hold statements that the signer's record does not have.
async fn nothing_was_signed_twice(net: &Net) {
    let chain = &net.devnet.deployment;
    let instance = Instance { chain_id: chain.chain.chain_id, settlement: chain.settlement };
    let mut signed = BTreeMap::new();
    for node in &net.nodes {
        signed.extend(Record::of(&node.dir).signed(node.id).await.unwrap());
    }
    let points_of = |id: OracleId| {
        net.deaths.iter().filter(|death| net.nodes[death.node].id == id).map(|death| (death.point, death.epoch)).collect::<Vec<_>>()
    };
    let mut voted = BTreeMap::new();
    for node in &net.nodes {
        let statements = Record::of(&node.dir).statements(&instance).await.unwrap();
        assert!(!statements.is_empty());
        for (place, digest) in statements {
            let (by, kind, epoch, _) = place;
            assert_eq!(signed.get(&place), Some(&digest), "{place:?} in the log of oracle {}; killed at {:?}", node.id, points_of(by));
            if kind == StatementKind::BitVote {
                voted.entry((by, epoch)).or_insert_with(BTreeSet::new).insert(node.id);
            }
        }
    }
    // What was recorded and not yet sent is asked for again after the restart, and the same statement may be signed again.
    for (by, kind, epoch, _) in signed.keys().filter(|(_, kind, ..)| *kind == StatementKind::BitVote) {
        let held = voted.get(&(*by, *epoch)).map_or(0, BTreeSet::len);
        assert!(held > 1, "oracle {by}: its recorded {kind} of epoch {epoch} is held by {held} oracles; killed at {:?}", points_of(*by));
    }
    println!("{} statements signed once each", signed.len());
}

async fn no_evidence_is_lost(net: &Net) {
    for (node, stored) in net.nodes.iter().zip(&net.stored) {
        let evidence = Record::of(&node.dir).evidence().await.unwrap();
        let lost = stored.iter().filter(|digest| !evidence.contains_key(digest)).count();
        assert_eq!(lost, 0, "oracle {} has lost {lost} bundles", node.id);
        for (digest, bundle) in &evidence {
            assert_eq!(Hash32::from(blake3::hash(bundle)), *digest);
            decode_bundle(bundle).unwrap_or_else(|error| panic!("oracle {}, bundle {digest}: {error}", node.id));
        }
    }
}

//! Bandwidth windows on loopback: the real provider, bare and behind a line with limits, and providers that cheat.

mod cheats;
#[path = "../../provider/tests/common/mod.rs"]
mod common;
// By its path: the crate that it belongs to depends on this one.
#[path = "../../tests/src/proxy.rs"]
#[allow(dead_code)]
mod proxy;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use assay_challenger::convert::{Bundle, decode_bundle, encode_bundle};
use assay_challenger::link::{Line, Link, LinkConfig};
use assay_challenger::measure::{Assignment, SlotReport, Target, run_slot};
use assay_challenger::seal::seal;
use assay_challenger::watchdog::Watchdog;
use assay_core::bls::{Domain, SecretKey};
use assay_core::challenge::window::Window;
use assay_core::challenge::{Kind, Kinds};
use assay_core::claim::ClaimSet;
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::params::Params;
use assay_core::transcript::{Fate, OracleFault, Outcome, Pair, SlotSchedule, Transcript};
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::provider_client::ProviderClient;
use cheats::{Cheat, Cheater};
use common::{Node, PROVIDER, Replica, config, instance, receipt_key, set};
use proxy::{Faults, Proxy};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One window at a time: each loads the machine.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
const ME: OracleId = OracleId(5);
const FLOOR_KBPS: u64 = 20_000;
/// Five exchanges over a path of 120 ms fit before it.
const WINDOW_AT_US: u64 = 800_000;

/// The devnet's window, alone in its slot. Slip and stalls are tolerated: other tests share the machine.
fn params() -> Params {
    let mut params = Params::devnet();
    params.slot_ms = 2_000;
    let probing = &mut params.probing;
    (probing.availability_mean_ms, probing.latency_mean_ms, probing.storage_audits_per_slot) = (600_000, 600_000, 0);
    (probing.send_slip_ms, probing.stall_ms) = (60_000, 60_000);
    params
}

struct Test {
    line: Line,
    claims: Arc<ClaimSet>,
    know_claims: bool,
    params: Params,
    watchdog: Watchdog,
}

impl Test {
    async fn of(address: SocketAddr, claims: Arc<ClaimSet>) -> Self {
        let config = LinkConfig { allow_private: true, ..LinkConfig::default() };
        let line = Link::open(&format!("http://{address}"), &config).await.unwrap().into();
        let watchdog = Watchdog::start(Duration::from_secs(60)).unwrap();
        Self { line, claims, know_claims: true, params: params(), watchdog }
    }

    fn assignment(&self) -> Assignment {
        let (params, kinds, claims) = (&self.params, Kinds::standard(), self.claims.root());
        let pair = Pair { instance: instance(), epoch: 4, oracle: ME, provider: PROVIDER, class_id: 100, claims };
        let vrf = SecretKey::key_gen(&[1; 32]).unwrap().sign(Domain::Vrf, &Hash32([2; 32]));
        let end_us = WINDOW_AT_US + params.bandwidth.window_ms * 1_000;
        let windows = [Window { oracle: ME, start_us: WINDOW_AT_US, end_us }];
        let schedule = SlotSchedule::new(pair, 2, &vrf, &windows, &params.classes[0], params, kinds);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Assignment {
            instance: instance(),
            params: Arc::new(params.clone()),
            epoch: 4,
            slot: 2,
            slot_start_unix_ms: now.as_millis() as u64,
            oracle: ME,
            provider: Target { id: PROVIDER, class_id: 100, claims, receipt_key: receipt_key().address() },
            claims: self.know_claims.then(|| self.claims.clone()),
            kinds,
            extra: BTreeMap::new(),
            schedule: Arc::new(schedule),
        }
    }

    async fn run(&self) -> (Transcript, Transcript) {
        self.run_assignment(self.assignment()).await.1
    }

    /// The only test of a class that promises one direction.
    async fn run_alone(&self, direction: usize) -> Transcript {
        let (sink, mut source) = mpsc::channel(64);
        run_slot(self.assignment(), &self.line, &self.watchdog, sink, CancellationToken::new()).await;
        let kind = [Kind::INGRESS, Kind::EGRESS][direction];
        loop {
            let transcript = source.recv().await.unwrap();
            if transcript.challenge.kind == kind {
                return transcript;
            }
        }
    }

    /// The slot's report, and the tests of both directions: towards the provider, from it.
    async fn run_assignment(&self, assignment: Assignment) -> (SlotReport, (Transcript, Transcript)) {
        let (sink, mut source) = mpsc::channel(64);
        let report = run_slot(assignment, &self.line, &self.watchdog, sink, CancellationToken::new()).await;
        let mut transcripts = Vec::new();
        while let Some(transcript) = source.recv().await {
            transcripts.push(transcript);
        }
        let take = |kind| {
            let mut of_kind = transcripts.iter().filter(|t: &&Transcript| t.challenge.kind == kind);
            let transcript = of_kind.next().unwrap().clone();
            assert_eq!(of_kind.count(), 0, "one test a direction");
            assert_eq!(transcript.scheduled_at_us, WINDOW_AT_US);
            transcript
        };
        (report, (take(Kind::INGRESS), take(Kind::EGRESS)))
    }

    /// What the oracle reports of a test, kbit/s.
    fn rate(&self, test: &Transcript) -> u64 {
        let plug = Kinds::standard().get(test.challenge.kind).unwrap();
        plug.summarise(&self.params, &self.params.classes[0], FLOOR_KBPS, &[test]).readings[0]
    }
}

/// The real provider behind a proxy.
struct Honest {
    node: Node,
    directory: TempDir,
    replicas: Vec<Replica>,
    _proxy: Proxy,
    test: Test,
}

impl Honest {
    async fn behind(faults: Faults) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut node = Node::start(&config(directory.path())).await;
        let replicas = vec![Replica::new("one", 3_000_000), Replica::new("two", 100_000)];
        for replica in &replicas {
            node.store(replica).await;
        }
        let claims = Arc::new(set(&replicas.iter().collect::<Vec<_>>()));
        let proxy = Proxy::start(node.address(), faults).await.unwrap();
        let test = Test::of(proxy.addr(), claims).await;
        Self { node, directory, replicas, _proxy: proxy, test }
    }

    async fn end(self) {
        drop(self.test);
        self.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_provider_reaches_its_floor_and_its_answers_are_sealed() {
    let _alone = ALONE.lock().await;
    let honest = Honest::behind(Faults::default()).await;
    let test = &honest.test;
    let assignment = test.assignment();
    let (report, (ingress, egress)) = test.run_assignment(assignment.clone()).await;
    for transcript in [&ingress, &egress] {
        assert_eq!(transcript.outcome.fate(), Fate::Answered, "{transcript:?}");
        assert!(test.rate(transcript) >= FLOOR_KBPS, "{} kbit/s: {transcript:?}", test.rate(transcript));
        assert!(transcript.readings.len() <= 64 && transcript.signature.is_none() && transcript.rtt_us.is_some());
    }
    assert_eq!(report.unsigned.len(), report.transcripts);
    let sealed = seal(test.line.link().unwrap(), &assignment, &report.unsigned).await.unwrap();
    assert!(sealed.covers(&report.unsigned));
    let bundle = Bundle { transcripts: vec![ingress, egress], seals: vec![sealed] };
    assert_eq!(decode_bundle(&encode_bundle(&bundle.transcripts, &bundle.seals)).unwrap(), bundle);
    honest.end().await;
}

// One test is one oracle's word, and a line that is full both ways is lumpy: as in a panel, the median judges.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_ten_megabits_is_measured_as_one() {
    let _alone = ALONE.lock().await;
    let honest = Honest::behind(Faults { rate_bytes_per_s: Some(1_250_000), ..Faults::default() }).await;
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..5 {
        let (ingress, egress) = honest.test.run().await;
        for (direction, transcript) in [&ingress, &egress].into_iter().enumerate() {
            assert_eq!(transcript.outcome.fate(), Fate::Answered, "{transcript:?}");
            rates[direction].push(honest.test.rate(transcript));
        }
    }
    println!("kbit/s in, out: {rates:?}");
    for of_direction in &mut rates {
        of_direction.sort_unstable();
        assert!((9_000..=11_000).contains(&of_direction[2]), "kbit/s: {of_direction:?}");
    }
    honest.end().await;
}

// Defence: the round trip in `Flow::limit`, and the ramp. Without it a distant provider is limited by what may be under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distant_provider_reaches_the_floor_within_the_window() {
    let _alone = ALONE.lock().await;
    let honest = Honest::behind(Faults { round_trip_delay: Duration::from_millis(120), ..Faults::default() }).await;
    let (ingress, egress) = honest.test.run().await;
    for transcript in [&ingress, &egress] {
        assert_eq!(transcript.outcome.fate(), Fate::Answered, "{transcript:?}");
        let rate = honest.test.rate(transcript);
        assert!(rate >= FLOOR_KBPS, "{rate} kbit/s: {:?}", transcript.readings);
    }
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_without_its_data_sends_nothing_that_counts() {
    let _alone = ALONE.lock().await;
    let honest = Honest::behind(Faults::default()).await;
    for replica in &honest.replicas {
        let name = format!("{}.replica", hex(&replica.claim.root));
        std::fs::remove_file(honest.directory.path().join("replicas").join(name)).unwrap();
    }
    let (ingress, egress) = honest.test.run().await;
    assert!(honest.test.rate(&ingress) >= FLOOR_KBPS);
    assert_eq!((egress.outcome.fate(), honest.test.rate(&egress)), (Fate::Answered, 0), "it states honestly that it sent nothing");
    honest.end().await;
}

fn hex(hash: &Hash32) -> String {
    hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

// Defence: the slip and the watchdog in `Window::test`; without them our own trouble is the provider's slowness.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_faults_are_not_counted() {
    let _alone = ALONE.lock().await;
    let mut honest = Honest::behind(Faults::default()).await;
    honest.test.params.probing.send_slip_ms = 25;
    let late = Assignment { slot_start_unix_ms: honest.test.assignment().slot_start_unix_ms - 5_000, ..honest.test.assignment() };
    let (report, (ingress, egress)) = honest.test.run_assignment(late).await;
    let slip = Outcome::OracleError(OracleFault::SendSlip);
    assert!(ingress.outcome == slip && egress.outcome == slip && report.unsigned.is_empty());

    honest.test.params.probing.send_slip_ms = 60_000;
    honest.test.watchdog = Watchdog::start(Duration::ZERO).unwrap();
    let (ingress, egress) = honest.test.run().await;
    let stall = Outcome::OracleError(OracleFault::Stall);
    assert!(ingress.outcome == stall && egress.outcome == stall);
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_link_or_claims_a_test_is_silent() {
    let _alone = ALONE.lock().await;
    let mut honest = Honest::behind(Faults::default()).await;
    honest.test.know_claims = false;
    let (ingress, egress) = honest.test.run().await;
    assert_eq!((ingress.outcome.fate(), egress.outcome), (Fate::Answered, Outcome::Silent));
    honest.test.line = Line::default();
    let (ingress, egress) = honest.test.run().await;
    assert_eq!((ingress.outcome, egress.outcome), (Outcome::Silent, Outcome::Silent));
    honest.end().await;
}

// Defences: `Source::is_right`, `Sink::take`, `Sink::agrees_with`, the core's hash of all bytes, the decoding limit and the window's end; each
// taken out lets one of these cheats through, or lets it last.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_cheats_is_worth_nothing_within_the_window() {
    let _alone = ALONE.lock().await;
    let tests = Cheat::ALL.map(|cheat| async move {
        let (address, cheater) = Cheater::serve(cheat).await;
        let test = Test::of(address, cheater.claims.clone()).await;
        let begun = Instant::now();
        let (ingress, egress) = test.run().await;
        let window_us = WINDOW_AT_US + test.params.bandwidth.window_ms * 1_000;
        assert!(begun.elapsed() < Duration::from_micros(window_us) + Duration::from_secs(3), "{cheat:?} {:?}", begun.elapsed());
        assert_eq!((test.rate(&ingress), test.rate(&egress)), (0, 0), "{cheat:?}");
        for transcript in [&ingress, &egress] {
            let kind = transcript.challenge.kind;
            assert_eq!(transcript.outcome.fate(), cheat.fate(kind), "{cheat:?} {kind:?}");
        }
        let (sent, received) = (cheater.sent.load(Ordering::Relaxed), cheater.received.load(Ordering::Relaxed));
        // What flow control lets through before anybody looks, a few hundred replies that are read and dropped, and no more.
        assert!(sent < 16 << 20, "{cheat:?} got rid of {sent} bytes");
        assert!(received < 6 << 20, "{cheat:?} was sent {received} bytes");
    });
    futures::future::join_all(tests).await;
}

/// Bytes per second that bare streams carry on this machine, without proof, receipt or limit: towards a server that drops them, from one
/// that repeats itself.
async fn bare_streams() -> (u64, u64) {
    let time = Duration::from_millis(700);
    let connect = async |address: SocketAddr| {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().tcp_nodelay(true);
        let windows = endpoint.initial_stream_window_size(16 << 20).initial_connection_window_size(32 << 20);
        ProviderClient::new(windows.connect().await.unwrap())
    };
    let (address, reader) = Cheater::serve(Cheat::Silent).await;
    let data: bytes::Bytes = vec![7; 256 * 1024].into();
    let frame = move || wire::IngressFrame { frame: Some(wire::ingress_frame::Frame::Data(data.clone())) };
    let _replies = connect(address).await.ingress(futures::stream::repeat_with(frame)).await.unwrap();
    let before = reader.received.load(Ordering::Relaxed);
    let begun = Instant::now();
    tokio::time::sleep(time).await;
    let ingress = (reader.received.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
    drop(_replies);

    let (address, _writer) = Cheater::serve(Cheat::Flood).await;
    let mut replies = connect(address).await.egress(futures::stream::pending()).await.unwrap().into_inner();
    let (begun, mut bytes) = (Instant::now(), 0);
    while begun.elapsed() < time {
        let Some(wire::egress_reply::Reply::Group(group)) = replies.message().await.unwrap().unwrap().reply else { unreachable!() };
        bytes += group.data.len() + group.siblings.len();
    }
    (ingress as u64, (bytes as f64 / begun.elapsed().as_secs_f64()) as u64)
}

// A figure, for a quiet machine: what hashing, proving and control cost beside the transport.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "compares speeds: run it alone"]
async fn a_test_carries_most_of_what_a_bare_stream_does() {
    let mut honest = Honest::behind(Faults::default()).await;
    let endpoint = format!("http://{}", honest.node.address());
    let config = LinkConfig { allow_private: true, ..LinkConfig::default() };
    honest.test.line = Link::open(&endpoint, &config).await.unwrap().into();
    honest.test.params.bandwidth.max_bytes = 1 << 30;
    let mut ratios = [Vec::new(), Vec::new()];
    for _ in 0..3 {
        let (bare_in, bare_out) = bare_streams().await;
        for (direction, bare) in [bare_in, bare_out].into_iter().enumerate() {
            let class = &mut honest.test.params.classes[0];
            (class.floor_in_kbps, class.floor_out_kbps) = if direction == 0 { (40_000_000, 0) } else { (0, 40_000_000) };
            let transcript = honest.test.run_alone(direction).await;
            let tested = honest.test.rate(&transcript) * 125;
            println!("{}: {} of {} MB/s", ["in", "out"][direction], tested / 1_000_000, bare / 1_000_000);
            ratios[direction].push(tested as f64 / bare as f64);
        }
    }
    println!("{ratios:?}");
    for mut of_direction in ratios {
        of_direction.sort_by(f64::total_cmp);
        assert!(of_direction[1] >= 0.25, "{of_direction:?}");
    }
    honest.end().await;
}

use assay_core::bls::{Domain, SecretKey};
use assay_core::transcript::Pair;
use std::collections::BTreeMap;

use super::*;
use crate::link::{Link, LinkConfig};

const MS: Duration = Duration::from_millis(1);

/// A probe of one kind, due now, of a port that takes connections and never says a word.
async fn silent_probe(kind: Kind, timeout_ms: u64, watchdog: &Watchdog) -> (tokio::net::TcpListener, Probe) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let link = Link::open(&endpoint, &LinkConfig { allow_private: true, ..LinkConfig::default() }).await.unwrap();
    let mut params = Params::devnet();
    (params.probing.answer_timeout_ms, params.probing.send_slip_ms) = (timeout_ms, 60_000);
    let claims = ClaimRoot { hash: Hash32([1; 32]), blocks: 1 };
    let instance = Instance { chain_id: 1, settlement: Address([2; 20]) };
    let pair = Pair { instance, epoch: 1, oracle: OracleId(1), provider: ProviderId(1), class_id: 100, claims };
    let vrf = SecretKey::key_gen(&[1; 32]).unwrap().sign(Domain::Vrf, &Hash32::ZERO);
    let kinds = Kinds::standard();
    let schedule = Arc::new(SlotSchedule::new(pair, 0, &vrf, &[], &params.classes[0], &params, kinds));
    let (scheduled, challenge) = schedule.challenges().find(|(scheduled, _)| scheduled.kind == kind).unwrap();
    let assignment = Assignment {
        instance,
        params: Arc::new(params),
        epoch: 1,
        slot: 0,
        slot_start_unix_ms: 0,
        oracle: OracleId(1),
        provider: Target { id: ProviderId(1), class_id: 100, claims, receipt_key: Address([3; 20]) },
        claims: None,
        kinds,
        extra: BTreeMap::new(),
        schedule,
    };
    let due = Instant::now();
    let probe = Probe {
        assignment: Arc::new(assignment),
        line: link.into(),
        watchdog: watchdog.clone(),
        challenge,
        claims: None,
        kept: None,
        strike: 0,
        scheduled_at_us: scheduled.at_us,
        due,
    };
    (listener, probe)
}

// Defence: the end of `void_window`; when a silence is judged up to its timeout (`ended` alone), this turns red.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_late_in_the_wait_never_voids_a_silence() {
    for kind in [Kind::AVAILABILITY, Kind::LATENCY_ECHO] {
        let watchdog = Watchdog::start(Duration::from_secs(60)).unwrap();
        let (_open, probe) = silent_probe(kind, 3_000, &watchdog).await;
        let due = probe.due.into_std();
        // So late that a probe sent two seconds after its time would pass, too.
        watchdog.invent_stall(due + 2_500 * MS, due + 2_600 * MS);
        assert_eq!(probe.run().await.outcome, Outcome::Silent, "{kind:?}");
    }
}

// Defence: asking the watchdog in `Probe::run`; without it this turns red.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_around_the_sending_voids_whatever_came_of_it() {
    let watchdog = Watchdog::start(Duration::from_secs(60)).unwrap();
    let (_open, probe) = silent_probe(Kind::LATENCY_ECHO, 300, &watchdog).await;
    watchdog.invent_stall(probe.due.into_std(), probe.due.into_std() + MS);
    assert_eq!(probe.run().await.outcome, Outcome::OracleError(OracleFault::Stall));

    // Of a provider without a link likewise: whether there is one makes no difference.
    let (_open, mut probe) = silent_probe(Kind::LATENCY_ECHO, 300, &watchdog).await;
    probe.line = Line::default();
    watchdog.invent_stall(probe.due.into_std(), probe.due.into_std() + MS);
    assert_eq!(probe.run().await.outcome, Outcome::OracleError(OracleFault::Stall));
}

// Defence: the formula of `void_window`; each of its parts taken out turns one line red.
#[test]
fn everybody_is_judged_over_the_same_window() {
    let due = Instant::now();
    let sent = due + 3 * MS;
    let timeout = 1_000 * MS;
    let window = |ended| void_window(due, sent, ended, timeout);
    assert_eq!(window(sent + timeout), (due, sent + STALL_WINDOW), "a silence");
    assert_eq!(window(sent + 900 * MS), window(sent + timeout), "a late answer, like a silence");
    assert_eq!(window(sent + 2 * MS), (due, sent + 2 * MS), "an answer, and a refusal, up to its arrival");
    assert_eq!(void_window(due, sent, sent + timeout, 50 * MS), (due, sent + 50 * MS), "never beyond the timeout");
}

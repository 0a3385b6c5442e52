//! Endpoints that do not even speak the protocol, beside a provider that does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_challenger::link::{Line, Link, LinkConfig};
use assay_challenger::measure::{Assignment, Target, run_slot};
use assay_challenger::watchdog::Watchdog;
use assay_core::bls::Domain;
use assay_core::challenge::Kinds;
use assay_core::challenge::schedule::vrf_message;
use assay_core::claim::ClaimRoot;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::params::Params;
use assay_core::transcript::{Fate, Pair, SlotSchedule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::provider::Setup;
use crate::world::key;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    /// Bytes of no protocol, and then waits.
    Garbage,
    /// Bytes without end.
    Flood,
    /// A beginning that is right, one byte at a time.
    Drip,
    /// Listens and says nothing.
    Mute,
    /// Hangs up.
    Closes,
}

const MANNERS: [Manner; 5] = [Manner::Garbage, Manner::Flood, Manner::Drip, Manner::Mute, Manner::Closes];
/// What the sockets' own buffers take without anybody reading, and some more.
const BUFFERED_BYTES: usize = 32 * 1024 * 1024;

/// Returns its endpoint, and how many floods were cut off.
async fn hostile(manner: Manner) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let cut = Arc::new(AtomicUsize::new(0));
    let counted = cut.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                if behave(stream, manner).await {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    (endpoint, cut)
}

/// Whether a flood was ended by the other side before it read much of it.
async fn behave(mut stream: TcpStream, manner: Manner) -> bool {
    match manner {
        Manner::Garbage => {
            let _ = stream.write_all(&[0xa5; 4096]).await;
        }
        Manner::Flood => {
            let mut written = 0;
            while written < BUFFERED_BYTES && stream.write_all(&[0; 65_536]).await.is_ok() {
                written += 65_536;
            }
            return written < BUFFERED_BYTES;
        }
        Manner::Drip => {
            // An empty SETTINGS frame, which begins every HTTP/2 connection; then half of the next.
            for byte in [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4] {
                let _ = stream.write_all(&[byte]).await;
                sleep(Duration::from_millis(100)).await;
            }
        }
        Manner::Mute => {}
        Manner::Closes => return false,
    }
    let _ = stream.read_to_end(&mut Vec::new()).await;
    false
}

fn assignment(provider: u64, instance: Instance) -> Assignment {
    let mut params = Params::devnet();
    params.slot_ms = 1_000;
    (params.probing.send_slip_ms, params.probing.answer_timeout_ms) = (30_000, 3_000);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_millis(200);
    let class = params.class(100).unwrap();
    let pair =
        Pair { instance, epoch: 3, oracle: OracleId(1), provider: ProviderId(provider), class_id: 100, claims: ClaimRoot::default() };
    let vrf = key(1).sign(Domain::Vrf, &vrf_message(&instance, 3, 1, &Hash32([7; 32])));
    let schedule = SlotSchedule::new(pair, 1, &vrf, &[], class, &params, Kinds::standard());
    Assignment {
        instance,
        kinds: Kinds::standard(),
        extra: BTreeMap::new(),
        schedule: Arc::new(schedule),
        params: Arc::new(params),
        epoch: 3,
        slot: 1,
        slot_start_unix_ms: now.as_millis() as u64,
        oracle: OracleId(1),
        provider: Target { id: ProviderId(provider), class_id: 100, claims: ClaimRoot::default(), receipt_key: Address([9; 20]) },
        claims: None,
    }
}

// Defence: every call of `Link` is bounded in time and bytes and every probe has its own timeout; without them one of these endpoints
// holds the slot, or the memory, for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn endpoints_that_send_garbage_floods_drips_or_nothing_beside_an_honest_provider() {
    let setup = Setup::new();
    let honest = setup.start().await;
    let instance = setup.instance();
    let config = LinkConfig { allow_private: true, connect_timeout_ms: 1_000, call_timeout_ms: 1_000 };
    let watchdog = Watchdog::start(Duration::from_secs(60)).unwrap();
    let mut endpoints = vec![(None, format!("http://{}", honest.address), Arc::default())];
    for manner in MANNERS {
        let (endpoint, cut) = hostile(manner).await;
        endpoints.push((Some(manner), endpoint, cut));
    }
    let begun = Instant::now();
    let slots = endpoints.iter().map(async |(manner, endpoint, cut)| {
        let link = Link::open(endpoint, &config).await.unwrap();
        assert_eq!(link.warm_up().await > 0, manner.is_none(), "{manner:?}");
        if manner.is_some() {
            assert!(link.claims(1, ClaimRoot { hash: Hash32([1; 32]), blocks: 9 }, 1).await.is_err(), "{manner:?}");
        }
        let assignment = assignment(1, instance);
        let (sink, mut source) = tokio::sync::mpsc::channel(4_096);
        let asked = assignment.schedule.challenges().count();
        let report = run_slot(assignment, &Line::from(link), &watchdog, sink, CancellationToken::new()).await;
        let mut fates = Vec::new();
        while let Some(transcript) = source.recv().await {
            fates.push(transcript.outcome.fate());
        }
        let expected = if manner.is_none() { Fate::Answered } else { Fate::Silent };
        assert!(asked > 0 && fates.len() == asked && !report.cancelled, "{manner:?}: {} of {asked}", fates.len());
        assert!(fates.iter().all(|fate| *fate == expected), "{manner:?}: {fates:?}");
        assert_eq!(cut.load(Ordering::SeqCst) > 0, *manner == Some(Manner::Flood), "{manner:?}");
    });
    futures::future::join_all(slots).await;
    // Calls and probes in sequence would take minutes.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

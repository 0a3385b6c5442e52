//! The harness itself: a proxy that delays as it says, children that do not outlive their owner.

use std::net::SocketAddr;
use std::time::Duration;

use assay_tests::process::Spec;
use assay_tests::proxy::{BUFFER_BYTES, Faults, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// Sends back whatever comes.
async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    addr
}

async fn connected(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn median_round_trip(stream: &mut TcpStream, rounds: usize) -> Duration {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        stream.write_all(b"ping").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    times[rounds / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_delays_a_round_trip_by_what_it_says() {
    let proxy = Proxy::start(echo_server().await, Faults::default()).await.unwrap();
    let mut stream = connected(proxy.addr()).await;
    let bare = median_round_trip(&mut stream, 25).await;
    for delay in [Duration::from_millis(20), Duration::from_millis(80)] {
        proxy.set(Faults { round_trip_delay: delay, ..Faults::default() });
        let added = median_round_trip(&mut stream, 11).await.saturating_sub(bare);
        let tolerance = Duration::from_millis(15);
        assert!(added + Duration::from_millis(3) >= delay && added <= delay + tolerance, "{added:?} for {delay:?}");
    }
}

// Defence: the stamped chunks. A proxy that sleeps between read and write moves one chunk a delay: 16 MiB in 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn delay_costs_no_throughput_and_no_order() {
    let delay = Duration::from_millis(40);
    let proxy = Proxy::start(echo_server().await, Faults { round_trip_delay: delay, ..Faults::default() }).await.unwrap();
    let (mut from, mut to) = connected(proxy.addr()).await.into_split();
    let sent: Vec<u8> = (0..16 * 1024 * 1024_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let expected = sent.clone();
    let start = Instant::now();
    tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    timeout(Duration::from_secs(15), from.read_to_end(&mut received)).await.expect("collapsed").unwrap();
    assert!(received == expected, "bytes were lost or reordered");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_limit_holds() {
    let rate = 1_000_000;
    let faults = Faults { rate_bytes_per_s: Some(rate), ..Faults::default() };
    let proxy = Proxy::start(echo_server().await, faults).await.unwrap();
    let (mut from, mut to) = connected(proxy.addr()).await.into_split();
    let bytes = 1_000_000;
    let start = Instant::now();
    tokio::spawn(async move { to.write_all(&vec![7; bytes]).await.unwrap() });
    let mut received = vec![0; bytes];
    timeout(Duration::from_secs(20), from.read_exact(&mut received)).await.expect("stalled").unwrap();
    let ideal = Duration::from_secs_f64(bytes as f64 / rate as f64);
    let slack = Duration::from_secs_f64(BUFFER_BYTES as f64 / rate as f64);
    assert!(start.elapsed() + slack >= ideal, "too fast: {:?}", start.elapsed());
    assert!(start.elapsed() < ideal * 2, "too slow: {:?}", start.elapsed());
}

// Defence: the one bottleneck of all connections. With one each, three connections pass three times the rate, in a third of the time.
#[tokio::test(flavor = "multi_thread")]
async fn all_connections_share_the_rate_and_its_buffer() {
    let (rate, bytes, connections) = (1_000_000, 300_000, 3);
    let faults = Faults { rate_bytes_per_s: Some(rate), ..Faults::default() };
    let proxy = Proxy::start(echo_server().await, faults).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..connections {
        streams.push(connected(proxy.addr()).await.into_split());
    }
    let start = Instant::now();
    let transfers = streams.into_iter().map(|(mut from, mut to)| async move {
        let sending = tokio::spawn(async move {
            to.write_all(&vec![7; bytes]).await.unwrap();
            to
        });
        timeout(Duration::from_secs(20), from.read_exact(&mut vec![0; bytes])).await.expect("stalled").unwrap();
        sending.await.unwrap();
        start.elapsed()
    });
    let ends = futures::future::join_all(transfers).await;
    let last = ends.iter().max().unwrap();
    let ideal = Duration::from_secs_f64((connections * bytes) as f64 / rate as f64);
    let slack = Duration::from_secs_f64(BUFFER_BYTES as f64 / rate as f64);
    assert!(*last + slack >= ideal, "too fast: {last:?}");
    assert!(*last < ideal * 2, "too slow: {last:?}");
    assert!(ends.iter().all(|end| *end * 2 > ideal), "each has its share: {ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_swallows_without_closing() {
    let proxy = Proxy::start(echo_server().await, Faults::default()).await.unwrap();
    let mut stream = connected(proxy.addr()).await;
    median_round_trip(&mut stream, 3).await;
    proxy.set(Faults { blackhole: true, ..Faults::default() });
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    assert!(timeout(Duration::from_millis(200), stream.read_exact(&mut answer)).await.is_err(), "it answered or closed");
    proxy.set(Faults::default());
    timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await.expect("it stays silent").unwrap();
    assert_eq!(&answer, b"ping");
}

fn runs(id: u32) -> bool {
    // A zombie has ended, too: it only waits to be reaped.
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn ends(id: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while runs(id) {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

/// A shell that starts a child of its own, tells its id in the log, and waits.
fn family(dir: &tempfile::TempDir) -> Spec {
    Spec::new("/bin/sh", dir.path().join("log")).args(["-c", "sleep 600 & echo $!; wait"])
}

async fn grandchild(dir: &tempfile::TempDir) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        match text.trim().parse() {
            Ok(id) => return id,
            Err(_) if Instant::now() > deadline => panic!("no id in the log"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_and_its_children_end_on_drop() {
    for guarded in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let spec = family(&dir);
        let process = if guarded { spec.guarded() } else { spec }.start().unwrap();
        let (child, below) = (process.id().unwrap(), grandchild(&dir).await);
        assert!(runs(child) && runs(below));
        drop(process);
        assert!(ends(child).await && ends(below).await, "guarded: {guarded}");
    }
}

// Defence: the guard on standard input. It is what the kernel closes when the owner is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_child_ends_when_its_owner_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    // The owner is a shell that holds the guard's pipe as the harness would, and is killed with SIGKILL.
    let mut owner =
        std::process::Command::new("/bin/sh").args(["-c", "exec sleep 600"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let held_by_owner = owner.stdout.take().unwrap();
    let mut process = family(&dir).guarded().start_with_stdin(held_by_owner.into()).unwrap();
    let below = grandchild(&dir).await;
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(ends(below).await);
    process.wait(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn children_stop_when_asked_and_die_when_told() {
    for guarded in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.02; done";
        let spec = Spec::new("/bin/sh", dir.path().join("log")).args(["-c", script]);
        let process = if guarded { spec.clone().guarded() } else { spec.clone() }.start().unwrap();
        while !std::fs::read_to_string(dir.path().join("log")).unwrap().contains("up") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(process.stop(Duration::from_secs(10)).await.unwrap().code(), Some(7), "guarded: {guarded}");
        let killed = spec.start().unwrap().kill().await.unwrap();
        assert_eq!(killed.code(), None);
    }
}

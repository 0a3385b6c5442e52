//! A TCP proxy with the faults of a network: delay, a rate limit with a small buffer, a connection that goes dead.
//!
//! Each direction is a reader that gives every chunk a due time and a writer that waits for it, so delay costs no
//! throughput: chunks are in flight together, in order. A rate limit is a bottleneck before the line: at most
//! [`BUFFER_BYTES`] wait at it; beyond, the reader stops reading and TCP's own back-pressure reaches the sender. The
//! TCP handshake itself is not delayed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes of one direction, of all connections together, that wait for the rate limit.
pub const BUFFER_BYTES: usize = 64 * 1024;
const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes of one direction of one connection that are in flight while there is a delay and no rate limit: 125 MB/s at 250 ms.
const FLIGHT_BYTES: usize = 32 * 1024 * 1024;

/// The network's faults. They may change while connections are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Faults {
    /// Added to each round trip, half in each direction.
    pub round_trip_delay: Duration,
    /// Limit for each direction, in bytes per second, of all connections together: it is the line that is limited.
    pub rate_bytes_per_s: Option<u64>,
    /// Nothing passes and nothing is closed: both sides see a peer that fell silent. New connections are accepted
    /// and stay silent too.
    pub blackhole: bool,
}

/// A running proxy; it and its connections end on drop.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    faults: watch::Sender<Faults>,
    _end: DropGuard,
}

struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes connections on to `target`.
    pub async fn start(target: SocketAddr, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let addr = listener.local_addr()?;
        let (faults, current) = watch::channel(faults);
        let token = CancellationToken::new();
        tokio::spawn(accept(listener, target, Line::new(current), token.clone()));
        Ok(Self { addr, faults, _end: token.drop_guard() })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the faults; bytes that are in flight keep their due time.
    pub fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }
}

/// When the bottleneck of one direction will have passed on all that waits at it.
type Bottleneck = Arc<Mutex<Instant>>;

/// What connections share: both directions and their faults.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    there: Bottleneck,
    back: Bottleneck,
    faults: watch::Receiver<Faults>,
    felt: Arc<AtomicU64>,
}

impl Line {
    pub(crate) fn new(faults: watch::Receiver<Faults>) -> Self {
        let idle = || Arc::new(Mutex::new(Instant::now()));
        Self { there: idle(), back: idle(), faults, felt: Arc::default() }
    }

    /// Connections and chunks that were held back or delayed so far.
    pub(crate) fn felt(&self) -> u64 {
        self.felt.load(Ordering::Relaxed)
    }

    /// Waits while the network is a black hole.
    async fn passable(&mut self) {
        let Faults { blackhole, round_trip_delay, .. } = *self.faults.borrow();
        if blackhole || !round_trip_delay.is_zero() {
            self.felt.fetch_add(1, Ordering::Relaxed);
        }
        // The sender is gone only when the proxy is: then the token ends this task.
        let _ = self.faults.wait_for(|faults| !faults.blackhole).await;
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, line: Line, token: CancellationToken) {
    while let Some(accepted) = token.run_until_cancelled(listener.accept()).await {
        let Ok((client, _)) = accepted else { continue };
        let (line, token) = (line.clone(), token.clone());
        tokio::spawn(async move {
            let _ = token.run_until_cancelled(connect(client, target, line)).await;
        });
    }
}

/// Passes one connection on, through the line's faults, until both sides have ended it.
pub(crate) async fn connect(client: TcpStream, target: SocketAddr, mut line: Line) -> io::Result<()> {
    line.passable().await;
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (there, back) = (line.there.clone(), line.back.clone());
    // A direction that ends passes its FIN on; the other goes on until it ends too.
    tokio::join!(direction(from_client, to_server, there, line.clone()), direction(from_server, to_client, back, line));
    Ok(())
}

async fn direction(from: OwnedReadHalf, to: OwnedWriteHalf, bottleneck: Bottleneck, line: Line) {
    let (sender, receiver) = mpsc::channel(FLIGHT_BYTES / CHUNK_BYTES);
    let _ = tokio::join!(read(from, sender, bottleneck, line.clone()), write(to, receiver, line));
}

async fn read(from: OwnedReadHalf, chunks: mpsc::Sender<Chunk>, bottleneck: Bottleneck, mut line: Line) -> io::Result<()> {
    let flight = Arc::new(Semaphore::new(FLIGHT_BYTES));
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        line.passable().await;
        let mut room = flight.clone().acquire_many_owned(CHUNK_BYTES as u32).await.map_err(io::Error::other)?;
        from.readable().await?;
        // One connection at a time, in the order in which they came.
        let mut idle_from = bottleneck.lock().await;
        let rate = line.faults.borrow().rate_bytes_per_s;
        if let Some(room_at) = rate.and_then(|rate| idle_from.checked_sub(transfer_time(BUFFER_BYTES - CHUNK_BYTES, rate))) {
            sleep_until(room_at).await;
        }
        // Room first, bytes second: what is not read stays in the sender's socket.
        let read = match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        drop(room.split(CHUNK_BYTES - read));
        let now = Instant::now();
        let departs = rate.map_or(now, |rate| (*idle_from).max(now) + transfer_time(read, rate));
        *idle_from = departs;
        drop(idle_from);
        let due = departs + line.faults.borrow().round_trip_delay / 2;
        if chunks.send(Chunk { due, bytes: buffer[..read].to_vec(), _room: room }).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(mut to: OwnedWriteHalf, mut chunks: mpsc::Receiver<Chunk>, mut line: Line) -> io::Result<()> {
    while let Some(chunk) = chunks.recv().await {
        sleep_until(chunk.due).await;
        line.passable().await;
        to.write_all(&chunk.bytes).await?;
    }
    to.shutdown().await
}

fn transfer_time(bytes: usize, rate_bytes_per_s: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate_bytes_per_s.max(1) as f64)
}

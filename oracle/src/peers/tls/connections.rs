//! Open connections: each ends with the membership or the certificate that it rests on.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use assay_core::ids::OracleId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::members::Members;
use super::quota::{Caller, Quota};
use super::verifier::Verified;

/// Of one peer and direction. A new one replaces the oldest: the peer may have lost that one without our knowing.
const PER_PEER: usize = 2;

/// Who called whom.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::peers) enum Direction {
    Incoming,
    Outgoing,
}

/// All connections of the node.
pub(super) struct Connections {
    members: Members,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: BTreeMap<(OracleId, Direction), VecDeque<Open>>,
    quotas: BTreeMap<OracleId, Arc<Quota>>,
    opened: u64,
}

struct Open {
    number: u64,
    peer: Verified,
    end: CancellationToken,
}

/// A place among the connections, until it is dropped.
struct Place {
    connections: Arc<Connections>,
    key: (OracleId, Direction),
    number: u64,
}

impl Connections {
    pub fn new(members: Members) -> Self {
        Self { members, state: Mutex::default() }
    }

    /// Counts a connection in, and closes the oldest of the same peer when there are too many.
    pub fn open(self: &Arc<Self>, peer: Verified, direction: Direction, tls: TlsStream<TcpStream>) -> Connection {
        let (key, end) = ((peer.oracle, direction), CancellationToken::new());
        let mut state = self.state();
        state.opened = state.opened.saturating_add(1);
        let number = state.opened;
        // Under the lock that `close_fallen` takes: whatever leaves the set now is seen here or there.
        if !self.members.stands(peer.oracle, &peer.key) {
            end.cancel();
        }
        let caller = Caller { oracle: peer.oracle, quota: state.quotas.entry(peer.oracle).or_default().clone() };
        let open = state.open.entry(key).or_default();
        open.push_back(Open { number, peer, end: end.clone() });
        if open.len() > PER_PEER
            && let Some(oldest) = open.pop_front()
        {
            oldest.end.cancel();
        }
        let place = Place { connections: self.clone(), key, number };
        Connection { tls, caller, direction, ended: Box::pin(end.cancelled_owned()), paused: None, _place: place }
    }

    /// Closes what rests on a membership that is over, a key that was replaced or a certificate that has ended.
    pub fn close_fallen(&self, now_s: u64) {
        let mut state = self.state();
        for open in state.open.values().flatten() {
            if open.peer.not_after_s < now_s || !self.members.stands(open.peer.oracle, &open.peer.key) {
                open.end.cancel();
            }
        }
        let members = self.members.ids();
        state.quotas.retain(|oracle, _| members.contains(oracle));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn count(&self, oracle: OracleId, direction: Direction) -> usize {
        self.state().open.get(&(oracle, direction)).map_or(0, VecDeque::len)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        if let Some(open) = state.open.get_mut(&self.key) {
            open.retain(|open| open.number != self.number);
            if open.is_empty() {
                state.open.remove(&self.key);
            }
        }
    }
}

/// A connection with an authenticated peer.
pub(in crate::peers) struct Connection {
    tls: TlsStream<TcpStream>,
    caller: Caller,
    direction: Direction,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The peer's bytes are spent; nothing is read until then.
    paused: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Connection {
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the peer's membership or certificate has ended")),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_quota(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(wait) = self.caller.quota.wait_for_bytes() {
            let paused = self.paused.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + wait)));
            ready!(paused.as_mut().poll(cx));
            self.paused = None;
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_ended(cx)?;
        // What we asked a peer for is bounded by what we ask.
        if self.direction == Direction::Incoming {
            ready!(self.poll_quota(cx));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tls).poll_read(cx, buffer);
        if self.direction == Direction::Incoming {
            self.caller.quota.take_bytes(buffer.filled().len().saturating_sub(before));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_ended(cx)?;
        let written = Pin::new(&mut self.tls).poll_write(cx, bytes);
        if let (Direction::Incoming, Poll::Ready(Ok(count))) = (self.direction, &written) {
            self.caller.quota.take_bytes(*count);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

//! Connections with limits: how many, how many bytes a request may take, and how long a silent or slow peer may hold one.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// What a peer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Open connections; more wait in the backlog.
    pub(super) connections: usize,
    /// Bytes received before an answer begins.
    pub(super) request_bytes: usize,
    /// Between two requests.
    pub(super) idle: Duration,
    /// From a request's first byte to the first byte of its answer.
    pub(super) request: Duration,
    /// A peer that takes nothing for so long is gone.
    pub(super) stalled: Duration,
}

impl Default for Limits {
    /// Well above what the guard refuses with a reason.
    fn default() -> Self {
        Self {
            connections: 256,
            request_bytes: 65_536,
            idle: Duration::from_secs(60),
            request: Duration::from_secs(20),
            stalled: Duration::from_secs(20),
        }
    }
}

/// A listener whose connections are [`LimitedStream`]s.
pub(super) struct LimitedListener {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    limits: Limits,
}

impl LimitedListener {
    pub(super) fn new(listener: TcpListener, limits: Limits) -> Self {
        Self { listener, slots: Arc::new(Semaphore::new(limits.connections)), limits }
    }
}

impl Listener for LimitedListener {
    type Io = LimitedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (LimitedStream, SocketAddr) {
        // The semaphore is never closed: without a slot a connection would only lack its bound.
        let slot = self.slots.clone().acquire_owned().await.ok();
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (LimitedStream::new(stream, self.limits, slot), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when its peer is silent, slow or talks too much.
pub(super) struct LimitedStream {
    stream: TcpStream,
    limits: Limits,
    received: usize,
    read_deadline: Pin<Box<Sleep>>,
    write_deadline: Pin<Box<Sleep>>,
    stalled: bool,
    _slot: Option<OwnedSemaphorePermit>,
}

impl LimitedStream {
    fn new(stream: TcpStream, limits: Limits, slot: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            stream,
            limits,
            received: 0,
            read_deadline: Box::pin(sleep(limits.idle)),
            write_deadline: Box::pin(sleep(limits.stalled)),
            stalled: false,
            _slot: slot,
        }
    }

    fn note_received(&mut self, bytes: usize) -> io::Result<()> {
        if self.received == 0 && bytes > 0 {
            let deadline = after(self.limits.request);
            self.read_deadline.as_mut().reset(deadline);
        }
        self.received = self.received.saturating_add(bytes);
        match self.received > self.limits.request_bytes {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, "the request is too large")),
            false => Ok(()),
        }
    }

    fn note_sent(&mut self) {
        self.stalled = false;
        self.received = 0;
        let idle = after(self.limits.idle);
        self.read_deadline.as_mut().reset(idle);
    }
}

fn after(wait: Duration) -> Instant {
    Instant::now().checked_add(wait).unwrap_or_else(Instant::now)
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer is silent")
}

impl AsyncRead for LimitedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => Poll::Ready(self.note_received(buf.filled().len().saturating_sub(before))),
            Poll::Pending => {
                ready!(self.read_deadline.as_mut().poll(cx));
                Poll::Ready(Err(late()))
            }
            failed => failed,
        }
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Pending => {
                if !self.stalled {
                    self.stalled = true;
                    let deadline = after(self.limits.stalled);
                    self.write_deadline.as_mut().reset(deadline);
                }
                ready!(self.write_deadline.as_mut().poll(cx));
                Poll::Ready(Err(late()))
            }
            written => {
                self.note_sent();
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

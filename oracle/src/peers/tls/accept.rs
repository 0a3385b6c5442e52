//! The listening side: whoever connects is either a member or nobody.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::connections::{Connection, Direction};
use super::gate::{Gate, Origin, Turn};
use super::verifier::{Refused, Verified};
use super::{HANDSHAKE_TIMEOUT, Tls};

/// Authenticated connections that wait for the server.
const WAITING: usize = 16;
/// A pause when the system has no more sockets for us.
const NO_SOCKET_PAUSE: Duration = Duration::from_millis(50);

/// The authenticated connections of a listener. Everything ends with the token.
pub(in crate::peers) fn incoming(
    listener: TcpListener,
    tls: Arc<Tls>,
    stop: CancellationToken,
) -> impl Stream<Item = std::io::Result<Connection>> + use<> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move { stop.run_until_cancelled(accept(listener, tls, sender, stop.clone())).await });
    ReceiverStream::new(receiver)
}

async fn accept(listener: TcpListener, tls: Arc<Tls>, sender: mpsc::Sender<std::io::Result<Connection>>, stop: CancellationToken) {
    let gate = Arc::new(Gate::default());
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "no connection was accepted");
                tokio::time::sleep(NO_SOCKET_PAUSE).await;
                continue;
            }
        };
        let origin = Origin::of(address.ip());
        let Some(turn) = gate.enter(origin) else {
            debug!(%address, "refused: too many handshakes, or forgeries, from there");
            continue;
        };
        let (tls, gate, sender, stop) = (tls.clone(), gate.clone(), sender.clone(), stop.clone());
        tokio::spawn(async move {
            let handed = async {
                if let Some(connection) = authenticate(stream, origin, &tls, &gate, turn).await {
                    // The server is gone: so is the connection.
                    let _ = sender.send(Ok(connection)).await;
                }
            };
            stop.run_until_cancelled(handed).await
        });
    }
}

/// One handshake, within its time.
async fn authenticate(stream: TcpStream, origin: Origin, tls: &Arc<Tls>, gate: &Gate, _turn: Turn) -> Option<Connection> {
    stream.set_nodelay(true).ok()?;
    let acceptor = TlsAcceptor::from(tls.server.clone());
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            match error.get_ref().and_then(|inner| inner.downcast_ref()).and_then(Refused::of) {
                Some(refused) => {
                    if let Refused::Unbound(_) = refused {
                        gate.count_forgery(origin);
                    }
                    tls.refuse(refused);
                }
                None => debug!(?origin, %error, "a handshake failed"),
            }
            return None;
        }
        Err(_) => {
            debug!(?origin, "a handshake took too long");
            return None;
        }
    };
    let peer: Verified = tls.peer(stream.get_ref().1, None).ok()?;
    gate.retain(|oracle| tls.members.is_member(oracle));
    gate.prove(peer.oracle, origin);
    Some(tls.connections.open(peer, Direction::Incoming, TlsStream::Server(stream)))
}

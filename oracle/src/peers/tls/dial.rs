//! The calling side: a connection to one oracle, and to nobody else.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use assay_core::ids::OracleId;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use super::connections::{Connection, Direction};
use super::verifier::Refused;
use super::{HANDSHAKE_TIMEOUT, Tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HEADER_BYTES: u32 = 16 * 1024;

impl Tls {
    /// A channel to an oracle at its registered endpoint, `https://host:port` or `http://host:port`: TLS is spoken in either case.
    /// Connects when it is first used, and again when it was closed. `None` when the endpoint is malformed.
    pub fn channel(self: &Arc<Self>, oracle: OracleId, endpoint: &str) -> Option<Channel> {
        let uri: Uri = endpoint.parse().ok()?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return None;
        }
        let endpoint = Endpoint::from(uri)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .http2_max_header_list_size(MAX_HEADER_BYTES);
        Some(endpoint.connect_with_connector_lazy(Dialer { tls: self.clone(), oracle }))
    }

    async fn dial(self: Arc<Self>, oracle: OracleId, uri: Uri) -> io::Result<Connection> {
        let host = uri.host().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(format!("{host}:{port}"))).await??;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(self.client(oracle).map_err(io::Error::other)?);
        // Nobody looks at the name: the certificate names the oracle.
        let name = ServerName::try_from("assay").map_err(io::Error::other)?;
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, connector.connect(name, stream)).await?;
        let mut stream = handshake.inspect_err(|error| {
            if let Some(refused) = error.get_ref().and_then(|inner| inner.downcast_ref()).and_then(Refused::of) {
                self.complain(oracle, refused);
            }
        })?;
        let peer = self.peer(stream.get_ref().1, Some(oracle)).map_err(io::Error::other)?;
        if let Err(refused) = self.verifier.agrees(&peer) {
            self.complain(oracle, &refused);
            // A courtesy; that it may fail changes nothing.
            let _ = stream.shutdown().await;
            return Err(io::Error::other(refused));
        }
        Ok(self.connections.open(peer, Direction::Outgoing, TlsStream::Client(stream)))
    }
}

/// Connects to one oracle, as tonic asks for it.
struct Dialer {
    tls: Arc<Tls>,
    oracle: OracleId,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialed = self.tls.clone().dial(self.oracle, uri);
        Box::pin(async move { dialed.await.map(TokioIo::new) })
    }
}

//! Mutual TLS among the members of a committee: each TLS key is bound to the verdict key that stands in the registry
//! (`docs/decisions/0014-mutual-tls.md`; the certificate's bytes stand in `docs/protocol.md`).

mod accept;
mod certificate;
mod connections;
mod credentials;
mod dial;
mod gate;
mod members;
mod quota;
mod verifier;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use assay_core::ids::OracleId;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, CommonState, ServerConfig};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

pub use certificate::{Binding, Certificate, VerdictKey};
pub use credentials::{Terms, certificate};
pub use members::Members;
pub use verifier::{Refused, Verified, Verifier};

pub(super) use accept::incoming;
pub(super) use quota::Caller;

use crate::clock::now_ms;
use connections::Connections;
use credentials::Credentials;
use verifier::Side;

/// How long a certificate lasts.
const LIFETIME_S: u64 = 24 * 60 * 60;
/// A new one is made so often.
const RENEWAL: Duration = Duration::from_secs(60 * 60);
/// What honest clocks may differ by.
const SKEW_S: u64 = 60;
/// For one handshake, on either side.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same complaint about a peer is logged so often.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// A TLS key could not be made or used.
#[derive(Debug, thiserror::Error)]
#[error("mutual TLS: {0}")]
pub struct TlsError(String);

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self(error.to_string())
    }
}

/// The node's TLS: its key, the members that it knows and its connections with them.
pub struct Tls {
    credentials: Arc<Credentials>,
    verifier: Arc<Verifier>,
    members: Members,
    server: Arc<ServerConfig>,
    provider: Arc<CryptoProvider>,
    connections: Arc<Connections>,
    complaints: Mutex<BTreeMap<OracleId, (String, Instant)>>,
}

impl Tls {
    /// With a fresh key. Nobody is a member before a frame was read.
    pub fn new(terms: Terms, verdict: Arc<dyn VerdictKey>, members: Members) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let credentials = Arc::new(Credentials::new(terms, verdict, now_s())?);
        let verifier = Arc::new(Verifier::new(terms, members.clone()));
        let side = Side { verifier: verifier.clone(), expected: None };
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(side))
            .with_cert_resolver(credentials.clone());
        server.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would not show its certificate again: no membership outlives its set.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let connections = Arc::new(Connections::new(members.clone()));
        let complaints = Mutex::default();
        Ok(Arc::new(Self { credentials, verifier, members, server: Arc::new(server), provider, connections, complaints }))
    }

    /// Keeps the key fresh, and closes connections whose ground is gone. Until the token is cancelled.
    pub async fn keep(&self, cancel: CancellationToken) {
        let mut renewal = tokio::time::interval(RENEWAL);
        renewal.reset();
        let mut changes = self.members.changes();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = renewal.tick() => match self.renew() {
                    Ok(()) => debug!("the TLS key was renewed"),
                    Err(error) => error!(%error, "the TLS key could not be renewed; the present one lasts for a day"),
                },
                // The sender is ours: it does not end before us.
                _ = changes.changed() => {}
            }
            self.connections.close_fallen(now_s());
        }
    }

    /// Connections made from now on use a new key.
    fn renew(&self) -> Result<(), TlsError> {
        self.credentials.renew(now_s())
    }

    /// For a call to one oracle.
    fn client(&self, oracle: OracleId) -> Result<Arc<ClientConfig>, rustls::Error> {
        let side = Side { verifier: self.verifier.clone(), expected: Some(oracle) };
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(side))
            .with_client_cert_resolver(self.credentials.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// Who is at the other end of a finished handshake. Its pairing is remembered.
    fn peer(&self, connection: &CommonState, expected: Option<OracleId>) -> Result<Verified, Refused> {
        let certificate = connection.peer_certificates().and_then(<[_]>::first).ok_or(Refused::Form)?;
        self.verifier.verify(certificate, expected, now_s())
    }

    /// Says why somebody was not let in. Strangers are not worth a line each; a member that we do not understand is.
    fn refuse(&self, refused: &Refused) {
        match refused {
            Refused::Params { oracle, .. } => self.complain(*oracle, refused),
            _ => debug!(%refused, "a handshake was refused"),
        }
    }

    /// Says what keeps us and a member apart: once, and again after a while.
    fn complain(&self, peer: OracleId, refused: &Refused) {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let text = refused.to_string();
        if complaints.get(&peer).is_some_and(|(said, at)| *said == text && at.elapsed() < COMPLAINT_INTERVAL) {
            return;
        }
        warn!(%peer, reason = text, "no connection with a peer");
        complaints.retain(|_, (_, at)| at.elapsed() < COMPLAINT_INTERVAL);
        complaints.insert(peer, (text, Instant::now()));
    }
}

fn now_s() -> u64 {
    now_ms() / 1_000
}

#[cfg(test)]
mod tests;

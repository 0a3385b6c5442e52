//! Whether a certificate is a member's: what is cheap is checked first, the pairing last, and no pairing is done twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use assay_core::bls::PublicKey;
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};

use super::certificate::Certificate;
use super::credentials::Terms;
use super::members::Members;
use super::{LIFETIME_S, SKEW_S};

/// Verified certificates that are remembered of one oracle: its present one, the one before, and as many of a rotated key.
const REMEMBERED: usize = 4;

/// Why a certificate is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Not the one form of a certificate, or more than one certificate.
    #[error("its certificate is not that of an oracle")]
    Form,
    /// Somebody else answers.
    #[error("oracle {found} answers where oracle {expected} is registered")]
    Other {
        /// Whom we called.
        expected: OracleId,
        /// Who answers.
        found: OracleId,
    },
    /// Another chain or settlement.
    #[error("it is an oracle of another network")]
    Instance,
    /// It has ended, or ends too late to be an honest one.
    #[error("its certificate has ended, or the clocks differ: it is good through {not_after_s}, here it is {now_s}")]
    Time {
        /// Its last second.
        not_after_s: u64,
        /// Our clock.
        now_s: u64,
    },
    /// In no committee that we know.
    #[error("oracle {0} is in no committee that is known here")]
    Stranger(OracleId),
    /// The TLS key did not sign it.
    #[error("its certificate is not signed by its own key")]
    SelfSignature,
    /// The registered verdict key did not sign it.
    #[error("its certificate is not signed by the verdict key that is registered for oracle {0}")]
    Unbound(OracleId),
    /// It is a member, and runs something else.
    #[error("peer {oracle} runs other parameters: its digest {theirs}, ours {ours}; both must run the network's `params`")]
    Params {
        /// Who.
        oracle: OracleId,
        /// Its hash.
        theirs: Hash32,
        /// Ours.
        ours: Hash32,
    },
}

impl Refused {
    /// The refusal that ended a handshake.
    pub(super) fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(refused))) => refused.downcast_ref(),
            _ => None,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

/// A member that proved to be one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Who.
    pub oracle: OracleId,
    /// The verdict key that its TLS key is bound to.
    pub key: PublicKey,
    /// The parameters that it runs.
    pub params_hash: Hash32,
    /// When its certificate ends, unix seconds.
    pub not_after_s: u64,
}

/// Verifies certificates against the members.
pub struct Verifier {
    terms: Terms,
    members: Members,
    remembered: Mutex<BTreeMap<OracleId, VecDeque<[u8; 32]>>>,
    #[cfg(test)]
    pub(super) pairings: std::sync::atomic::AtomicUsize,
}

impl Verifier {
    /// For the node with these terms.
    pub fn new(terms: Terms, members: Members) -> Self {
        Self {
            terms,
            members,
            remembered: Mutex::default(),
            #[cfg(test)]
            pairings: Default::default(),
        }
    }

    /// Whose certificate this is; `expected` is the oracle that was called.
    pub fn verify(&self, der: &[u8], expected: Option<OracleId>, now_s: u64) -> Result<Verified, Refused> {
        let certificate = Certificate::parse(der).ok_or(Refused::Form)?;
        let binding = &certificate.binding;
        let (oracle, not_after_s) = (binding.oracle, binding.not_after_s);
        if let Some(expected) = expected.filter(|expected| *expected != oracle) {
            return Err(Refused::Other { expected, found: oracle });
        }
        if binding.instance != self.terms.instance {
            return Err(Refused::Instance);
        }
        // One that lasts longer than any that is issued would be stolen for longer.
        if !(now_s..=now_s.saturating_add(LIFETIME_S + SKEW_S)).contains(&not_after_s) {
            return Err(Refused::Time { not_after_s, now_s });
        }
        let keys = self.members.keys(oracle);
        if keys.is_empty() {
            return Err(Refused::Stranger(oracle));
        }
        check_ed25519(&binding.tls_key, &certificate.signed(), certificate.self_signature())?;
        let key = keys.into_iter().find(|key| self.is_bound(&certificate, key)).ok_or(Refused::Unbound(oracle))?;
        Ok(Verified { oracle, key, params_hash: binding.params_hash, not_after_s })
    }

    /// Whether a member runs what we run. Asked after [`Verifier::verify`], so that nobody complains in another's name.
    pub fn agrees(&self, peer: &Verified) -> Result<(), Refused> {
        match peer.params_hash == self.terms.params_hash {
            true => Ok(()),
            false => Err(Refused::Params { oracle: peer.oracle, theirs: peer.params_hash, ours: self.terms.params_hash }),
        }
    }

    fn is_bound(&self, certificate: &Certificate, key: &PublicKey) -> bool {
        let (oracle, fingerprint) = (certificate.binding.oracle, certificate.fingerprint(key));
        if self.remembered().get(&oracle).is_some_and(|known| known.contains(&fingerprint)) {
            return true;
        }
        #[cfg(test)]
        self.pairings.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let is_bound = certificate.is_bound_by(key);
        if is_bound {
            self.remember(oracle, fingerprint);
        }
        is_bound
    }

    fn remember(&self, oracle: OracleId, fingerprint: [u8; 32]) {
        let members = self.members.ids();
        let mut remembered = self.remembered();
        remembered.retain(|oracle, _| members.contains(oracle));
        let known = remembered.entry(oracle).or_default();
        known.push_back(fingerprint);
        if known.len() > REMEMBERED {
            known.pop_front();
        }
    }

    #[cfg(test)]
    pub(super) fn remembered_count(&self) -> usize {
        self.remembered().values().map(VecDeque::len).sum()
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, BTreeMap<OracleId, VecDeque<[u8; 32]>>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms
}

fn check_ed25519(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), Refused> {
    let ed25519 = algorithms().mapping.iter().find(|(scheme, _)| *scheme == SignatureScheme::ED25519);
    let algorithm = ed25519.and_then(|(_, algorithms)| algorithms.first()).ok_or(Refused::SelfSignature)?;
    algorithm.verify_signature(key, message, signature).map_err(|_| Refused::SelfSignature)
}

/// The verifier of one direction: of whoever calls, or of the one oracle that we call.
pub(super) struct Side {
    pub verifier: Arc<Verifier>,
    pub expected: Option<OracleId>,
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Side({:?})", self.expected)
    }
}

impl Side {
    fn verify(&self, end_entity: &[u8], intermediates: &[CertificateDer<'_>], now: UnixTime) -> Result<Verified, Refused> {
        match intermediates.is_empty() {
            true => self.verifier.verify(end_entity, self.expected, now.as_secs()),
            false => Err(Refused::Form),
        }
    }
}

fn only_tls13() -> Error {
    Error::General("only TLS 1.3 is spoken here".into())
}

impl ClientCertVerifier for Side {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let peer = self.verify(end_entity, intermediates, now)?;
        self.verifier.agrees(&peer)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Other parameters do not end the handshake here but right after it: the server first learns who we are, and says so in its log too.
impl ServerCertVerifier for Side {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

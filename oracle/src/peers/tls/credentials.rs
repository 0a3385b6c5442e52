//! Our own TLS key and its certificate: made at start, held in memory, and made anew long before it ends.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use assay_core::hash::Hash32;
use assay_core::ids::{Instance, OracleId};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use zeroize::Zeroizing;

use super::certificate::{Binding, Certificate, VerdictKey};
use super::{LIFETIME_S, TlsError};

/// An Ed25519 key as PKCS #8 (RFC 8410); its 32 bytes follow.
const PKCS8: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// What both sides of a handshake must agree on, and who we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Chain and settlement.
    pub instance: Instance,
    /// Hash of the protocol parameters.
    pub params_hash: Hash32,
    /// Our registration id.
    pub oracle: OracleId,
}

/// The present key with its certificate.
pub(super) struct Credentials {
    terms: Terms,
    verdict: Arc<dyn VerdictKey>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Credentials {
    pub fn new(terms: Terms, verdict: Arc<dyn VerdictKey>, now_s: u64) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(issue(&terms, verdict.as_ref(), now_s)?));
        Ok(Self { terms, verdict, current })
    }

    /// Connections made from now on use a new key.
    pub fn renew(&self, now_s: u64) -> Result<(), TlsError> {
        let renewed = Arc::new(issue(&self.terms, self.verdict.as_ref(), now_s)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A fresh key with a certificate of one day.
pub(super) fn issue(terms: &Terms, verdict: &dyn VerdictKey, now_s: u64) -> Result<CertifiedKey, TlsError> {
    let not_after_s = now_s.saturating_add(LIFETIME_S);
    let secret = fresh_secret()?;
    certify(terms, verdict, not_after_s, key_of(&secret)?)
}

fn fresh_secret() -> Result<Zeroizing<[u8; 32]>, TlsError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(|error| TlsError(format!("no randomness for a TLS key: {error}")))?;
    Ok(secret)
}

/// The Ed25519 key of a secret.
pub(super) fn key_of(secret: &[u8; 32]) -> Result<Arc<dyn SigningKey>, TlsError> {
    let pkcs8 = Zeroizing::new([PKCS8, secret].concat());
    Ok(any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))?)
}

/// The certificate of a TLS key with this secret, in DER.
pub fn certificate(terms: &Terms, verdict: &dyn VerdictKey, not_after_s: u64, tls_secret: &[u8; 32]) -> Result<Vec<u8>, TlsError> {
    let certified = certify(terms, verdict, not_after_s, key_of(tls_secret)?)?;
    Ok(certified.cert.first().map(|der| der.to_vec()).unwrap_or_default())
}

/// A key with its certificate.
pub(super) fn certify(
    terms: &Terms,
    verdict: &dyn VerdictKey,
    not_after_s: u64,
    key: Arc<dyn SigningKey>,
) -> Result<CertifiedKey, TlsError> {
    let broken = || TlsError("the TLS key is not the Ed25519 key that was made".into());
    let spki = key.public_key().ok_or_else(broken)?;
    let (Terms { instance, params_hash, oracle }, tls_key) = (*terms, *spki.last_chunk::<32>().ok_or_else(broken)?);
    let binding = Binding { instance, oracle, params_hash, not_after_s, tls_key };
    let certificate = Certificate::issue(binding, verdict, |signed| {
        let signer = key.choose_scheme(&[SignatureScheme::ED25519]).ok_or_else(broken)?;
        signer.sign(signed)?.try_into().map_err(|_| broken())
    })?;
    Ok(CertifiedKey::new(vec![certificate.encode().into()], key))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.terms.fmt(f)
    }
}

impl ResolvesClientCert for Credentials {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

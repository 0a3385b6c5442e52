//! The certificate of a TLS key, and the statement of the verdict key that it carries. It has one form of 369 bytes, so that reading
//! it is comparing: there is no ASN.1 decoder to attack.

use std::fmt;

use assay_core::abi::Words;
use assay_core::bls::{Domain, PublicKey, SecretKey, Signature};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId};

/// What a verdict key says of a TLS key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Chain and settlement.
    pub instance: Instance,
    /// Whose key it is.
    pub oracle: OracleId,
    /// Hash of the parameters that the oracle runs.
    pub params_hash: Hash32,
    /// The last second, unix, in which the key may be used.
    pub not_after_s: u64,
    /// The TLS key, Ed25519.
    pub tls_key: [u8; 32],
}

impl Binding {
    /// What is signed.
    pub fn message(&self) -> Hash32 {
        let words = Words::tagged("assay.tls.v1").with_instance(&self.instance).with(&self.oracle).with(&self.params_hash);
        words.with(&self.not_after_s).with(&Hash32(self.tls_key)).keccak()
    }

    fn encode(&self) -> [u8; BINDING_BYTES] {
        let mut bytes = [0; BINDING_BYTES];
        let instance = [&self.instance.chain_id.to_be_bytes()[..], &self.instance.settlement.0].concat();
        let parts = [&[VERSION][..], &instance, &self.oracle.0.to_be_bytes(), &self.params_hash.0, &self.not_after_s.to_be_bytes()];
        bytes.copy_from_slice(&parts.concat());
        bytes
    }
}

/// A verdict key, or what may use it.
pub trait VerdictKey: Send + Sync {
    /// Signs a binding.
    fn bind(&self, binding: &Binding) -> Signature;
}

impl VerdictKey for SecretKey {
    fn bind(&self, binding: &Binding) -> Signature {
        self.sign(Domain::TlsKey, &binding.message())
    }
}

/// A certificate that was read. Nothing of it is verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What it says.
    pub binding: Binding,
    signature: [u8; 48],
    self_signature: [u8; 64],
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.binding.fmt(f)
    }
}

const VERSION: u8 = 1;
/// Version, chain id, settlement, oracle id, hash of the parameters, end. The verdict key's signature follows.
const BINDING_BYTES: usize = 1 + 8 + 20 + 8 + 32 + 8;

// RFC 5280 in DER: an X.509 of version 3, serial 1, Ed25519, from "CN=assay" for "CN=assay", from 1970 on without an end (the binding
// has one), and the key follows.
const HEAD: &[u8] = b"\x30\x82\x01\x6d\x30\x82\x01\x1f\xa0\x03\x02\x01\x02\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\
    \x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x0c\x05assay\x30\x20\x17\x0d700101000000Z\x18\x0f99991231235959Z\
    \x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x0c\x05assay\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// One extension, not critical. Its OID is 2.25 with a random UUID, which nobody has to be asked for.
const EXTENSION: &[u8] = b"\xa3\x81\x9b\x30\x81\x98\x30\x81\x95\
    \x06\x14\x69\x82\x9a\x9c\x9f\xc3\xcb\xb7\xd2\xb1\xc5\x9e\xa0\xf4\x9e\xea\x93\xec\xf9\x15\x04\x7d";
/// Ed25519, and the signature follows.
const TAIL: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x70\x03\x41\x00";
/// The outer header is not signed.
const SIGNED_FROM: usize = 4;
const SIGNED_BYTES: usize = HEAD.len() - SIGNED_FROM + 32 + EXTENSION.len() + BINDING_BYTES + 48;

impl Certificate {
    /// Length of every certificate.
    pub const BYTES: usize = SIGNED_FROM + SIGNED_BYTES + TAIL.len() + 64;

    /// Reads the one form that there is.
    pub fn parse(der: &[u8]) -> Option<Self> {
        if der.len() != Self::BYTES {
            return None;
        }
        let (tls_key, rest) = der.strip_prefix(HEAD)?.split_first_chunk::<32>()?;
        let rest = rest.strip_prefix(EXTENSION)?.strip_prefix(&[VERSION])?;
        let (chain_id, rest) = rest.split_first_chunk::<8>()?;
        let (settlement, rest) = rest.split_first_chunk::<20>()?;
        let (oracle, rest) = rest.split_first_chunk::<8>()?;
        let (params_hash, rest) = rest.split_first_chunk::<32>()?;
        let (not_after_s, rest) = rest.split_first_chunk::<8>()?;
        let (signature, rest) = rest.split_first_chunk::<48>()?;
        let self_signature = rest.strip_prefix(TAIL)?.try_into().ok()?;
        let binding = Binding {
            instance: Instance { chain_id: u64::from_be_bytes(*chain_id), settlement: Address(*settlement) },
            oracle: OracleId(u64::from_be_bytes(*oracle)),
            params_hash: Hash32(*params_hash),
            not_after_s: u64::from_be_bytes(*not_after_s),
            tls_key: *tls_key,
        };
        Some(Self { binding, signature: *signature, self_signature })
    }

    /// Makes the certificate of a TLS key; `sign` is that key.
    pub fn issue<E>(binding: Binding, verdict: &dyn VerdictKey, sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>) -> Result<Self, E> {
        let mut certificate = Self { binding, signature: verdict.bind(&binding).to_compressed(), self_signature: [0; 64] };
        certificate.self_signature = sign(&certificate.signed())?;
        Ok(certificate)
    }

    /// The one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let binding = self.binding.encode();
        [HEAD, &self.binding.tls_key, EXTENSION, &binding, &self.signature, TAIL, &self.self_signature].concat()
    }

    /// What the TLS key signs: all but the outer header and the signature.
    pub fn signed(&self) -> Vec<u8> {
        let mut bytes = self.encode();
        bytes.drain(..SIGNED_FROM);
        bytes.truncate(SIGNED_BYTES);
        bytes
    }

    /// The TLS key's signature over [`Certificate::signed`].
    pub fn self_signature(&self) -> &[u8; 64] {
        &self.self_signature
    }

    /// Whether this verdict key signed the binding. Costs a pairing.
    pub fn is_bound_by(&self, verdict: &PublicKey) -> bool {
        Signature::from_compressed(&self.signature)
            .is_ok_and(|signature| verdict.verify(Domain::TlsKey, &self.binding.message(), &signature).is_ok())
    }

    /// Names binding and signature: what was verified once under a key needs no pairing again.
    pub(super) fn fingerprint(&self, verdict: &PublicKey) -> [u8; 32] {
        *blake3::hash(&[&verdict.to_compressed()[..], &self.signed()].concat()).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Certificate {
        let instance = Instance { chain_id: 31_337, settlement: Address([7; 20]) };
        let binding = Binding { instance, oracle: OracleId(3), params_hash: Hash32([5; 32]), not_after_s: 1_800_000_000, tls_key: [6; 32] };
        Certificate::issue(binding, &SecretKey::key_gen(&[1; 32]).unwrap(), |_| Ok::<_, ()>([8; 64])).unwrap()
    }

    // Defence: the comparisons of `parse`; without them a certificate has more than one encoding.
    #[test]
    fn a_certificate_has_one_encoding() {
        let bytes = certificate().encode();
        assert_eq!(bytes.len(), Certificate::BYTES);
        assert_eq!(Certificate::parse(&bytes).unwrap(), certificate());
        let (mut free, longer) = (0, [&bytes[..], &[0]].concat());
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x20;
            match Certificate::parse(&other) {
                Some(parsed) => {
                    free += 1;
                    assert!(parsed.encode() == other && parsed != certificate());
                }
                None => assert!(Certificate::parse(&bytes[..at]).is_none()),
            }
        }
        assert_eq!(free, 32 + BINDING_BYTES - 1 + 48 + 64, "all else is fixed");
        assert!(Certificate::parse(&longer).is_none());
    }

    // What other software makes of it: `webpki` reads it as X.509.
    #[test]
    fn a_certificate_is_x509() {
        let der = rustls::pki_types::CertificateDer::from(certificate().encode());
        rustls::server::ParsedCertificate::try_from(&der).unwrap();
    }

    // Defence: the words of `Binding::message`; what is left out of them can be changed under the same signature.
    #[test]
    fn everything_that_is_stated_is_signed() {
        let (issued, key) = (certificate(), SecretKey::key_gen(&[1; 32]).unwrap().public_key());
        assert!(issued.is_bound_by(&key));
        let binding = issued.binding;
        let others = [
            Binding { instance: Instance { chain_id: 1, ..binding.instance }, ..binding },
            Binding { instance: Instance { settlement: Address([8; 20]), ..binding.instance }, ..binding },
            Binding { oracle: OracleId(4), ..binding },
            Binding { params_hash: Hash32([6; 32]), ..binding },
            Binding { not_after_s: binding.not_after_s + 1, ..binding },
            Binding { tls_key: [7; 32], ..binding },
        ];
        for other in others {
            assert!(!Certificate { binding: other, ..issued.clone() }.is_bound_by(&key), "{other:?}");
        }
    }
}

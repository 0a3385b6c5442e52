//! BLS12-381 signatures, min-sig: messages and signatures in G1 (48 B), keys in G2 (96 B).
//!
//! A key or signature exists only after its subgroup check; infinity is refused. Group operations run on `blst`;
//! `tests/bls_referees.rs` holds them against arkworks and the RFC 9380 and drand vectors. On-chain forms follow EIP-2537.

use blst::BLST_ERROR;
use blst::min_sig as scheme;
use zeroize::Zeroizing;

use crate::abi::Words;
use crate::hash::{Hash32, keccak};
use crate::ids::Address;

/// What a signature is for. Every purpose has its own domain separation tag, so none can be replayed as another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Domain {
    /// Possession of the secret key, bound to operator, chain and registry.
    ProofOfPossession,
    /// An epoch's report: the only signature a contract counts.
    Report,
    /// The Merkle root of an oracle's observations.
    Commit,
    /// The commits whose reveal an oracle holds.
    BitVote,
    /// The wish to move to a later view.
    ViewWish,
    /// The per-slot verifiable random function.
    Vrf,
    /// An oracle's TLS key.
    TlsKey,
    /// drand's quicknet scheme.
    Drand,
}

impl Domain {
    /// The RFC 9380 domain separation tag.
    pub fn dst(self) -> &'static [u8] {
        match self {
            Self::ProofOfPossession => b"ASSAY-V1-POP_BLS12381G1_XMD:SHA-256_SSWU_RO_",
            Self::Report => b"ASSAY-V1-REPORT_BLS12381G1_XMD:SHA-256_SSWU_RO_",
            Self::Commit => b"ASSAY-V1-COMMIT_BLS12381G1_XMD:SHA-256_SSWU_RO_",
            Self::BitVote => b"ASSAY-V1-BITVOTE_BLS12381G1_XMD:SHA-256_SSWU_RO_",
            Self::ViewWish => b"ASSAY-V1-WISH_BLS12381G1_XMD:SHA-256_SSWU_RO_",
            Self::Vrf => b"ASSAY-V1-VRF_BLS12381G1_XMD:SHA-256_SSWU_RO_",
            Self::TlsKey => b"ASSAY-V1-TLS_BLS12381G1_XMD:SHA-256_SSWU_RO_",
            Self::Drand => b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_",
        }
    }
}

/// Why bytes are not a key or a signature, or a signature does not stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BlsError {
    /// The bytes are no canonical encoding of a curve point.
    #[error("not a canonical BLS12-381 point encoding")]
    Encoding,
    /// The point lies on the curve but outside the prime-order subgroup.
    #[error("the point is outside the prime-order subgroup")]
    Subgroup,
    /// The point at infinity, which would verify for the empty set.
    #[error("the point at infinity is not a key or signature")]
    Infinity,
    /// A secret scalar of zero or beyond the group order.
    #[error("not a valid secret scalar")]
    Secret,
    /// The signature does not belong to this key and message.
    #[error("the signature does not verify")]
    Verify,
    /// Nothing to aggregate.
    #[error("an aggregate needs at least one member")]
    Empty,
}

pub(crate) fn classified(error: BLST_ERROR) -> BlsError {
    match error {
        BLST_ERROR::BLST_POINT_NOT_IN_GROUP => BlsError::Subgroup,
        BLST_ERROR::BLST_PK_IS_INFINITY => BlsError::Infinity,
        BLST_ERROR::BLST_VERIFY_FAIL => BlsError::Verify,
        BLST_ERROR::BLST_AGGR_TYPE_MISMATCH => BlsError::Empty,
        _ => BlsError::Encoding,
    }
}

/// A secret verdict key. No `Debug`, wiped on drop.
#[derive(Clone)]
pub struct SecretKey(scheme::SecretKey);

impl SecretKey {
    /// Derives a key from 32 bytes of secret randomness (the KeyGen of the IETF BLS draft).
    pub fn key_gen(ikm: &[u8; 32]) -> Result<Self, BlsError> {
        scheme::SecretKey::key_gen(ikm, b"").map(Self).map_err(|_| BlsError::Secret)
    }

    /// Reads a big-endian scalar in [1, r).
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BlsError> {
        scheme::SecretKey::from_bytes(bytes).map(Self).map_err(|_| BlsError::Secret)
    }

    /// The big-endian scalar.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.sk_to_pk())
    }

    /// Signs a 32-byte digest for one purpose.
    pub fn sign(&self, domain: Domain, message: &Hash32) -> Signature {
        Signature(self.0.sign(message.as_bytes(), domain.dst(), &[]))
    }
}

/// A checked public key: in the subgroup, not infinity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub(crate) scheme::PublicKey);

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{}", hex::encode(self.to_compressed()))
    }
}

impl PublicKey {
    /// Reads the 96-byte compressed form.
    pub fn from_compressed(bytes: &[u8; 96]) -> Result<Self, BlsError> {
        let key = scheme::PublicKey::uncompress(bytes).map_err(classified)?;
        Self::checked(key)
    }

    /// Reads the 256-byte EIP-2537 form.
    pub fn from_eip2537(bytes: &[u8; 256]) -> Result<Self, BlsError> {
        let [x0, x1, y0, y1] = unpadded::<4, 256>(bytes)?;
        let raw = [x1, x0, y1, y0].concat();
        if raw.iter().all(|byte| *byte == 0) {
            return Err(BlsError::Infinity);
        }
        let key = scheme::PublicKey::deserialize(&raw).map_err(classified)?;
        Self::checked(key)
    }

    fn checked(key: scheme::PublicKey) -> Result<Self, BlsError> {
        key.validate().map_err(classified)?;
        Ok(Self(key))
    }

    /// The 96-byte compressed form.
    pub fn to_compressed(&self) -> [u8; 96] {
        self.0.compress()
    }

    /// The 256-byte EIP-2537 form: x.c0, x.c1, y.c0, y.c1, each in 64 bytes.
    pub fn to_eip2537(&self) -> [u8; 256] {
        let raw = self.0.serialize();
        let (x1, x0, y1, y0) = (part(&raw, 0), part(&raw, 1), part(&raw, 2), part(&raw, 3));
        padded::<256>(&[x0, x1, y0, y1])
    }

    /// Checks a signature over a digest.
    pub fn verify(&self, domain: Domain, message: &Hash32, signature: &Signature) -> Result<(), BlsError> {
        self.verify_bytes(domain, message.as_bytes(), signature)
    }

    /// Checks a signature over bytes that are not a keccak digest (drand's rounds).
    pub(crate) fn verify_bytes(&self, domain: Domain, message: &[u8], signature: &Signature) -> Result<(), BlsError> {
        match signature.0.verify(false, message, domain.dst(), &[], &self.0, false) {
            BLST_ERROR::BLST_SUCCESS => Ok(()),
            error => Err(classified(error)),
        }
    }

    /// The sum of keys: what an aggregate signature over one message verifies under. Every key must have proved possession.
    pub fn aggregate(keys: &[PublicKey]) -> Result<PublicKey, BlsError> {
        let inner: Vec<&scheme::PublicKey> = keys.iter().map(|key| &key.0).collect();
        let sum = scheme::AggregatePublicKey::aggregate(&inner, false).map_err(classified)?;
        Self::checked(sum.to_public_key())
    }
}

/// A checked signature: in the subgroup, not infinity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub(crate) scheme::Signature);

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{}", hex::encode(self.to_compressed()))
    }
}

impl Signature {
    /// Reads the 48-byte compressed form.
    pub fn from_compressed(bytes: &[u8; 48]) -> Result<Self, BlsError> {
        let signature = scheme::Signature::uncompress(bytes).map_err(classified)?;
        Self::checked(signature)
    }

    /// Reads the 48-byte compressed form from a slice of any length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, BlsError> {
        Self::from_compressed(bytes.try_into().map_err(|_| BlsError::Encoding)?)
    }

    /// Reads the 128-byte EIP-2537 form.
    pub fn from_eip2537(bytes: &[u8; 128]) -> Result<Self, BlsError> {
        let raw = unpadded::<2, 128>(bytes)?.concat();
        if raw.iter().all(|byte| *byte == 0) {
            return Err(BlsError::Infinity);
        }
        let signature = scheme::Signature::deserialize(&raw).map_err(classified)?;
        Self::checked(signature)
    }

    fn checked(signature: scheme::Signature) -> Result<Self, BlsError> {
        signature.validate(true).map_err(classified)?;
        Ok(Self(signature))
    }

    /// The 48-byte compressed form.
    pub fn to_compressed(&self) -> [u8; 48] {
        self.0.compress()
    }

    /// The 128-byte EIP-2537 form: x, y, each in 64 bytes.
    pub fn to_eip2537(&self) -> [u8; 128] {
        let raw = self.0.serialize();
        padded::<128>(&[part(&raw, 0), part(&raw, 1)])
    }

    /// The sum of signatures over one message.
    pub fn aggregate(signatures: &[Signature]) -> Result<Signature, BlsError> {
        let inner: Vec<&scheme::Signature> = signatures.iter().map(|signature| &signature.0).collect();
        let sum = scheme::AggregateSignature::aggregate(&inner, false).map_err(classified)?;
        Self::checked(sum.to_signature())
    }
}

/// The digest an operator signs to prove possession of a key (`assay.pop.v1`).
pub fn possession_message(chain_id: u64, registry: &Address, operator: &Address, key: &PublicKey) -> Hash32 {
    Words::tagged("assay.pop.v1").with(&chain_id).with(registry).with(operator).with(&keccak([&key.to_eip2537()])).keccak()
}

/// The `index`-th 48-byte field element of an uncompressed point.
fn part(raw: &[u8], index: usize) -> [u8; 48] {
    let mut element = [0; 48];
    if let Some(bytes) = raw.chunks_exact(48).nth(index) {
        element.copy_from_slice(bytes);
    }
    element
}

/// Field elements, each behind 16 zero bytes.
fn padded<const N: usize>(elements: &[[u8; 48]]) -> [u8; N] {
    let mut out = [0; N];
    for (slot, element) in out.chunks_exact_mut(64).zip(elements) {
        if let Some(tail) = slot.get_mut(16..) {
            tail.copy_from_slice(element);
        }
    }
    out
}

fn unpadded<const E: usize, const N: usize>(bytes: &[u8; N]) -> Result<[[u8; 48]; E], BlsError> {
    let mut elements = [[0; 48]; E];
    for (slot, element) in bytes.chunks_exact(64).zip(elements.iter_mut()) {
        let (padding, value) = slot.split_at_checked(16).ok_or(BlsError::Encoding)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(BlsError::Encoding);
        }
        element.copy_from_slice(value);
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::key_gen(&[seed; 32]).unwrap()
    }

    #[test]
    fn a_signature_serves_one_purpose_one_key_and_one_message() {
        let (secret, message) = (key(1), Hash32([7; 32]));
        let signature = secret.sign(Domain::Commit, &message);
        let public = secret.public_key();
        assert_eq!(public.verify(Domain::Commit, &message, &signature), Ok(()));
        assert_eq!(public.verify(Domain::BitVote, &message, &signature), Err(BlsError::Verify));
        assert_eq!(public.verify(Domain::Commit, &Hash32([8; 32]), &signature), Err(BlsError::Verify));
        assert_eq!(key(2).public_key().verify(Domain::Commit, &message, &signature), Err(BlsError::Verify));
    }

    #[test]
    fn aggregates_verify_under_the_sum_of_keys() {
        let message = Hash32([3; 32]);
        let secrets: Vec<SecretKey> = (1..=4).map(key).collect();
        let signatures: Vec<Signature> = secrets.iter().map(|s| s.sign(Domain::Report, &message)).collect();
        let keys: Vec<PublicKey> = secrets.iter().map(SecretKey::public_key).collect();
        let aggregate = Signature::aggregate(&signatures).unwrap();
        assert_eq!(PublicKey::aggregate(&keys).unwrap().verify(Domain::Report, &message, &aggregate), Ok(()));
        let three = PublicKey::aggregate(&keys[..3]).unwrap();
        assert_eq!(three.verify(Domain::Report, &message, &aggregate), Err(BlsError::Verify));
        assert_eq!(PublicKey::aggregate(&[]).unwrap_err(), BlsError::Empty);
    }

    // Defence: `validate` in the only constructors. Without it infinity verifies for the empty set.
    #[test]
    fn infinity_is_refused_in_every_form() {
        let mut signature = [0; 48];
        signature[0] = 0xc0;
        assert_eq!(Signature::from_compressed(&signature), Err(BlsError::Infinity));
        assert_eq!(Signature::from_eip2537(&[0; 128]), Err(BlsError::Infinity));
        let mut public = [0; 96];
        public[0] = 0xc0;
        assert_eq!(PublicKey::from_compressed(&public), Err(BlsError::Infinity));
        assert_eq!(PublicKey::from_eip2537(&[0; 256]), Err(BlsError::Infinity));
    }

    // Defence: the subgroup check in `checked`. x = 4 is on the curve E(Fp) and outside G1.
    #[test]
    fn wrong_subgroup_points_are_refused() {
        let mut outside = 0;
        for x in 0..40u8 {
            let mut bytes = [0; 48];
            bytes[0] = 0x80;
            bytes[47] = x;
            if Signature::from_compressed(&bytes) == Err(BlsError::Subgroup) {
                outside += 1;
            }
        }
        assert!(outside > 5, "about half of all x are on the curve, none of these in the subgroup");
        let mut outside = 0;
        for x in 0..40u8 {
            let mut bytes = [0; 96];
            bytes[0] = 0x80;
            bytes[95] = x;
            if PublicKey::from_compressed(&bytes) == Err(BlsError::Subgroup) {
                outside += 1;
            }
        }
        assert!(outside > 5);
    }

    #[test]
    fn eip2537_forms_round_trip() {
        let secret = key(9);
        let public = secret.public_key();
        assert_eq!(PublicKey::from_eip2537(&public.to_eip2537()), Ok(public));
        let signature = secret.sign(Domain::Report, &Hash32::ZERO);
        assert_eq!(Signature::from_eip2537(&signature.to_eip2537()), Ok(signature));
        let mut dirty = signature.to_eip2537();
        dirty[0] = 1;
        assert_eq!(Signature::from_eip2537(&dirty), Err(BlsError::Encoding));
    }
}

//! secp256k1 receipt keys: what a provider answered, checkable on chain by `ecrecover`.

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::hash::{Hash32, keccak};
use crate::ids::Address;

/// Why a key or signature is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecpError {
    /// Zero, or beyond the group order.
    #[error("not a valid secp256k1 secret key")]
    Secret,
    /// Not 65 bytes `r ‖ s ‖ v` with v 27 or 28.
    #[error("not a 65-byte signature with v 27 or 28")]
    Encoding,
    /// A high `s`: the malleable twin of a valid signature.
    #[error("the signature has a high s")]
    HighS,
    /// No key can have made it.
    #[error("the signature recovers to no key")]
    Recover,
}

/// A signature `r ‖ s ‖ v` over a raw digest, low s, v 27 or 28.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature65(pub [u8; 65]);

impl std::fmt::Debug for Signature65 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl Signature65 {
    /// Reads exactly 65 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, SecpError> {
        bytes.try_into().map(Self).map_err(|_| SecpError::Encoding)
    }
}

/// A secret receipt, builder or transmitter key. No `Debug`.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Reads a big-endian scalar in [1, n).
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SecpError> {
        SigningKey::from_slice(bytes).map(Self).map_err(|_| SecpError::Secret)
    }

    /// The big-endian scalar.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The EVM address of the public key.
    pub fn address(&self) -> Address {
        address_of(self.0.verifying_key())
    }

    /// Signs a raw digest, deterministically (RFC 6979), with low s.
    pub fn sign(&self, digest: &Hash32) -> Result<Signature65, SecpError> {
        let (signature, id) = self.0.sign_prehash_recoverable(digest.as_bytes()).map_err(|_| SecpError::Secret)?;
        let mut bytes = [0; 65];
        let (rs, v) = bytes.split_at_mut(64);
        rs.copy_from_slice(&signature.to_bytes());
        v.fill(if id.is_y_odd() { 28 } else { 27 });
        Ok(Signature65(bytes))
    }
}

/// The address whose key signed `digest`; refuses a high `s`, as OpenZeppelin's `ECDSA` does.
pub fn recover(digest: &Hash32, signature: &Signature65) -> Result<Address, SecpError> {
    let (rs, v) = signature.0.split_at(64);
    let id = match v {
        [27] => RecoveryId::new(false, false),
        [28] => RecoveryId::new(true, false),
        _ => return Err(SecpError::Encoding),
    };
    let parsed = Signature::from_slice(rs).map_err(|_| SecpError::Recover)?;
    if parsed.normalize_s().is_some() {
        return Err(SecpError::HighS);
    }
    VerifyingKey::recover_from_prehash(digest.as_bytes(), &parsed, id).map(|key| address_of(&key)).map_err(|_| SecpError::Recover)
}

fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_encoded_point(false);
    let digest = keccak([point.as_bytes().get(1..).unwrap_or_default()]);
    Address::from_slice(digest.0.get(12..).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_key_has_its_known_address() {
        // The first account of the well-known development mnemonic "test test … junk".
        let bytes = crate::hash::decode_hex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap();
        let key = SecretKey::from_bytes(&bytes.try_into().unwrap()).unwrap();
        assert_eq!(key.address().to_string(), "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    }

    #[test]
    fn signatures_recover_to_their_signer_only() {
        let key = SecretKey::from_bytes(&[5; 32]).unwrap();
        let digest = Hash32([1; 32]);
        let signature = key.sign(&digest).unwrap();
        assert_eq!(recover(&digest, &signature), Ok(key.address()));
        assert_ne!(recover(&Hash32([2; 32]), &signature), Ok(key.address()));
    }

    // Defence: the `normalize_s` check. Without it every signature has a second, equally valid form.
    #[test]
    fn the_malleable_twin_is_refused() {
        use k256::elliptic_curve::ops::Reduce;
        use k256::{Scalar, U256};
        let key = SecretKey::from_bytes(&[5; 32]).unwrap();
        let digest = Hash32([1; 32]);
        let mut bytes = key.sign(&digest).unwrap().0;
        let s = <Scalar as Reduce<U256>>::reduce(U256::from_be_slice(&bytes[32..64]));
        bytes[32..64].copy_from_slice(&(-s).to_bytes());
        bytes[64] = if bytes[64] == 27 { 28 } else { 27 };
        assert_eq!(recover(&digest, &Signature65(bytes)), Err(SecpError::HighS));
    }
}

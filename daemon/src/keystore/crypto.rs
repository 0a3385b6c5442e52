//! What both keystore formats share: derive a key, encrypt with AES-128-CTR, check.

use std::path::Path;

use aes::Aes128;
use assay_core::hash::keccak;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::KeystoreError;

/// Bounds on what a file may ask for: a hostile keystore must not take the machine's memory or an hour.
const MAX_SCRYPT_BYTES: u64 = 512 * 1024 * 1024;
const MAX_SCRYPT_P: u32 = 16;
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;
const MAX_SALT_BYTES: usize = 256;

/// How a new keystore's password is stretched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kdf {
    /// scrypt, 256 MiB (n = 2^18, r = 8, p = 1): for keys that matter.
    #[default]
    Scrypt,
    /// PBKDF2-HMAC-SHA256, 262,144 rounds: quick to open, for devnets.
    Pbkdf2,
}

/// KDF parameters as both formats write them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum KdfParams {
    Scrypt { dklen: u32, n: u64, p: u32, r: u32, salt: HexBytes },
    Pbkdf2 { dklen: u32, c: u32, prf: String, salt: HexBytes },
}

/// Bytes that are hex digits in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HexBytes(pub Vec<u8>);

impl Serialize for HexBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        assay_core::hash::decode_hex(&text).map(Self).ok_or_else(|| serde::de::Error::custom("expected hex digits"))
    }
}

/// Which digest over (second half of the derived key, ciphertext) tells a wrong password.
#[derive(Clone, Copy)]
pub(super) enum Check {
    Sha256,
    Keccak,
}

impl Check {
    fn digest(self, derived: &[u8; 32], ciphertext: &[u8]) -> [u8; 32] {
        match self {
            Self::Sha256 => Sha256::new().chain_update(&derived[16..]).chain_update(ciphertext).finalize().into(),
            Self::Keccak => keccak([&derived[16..], ciphertext]).0,
        }
    }
}

/// An encrypted 32-byte secret, before it takes a file format's shape.
pub(super) struct Sealed {
    pub kdf: KdfParams,
    pub iv: HexBytes,
    pub ciphertext: HexBytes,
    pub check: HexBytes,
}

pub(super) fn seal(path: &Path, kdf: Kdf, password: &[u8], secret: &[u8; 32], check: Check) -> Result<Sealed, KeystoreError> {
    let mut salt = vec![0; 32];
    let mut iv = [0; 16];
    fill_random(path, &mut salt)?;
    fill_random(path, &mut iv)?;
    let salt = HexBytes(salt);
    let kdf = match kdf {
        Kdf::Scrypt => KdfParams::Scrypt { dklen: 32, n: 1 << 18, p: 1, r: 8, salt },
        Kdf::Pbkdf2 => KdfParams::Pbkdf2 { dklen: 32, c: 1 << 18, prf: "hmac-sha256".into(), salt },
    };
    let derived = derive(path, &kdf, password)?;
    let mut ciphertext = secret.to_vec();
    apply_keystream(&derived, &iv, &mut ciphertext);
    let check = HexBytes(check.digest(&derived, &ciphertext).to_vec());
    Ok(Sealed { kdf, iv: HexBytes(iv.to_vec()), ciphertext: HexBytes(ciphertext), check })
}

impl Sealed {
    pub fn open(&self, path: &Path, password: &[u8], check: Check) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let iv: [u8; 16] = self.iv.0.as_slice().try_into().map_err(|_| KeystoreError::unsupported(path, "an IV of other than 16 bytes"))?;
        let mut secret: Zeroizing<[u8; 32]> = Zeroizing::new(
            self.ciphertext.0.as_slice().try_into().map_err(|_| KeystoreError::unsupported(path, "a secret of other than 32 bytes"))?,
        );
        let derived = derive(path, &self.kdf, password)?;
        if self.check.0 != check.digest(&derived, &self.ciphertext.0) {
            return Err(KeystoreError::WrongPassword(path.to_owned()));
        }
        apply_keystream(&derived, &iv, &mut *secret);
        Ok(secret)
    }
}

pub(super) fn fill_random(path: &Path, bytes: &mut [u8]) -> Result<(), KeystoreError> {
    getrandom::fill(bytes).map_err(|error| KeystoreError::Random { path: path.to_owned(), reason: error.to_string() })
}

fn apply_keystream(derived: &[u8; 32], iv: &[u8; 16], bytes: &mut [u8]) {
    let mut key = Zeroizing::new([0; 16]);
    key.copy_from_slice(&derived[..16]);
    Ctr128BE::<Aes128>::new((&*key).into(), iv.into()).apply_keystream(bytes);
}

fn derive(path: &Path, kdf: &KdfParams, password: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
    let mut derived = Zeroizing::new([0; 32]);
    match kdf {
        KdfParams::Scrypt { dklen, n, p, r, salt } => {
            check_common(path, *dklen, salt)?;
            let memory = n.checked_mul(u64::from(*r)).and_then(|blocks| blocks.checked_mul(128));
            if !n.is_power_of_two() || *p > MAX_SCRYPT_P || memory.is_none_or(|bytes| bytes > MAX_SCRYPT_BYTES) {
                return Err(KeystoreError::unsupported(path, format!("scrypt with n = {n}, r = {r}, p = {p}")));
            }
            let params = u8::try_from(n.ilog2())
                .ok()
                .and_then(|log_n| scrypt::Params::new(log_n, *r, *p, 32).ok())
                .ok_or_else(|| KeystoreError::unsupported(path, format!("scrypt with n = {n}, r = {r}, p = {p}")))?;
            scrypt::scrypt(password, &salt.0, &params, &mut *derived).map_err(|error| KeystoreError::unsupported(path, error))?;
        }
        KdfParams::Pbkdf2 { dklen, c, prf, salt } => {
            check_common(path, *dklen, salt)?;
            if prf != "hmac-sha256" || *c == 0 || *c > MAX_PBKDF2_ROUNDS {
                return Err(KeystoreError::unsupported(path, format!("pbkdf2 with prf = {prf}, c = {c}")));
            }
            pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt.0, *c, &mut *derived);
        }
    }
    Ok(derived)
}

fn check_common(path: &Path, dklen: u32, salt: &HexBytes) -> Result<(), KeystoreError> {
    if dklen != 32 || salt.0.is_empty() || salt.0.len() > MAX_SALT_BYTES {
        let what = format!("a derived key of {dklen} bytes with a salt of {} bytes", salt.0.len());
        return Err(KeystoreError::unsupported(path, what));
    }
    Ok(())
}

//! The Web3 Secret Storage file, version 3, as geth, Foundry and alloy read and write it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::crypto::{Check, HexBytes, KdfParams, Sealed};
use super::{KeystoreError, Password};

#[derive(Serialize, Deserialize)]
pub(super) struct Keystore {
    #[serde(default)]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    id: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: HexBytes,
    kdf: String,
    kdfparams: KdfParams,
    mac: HexBytes,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: HexBytes,
}

impl Keystore {
    pub fn new(sealed: &Sealed, address: String) -> Self {
        let kdf = match sealed.kdf {
            KdfParams::Scrypt { .. } => "scrypt",
            KdfParams::Pbkdf2 { .. } => "pbkdf2",
        };
        let crypto = Crypto {
            cipher: "aes-128-ctr".into(),
            cipherparams: CipherParams { iv: sealed.iv.clone() },
            ciphertext: sealed.ciphertext.clone(),
            kdf: kdf.into(),
            kdfparams: sealed.kdf.clone(),
            mac: sealed.check.clone(),
        };
        Self { address: Some(address), crypto, id: uuid::Uuid::new_v4().to_string(), version: 3 }
    }

    pub fn to_json(&self) -> String {
        // Strings, numbers and hex: serialising them cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, KeystoreError> {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| KeystoreError::not_a_keystore(path, error))?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if let Some(version) = version.filter(|version| *version != 3) {
            return Err(KeystoreError::WrongFile {
                path: path.to_owned(),
                found: format!("a version {version} keystore"),
                wanted: "a Web3 (version 3) secp256k1 keystore".into(),
            });
        }
        serde_json::from_value(value).map_err(|error| KeystoreError::not_a_keystore(path, error))
    }

    pub fn decrypt(&self, path: &Path, password: &Password) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let kdf = match self.crypto.kdfparams {
            KdfParams::Scrypt { .. } => "scrypt",
            KdfParams::Pbkdf2 { .. } => "pbkdf2",
        };
        if self.crypto.kdf != kdf || self.crypto.cipher != "aes-128-ctr" {
            let what = format!("the functions {:?} and {:?}", self.crypto.kdf, self.crypto.cipher);
            return Err(KeystoreError::unsupported(path, what));
        }
        let sealed = Sealed {
            kdf: self.crypto.kdfparams.clone(),
            iv: self.crypto.cipherparams.iv.clone(),
            ciphertext: self.crypto.ciphertext.clone(),
            check: self.crypto.mac.clone(),
        };
        sealed.open(path, password.as_bytes(), Check::Keccak)
    }

    pub fn expect_address(&self, path: &Path, expected: &str) -> Result<(), KeystoreError> {
        let Some(address) = &self.address else { return Ok(()) };
        if address.trim_start_matches("0x").eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(KeystoreError::WrongFile {
            path: path.to_owned(),
            found: format!("the address `{address}` beside the key of 0x{expected}"),
            wanted: "a key and its own address".into(),
        })
    }
}

//! The EIP-2335 file, version 4 (<https://eips.ethereum.org/EIPS/eip-2335>).

use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::crypto::{Check, HexBytes, KdfParams, Sealed};
use super::{KeystoreError, Password};

#[derive(Serialize, Deserialize)]
pub(super) struct Keystore {
    crypto: Crypto,
    #[serde(default)]
    description: String,
    #[serde(default)]
    pubkey: String,
    path: String,
    uuid: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    kdf: Module<KdfParams>,
    checksum: Module<Empty>,
    cipher: Module<CipherParams>,
}

#[derive(Serialize, Deserialize)]
struct Module<P> {
    function: String,
    params: P,
    message: HexBytes,
}

#[derive(Serialize, Deserialize)]
struct Empty {}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: HexBytes,
}

impl Keystore {
    pub fn new(sealed: &Sealed, pubkey: String) -> Self {
        let kdf = match sealed.kdf {
            KdfParams::Scrypt { .. } => "scrypt",
            KdfParams::Pbkdf2 { .. } => "pbkdf2",
        };
        let crypto = Crypto {
            kdf: Module { function: kdf.into(), params: sealed.kdf.clone(), message: HexBytes(Vec::new()) },
            checksum: Module { function: "sha256".into(), params: Empty {}, message: sealed.check.clone() },
            cipher: Module {
                function: "aes-128-ctr".into(),
                params: CipherParams { iv: sealed.iv.clone() },
                message: sealed.ciphertext.clone(),
            },
        };
        Self {
            crypto,
            description: "Assay verdict key (BLS12-381 min-sig, public key in G2)".into(),
            pubkey,
            path: String::new(),
            uuid: uuid::Uuid::new_v4().to_string(),
            version: 4,
        }
    }

    pub fn to_json(&self) -> String {
        // Strings, numbers and hex: serialising them cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, KeystoreError> {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| KeystoreError::not_a_keystore(path, error))?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if let Some(version) = version.filter(|version| *version != 4) {
            return Err(KeystoreError::WrongFile {
                path: path.to_owned(),
                found: format!("a version {version} keystore"),
                wanted: "an EIP-2335 (version 4) BLS keystore".into(),
            });
        }
        serde_json::from_value(value).map_err(|error| KeystoreError::not_a_keystore(path, error))
    }

    pub fn decrypt(&self, path: &Path, password: &Password) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let functions = [&self.crypto.kdf.function, &self.crypto.checksum.function, &self.crypto.cipher.function];
        let kdf = match self.crypto.kdf.params {
            KdfParams::Scrypt { .. } => "scrypt",
            KdfParams::Pbkdf2 { .. } => "pbkdf2",
        };
        if functions != [kdf, "sha256", "aes-128-ctr"] {
            return Err(KeystoreError::unsupported(path, format!("the functions {functions:?}")));
        }
        let sealed = Sealed {
            kdf: self.crypto.kdf.params.clone(),
            iv: self.crypto.cipher.params.iv.clone(),
            ciphertext: self.crypto.cipher.message.clone(),
            check: self.crypto.checksum.message.clone(),
        };
        sealed.open(path, &password.normalised(), Check::Sha256)
    }

    pub fn expect_pubkey(&self, path: &Path, expected: &str) -> Result<(), KeystoreError> {
        if self.pubkey == expected {
            return Ok(());
        }
        let found = match self.pubkey.len() {
            96 => "a key with its public key in G1 (an Ethereum validator's?)".into(),
            _ => format!("the public key `{}` beside another secret", self.pubkey),
        };
        let wanted = "the secret of its own 96-byte public key in G2".into();
        Err(KeystoreError::WrongFile { path: path.to_owned(), found, wanted })
    }
}

//! The owner's secret and the builder's key.

use std::fs;
use std::path::{Path, PathBuf};

use assay_core::hash::Hash32;
use assay_core::ids::Address;
use assay_core::replica::OwnerSecret;
use assay_core::secp::SecretKey;
use assay_daemon::keystore::{self, Kdf, Password};
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use crate::durable;
use crate::error::BuilderError;

/// What the owner must hear before the keys are made.
pub const WARNING: &str = "\
The owner secret decrypts every replica, and nothing else does. It is stored encrypted with your password.\n\
Without the secret's file or without its password the data is lost: nobody can recover or replace either of them, and no provider\n\
can help. Whoever has both reads the data and can forge the proofs of its storage.\n\
Keep a copy of the file apart from this machine, and the password apart from both.";

/// The files of one key directory.
#[derive(Clone, Debug)]
pub struct KeyDir {
    directory: PathBuf,
}

/// Both keys.
#[derive(Clone)]
pub struct Keys {
    /// Decrypts.
    pub secret: OwnerSecret,
    /// Signs claims and pays for their registration.
    pub signer: SecretKey,
}

/// The one field of a Web3 keystore that is read without the password.
#[derive(Deserialize)]
struct Named {
    address: String,
}

impl KeyDir {
    /// Names a directory.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// An EIP-2335 keystore, so that it cannot be taken for the builder's key.
    pub fn secret_file(&self) -> PathBuf {
        self.directory.join("owner-secret.json")
    }

    /// 64 hex digits, as earlier versions stored the secret.
    pub fn plain_secret_file(&self) -> PathBuf {
        self.directory.join("owner-secret.hex")
    }

    /// A Web3 keystore.
    pub fn signer_file(&self) -> PathBuf {
        self.directory.join("builder-key.json")
    }

    /// Makes both keys under one password; refuses to replace any. Gives the builder's address.
    ///
    /// The owner must have heard [`WARNING`] before.
    pub fn create(&self, password: &Password, kdf: Kdf) -> Result<Address, BuilderError> {
        durable::private_dir(&self.directory)?;
        for path in [self.secret_file(), self.plain_secret_file(), self.signer_file()] {
            if path.exists() {
                return Err(BuilderError::Exists(path));
            }
        }
        let signer = keystore::create_secp(&self.signer_file(), password, kdf)?;
        // The format holds a scalar of BLS12-381. As a secret it is as good as 32 random bytes; its public key is only a checksum here.
        keystore::create_bls(&self.secret_file(), password, kdf)?;
        Ok(signer.address())
    }

    /// The owner's secret alone. The password is needed unless an earlier version stored the secret without one.
    pub fn load_secret(&self, password: Option<&Password>) -> Result<OwnerSecret, BuilderError> {
        let (sealed, plain) = (self.secret_file(), self.plain_secret_file());
        match (sealed.exists(), plain.exists()) {
            (true, true) => Err(BuilderError::TwoSecrets { sealed, plain }),
            (false, true) => read_plain(plain),
            _ => {
                let password = password.ok_or(BuilderError::NoPassword(sealed.clone()))?;
                Ok(OwnerSecret::new(*keystore::load_bls(&sealed, password)?.to_bytes()))
            }
        }
    }

    /// Both keys.
    pub fn load(&self, password: &Password) -> Result<Keys, BuilderError> {
        Ok(Keys { secret: self.load_secret(Some(password))?, signer: keystore::load_secp(&self.signer_file(), password)? })
    }

    /// The builder's address as the key's file states it: whose claims are ours. Needs no password.
    pub fn address(&self) -> Result<Address, BuilderError> {
        let path = self.signer_file();
        let text = fs::read(&path).map_err(BuilderError::file(&path))?;
        let named = serde_json::from_slice::<Named>(&text).ok().map(|named| named.address);
        let address = named.and_then(|text| Address::from_hex(&format!("0x{}", text.trim_start_matches("0x"))));
        address.ok_or(BuilderError::NoAddress(path))
    }
}

fn read_plain(path: PathBuf) -> Result<OwnerSecret, BuilderError> {
    let text = Zeroizing::new(fs::read_to_string(&path).map_err(BuilderError::file(&path))?);
    let mut bytes = Hash32::from_hex(text.trim()).ok_or(BuilderError::Secret(path))?;
    let secret = OwnerSecret::new(bytes.0);
    bytes.0.zeroize();
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_core::compact::TagSecret;
    use std::os::unix::fs::PermissionsExt;

    fn id(secret: &OwnerSecret) -> Hash32 {
        TagSecret::derive(secret).key().id()
    }

    #[test]
    fn keys_are_private_encrypted_and_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let keys = KeyDir::new(&directory.path().join("keys"));
        let password = Password::new("a long enough password");
        let address = keys.create(&password, Kdf::Pbkdf2).unwrap();
        let loaded = keys.load(&password).unwrap();
        assert_eq!(loaded.signer.address(), address);
        assert_eq!(keys.address().unwrap(), address);
        assert_eq!(id(&keys.load_secret(Some(&password)).unwrap()), id(&loaded.secret));
        for (path, mode) in [(keys.secret_file(), 0o600), (keys.signer_file(), 0o600), (keys.path().into(), 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert!(matches!(keys.create(&password, Kdf::Pbkdf2), Err(BuilderError::Exists(_))));
        assert!(matches!(keys.load_secret(None), Err(BuilderError::NoPassword(_))));
        let wrong = keys.load_secret(Some(&Password::new("another"))).unwrap_err();
        assert!(wrong.to_string().contains("password is wrong"), "{wrong}");
    }

    // Defence: the secret has another keystore version than the builder's key. Without it a mixed-up file decrypts to another secret.
    #[test]
    fn the_builders_key_does_not_pass_for_the_owner_secret() {
        let directory = tempfile::tempdir().unwrap();
        let keys = KeyDir::new(directory.path());
        let password = Password::new("a long enough password");
        keys.create(&password, Kdf::Pbkdf2).unwrap();
        fs::copy(keys.signer_file(), keys.secret_file()).unwrap();
        let error = keys.load_secret(Some(&password)).unwrap_err();
        assert!(error.to_string().contains("version 3"), "{error}");
    }

    #[test]
    fn secrets_of_earlier_versions_load_without_a_password() {
        let directory = tempfile::tempdir().unwrap();
        let keys = KeyDir::new(directory.path());
        fs::write(keys.plain_secret_file(), format!("{}\n", "07".repeat(32))).unwrap();
        assert_eq!(id(&keys.load_secret(None).unwrap()), id(&OwnerSecret::new([7; 32])));
        let password = Password::new("a long enough password");
        assert!(matches!(keys.create(&password, Kdf::Pbkdf2), Err(BuilderError::Exists(_))));
        fs::write(keys.secret_file(), "{}").unwrap();
        assert!(matches!(keys.load_secret(Some(&password)), Err(BuilderError::TwoSecrets { .. })));
        fs::remove_file(keys.secret_file()).unwrap();
        fs::write(keys.plain_secret_file(), "abc").unwrap();
        assert!(matches!(keys.load_secret(None), Err(BuilderError::Secret(_))));
    }
}

//! The owner's secret and the builder's key.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use assay_core::hash::Hash32;
use assay_core::ids::Address;
use assay_core::replica::OwnerSecret;
use assay_core::secp::SecretKey;
use assay_daemon::keystore::{self, Kdf, Password};
use zeroize::{Zeroize, Zeroizing};

use crate::error::BuilderError;

/// What the owner must hear once.
pub const WARNING: &str = "The owner secret decrypts every replica, and nothing else does. Keep a copy of it apart from this machine:\n\
whoever loses it loses the data, whoever else has it reads the data. It cannot be recovered or replaced.";

/// The files of one key directory.
#[derive(Clone, Debug)]
pub struct KeyDir {
    directory: PathBuf,
}

/// Both keys.
pub struct Keys {
    /// Decrypts.
    pub secret: OwnerSecret,
    /// Signs claims and pays for their registration.
    pub signer: SecretKey,
}

impl KeyDir {
    /// Names a directory.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// 64 hex digits, mode 0600.
    pub fn secret_file(&self) -> PathBuf {
        self.directory.join("owner-secret.hex")
    }

    /// A Web3 keystore.
    pub fn signer_file(&self) -> PathBuf {
        self.directory.join("builder-key.json")
    }

    /// Makes both keys; refuses to replace any. Gives the builder's address.
    pub fn create(&self, password: &Password, kdf: Kdf) -> Result<Address, BuilderError> {
        fs::create_dir_all(&self.directory).map_err(BuilderError::file(&self.directory))?;
        let path = self.secret_file();
        if path.exists() {
            return Err(BuilderError::Exists(path));
        }
        let signer = keystore::create_secp(&self.signer_file(), password, kdf)?;
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret).map_err(|_| BuilderError::Random)?;
        let text = Zeroizing::new(hex::encode(*secret));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(BuilderError::file(&path))?;
        Ok(signer.address())
    }

    /// The owner's secret alone.
    pub fn load_secret(&self) -> Result<OwnerSecret, BuilderError> {
        let path = self.secret_file();
        let text = Zeroizing::new(fs::read_to_string(&path).map_err(BuilderError::file(&path))?);
        let mut bytes = Hash32::from_hex(text.trim()).ok_or(BuilderError::Secret(path))?;
        let secret = OwnerSecret::new(bytes.0);
        bytes.0.zeroize();
        Ok(secret)
    }

    /// Both keys.
    pub fn load(&self, password: &Password) -> Result<Keys, BuilderError> {
        Ok(Keys { secret: self.load_secret()?, signer: keystore::load_secp(&self.signer_file(), password)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_private_and_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let keys = KeyDir::new(directory.path());
        let password = Password::new("a long enough password");
        let address = keys.create(&password, Kdf::Pbkdf2).unwrap();
        assert_eq!(keys.load(&password).unwrap().signer.address(), address);
        assert_eq!(fs::metadata(keys.secret_file()).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(keys.create(&password, Kdf::Pbkdf2), Err(BuilderError::Exists(_))));
        fs::write(keys.secret_file(), "abc").unwrap();
        assert!(matches!(keys.load_secret(), Err(BuilderError::Secret(_))));
    }
}

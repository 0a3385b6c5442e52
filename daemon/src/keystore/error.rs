//! Why a keystore or a password file was refused, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A keystore file's trouble. Every variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// No such file.
    #[error("keystore {} does not exist; create it with the `keys` command or correct the path", .0.display())]
    NotFound(PathBuf),
    /// The file could not be read.
    #[error("keystore {} cannot be read; check its owner and permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Too large to be a keystore.
    #[error("keystore {} is larger than {limit} bytes; is it the right file?", path.display())]
    TooBig {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// Not JSON, or JSON of another shape.
    #[error("keystore {} is not a keystore: {reason}; name the JSON file that the `keys` command wrote", path.display())]
    NotAKeystore {
        /// The file.
        path: PathBuf,
        /// The parser's word.
        reason: String,
    },
    /// A keystore of the other kind, or of another key.
    #[error("keystore {} holds {found}, wanted {wanted}; the config names the wrong file", path.display())]
    WrongFile {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What was looked for.
        wanted: String,
    },
    /// A valid keystore that asks for something this program refuses.
    #[error("keystore {} uses {what}; write it anew with the `keys` command", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not supported.
        what: String,
    },
    /// The checksum does not match.
    #[error("keystore {}: the password is wrong (or the file is damaged); check the password file", .0.display())]
    WrongPassword(PathBuf),
    /// The target exists.
    #[error("keystore {} exists already and is never overwritten; move it away first", .0.display())]
    Exists(PathBuf),
    /// The file could not be written.
    #[error("keystore {} cannot be written; check its directory and the free space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("keystore {} was not written: the system has no random bytes: {reason}", path.display())]
    Random {
        /// The file.
        path: PathBuf,
        /// The system's word.
        reason: String,
    },
    /// The password file is unusable.
    #[error("password file {}: {problem}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl KeystoreError {
    pub(super) fn not_a_keystore(path: &Path, reason: impl ToString) -> Self {
        Self::NotAKeystore { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn not_a_key(path: &Path, curve: &str) -> Self {
        Self::WrongFile { path: path.to_owned(), found: "a secret outside the group".into(), wanted: format!("a {curve} key") }
    }

    pub(super) fn unsupported(path: &Path, what: impl ToString) -> Self {
        Self::Unsupported { path: path.to_owned(), what: what.to_string() }
    }
}

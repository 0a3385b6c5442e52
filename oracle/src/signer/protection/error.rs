//! Why a signing record is not to be had.

use std::borrow::Cow;
use std::io;

use assay_core::ids::Address;
use assay_daemon::sqlite;
use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

/// Why the record is not to be had. While it is not, nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum ProtectionError {
    /// There is no file. It is never created silently: an empty record lets the key sign twice.
    #[error(
        "the signing record {path} does not exist; for a new key run `assay-oracle protection init`, for a key that signed before \
         import its record with `assay-oracle protection import`"
    )]
    Missing {
        /// The file.
        path: String,
    },
    /// There is a file already.
    #[error("{path} exists already; a signing record is never overwritten: use it, or name another protection_file")]
    Exists {
        /// The file.
        path: String,
    },
    /// Another process signs with it.
    #[error("another oracle process holds {path}; stop it first")]
    Held {
        /// The file.
        path: String,
    },
    /// It belongs to another key or instance.
    #[error(
        "{path} is the signing record of key {key} on chain {chain_id}, settlement {settlement}, not of this node's; \
         correct protection_file, keys.verdict or [chain] so that they belong together"
    )]
    Foreign {
        /// The file.
        path: String,
        /// Its public key.
        key: String,
        /// Its chain.
        chain_id: u64,
        /// Its settlement contract.
        settlement: Address,
    },
    /// It is damaged, or is no signing record at all.
    #[error(
        "{path} is damaged or is no signing record ({problem}); do not start with an empty one: import the last export, or register a \
         new verdict key"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// Written by another version.
    #[error("signing record {path} was written by another version of assay-oracle: {source}; run that version")]
    Schema {
        /// The file.
        path: String,
        /// What the migrator says.
        source: MigrateError,
    },
    /// The disk failed.
    #[error("signing record {path}: {source}; {}", sqlite::remedy(code(source).as_deref()))]
    Database {
        /// The file.
        path: String,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// The disk failed while the file was created.
    #[error("signing record {path}: {source}; check its directory, its permissions and the free space")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A number that cannot be stored.
    #[error("{what} {value} is larger than a signing record can hold")]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// An export that cannot be read.
    #[error("the export cannot be imported: {problem}; nothing of it was; name the unchanged output of `assay-oracle protection export`")]
    Import {
        /// What is wrong.
        problem: String,
    },
}

pub(super) fn damaged(path: &str, problem: &str) -> ProtectionError {
    ProtectionError::Damaged { path: path.to_owned(), problem: problem.to_owned() }
}

pub(super) fn schema(path: &str, source: MigrateError) -> ProtectionError {
    match source {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => classified(path, source),
        source => ProtectionError::Schema { path: path.to_owned(), source },
    }
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}

/// SQLite's result codes: <https://sqlite.org/rescode.html>. The low byte is the primary one.
pub(super) fn classified(path: &str, source: sqlx::Error) -> ProtectionError {
    let path = path.to_owned();
    let primary = code(&source).and_then(|code| code.parse::<u32>().ok());
    match (primary.map(|code| code & 0xff), &source) {
        // BUSY, LOCKED
        (Some(5 | 6), _) => ProtectionError::Held { path },
        // CORRUPT, NOTADB; ERROR is what a missing table gives
        (Some(1 | 11 | 26), _) => ProtectionError::Damaged { path, problem: source.to_string() },
        (_, sqlx::Error::RowNotFound) => damaged(&path, "it is bound to no key"),
        (_, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => ProtectionError::Damaged { path, problem: source.to_string() },
        _ => ProtectionError::Database { path, source },
    }
}

//! What can go wrong, and what the caller is told about it.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use assay_core::challenge::Kind;
use assay_core::claim::{ClaimError, ClaimRoot, MAX_TAG_KEYS};
use assay_core::compact::CompactError;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::secp::SecpError;
use assay_daemon::sqlite;
use assay_proto::convert::ConvertError;
use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use thiserror::Error;
use tonic::Status;
use tracing::error;

/// Why a request is refused.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A field does not read.
    #[error(transparent)]
    Malformed(#[from] ConvertError),
    /// A claim is inconsistent.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A number is larger than this provider keeps.
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// This process has no provider id yet.
    #[error("this provider is not registered yet")]
    Unregistered,
    /// The request is meant for somebody else.
    #[error("this is provider {ours}, not {asked}")]
    OtherProvider {
        /// Our id.
        ours: ProviderId,
        /// The id asked for.
        asked: ProviderId,
    },
    /// The request is of another chain or settlement contract.
    #[error("this provider belongs to another chain or settlement contract")]
    OtherInstance,
    /// The signature under a claim is not by its owner.
    #[error("the claim is not signed by its owner {0} for this provider, chain and registry")]
    OwnerSignature(Address),
    /// The owner is not on the list.
    #[error("this provider takes no claims of {0}")]
    OwnerRefused(Address),
    /// No such proposal.
    #[error("claim {0} was not proposed")]
    NotProposed(Hash32),
    /// The replica is claimed already.
    #[error("replica {0} is already claimed")]
    RootTaken(Hash32),
    /// Somebody else is uploading or committing the same claim.
    #[error("claim {0} is being uploaded or committed by another call")]
    InUse(Hash32),
    /// A frame does not follow the last one.
    #[error("the upload goes on at byte {expected}, not {found}")]
    Offset {
        /// Bytes that are there.
        expected: u64,
        /// Offset given.
        found: u64,
    },
    /// A frame is too long, or reaches behind the replica's end.
    #[error("the frame is too long")]
    Frame,
    /// Nothing came for too long.
    #[error("the upload paused for too long; propose again to go on")]
    Idle,
    /// The replica is not complete.
    #[error("{found} of {expected} bytes are uploaded")]
    Incomplete {
        /// Bytes that are there.
        found: u64,
        /// Bytes of the replica.
        expected: u64,
    },
    /// The bytes are not the claimed replica.
    #[error("the uploaded bytes hash to {found}, not to {expected}; they were discarded")]
    WrongRoot {
        /// The claim's root.
        expected: Hash32,
        /// The root computed.
        found: Hash32,
    },
    /// A tag is wrong.
    #[error("{0}; the upload was discarded")]
    BadTags(CompactError),
    /// The powers are not of their key.
    #[error("the tag key is refused: {0}")]
    BadPowers(CompactError),
    /// The key of a claim is not here.
    #[error("tag key {0} is not known here: put it with its powers, then commit again")]
    NoTagKey(Hash32),
    /// The file of a key's powers is damaged.
    #[error("the powers of tag key {0} are damaged or gone on this disk: let its owner put the key again")]
    PowersDamaged(Hash32),
    /// Too many different keys.
    #[error("this provider keeps {MAX_TAG_KEYS} tag keys, and all are in use: name one of yours that is known here")]
    TooManyTagKeys,
    /// Our own proof does not stand.
    #[error("the proof over the stored blocks does not stand ({0}); nothing was signed")]
    OwnProof(CompactError),
    /// The signature under a release is not by the claim's owner.
    #[error("the release is not signed by the claim's owner {0} for this provider, chain and registry")]
    ReleaseSignature(Address),
    /// No such claim.
    #[error("claim {0} is not stored here")]
    NotClaimed(Hash32),
    /// The claim was given up.
    #[error(
        "claim {0} was released. Its release could be repeated by anybody, so this very claim is taken no more: change its index or tag key"
    )]
    Released(Hash32),
    /// Tags of an earlier claim are in the way.
    #[error("replica {root} is kept for an earlier claim with other tags until {until} (unix seconds): propose it again then")]
    KeptWithOtherTags {
        /// The replica.
        root: Hash32,
        /// Unix seconds.
        until: i64,
    },
    /// The claim set holds data that was removed after its release.
    #[error("claim set {} holds a claim that was released and whose data is not kept any more", .0.hash)]
    Purged(ClaimRoot),
    /// More groups than one call gives.
    #[error("one call gives at most {0} groups")]
    TooManyGroups(usize),
    /// The configured capacity is used up.
    #[error("{asked} bytes do not fit into the {free} that are free")]
    Capacity {
        /// Bytes asked for.
        asked: u64,
        /// Bytes left.
        free: u64,
    },
    /// The disk is full.
    #[error("the provider's disk is full; what was stored and received before is untouched. Free space on it, then repeat the call")]
    DiskFull,
    /// The challenge names a claim set that is not kept here.
    #[error("claim set {} with {} blocks is not known here", .0.hash, .0.blocks)]
    UnknownClaimSet(ClaimRoot),
    /// The request names a version that was never signed.
    #[error("claim set number {0} does not exist")]
    UnknownSequence(u64),
    /// There is no stored block to ask for.
    #[error("nothing is claimed, so no block can be asked for")]
    NothingClaimed,
    /// A challenge of a kind that this version does not know, or of one that has its own stream.
    #[error("challenges of kind {} are not answered by this call", .0.0)]
    UnknownKind(Kind),
    /// No such replica.
    #[error("replica {0} is not stored here")]
    UnknownReplica(Hash32),
    /// A range reaches behind the end.
    #[error("the range reaches behind the replica's {0} bytes")]
    Range(u64),
    /// Too many requests at a time.
    #[error("too busy, try again later")]
    TooBusy,
    /// A bandwidth test paused for too long.
    #[error("the bandwidth test paused for too long")]
    StreamIdle,
    /// A bandwidth test lasted too long.
    #[error("the bandwidth test lasts too long")]
    StreamTime,
    /// A bandwidth test has more bytes than this provider takes part in.
    #[error("a bandwidth test has at most {0} bytes here")]
    StreamBytes(u64),
    /// The list of answers is empty, too long or repeats itself.
    #[error("a seal needs between 1 and {0} different answers")]
    SealCount(usize),
    /// An answer in the list was not given here.
    #[error("answer {answer} to challenge {challenge} was not given in this slot, or is forgotten")]
    NotGiven {
        /// The challenge's digest.
        challenge: Hash32,
        /// The answer's digest.
        answer: Hash32,
    },
    /// The replica's bytes or its outboard cannot be read.
    #[error("the stored replica cannot be read")]
    Unreadable,
    /// The file system failed.
    #[error("file system: {0}")]
    Io(io::Error),
    /// The index failed.
    #[error("index: {0}; {remedy}", remedy = remedy(.0))]
    Index(sqlx::Error),
    /// The index cannot be brought to this version.
    #[error("the index was written by another version of assay-provider: {0}; run that version")]
    Migrate(#[from] MigrateError),
    /// The index cannot be opened.
    #[error("index {}: {source}; {}", path.display(), remedy(source))]
    OpenIndex {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The index holds something that this code did not write.
    #[error("the index is damaged ({0}); stop the provider and run `assay-provider index rebuild`")]
    Damaged(&'static str),
    /// A file of the log of claim sets does not read.
    #[error(
        "{} is damaged: it says what was signed, and without it another set could be signed under its number. Restore it from a backup          of the data directory", .0.display()
    )]
    LogDamaged(PathBuf),
    /// The log and the index do not agree on what was signed.
    #[error("claim set {0} was signed already with another content; the data directory was mixed from two: restore one backup whole")]
    SequenceTaken(u64),
    /// The log lacks a version.
    #[error("claim set {0} is missing in claim-sets although later ones were signed: restore the directory from a backup")]
    LogGap(u64),
    /// The log belongs to another provider, chain or registry.
    #[error("claim set {0} in claim-sets is of another provider, chain or registry: correct provider_id, chain_id and provider_registry")]
    OtherLog(u64),
    /// The index belongs to another provider, chain or registry.
    #[error(
        "the data directory holds claims of provider {provider} on chain {chain_id}, and the config names another; correct provider_id, \
         chain_id and provider_registry, or set data_dir to this provider's own"
    )]
    OtherIdentity {
        /// Provider id in the index.
        provider: u64,
        /// Chain id in the index.
        chain_id: u64,
    },
    /// The receipt key failed to sign.
    #[error("receipt key: {0}")]
    Sign(#[from] SecpError),
    /// A task of our own died.
    #[error("a task of this process ended unexpectedly")]
    Task,
}

impl StoreError {
    /// Names the index's file in what the database said while it was opened.
    pub fn of_index(self, path: &Path) -> Self {
        let path = path.to_owned();
        match self {
            Self::Index(source) => Self::OpenIndex { path, source },
            Self::Migrate(MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)) => Self::OpenIndex { path, source },
            other => other,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(SQLITE_FULL) => Self::DiskFull,
            _ => Self::Index(error),
        }
    }
}

const SQLITE_CORRUPT: u32 = 11;
const SQLITE_FULL: u32 = 13;
const SQLITE_NOTADB: u32 = 26;

/// What an operator can do.
fn remedy(error: &sqlx::Error) -> &'static str {
    match primary_code(error) {
        Some(SQLITE_CORRUPT | SQLITE_NOTADB) => {
            "stop the provider and run `assay-provider index rebuild`: it makes a new index from what lies beside it, and nothing signed is lost"
        }
        _ => sqlite::remedy(code(error).as_deref()),
    }
}

fn primary_code(error: &sqlx::Error) -> Option<u32> {
    // The low byte of an extended code is the primary one.
    Some(code(error)?.parse::<u32>().ok()? & 0xff)
}

/// SQLite's result code.
fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

impl From<tokio::task::JoinError> for StoreError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Task
    }
}

impl From<StoreError> for Status {
    fn from(refused: StoreError) -> Self {
        use StoreError as E;
        let text = refused.to_string();
        match refused {
            E::Malformed(_) | E::Claim(_) | E::TooLarge(_) | E::Frame | E::SealCount(_) | E::TooManyGroups(_) => {
                Self::invalid_argument(text)
            }
            E::OwnerSignature(_) | E::OwnerRefused(_) | E::ReleaseSignature(_) => Self::permission_denied(text),
            E::NotProposed(_) | E::UnknownReplica(_) | E::UnknownSequence(_) | E::NotClaimed(_) => Self::not_found(text),
            E::RootTaken(_) => Self::already_exists(text),
            E::InUse(_) => Self::aborted(text),
            E::Offset { .. } | E::Range(_) => Self::out_of_range(text),
            E::Idle | E::StreamIdle | E::StreamTime => Self::deadline_exceeded(text),
            E::WrongRoot { .. } | E::BadTags(_) | E::Unreadable => Self::data_loss(text),
            E::Capacity { .. } | E::DiskFull | E::TooBusy | E::StreamBytes(_) | E::TooManyTagKeys => Self::resource_exhausted(text),
            E::Unregistered
            | E::OtherProvider { .. }
            | E::OtherInstance
            | E::Incomplete { .. }
            | E::UnknownClaimSet(_)
            | E::NothingClaimed
            | E::UnknownKind(_)
            | E::NotGiven { .. }
            | E::BadPowers(_)
            | E::NoTagKey(_)
            | E::Released(_)
            | E::KeptWithOtherTags { .. }
            | E::Purged(_) => Self::failed_precondition(text),
            E::Io(_)
            | E::PowersDamaged(_)
            | E::OwnProof(_)
            | E::LogDamaged(_)
            | E::SequenceTaken(_)
            | E::LogGap(_)
            | E::OtherLog(_)
            | E::Index(_)
            | E::OpenIndex { .. }
            | E::Migrate(_)
            | E::Damaged(_)
            | E::OtherIdentity { .. }
            | E::Sign(_)
            | E::Task => {
                error!(error = text, "request failed");
                Self::internal("the provider failed; its log says why")
            }
        }
    }
}

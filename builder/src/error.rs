//! What can go wrong at the builder's side.

use std::io;
use std::path::{Path, PathBuf};

use assay_chain::ChainError;
use assay_chain::transaction::TransactionError;
use assay_core::claim::ClaimError;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::replica::ReplicaError;
use assay_core::secp::SecpError;
use assay_daemon::keystore::KeystoreError;
use assay_proto::convert::ConvertError;
use thiserror::Error;
use tonic::Status;

/// Why a command failed.
#[derive(Debug, Error)]
pub enum BuilderError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory holds something that an archive does not keep.
    #[error("{} is neither a file nor a directory; archives keep nothing else", .0.display())]
    NotAFile(PathBuf),
    /// The target exists.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The owner's secret does not read.
    #[error("{} does not hold an owner secret of 64 hex digits", .0.display())]
    Secret(PathBuf),
    /// The builder's key.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The system gives no random bytes.
    #[error("no random bytes")]
    Random,
    /// The builder's key fails to sign.
    #[error(transparent)]
    Sign(#[from] SecpError),
    /// The object is not what was announced, or the replica does not decrypt.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// A claim set does not hold together.
    #[error("the provider's claim set does not hold together: {0}")]
    ClaimSet(#[from] ClaimError),
    /// The provider's address does not read or does not answer.
    #[error("provider at {endpoint}: {source}")]
    Connect {
        /// The endpoint.
        endpoint: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The provider refuses.
    #[error("the provider answers {:?}: {}", .0.code(), .0.message())]
    Refused(Box<Status>),
    /// No answer in time.
    #[error("the provider did not answer {0} in time")]
    Timeout(&'static str),
    /// A reply does not read.
    #[error("the provider's reply does not read: {0}")]
    Reply(#[from] ConvertError),
    /// The endpoint belongs to another provider, chain or registry.
    #[error("the endpoint belongs to provider {found} or to another chain or registry, not to provider {expected}")]
    OtherProvider {
        /// The id asked for.
        expected: ProviderId,
        /// The id found.
        found: ProviderId,
    },
    /// What the provider signed is wrong.
    #[error("the provider's claim set is not to be trusted: {0}")]
    Untrusted(&'static str),
    /// No claim on the object.
    #[error("the provider claims no replica {replica} of object {object}")]
    NotClaimed {
        /// The object.
        object: Hash32,
        /// The replica index.
        replica: u64,
    },
    /// The returned bytes are not the replica.
    #[error("the provider returned other bytes than the replica {expected}: they hash to {found}")]
    WrongRoot {
        /// The claim's root.
        expected: Hash32,
        /// The root computed.
        found: Hash32,
    },
    /// The upload broke too often.
    #[error("the upload broke {attempts} times; run the command again to go on. The last time: {last}")]
    UploadBroke {
        /// How often.
        attempts: u32,
        /// Why.
        last: Box<Status>,
    },
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The claim set is stored at the provider and not on the chain.
    #[error("the claim set was not published: {0}; run the command again to publish it")]
    Publish(#[from] TransactionError),
    /// The registry asked is not the provider's.
    #[error("the provider is registered at {registry} on chain {chain_id}; give --rpc and --provider-registry of that chain")]
    OtherRegistry {
        /// EIP-155 id of the provider's chain.
        chain_id: u64,
        /// Its registry.
        registry: Address,
    },
    /// A task of our own died.
    #[error("a task of this process ended unexpectedly")]
    Task,
}

impl From<Status> for BuilderError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl From<tokio::task::JoinError> for BuilderError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Task
    }
}

impl BuilderError {
    /// For `map_err` on file operations.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

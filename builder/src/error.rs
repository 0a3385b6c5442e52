//! What can go wrong at the builder's side.

use std::io;
use std::path::{Path, PathBuf};

use assay_chain::ChainError;
use assay_chain::command::CommandError;
use assay_chain::tokens::Tokens;
use assay_chain::transaction::TransactionError;
use assay_core::claim::ClaimError;
use assay_core::compact::CompactError;
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
    /// Two owner secrets, which may differ.
    #[error("{} and {} both exist; move away the one that your data is not encrypted with", sealed.display(), plain.display())]
    TwoSecrets {
        /// The encrypted one.
        sealed: PathBuf,
        /// The one without a password.
        plain: PathBuf,
    },
    /// The owner's secret is encrypted.
    #[error("{} needs its password; give --password-file", .0.display())]
    NoPassword(PathBuf),
    /// The builder's key does not say whose it is.
    #[error("{} states no address; give --owner", .0.display())]
    NoAddress(PathBuf),
    /// A key or password.
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
    /// Tags cannot be made.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// The source changed while it was read, or since it was prepared.
    #[error("the source changed since it was read the first time; run the command again when nothing writes to it")]
    SourceChanged,
    /// Whoever took the bytes wants no more.
    #[error("nobody takes the encrypted bytes any more")]
    Stopped,
    /// Another process works in a directory.
    #[error("another process works in {}; wait for it, or name another directory", .0.display())]
    InUse(PathBuf),
    /// A directory was not prepared to its end.
    #[error("{} holds no prepared replica; run `prepare` with --out and this directory", .0.display())]
    NotPrepared(PathBuf),
    /// A manifest does not read.
    #[error("{} is no manifest to go by: {problem}; remove the directory and run `prepare` again", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A prepared directory is used for something else than it was made for.
    #[error("{} was prepared for {whom}; prepare a directory of its own", path.display())]
    PreparedForAnother {
        /// The directory.
        path: PathBuf,
        /// What differs.
        whom: &'static str,
    },
    /// The tags file is not the one that the manifest names.
    #[error("{} is damaged or gone: the provider would refuse its tags; run `prepare` again", .0.display())]
    Tags(PathBuf),
    /// A range reaches behind the object.
    #[error("the object has {length} bytes; give a range inside of it")]
    Range {
        /// Bytes of the object.
        length: u64,
    },
    /// A group is missing or does not lead to the root.
    #[error(
        "the provider {} group {group} of the replica; restore from another replica, or run the command again",
        if *is_missing { "does not give" } else { "gives other bytes for" }
    )]
    BadGroup {
        /// Number of the group.
        group: u64,
        /// Nothing came.
        is_missing: bool,
    },
    /// A sample was not clean. In words, what was found.
    #[error("{0}")]
    NotHeld(String),
    /// A move to where the replica is.
    #[error("the replica is at provider {0} already")]
    SameProvider(ProviderId),
    /// The bytes at hand are another object.
    #[error("the source is object {found}, not {expected}; leave --file and --dir out to fetch it from the old provider")]
    OtherSource {
        /// The object to be moved.
        expected: Hash32,
        /// The source's id.
        found: Hash32,
    },
    /// A directory holds the state of something else.
    #[error("{} holds the state of another move; name another directory", .0.display())]
    OtherMove(PathBuf),
    /// The state of a move does not read.
    #[error("{} is no state to go by: {problem}; see with `status` what both providers claim, then remove it and repeat", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Something that cannot be undone was not confirmed.
    #[error("not confirmed, so nothing was done; on a terminal answer yes, elsewhere give {0}")]
    Unconfirmed(&'static str),
    /// Money does not move.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Offers do not suffice.
    #[error(
        "fewer than {gib} GiB are offered{} in this class and region: ask for less{}",
        max_price.map_or_else(String::new, |most| format!(" at {} tokens or less", Tokens(most))),
        if max_price.is_some() { ", or raise --max-price" } else { "" }
    )]
    NoCapacity {
        /// Asked for.
        gib: u64,
        /// The limit, smallest unit.
        max_price: Option<u128>,
    },
    /// The chosen provider offers something else.
    #[error(
        "provider {provider} offers class {class_id} in region {region} (0 and 0: nothing); correct --class and --region, or choose another"
    )]
    OtherArea {
        /// Chosen.
        provider: ProviderId,
        /// Offered.
        class_id: u16,
        /// Offered.
        region: u64,
    },
    /// Price times GiB times epochs.
    #[error("it would cost more tokens than there can be; ask for less")]
    TooDear,
    /// Nothing to withdraw.
    #[error("no booking of {0} has any credit: there is nothing to withdraw")]
    NoCredit(Address),
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

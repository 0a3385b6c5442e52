//! What the command line takes.

use std::ops::Range;
use std::path::PathBuf;

use assay_core::hash::Hash32;
use assay_core::ids::Address;
use clap::{Args, Parser, Subcommand};

use super::market;
use crate::range;
use crate::source::Source;
use crate::verify::DEFAULT_SAMPLES;

/// Encrypts data, stores replicas at providers, watches them, and brings them back.
#[derive(Debug, Parser)]
#[command(name = "assay-builder", version)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Makes an owner secret and a builder key. Losing the owner secret or its password loses the data.
    Keygen(Keygen),
    /// Encrypts one replica for one provider into a manifest and tags, so that `upload` can begin at once.
    Prepare(Prepare),
    /// Stores one replica at its provider and publishes the provider's new claim set. Repeated, it goes on where it broke.
    Upload(Upload),
    /// Fetches random places of a replica and checks them. Fails when one of them is not held.
    Verify(Verify),
    /// Retrieves, verifies and decrypts a replica, or a part of it.
    Restore(Restore),
    /// Shows what a provider claims.
    Status(Status),
    /// Moves a replica to another provider: stores it there, proves it there, and only then releases it here.
    Move(Move),
    /// Gives a claim up, so that its provider need not hold the replica any longer.
    Release(Release),
    /// Shows what capacity costs now, and at whom.
    Quote(market::Quote),
    /// Books capacity and pays for it in advance.
    Book(market::Book),
    /// Adds epochs to a booking.
    Extend(market::Extend),
    /// What came back for bad epochs.
    #[command(subcommand)]
    Credit(market::Credit),
    /// Lists bookings, with what is left in escrow.
    Bookings(market::Mine),
}

#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// Directory to create.
    #[arg(long)]
    pub keys: PathBuf,
    /// File with the password for both keys.
    #[arg(long)]
    pub password_file: PathBuf,
    /// Says that you know: without the owner secret and its password the data is lost.
    #[arg(long)]
    pub i_understand: bool,
    /// Encrypts the key files cheaply: for devnets only.
    #[arg(long)]
    pub fast_kdf: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Endpoint {
    /// The provider's gRPC endpoint, as in http://127.0.0.1:9300.
    #[arg(long)]
    pub provider_endpoint: String,
    /// The provider's id in the registry.
    #[arg(long)]
    pub provider_id: u64,
}

#[derive(Debug, Args)]
pub(super) struct Chain {
    /// JSON-RPC endpoint; without it nothing is published.
    #[arg(long, requires = "provider_registry")]
    pub rpc: Option<String>,
    /// Address of ProviderRegistry.
    #[arg(long, value_parser = address, requires = "rpc")]
    pub provider_registry: Option<Address>,
}

/// Who signs and who pays.
#[derive(Debug, Args)]
pub(super) struct Signing {
    /// Directory made by `keygen`.
    #[arg(long)]
    pub keys: PathBuf,
    /// File with the password of both keys.
    #[arg(long)]
    pub password_file: PathBuf,
    /// Keystore of the account that pays for transactions; without it the builder key pays.
    #[arg(long, requires = "sender_password_file")]
    pub sender_keystore: Option<PathBuf>,
    /// Password of that keystore.
    #[arg(long, requires = "sender_keystore")]
    pub sender_password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(id = "object", required = true, multiple = false)]
pub(super) struct Object {
    /// One file.
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// A directory as one archive.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Prepare {
    #[command(flatten)]
    pub endpoint: Endpoint,
    #[command(flatten)]
    pub object: Object,
    /// Directory made by `keygen`.
    #[arg(long)]
    pub keys: PathBuf,
    /// File with the password of both keys.
    #[arg(long)]
    pub password_file: PathBuf,
    /// Which replica of the object this is.
    #[arg(long, default_value_t = 0)]
    pub replica: u64,
    /// Directory for manifest.json and tags.
    #[arg(long)]
    pub out: PathBuf,
    /// Makes no tags: the provider is then audited by slices alone.
    #[arg(long)]
    pub no_tags: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false)]
pub(super) struct What {
    /// Uploads one file.
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Uploads a directory as one archive.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Uploads what `prepare` left in this directory.
    #[arg(long, conflicts_with_all = ["replica", "no_tags"])]
    pub prepared: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Upload {
    #[command(flatten)]
    pub endpoint: Endpoint,
    #[command(flatten)]
    pub what: What,
    #[command(flatten)]
    pub chain: Chain,
    #[command(flatten)]
    pub signing: Signing,
    /// Which replica of the object this is.
    #[arg(long, default_value_t = 0)]
    pub replica: u64,
    /// Makes no tags: the provider is then audited by slices alone.
    #[arg(long)]
    pub no_tags: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Replica {
    /// The object, as `upload` printed it.
    #[arg(long, value_parser = hash)]
    pub object_id: Hash32,
    /// Which replica.
    #[arg(long, default_value_t = 0)]
    pub replica: u64,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    pub endpoint: Endpoint,
    #[command(flatten)]
    pub replica: Replica,
    /// Directory made by `keygen`: says whose claim it is. No password is needed.
    #[arg(long, required_unless_present = "owner")]
    pub keys: Option<PathBuf>,
    /// Whose claim it is, instead of --keys.
    #[arg(long, value_parser = address, conflicts_with = "keys")]
    pub owner: Option<Address>,
    /// Random places (groups of 16 KiB) to fetch.
    #[arg(long, visible_alias = "groups", default_value_t = DEFAULT_SAMPLES)]
    pub blocks: u64,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[group(id = "where", required = true, multiple = false)]
pub(super) struct Where {
    /// New file for the object's bytes.
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// New directory for an object that was uploaded with --dir.
    #[arg(long)]
    pub unpack: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    pub endpoint: Endpoint,
    #[command(flatten)]
    pub target: Where,
    #[command(flatten)]
    pub replica: Replica,
    /// Directory made by `keygen`.
    #[arg(long)]
    pub keys: PathBuf,
    /// File with the password of the owner secret; not needed for a secret that an earlier version stored without one.
    #[arg(long)]
    pub password_file: Option<PathBuf>,
    /// Whose claim it is; without it the builder key's address in the key directory.
    #[arg(long, value_parser = address)]
    pub owner: Option<Address>,
    /// Only these bytes of the object, as in 0..1048576; END is not included. Fetches no more than it needs.
    #[arg(long, value_name = "START..END", value_parser = range::parse, conflicts_with = "unpack")]
    pub range: Option<Range<u64>>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    pub endpoint: Endpoint,
    #[command(flatten)]
    pub chain: Chain,
    /// Only claims of this owner.
    #[arg(long, value_parser = address)]
    pub owner: Option<Address>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[group(id = "at_hand", multiple = false)]
pub(super) struct AtHand {
    /// The object as a file at hand, instead of fetching it from the old provider.
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// The object as a directory at hand.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Move {
    /// The old provider's gRPC endpoint.
    #[arg(long)]
    pub from_endpoint: String,
    /// The old provider's id.
    #[arg(long)]
    pub from_id: u64,
    /// The new provider's gRPC endpoint.
    #[arg(long)]
    pub to_endpoint: String,
    /// The new provider's id.
    #[arg(long)]
    pub to_id: u64,
    #[command(flatten)]
    pub replica: Replica,
    /// Which replica it will be at the new provider; without it the same. To move a replica back, give a number that is new there.
    #[arg(long)]
    pub to_replica: Option<u64>,
    #[command(flatten)]
    pub at_hand: AtHand,
    #[command(flatten)]
    pub chain: Chain,
    #[command(flatten)]
    pub signing: Signing,
    /// Directory for the state and the object's plain bytes while it moves; without it one in the key directory.
    #[arg(long)]
    pub work: Option<PathBuf>,
    /// Random places (groups of 16 KiB) that the new provider must show.
    #[arg(long, visible_alias = "groups", default_value_t = DEFAULT_SAMPLES)]
    pub blocks: u64,
    /// Makes no tags for the new provider.
    #[arg(long)]
    pub no_tags: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    #[command(flatten)]
    pub endpoint: Endpoint,
    #[command(flatten)]
    pub replica: Replica,
    #[command(flatten)]
    pub chain: Chain,
    #[command(flatten)]
    pub signing: Signing,
    /// Does not ask.
    #[arg(long)]
    pub yes: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

impl Object {
    pub fn source(self) -> Source {
        either(self.file, self.dir).unwrap_or_else(|| Source::File(PathBuf::new()))
    }
}

impl AtHand {
    pub fn source(self) -> Option<Source> {
        either(self.file, self.dir)
    }
}

/// A source from `--file` or `--dir`.
pub(super) fn either(file: Option<PathBuf>, dir: Option<PathBuf>) -> Option<Source> {
    file.map(Source::File).or(dir.map(Source::Directory))
}

pub(super) fn address(text: &str) -> Result<Address, String> {
    Address::from_hex(text).ok_or_else(|| "expected 0x and 40 hex digits".to_owned())
}

fn hash(text: &str) -> Result<Hash32, String> {
    Hash32::from_hex(text).ok_or_else(|| "expected 0x and 64 hex digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

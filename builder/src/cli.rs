//! The command line of `assay-builder`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_daemon::keystore::{self, Kdf, Password};
use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::BuilderError;
use crate::keys::{KeyDir, WARNING};
use crate::register::Registry;
use crate::restore::{Target, restore};
use crate::source::Source;
use crate::upload::upload;

/// Encrypts data, stores replicas at providers, and brings them back.
#[derive(Debug, Parser)]
#[command(name = "assay-builder", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes an owner secret and a builder key. Losing the owner secret loses the data.
    Keygen(Keygen),
    /// Encrypts one replica for one provider, stores it there and publishes the provider's new claim set.
    Upload(Upload),
    /// Retrieves, verifies and decrypts a replica.
    Restore(Restore),
    /// Shows what a provider claims.
    Status(Status),
}

#[derive(Debug, Args)]
struct Keygen {
    /// Directory to create.
    #[arg(long)]
    keys: PathBuf,
    /// File with the password for the builder key.
    #[arg(long)]
    password_file: PathBuf,
    /// Encrypts the key file cheaply: for devnets only.
    #[arg(long)]
    fast_kdf: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Endpoint {
    /// The provider's gRPC endpoint, as in http://127.0.0.1:9300.
    #[arg(long)]
    provider_endpoint: String,
    /// The provider's id in the registry.
    #[arg(long)]
    provider_id: u64,
}

#[derive(Debug, Args)]
struct Chain {
    /// JSON-RPC endpoint; without it nothing is published.
    #[arg(long, requires = "provider_registry")]
    rpc: Option<String>,
    /// Address of ProviderRegistry.
    #[arg(long, value_parser = address, requires = "rpc")]
    provider_registry: Option<Address>,
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false)]
struct What {
    /// Uploads one file.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Uploads a directory as one archive.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Upload {
    #[command(flatten)]
    endpoint: Endpoint,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    chain: Chain,
    /// Directory made by `keygen`.
    #[arg(long)]
    keys: PathBuf,
    /// File with the password of the builder key.
    #[arg(long)]
    password_file: PathBuf,
    /// Which replica of the object this is.
    #[arg(long, default_value_t = 0)]
    replica: u64,
    /// Keystore of the account that pays for the transaction; without it the builder key pays.
    #[arg(long, requires = "sender_password_file")]
    sender_keystore: Option<PathBuf>,
    /// Password of that keystore.
    #[arg(long, requires = "sender_keystore")]
    sender_password_file: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(id = "where", required = true, multiple = false)]
struct Where {
    /// New file for the object's bytes.
    #[arg(long)]
    output: Option<PathBuf>,
    /// New directory for an object that was uploaded with --dir.
    #[arg(long)]
    unpack: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Restore {
    #[command(flatten)]
    endpoint: Endpoint,
    #[command(flatten)]
    target: Where,
    /// Directory made by `keygen`.
    #[arg(long)]
    keys: PathBuf,
    /// The object, as `upload` printed it.
    #[arg(long, value_parser = hash)]
    object_id: Hash32,
    /// Which replica.
    #[arg(long, default_value_t = 0)]
    replica: u64,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    endpoint: Endpoint,
    /// Only claims of this owner.
    #[arg(long, value_parser = address)]
    owner: Option<Address>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Runs one command.
pub async fn execute(cli: Cli) -> Result<(), BuilderError> {
    match cli.command {
        Command::Keygen(arguments) => keygen(&arguments),
        Command::Upload(arguments) => run_upload(arguments).await,
        Command::Restore(arguments) => run_restore(arguments).await,
        Command::Status(arguments) => status(arguments).await,
    }
}

fn keygen(arguments: &Keygen) -> Result<(), BuilderError> {
    let keys = KeyDir::new(&arguments.keys);
    let kdf = match arguments.fast_kdf {
        true => Kdf::Pbkdf2,
        false => Kdf::Scrypt,
    };
    let address = keys.create(&Password::from_file(&arguments.password_file)?, kdf)?;
    eprintln!("{WARNING}");
    print(arguments.json, &json!({ "address": address, "ownerSecret": keys.secret_file(), "builderKey": keys.signer_file() }));
    Ok(())
}

async fn run_upload(arguments: Upload) -> Result<(), BuilderError> {
    let keys = KeyDir::new(&arguments.keys).load(&Password::from_file(&arguments.password_file)?)?;
    let sender = match (&arguments.sender_keystore, &arguments.sender_password_file) {
        (Some(file), Some(password)) => Some(keystore::load_secp(file, &Password::from_file(password)?)?),
        _ => None,
    };
    let registry = match (&arguments.chain.rpc, &arguments.chain.provider_registry) {
        (Some(rpc), Some(contract)) => Some(Registry::connect(rpc, contract, sender.as_ref().unwrap_or(&keys.signer)).await?),
        _ => None,
    };
    let source = match (arguments.what.file, arguments.what.dir) {
        (Some(file), _) => Source::File(file),
        (None, directory) => Source::Directory(directory.unwrap_or_default()),
    };
    let mut client = Client::connect(&arguments.endpoint.provider_endpoint, ProviderId(arguments.endpoint.provider_id)).await?;
    let uploaded = upload(&mut client, &keys, &source, arguments.replica, progress_line()).await?;
    let transaction = match &registry {
        Some(registry) => registry.publish(&mut client, &uploaded.set).await?,
        None => None,
    };
    let claim = &uploaded.claim;
    let printed = json!({
        "objectId": claim.object_id, "replica": claim.replica_index, "root": claim.root, "blocks": claim.blocks,
        "bytes": claim.object_length, "claimHash": claim.hash(), "sequence": uploaded.set.sequence,
        "tx": transaction.map(|hash| hash.to_string()), "published": registry.is_some(),
    });
    print(arguments.json, &printed);
    Ok(())
}

async fn run_restore(arguments: Restore) -> Result<(), BuilderError> {
    let secret = KeyDir::new(&arguments.keys).load_secret()?;
    let target = match (arguments.target.output, arguments.target.unpack) {
        (Some(file), _) => Target::File(file),
        (None, directory) => Target::Directory(directory.unwrap_or_default()),
    };
    let mut client = Client::connect(&arguments.endpoint.provider_endpoint, ProviderId(arguments.endpoint.provider_id)).await?;
    let claim = restore(&mut client, &secret, &arguments.object_id, arguments.replica, &target).await?;
    print(arguments.json, &json!({ "objectId": claim.object_id, "root": claim.root, "bytes": claim.object_length }));
    Ok(())
}

async fn status(arguments: Status) -> Result<(), BuilderError> {
    let mut client = Client::connect(&arguments.endpoint.provider_endpoint, ProviderId(arguments.endpoint.provider_id)).await?;
    let newest = client.claim_set(0).await?;
    let claims: Vec<_> =
        newest.iter().flat_map(|(_, set)| set.claims()).filter(|claim| arguments.owner.is_none_or(|o| o == claim.owner)).collect();
    let signed = newest.as_ref().map(|(signed, _)| signed);
    let printed = json!({
        "providerId": client.domain.provider, "chainId": client.domain.chain_id, "receiptKey": client.receipt_key,
        "sequence": signed.map_or(0, |s| s.sequence), "root": signed.map(|s| s.root.hash), "blocks": signed.map_or(0, |s| s.root.blocks),
        "count": signed.map_or(0, |s| s.count), "claims": claims,
    });
    print(arguments.json, &printed);
    Ok(())
}

/// Shows progress where somebody looks.
fn progress_line() -> impl FnMut(u64, u64) {
    let shown = std::io::stderr().is_terminal();
    let mut last = u64::MAX;
    move |done, total| {
        let percent = done.saturating_mul(100) / total.max(1);
        if shown && percent != last {
            last = percent;
            eprint!("\ruploaded {percent} %{}", if percent >= 100 { "\n" } else { "" });
        }
    }
}

fn print(as_json: bool, value: &Value) {
    let mut out = std::io::stdout();
    // Nobody reads a closed standard output.
    let _ = match value.as_object() {
        Some(fields) if !as_json => fields.iter().try_for_each(|(name, value)| match value {
            Value::String(text) => writeln!(out, "{name}: {text}"),
            other => writeln!(out, "{name}: {other}"),
        }),
        _ => writeln!(out, "{value}"),
    };
}

fn address(text: &str) -> Result<Address, String> {
    Address::from_hex(text).ok_or_else(|| "expected 0x and 40 hex digits".to_owned())
}

fn hash(text: &str) -> Result<Hash32, String> {
    Hash32::from_hex(text).ok_or_else(|| "expected 0x and 64 hex digits".to_owned())
}

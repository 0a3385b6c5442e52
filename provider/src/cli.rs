//! The command line of `assay-provider`.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use assay_core::ids::{Address, ProviderId};
use assay_core::secp::SecretKey;
use assay_daemon::config::{self, ConfigError};
use assay_daemon::keystore::{self, Kdf, KeystoreError, Password};
use assay_daemon::shutdown;
use assay_daemon::telemetry::{self, TelemetryConfig, TelemetryError};
use clap::{Args, Parser, Subcommand};
use thiserror::Error;

use crate::app::{self, AppError};
use crate::bench::{self, Bench, BenchError};
use crate::config::{Config, Limits, Scrub};
use crate::economy::{self, EconomyError};
use crate::error::StoreError;
use crate::index::Index;
use crate::rebut::{self, Rebut, RebutError};
use crate::status;

/// Stores replicas and answers challenges.
#[derive(Debug, Parser)]
#[command(name = "assay-provider", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Creates a data directory with a receipt key and a config; prints both as JSON.
    Init(Init),
    /// Serves until SIGINT or SIGTERM.
    Run(Run),
    /// Lists the newest claims as JSON lines, the signed set first.
    Claims(Claims),
    /// Shows damaged blocks and the history of scrubs.
    Status(Show),
    /// Reads everything that is stored and lists what is damaged; beside the running provider or without it.
    Scrub(ScrubNow),
    /// Repairs the index.
    #[command(subcommand)]
    Index(IndexCommand),
    /// Measures whether this machine and disk answer in time, before it is enrolled. Needs no config.
    Bench(Bench),
    /// Answers on the chain the storage challenge whose silence is about to be slashed.
    Rebut(Rebut),
    /// Registers this provider on the chain, and stakes for it.
    Register(economy::Register),
    /// Adds stake, or takes it back after the exit.
    #[command(subcommand)]
    Stake(economy::Stake),
    /// Declares capacity that the stake backs.
    Capacity(economy::Capacity),
    /// Offers capacity in the market.
    List(economy::List),
    /// Takes the offer back.
    Unlist(economy::InMarket),
    /// Claims rewards, and withdraws what bookings earned.
    Claim(economy::Claim),
    /// Leaves, for ever.
    Exit(economy::Sending),
    /// Shows stake, capacity, bookings and pay.
    Money(economy::MoneyStatus),
}

#[derive(Debug, Args)]
struct Init {
    /// Directory to create.
    #[arg(long)]
    data_dir: PathBuf,
    /// File with the password for the receipt key.
    #[arg(long)]
    password_file: PathBuf,
    /// Where to serve gRPC.
    #[arg(long, default_value = "127.0.0.1:9300")]
    listen: SocketAddr,
    /// EIP-155 chain id.
    #[arg(long)]
    chain_id: u64,
    /// Address of ProviderRegistry.
    #[arg(long, value_parser = address)]
    provider_registry: Address,
    /// Address of SlaSettlement.
    #[arg(long, value_parser = address)]
    settlement: Address,
    /// Id from the registry; 0 when not registered yet.
    #[arg(long, default_value_t = 0)]
    provider_id: u64,
    /// Encrypts the key file cheaply: for devnets only.
    #[arg(long)]
    fast_kdf: bool,
}

#[derive(Debug, Args)]
struct Run {
    /// The config file.
    #[arg(long)]
    config: PathBuf,
    /// Overrides the config's provider id, for the first start after the registration.
    #[arg(long)]
    provider_id: Option<u64>,
}

#[derive(Debug, Args)]
struct Show {
    /// The config file.
    #[arg(long)]
    config: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ScrubNow {
    #[command(flatten)]
    show: Show,
    /// Reads now; without it only shows the state.
    #[arg(long)]
    now: bool,
    /// Overrides the config's rate.
    #[arg(long)]
    bytes_per_s: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum IndexCommand {
    /// Makes a new index from the signed claim sets and the files beside it. Stop the provider first.
    Rebuild(Claims),
}

#[derive(Debug, Args)]
struct Claims {
    /// The config file.
    #[arg(long)]
    config: PathBuf,
}

/// Why a command failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// The config file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The receipt key.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The log.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The running process.
    #[error(transparent)]
    App(#[from] AppError),
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A silence is not rebutted.
    #[error(transparent)]
    Rebut(#[from] RebutError),
    /// Money does not move.
    #[error(transparent)]
    Economy(#[from] EconomyError),
    /// The measurement.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// No claim set was ever written.
    #[error("{} holds no claim set, so there is nothing to make an index from: restore a backup of the data directory", .0.display())]
    NothingToRebuild(PathBuf),
    /// A file cannot be written.
    #[error("{} cannot be written; check its directory and the free space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The config file contradicts itself.
    #[error("config file {} contradicts itself: {problem}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// What contradicts.
        problem: String,
    },
    /// A config exists already.
    #[error("{} exists already; another key would orphan its claims: run with it, or name another directory", .0.display())]
    Exists(PathBuf),
    /// The config does not turn into text.
    #[error("the config cannot be written as TOML")]
    Toml(#[from] toml::ser::Error),
    /// Standard output or the signal handlers.
    #[error("standard output or the signal handlers do not work; start it where they do")]
    Io(#[from] io::Error),
}

/// Runs one command.
pub async fn execute(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Init(arguments) => init(arguments),
        Command::Run(arguments) => run(arguments).await,
        Command::Claims(arguments) => claims(arguments).await,
        Command::Status(arguments) => status::show(&load(&arguments.config)?, arguments.json).await,
        Command::Scrub(arguments) => scrub(arguments).await,
        Command::Index(IndexCommand::Rebuild(arguments)) => {
            let config = load(&arguments.config)?;
            let key = key_of(&config)?;
            status::rebuild_index(&config, key).await
        }
        Command::Bench(arguments) => Ok(bench::run(arguments).await?),
        Command::Rebut(arguments) => Ok(rebut::run(arguments).await?),
        Command::Register(arguments) => Ok(economy::register(arguments).await?),
        Command::Stake(command) => Ok(economy::stake(command).await?),
        Command::Capacity(arguments) => Ok(economy::capacity(arguments).await?),
        Command::List(arguments) => Ok(economy::list(arguments).await?),
        Command::Unlist(arguments) => Ok(economy::unlist(arguments).await?),
        Command::Claim(arguments) => Ok(economy::claim(arguments).await?),
        Command::Exit(arguments) => Ok(economy::exit(arguments).await?),
        Command::Money(arguments) => Ok(economy::show(arguments).await?),
    }
}

fn init(arguments: Init) -> Result<(), CliError> {
    let data_dir = std::path::absolute(&arguments.data_dir)?;
    let config_path = data_dir.join("provider.toml");
    if config_path.exists() {
        return Err(CliError::Exists(config_path));
    }
    fs::create_dir_all(&data_dir).map_err(|source| CliError::Write { path: data_dir.clone(), source })?;
    let config = Config {
        provider_id: ProviderId(arguments.provider_id),
        listen: arguments.listen,
        keystore: data_dir.join("receipt-key.json"),
        password_file: std::path::absolute(&arguments.password_file)?,
        data_dir,
        chain_id: arguments.chain_id,
        provider_registry: arguments.provider_registry,
        settlement: arguments.settlement,
        limits: Limits::default(),
        scrub: Scrub::default(),
        telemetry: TelemetryConfig::default(),
    };
    let kdf = match arguments.fast_kdf {
        true => Kdf::Pbkdf2,
        false => Kdf::Scrypt,
    };
    let key = keystore::create_secp(&config.keystore, &Password::from_file(&config.password_file)?, kdf)?;
    // A key without its config stands in the way of the next attempt, and nothing knows it yet.
    write_new(&config_path, &toml::to_string(&config)?).inspect_err(|_| {
        let _ = fs::remove_file(&config.keystore);
    })?;
    print_json(&serde_json::json!({ "config": config_path, "receiptKey": key.address() }))
}

async fn run(arguments: Run) -> Result<(), CliError> {
    let mut config = load(&arguments.config)?;
    if let Some(id) = arguments.provider_id {
        config.provider_id = ProviderId(id);
    }
    telemetry::init(&config.telemetry)?;
    let key = key_of(&config)?;
    let running = app::start(&config, key, shutdown::token()?).await?;
    Ok(running.wait().await?)
}

async fn scrub(arguments: ScrubNow) -> Result<(), CliError> {
    let config = load(&arguments.show.config)?;
    if !arguments.now {
        return status::show(&config, arguments.show.json).await;
    }
    let key = key_of(&config)?;
    status::scrub_now(&config, key, arguments.bytes_per_s, arguments.show.json).await
}

fn key_of(config: &Config) -> Result<SecretKey, CliError> {
    Ok(keystore::load_secp(&config.keystore, &Password::from_file(&config.password_file)?)?)
}

async fn claims(arguments: Claims) -> Result<(), CliError> {
    let config = load(&arguments.config)?;
    let path = config.data_dir.join("index.sqlite");
    let index = Index::open(&path).await.map_err(|error| error.of_index(&path))?;
    let Some(set) = index.newest().await? else { return Ok(()) };
    print_json(&serde_json::json!({
        "sequence": set.sequence, "root": set.root.hash, "blocks": set.root.blocks, "count": set.count,
        "signature": hex::encode(set.signature.0),
    }))?;
    for offset in (0..set.count).step_by(1000) {
        for owned in index.claims_page(set.sequence, offset, 1000).await? {
            print_json(&serde_json::json!({ "claimHash": owned.claim.hash(), "claim": owned.claim }))?;
        }
    }
    Ok(())
}

fn load(path: &Path) -> Result<Config, CliError> {
    let config: Config = config::load(path)?;
    match config.contradiction() {
        Some(problem) => Err(CliError::Contradiction { path: path.to_owned(), problem }),
        None => Ok(config),
    }
}

pub(crate) fn address(text: &str) -> Result<Address, String> {
    Address::from_hex(text).ok_or_else(|| "expected 0x and 40 hex digits".to_owned())
}

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let written = fs::File::create_new(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    if written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
        // Half a config is none.
        let _ = fs::remove_file(path);
    }
    written.map_err(|source| CliError::Write { path: path.to_owned(), source })
}

fn print_json(value: &serde_json::Value) -> Result<(), CliError> {
    Ok(writeln!(io::stdout(), "{value}")?)
}

//! The command line.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;

use assay_core::ids::{Address, Instance};
use assay_daemon::config::ConfigError;
use assay_daemon::keystore::{self, Kdf, KeystoreError, Password};
use clap::{Parser, Subcommand, ValueEnum};

use crate::app::{self, AppError};
use crate::claim::{self, Claim, ClaimError};
use crate::config::Config;
use crate::dispute::{self, DisputeCommand, DisputeError};
use crate::doppelganger::DoppelgangerError;
use crate::keeper::{self, KeeperCommand, KeeperError};
use crate::signer::{Protection, ProtectionError};

/// An Assay oracle node: measures hardware providers, agrees on verdicts and posts them.
#[derive(Parser)]
#[command(name = "assay-oracle", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the node until SIGINT or SIGTERM.
    Run {
        /// The node's config file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Create a verdict key (BLS) and a transmitter key (secp256k1); prints their public parts.
    Keys {
        /// Where the verdict key's keystore goes; must not exist yet.
        #[arg(long)]
        verdict: PathBuf,
        /// Where the transmitter key's keystore goes; must not exist yet.
        #[arg(long)]
        transmitter: PathBuf,
        /// File with the password for both. Passwords are never arguments.
        #[arg(long)]
        password_file: PathBuf,
        /// How hard a guess at the password is made. pbkdf2 is quick and for devnets only.
        #[arg(long, value_enum, default_value = "scrypt")]
        kdf: KdfChoice,
    },
    /// Signing protection: what keeps a key from signing two things that contradict each other.
    #[command(subcommand)]
    Protection(ProtectionCommand),
    /// Draw rewards: this oracle's own, or anybody's.
    Claim(Claim),
    /// Do what is due, claims, slashes and bookings, for the tips of the Keeper contract. Needs no oracle's key.
    Keeper(KeeperCommand),
    /// Prove a false report wrong: void it, and have its signers slashed. Needs no oracle's key.
    Dispute(DisputeCommand),
    /// Check a config file and say what it means, without starting anything.
    Config {
        /// The node's config file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
}

#[derive(Subcommand)]
enum ProtectionCommand {
    /// Create an empty file for a key that has never signed. For a key that has, import its record instead.
    Init {
        /// The node's config file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Print the record as JSON.
    Export {
        /// The node's config file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Merge an exported record; the stricter of both stays.
    Import {
        /// The node's config file (TOML).
        #[arg(long)]
        config: PathBuf,
        /// The exported JSON.
        #[arg(long)]
        file: PathBuf,
    },
    /// Give up an epoch and all before it: nothing of them is signed any more, whoever signed what there.
    Prune {
        /// The node's config file (TOML).
        #[arg(long)]
        config: PathBuf,
        /// The last epoch that is given up.
        #[arg(long)]
        through: u64,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum KdfChoice {
    /// Memory-hard, over a second a key.
    Scrypt,
    /// Quick, for devnets.
    Pbkdf2,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The config file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The config file contradicts itself.
    #[error("config file {path} contradicts itself: {problem}")]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// What contradicts.
        problem: String,
    },
    /// A keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// Signing protection.
    #[error(transparent)]
    Protection(#[from] ProtectionError),
    /// A file.
    #[error("{path}: {source}; check the path and its permissions")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What was asked for cannot be printed.
    #[error("standard output cannot be written: {0}; free space, or send the output elsewhere")]
    Output(std::io::Error),
    /// Rewards.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// What is due.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// A false report.
    #[error(transparent)]
    Dispute(#[from] DisputeError),
    /// The node.
    #[error(transparent)]
    App(#[from] AppError),
}

/// The exit code of a node that stopped because somebody else signs with its key: starting it again by itself is no help.
const DOPPELGANGER: u8 = 3;

impl CliError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::App(AppError::Doppelganger(DoppelgangerError::Found { .. })) => DOPPELGANGER,
            _ => 1,
        }
    }
}

/// Runs one command.
pub async fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Run { config } => Ok(app::run(load(&config)?).await?),
        Command::Keys { verdict, transmitter, password_file, kdf } => keys(&verdict, &transmitter, &password_file, kdf),
        Command::Config { config } => {
            let config = load(&config)?;
            print(format_args!("oracle {} on chain {}, settlement {}", config.oracle_id, config.chain.chain_id, config.chain.settlement))?;
            print(format_args!("parameters {} ({:?})", config.params.params().hash(), config.params))
        }
        Command::Protection(command) => protection(command).await,
        Command::Claim(arguments) => {
            let config = load(&arguments.config)?;
            print(claim::run(&arguments, &config).await?)
        }
        Command::Dispute(arguments) => print(dispute::run(&arguments).await?),
        Command::Keeper(arguments) => Ok(keeper::run(&arguments, |line| write_line(&line)).await?),
    }
}

/// A contract's address among the arguments.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    Address::from_hex(text).ok_or_else(|| "expected 0x and 40 hex digits".to_owned())
}

/// An export that did not arrive must not look like one that did: a full disk or a closed pipe is an error, not a panic.
fn print(line: impl Display) -> Result<(), CliError> {
    write_line(&line).map_err(CliError::Output)
}

fn write_line(line: &dyn Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

fn load(path: &std::path::Path) -> Result<Config, CliError> {
    let config: Config = assay_daemon::config::load(path)?;
    match config.contradiction() {
        Some(problem) => Err(CliError::Contradiction { path: path.to_path_buf(), problem }),
        None => Ok(config),
    }
}

fn keys(verdict: &std::path::Path, transmitter: &std::path::Path, password_file: &std::path::Path, kdf: KdfChoice) -> Result<(), CliError> {
    let password = Password::from_file(password_file)?;
    let kdf = match kdf {
        KdfChoice::Scrypt => Kdf::Scrypt,
        KdfChoice::Pbkdf2 => Kdf::Pbkdf2,
    };
    let key = keystore::create_bls(verdict, &password, kdf)?;
    // Both keys or none: a verdict key that was never used or shown is taken away again.
    let created = keystore::create_secp(transmitter, &password, kdf).inspect_err(|_| {
        let _ = std::fs::remove_file(verdict);
    });
    let address: Address = created?.address();
    print(format_args!("verdict key      {:?}", key.public_key()))?;
    print(format_args!("transmitter      {address}"))?;
    print(format_args!("Back up both files and the password: a lost verdict key cannot be replaced within its committee set."))
}

async fn protection(command: ProtectionCommand) -> Result<(), CliError> {
    let (ProtectionCommand::Init { config }
    | ProtectionCommand::Export { config }
    | ProtectionCommand::Import { config, .. }
    | ProtectionCommand::Prune { config, .. }) = &command;
    let config = load(config)?;
    let password = Password::from_file(&config.keys.password_file)?;
    let key = keystore::load_bls(&config.keys.verdict, &password)?.public_key();
    let instance = Instance { chain_id: config.chain.chain_id, settlement: config.chain.settlement };
    match command {
        ProtectionCommand::Init { .. } => {
            Protection::create(&config.protection_file, &key, &instance).await?;
            print(format_args!("created {}", config.protection_file.display()))?;
        }
        ProtectionCommand::Export { .. } => {
            print(Protection::open(&config.protection_file, &key, &instance).await?.export_json().await?)?;
        }
        ProtectionCommand::Prune { through, .. } => {
            Protection::open(&config.protection_file, &key, &instance).await?.prune(through).await?;
            print(format_args!("nothing through epoch {through} is signed any more"))?;
        }
        ProtectionCommand::Import { file, .. } => {
            let text = std::fs::read_to_string(&file).map_err(|source| CliError::File { path: file.clone(), source })?;
            let merged = Protection::open(&config.protection_file, &key, &instance).await?.import_json(&text).await?;
            print(format_args!(
                "merged {}: {} statements added, {} known, {} contradicted ours and stay blocked",
                file.display(),
                merged.added,
                merged.known,
                merged.contradicted
            ))?;
        }
    }
    Ok(())
}

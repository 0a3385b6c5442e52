//! `assay-oracle keeper`: does what is due for the tips of the keeper contract. For anybody: it takes no oracle's key and no seat.
//!
//! APIs of oracles are asked and not believed: a ledger counts when the finalized chain accepted its report and all of it stands under that.

mod api;
mod due;
mod pass;
mod show;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use assay_chain::command::{CommandError, check_token};
use assay_chain::keeper::Keeper;
use assay_chain::tokens::Tokens;
use assay_chain::transaction::{SendConfig, TransactionError};
use assay_chain::{ChainError, Client, Rpc, RpcUrls};
use assay_core::hash::Hash32;
use assay_core::ids::Address;
use assay_daemon::keystore::{self, KeystoreError, Password};
use assay_daemon::shutdown;
use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cli::address;
use crate::rest::{ApiError, Apis};
use crate::settle::bookings::Bookings;
use pass::Worker;

/// Arguments.
#[derive(Debug, Args)]
pub struct KeeperCommand {
    /// REST API of an oracle, as http://host:port; give several, and the next is asked when one fails or lies.
    #[arg(long, required = true)]
    api: Vec<String>,
    /// JSON-RPC of the chain; give several, and what money hangs on counts when more than half say it.
    #[arg(long, required = true)]
    rpc: Vec<String>,
    /// Address of Keeper; settlement, market and token are those that it names.
    #[arg(long, value_parser = address)]
    keeper: Address,
    /// Keystore of the account that sends, pays for gas and is tipped.
    #[arg(long)]
    key: PathBuf,
    /// File with the password of that keystore.
    #[arg(long)]
    password_file: PathBuf,
    /// Sends nothing that earns less, in tokens. Gas is paid in ether, so that nobody else can compare the two for you.
    #[arg(long, default_value = "0")]
    min_tip: Tokens,
    /// How many epochs before the last accepted one are looked at.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(0..=4096))]
    look_back: u64,
    /// Seconds between two passes.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    poll_s: u64,
    /// Does one pass and ends; without it goes on until SIGINT or SIGTERM.
    #[arg(long)]
    once: bool,
    /// Says what would be sent, what it earns and what it costs, and sends nothing.
    #[arg(long)]
    dry_run: bool,
    /// Prints one JSON object a pass.
    #[arg(long)]
    json: bool,
}

/// Why the keeper did not do its work. What it sent before is in what it printed.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The APIs.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The URLs of the chain.
    #[error("--rpc: {0}")]
    RpcUrls(&'static str),
    /// The key.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A transaction before it is sent.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A transaction that was to be sent.
    #[error("{what}: {source}")]
    Send {
        /// What it was to do.
        what: String,
        /// Why it did not.
        source: Box<TransactionError>,
    },
    /// A transaction that is in a block, and whose events nobody can read.
    #[error("{what}: sent in transaction {tx_hash}, but what it did cannot be read: {source}")]
    Unread {
        /// What it was to do.
        what: String,
        /// Its hash.
        tx_hash: Hash32,
        /// Why not.
        source: Box<ChainError>,
    },
    /// Signals.
    #[error("signals cannot be handled: {0}; use --once")]
    Signals(io::Error),
    /// Standard output.
    #[error("standard output cannot be written: {0}; free space, or send the output elsewhere")]
    Output(io::Error),
}

/// Does what is due, once or until a signal; prints by `print`.
pub(crate) async fn run(arguments: &KeeperCommand, print: impl Fn(&str) -> io::Result<()>) -> Result<(), KeeperError> {
    let print = |line: &str| print(line).map_err(KeeperError::Output);
    let cancel = match arguments.once {
        true => CancellationToken::new(),
        false => shutdown::token().map_err(KeeperError::Signals)?,
    };
    let mut worker = worker(arguments, cancel.clone()).await?;
    loop {
        match worker.pass(|line| if arguments.json { Ok(()) } else { print(line) }).await {
            Ok(summary) if arguments.json => print(&summary.json().to_string())?,
            Ok(summary) => print(&summary.to_string())?,
            Err(error) if arguments.once || matches!(error, KeeperError::Output(_)) => return Err(error),
            Err(error) if arguments.json => print(&json!({ "error": error.to_string() }).to_string())?,
            Err(error) => print(&format!("error: {error}; the next pass is in {} s", arguments.poll_s))?,
        }
        if arguments.once {
            return Ok(());
        }
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(arguments.poll_s)) => {}
        }
    }
}

/// Everything that can be wrong about the arguments shows here.
async fn worker(arguments: &KeeperCommand, cancel: CancellationToken) -> Result<Worker, KeeperError> {
    let apis = Apis::new(&arguments.api)?;
    let key = keystore::load_secp(&arguments.key, &Password::from_file(&arguments.password_file)?)?;
    let rpc_url = RpcUrls::try_from(arguments.rpc.clone()).map_err(KeeperError::RpcUrls)?;
    let keeper = Keeper::connect(&Rpc::connect(rpc_url.clone()).await?, &arguments.keeper).await?;
    let client = Client::of_settlement(rpc_url, &keeper.settlement).await?;
    check_token(client.rpc(), &keeper.token).await?;
    Ok(Worker {
        settlement: client.settlement_config().await?,
        bookings: keeper.market.map(Bookings::new),
        client,
        keeper,
        apis,
        key,
        send: SendConfig::default(),
        min_tip: arguments.min_tip.0,
        look_back: arguments.look_back,
        dry_run: arguments.dry_run,
        done: BTreeSet::new(),
        last: None,
        cancel,
    })
}

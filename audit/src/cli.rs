//! The command line.

use std::process::ExitCode;

use assay_core::hash::decode_hex;
use assay_core::ids::Address;
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::api::Api;
use crate::findings::Findings;
use crate::online::{self, Order};
use crate::verify::Pins;

/// The Assay auditor: recomputes an epoch from an API that it does not trust and compares it with the chain.
#[derive(Parser)]
#[command(name = "assay-audit", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Audit one epoch: one line a claim. Exit code 0 when all hold, 1 when one fails, 2 when there is no chain to compare with.
    Verify(Verify),
}

#[derive(clap::Args)]
struct Verify {
    /// An oracle's REST API. Nothing that it says is believed.
    #[arg(long)]
    api: String,
    /// JSON-RPC of the chain. It is believed: use a node of your own. It must know the state at the epoch's reference block.
    #[arg(long)]
    rpc: String,
    /// The epoch.
    #[arg(long)]
    epoch: u64,
    /// The settlement contract, instead of the one that the API names.
    #[arg(long, value_parser = address)]
    settlement: Option<Address>,
    /// The beacon's public key (96 bytes in hex), instead of the one that the API names.
    #[arg(long, value_parser = beacon_key)]
    beacon_key: Option<[u8; 96]>,
    /// Verify at most so many storage proofs (slices and compact ones) of each observation, and judge no more answers that carry any than that takes.
    /// Default: all.
    #[arg(long)]
    proofs: Option<u64>,
    /// An oracle that contradicts its own evidence is a failure too.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn address(text: &str) -> Result<Address, String> {
    Address::from_hex(text).ok_or_else(|| "an address is 0x and 40 hex digits".into())
}

fn beacon_key(text: &str) -> Result<[u8; 96], String> {
    let bytes = decode_hex(text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "a beacon's key is 192 hex digits; copy it from its /info".into())
}

/// `--json`
#[derive(Serialize)]
struct Printed<'a> {
    epoch: u64,
    api: &'a str,
    holds: bool,
    #[serde(flatten)]
    findings: &'a Findings,
}

/// Runs one command.
pub async fn run(cli: Cli) -> ExitCode {
    let Command::Verify(verify) = cli.command;
    let order = match order(&verify) {
        Ok(order) => order,
        Err(problem) => return trouble(&problem),
    };
    let findings = match online::audit(&order).await {
        Ok(findings) => findings,
        Err(error) => return trouble(&error.to_string()),
    };
    if verify.json {
        let printed = Printed { epoch: verify.epoch, api: &verify.api, holds: findings.hold(), findings: &findings };
        match serde_json::to_string_pretty(&printed) {
            Ok(text) => println!("{text}"),
            Err(error) => return trouble(&error.to_string()),
        }
    } else {
        println!("epoch {} by {}", verify.epoch, verify.api);
        print!("{findings}");
    }
    let fails = !findings.hold() || (verify.strict && !findings.flags.is_empty());
    if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn order(verify: &Verify) -> Result<Order, String> {
    let pins = Pins { settlement: verify.settlement, beacon_key: verify.beacon_key };
    Ok(Order { api: Api::new(&verify.api)?, rpc: verify.rpc.clone(), epoch: verify.epoch, pins, most_proofs: verify.proofs })
}

fn trouble(problem: &str) -> ExitCode {
    eprintln!("assay-audit: {problem}");
    ExitCode::from(2)
}

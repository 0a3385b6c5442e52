//! `assay-audit`: see `--help`.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    assay_audit::cli::run(assay_audit::cli::Cli::parse()).await
}

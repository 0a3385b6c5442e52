//! `assay-builder`: see `--help`.

use std::process::ExitCode;

use assay_builder::cli;
use clap::Parser;

fn main() -> ExitCode {
    assay_daemon::run_main(cli::execute(cli::Cli::parse()))
}

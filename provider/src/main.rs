//! `assay-provider`: see `--help`.

use std::process::ExitCode;

use assay_provider::cli;
use clap::Parser;

fn main() -> ExitCode {
    assay_daemon::run_main(cli::execute(cli::Cli::parse()))
}

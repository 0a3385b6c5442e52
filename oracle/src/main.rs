//! `assay-oracle`: see `assay-oracle --help`.

use std::process::ExitCode;

use assay_oracle::cli::{Cli, run};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    assay_daemon::run_main(run(cli))
}

//! `assay-oracle`: see `assay-oracle --help`.

use std::process::ExitCode;

use assay_oracle::cli::{Cli, run};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut code = None;
    let ended = assay_daemon::run_main(async { run(cli).await.inspect_err(|error| code = Some(error.exit_code())) });
    code.map_or(ended, ExitCode::from)
}

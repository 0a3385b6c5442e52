//! `assay-devnet`: the demo network, and the beacon that it runs on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use assay_core::ids::Instance;
use assay_tests::beacon::{BeaconKey, serve};
use assay_tests::binaries;
use assay_tests::devnet::chaos::Chaos;
use assay_tests::devnet::chaos::plan::FaultKind;
use assay_tests::devnet::economy::Deals;
use assay_tests::devnet::outcome::Summary;
use assay_tests::devnet::{Devnet, Fault, OracleFault, OracleNode, Plan, data, show};
use assay_tests::mortal::{self, DieAt};
use assay_tests::process::ends_with_parent;
use assay_tests::record;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

/// Epochs of the demo.
const EPOCHS: u64 = 4;
/// When this epoch is accepted, the next one is half over: then an oracle is killed.
const KILL_AFTER: u64 = 0;
/// The demo's oracles.
const ORACLES: [OracleFault; 5] = [OracleFault::None, OracleFault::None, OracleFault::None, OracleFault::Killed, OracleFault::Lies];
/// The demo's providers.
const PROVIDERS: [Fault; 6] = [Fault::None, Fault::Lossy, Fault::Slow, Fault::Throttled, Fault::Away, Fault::None];

/// A local Assay network with real processes on a real chain.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the main job end to end and show what came of it. KEEP=1 leaves the network running at the end.
    Demo {
        /// Your own file or directory to store; without it, the sources of our own dependencies.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Where everything is written.
        #[arg(long, default_value = "target/demo")]
        dir: PathBuf,
    },
    /// Run seven oracles through faults that come from a seed and check what came of it (docs/CHAOS.md).
    Chaos {
        /// Where all times and choices come from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Epochs of 25 s.
        #[arg(long, default_value_t = 6)]
        epochs: u64,
        /// These faults alone.
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<FaultKind>,
        /// Where everything is written.
        #[arg(long, default_value = "target/chaos")]
        dir: PathBuf,
    },
    /// Run an oracle as `assay-oracle run` does, and kill it at a point where it writes, or make it lie: for tests and the demo.
    Oracle {
        /// The node's config file (TOML).
        #[arg(long)]
        config: PathBuf,
        /// The point, or POINT:N for the N-th time that it is passed.
        #[arg(long)]
        die_at: Option<DieAt>,
        /// Report every provider as perfect.
        #[arg(long)]
        lie: bool,
        /// End when standard input closes. A line of it is another `--die-at`.
        #[arg(long)]
        until_stdin_closes: bool,
    },
    /// Serve a beacon that speaks drand's HTTP API in the quicknet scheme.
    Beacon {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// 32 bytes in hex from which the key is derived. A devnet's need not be secret.
        #[arg(long)]
        seed: String,
        /// Time of round 1, unix seconds.
        #[arg(long)]
        genesis: u64,
        /// Seconds between rounds.
        #[arg(long, default_value_t = 1)]
        period: u64,
        /// End when standard input closes.
        #[arg(long)]
        until_stdin_closes: bool,
    },
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(error) => fail(error.as_ref()),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {}", assay_daemon::describe(error));
    ExitCode::FAILURE
}

async fn run(command: Command) -> Result<ExitCode, Failure> {
    let token = assay_daemon::shutdown::token()?;
    match command {
        Command::Demo { data, dir } => {
            // Whoever leaves this block ends every process of the network.
            match token.clone().run_until_cancelled(demo(data, dir, &token)).await {
                Some(result) => result,
                None => {
                    eprintln!("interrupted: every process of the network is ended");
                    Ok(ExitCode::from(130))
                }
            }
        }
        Command::Chaos { seed, epochs, only, dir } => {
            let kinds = if only.is_empty() { FaultKind::passing() } else { only.into_iter().collect() };
            let chosen = Chaos { seed, epochs, kinds };
            token.run_until_cancelled(chaos(chosen, dir)).await.unwrap_or(Ok(ExitCode::from(130)))
        }
        Command::Oracle { config, die_at, lie, until_stdin_closes } => {
            mortal::run(&config, die_at, lie, until_stdin_closes).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Beacon { listen, seed, genesis, period, until_stdin_closes } => {
            if until_stdin_closes {
                ends_with_parent(token.clone());
            }
            let bytes = hex::decode(&seed).ok().and_then(|bytes| bytes.try_into().ok()).ok_or("--seed: expected 64 hex digits")?;
            let key = BeaconKey::from_seed(&bytes)?;
            serve(assay_daemon::grpc::listen(listen).await?.0, key, genesis, period, token).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn chaos(chaos: Chaos, dir: PathBuf) -> Result<ExitCode, Failure> {
    let report = chaos.run_in(&std::path::absolute(dir)?, |line| println!("{line}")).await?;
    println!("{report}");
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn demo(data: Option<PathBuf>, dir: PathBuf, token: &CancellationToken) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let say = |text: &str| println!("[{:>5.1} s] {text}", started.elapsed().as_secs_f64());
    let dir = std::path::absolute(dir)?;
    let data = match data {
        Some(path) => data::given(&path)?,
        None => {
            let sources = dir.join("data");
            if sources.exists() {
                std::fs::remove_dir_all(&sources)?;
            }
            let bytes = data::dependency_sources(&sources)?;
            say(&format!("data: {} MiB of the sources of our own dependencies", bytes / 1_048_576));
            sources
        }
    };
    let plan = Plan { dir: dir.join("run"), data, oracles: ORACLES.to_vec(), faults: PROVIDERS.to_vec() };
    let mut devnet = Devnet::start(&plan, say).await?;
    let deals = Deals::open(&devnet, EPOCHS).await?;
    let (paid, booked) = (show::tokens(deals.escrow().await?), deals.epochs());
    say(&format!("market: a builder books every provider for epochs {} to {} and pays {paid} in advance", booked.start, booked.end - 1));
    let summary = watch(&mut devnet, say).await?;
    let books = deals.close(&devnet).await?;
    say("market: verdicts settled every booked epoch; everybody drew what was theirs");
    let mut document = summary.to_json();
    document["market"] = serde_json::to_value(&books)?;
    std::fs::write(dir.join("summary.json"), serde_json::to_string_pretty(&document)?)?;
    let table = format!("{}\n{}", show::table(&devnet, &summary), show::deals(&books));
    std::fs::write(dir.join("demo.svg"), show::svg(&table))?;
    println!("\n{table}");
    let (audited, failure) = audit(&devnet, EPOCHS - 1).await?;
    println!("{audited}");
    println!("summary: {}", dir.join("summary.json").display());
    println!("logs:    {}", plan.dir.join("logs").display());
    println!("{}", show::commands(&summary));
    let mut failures = summary.failures(EPOCHS);
    failures.extend(failure);
    failures.extend(books.wrong);
    for failure in &failures {
        eprintln!("expected: {failure}");
    }
    if std::env::var("KEEP").is_ok_and(|keep| keep == "1") {
        println!("the network keeps running; Ctrl-C ends it");
        token.cancelled().await;
    }
    let instance = Instance { chain_id: devnet.deployment.chain.chain_id, settlement: devnet.deployment.settlement };
    let oracles: Vec<_> = devnet.oracles.iter().map(|oracle| (oracle.id, oracle.dir.clone())).collect();
    devnet.stop().await?;
    let statements = record::all_statements(&oracles, &instance).await?;
    let twice: Vec<_> = statements.iter().filter(|(_, digests)| digests.len() > 1).collect();
    println!("signed: {} statements in {} logs and signing records, {} twice", statements.len(), oracles.len(), twice.len());
    for (place, _) in twice {
        failures.push(format!("nobody signs twice ({place:?})"));
        eprintln!("expected: nobody signs twice ({place:?})");
    }
    if failures.is_empty() {
        println!("every expectation held");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// What an auditor says of an epoch, by one oracle's API alone, and what it should have said and did not.
async fn audit(devnet: &Devnet, epoch: u64) -> Result<(String, Option<String>), Failure> {
    let api = devnet.oracles.first().map(|oracle| oracle.api.as_str()).unwrap_or_default();
    let args = ["verify", "--api", api, "--rpc", devnet.rpc(), "--epoch", &epoch.to_string()];
    let output = tokio::process::Command::new(binaries::path("assay-audit")).args(args).kill_on_drop(true).output().await?;
    let mut text = format!("assay-audit {}\n", args.join(" "));
    text += &String::from_utf8_lossy(&output.stdout);
    text += &String::from_utf8_lossy(&output.stderr);
    let named = |oracle: &OracleNode| text.contains(&format!("⚑ oracle {}", oracle.id)) == (oracle.fault == OracleFault::Lies);
    let as_expected = output.status.success() && devnet.oracles.iter().all(named);
    let failure = (!as_expected).then(|| format!("the audit of epoch {epoch} holds and names the liar, and nobody else"));
    Ok((text, failure))
}

/// Follows the epochs until everything is settled.
async fn watch(devnet: &mut Devnet, say: impl Fn(&str)) -> Result<Summary, Failure> {
    let epoch_s = devnet.params.epoch_ms() / 1_000;
    for epoch in 0..EPOCHS {
        say(&format!("epoch {epoch}: measuring for {epoch_s} s, then commit, reveal, vote, sign, post"));
        let deadline = Duration::from_secs(epoch_s * 2 + 30);
        if !devnet.until(deadline, || async { Ok(devnet.epoch(epoch).await?.is_some()) }).await? {
            return Err(format!("epoch {epoch} was not accepted within {deadline:?}; see the oracles' logs").into());
        }
        if let Some(summary) = devnet.epoch(epoch).await?
            && let (Some(report), Some(accepted)) = (summary.report, summary.accepted)
        {
            let signers = report.signers.map_or(0, |signers| signers.len());
            say(&format!(
                "epoch {epoch}: accepted in block {}, {} gas, {signers} signers, view {}: {}",
                accepted.block_number,
                accepted.gas_used,
                report.view,
                verdicts(devnet, epoch).await?
            ));
        }
        if epoch == KILL_AFTER {
            kill_and_restart(devnet, &say).await?;
        }
    }
    say("settling: windows pass, rewards are claimed, the slash is executed");
    if !devnet.until(Duration::from_secs(60), || devnet.is_settled(EPOCHS - 1)).await? {
        say("settling: not everything is paid after 60 s");
    }
    Ok(devnet.summary(EPOCHS).await?)
}

/// A power cut in the middle of the next epoch, and back.
async fn kill_and_restart(devnet: &mut Devnet, say: impl Fn(&str)) -> Result<(), Failure> {
    let doomed: Vec<usize> = (0..devnet.oracles.len()).filter(|index| devnet.oracles[*index].fault == OracleFault::Killed).collect();
    for index in doomed {
        devnet.kill_oracle(index).await?;
        say(&format!("fault: oracle {} was killed in the middle of epoch {}", devnet.oracles[index].id, KILL_AFTER + 1));
        devnet.restart_oracle(index).await?;
        say(&format!("oracle {} runs again", devnet.oracles[index].id));
    }
    Ok(())
}

async fn verdicts(devnet: &Devnet, epoch: u64) -> Result<String, Failure> {
    let verdicts = devnet.verdicts(epoch).await?;
    Ok(verdicts.iter().map(|verdict| format!("provider {} {:?}", verdict.provider, verdict.outcome)).collect::<Vec<_>>().join(", "))
}

//! What the operator's commands show: the state of the disk, a scrub by hand, a new index.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assay_core::secp::SecretKey;
use assay_daemon::shutdown;
use serde::Serialize;

use crate::app::{self, AppError};
use crate::cli::CliError;
use crate::config::{Config, Scrub};
use crate::error::StoreError;
use crate::index::{Block, Index, ScrubRun};
use crate::log::Log;
use crate::scrub;
use crate::store::{Store, now_s};

/// Runs that are listed.
const HISTORY: u32 = 10;
/// Damaged blocks that are listed.
const LISTED: u32 = 1000;

/// What is known about the disk.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    claims: u64,
    sequence: u64,
    blocks: u64,
    damaged_blocks: u64,
    /// The first of them.
    damaged: Vec<Damaged>,
    /// The newest first.
    scrubs: Vec<ScrubRun>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Damaged {
    #[serde(flatten)]
    block: Block,
    found_at: i64,
}

impl Status {
    async fn read(index: &Index) -> Result<Self, StoreError> {
        let newest = index.newest().await?;
        let damaged = index.damaged(LISTED).await?;
        Ok(Self {
            claims: newest.as_ref().map_or(0, |set| set.count),
            sequence: newest.as_ref().map_or(0, |set| set.sequence),
            blocks: newest.as_ref().map_or(0, |set| set.root.blocks),
            damaged_blocks: index.count_damaged().await?,
            damaged: damaged.into_iter().map(|(block, found_at)| Damaged { block, found_at }).collect(),
            scrubs: index.scrubs(HISTORY).await?,
        })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} claims with {} blocks in claim set {}", self.claims, self.blocks, self.sequence)];
        lines.push(format!("{} blocks are known to be damaged or gone", self.damaged_blocks));
        lines.extend(self.damaged.iter().map(|one| format!("  {} block {}, found at {}", one.block.root, one.block.block, one.found_at)));
        lines.extend(self.scrubs.iter().map(|run| self.line(run)));
        if self.scrubs.is_empty() {
            lines.push("no scrub yet".to_owned());
        }
        lines
    }

    fn line(&self, run: &ScrubRun) -> String {
        let state = match run.finished_at {
            Some(at) => format!("finished at {at}"),
            None => format!("{} % done", run.blocks.saturating_mul(100).checked_div(self.blocks).unwrap_or(100).min(100)),
        };
        format!(
            "scrub {} of {}: {state}, {} blocks read, {} damaged, {} unreadable",
            run.id, run.started_at, run.blocks, run.damaged_blocks, run.unreadable_blocks
        )
    }
}

fn index_path(config: &Config) -> PathBuf {
    config.data_dir.join("index.sqlite")
}

/// Shows the list of damaged blocks and the history of scrubs. The provider may go on running.
pub(crate) async fn show(config: &Config, as_json: bool) -> Result<(), CliError> {
    let path = index_path(config);
    let index = Index::open(&path).await.map_err(|error| error.of_index(&path))?;
    let status = Status::read(&index).await?;
    print(as_json, &status, &status.lines())
}

/// Reads everything once. The provider may go on running.
pub(crate) async fn scrub_now(config: &Config, key: SecretKey, bytes_per_s: Option<u64>, as_json: bool) -> Result<(), CliError> {
    let store = Store::open_beside(config, key).await?;
    let settings = Scrub { bytes_per_s: bytes_per_s.unwrap_or(config.scrub.bytes_per_s), ..config.scrub.clone() };
    scrub::begun(&store, &settings, &shutdown::token()?).await?;
    let status = Status::read(store.index()).await?;
    print(as_json, &status, &status.lines())
}

/// Makes a new index from the log of claim sets and what lies beside it. The provider must not run.
pub(crate) async fn rebuild_index(config: &Config, key: SecretKey) -> Result<(), CliError> {
    let _lock = app::lock(&config.data_dir)?;
    let failed = |source| AppError::DataDir { path: config.data_dir.clone(), source };
    if Log::open(&config.data_dir).and_then(|log| log.last()).map_err(failed)? == 0 {
        return Err(CliError::NothingToRebuild(config.data_dir.join("claim-sets")));
    }
    let aside = set_aside(&index_path(config)).map_err(failed)?;
    let store: Arc<Store> = Store::open(config, key).await?;
    let status = Status::read(store.index()).await?;
    let shown = serde_json::json!({ "claims": status.claims, "sequence": status.sequence, "blocks": status.blocks, "oldIndex": aside });
    print(true, &shown, &[])
}

/// The damaged index stays, for the developers.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = path.with_extension(format!("damaged-{}", now_s()));
    for suffix in ["", "-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        match fs::rename(with(path), with(&aside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
    }
    Ok(aside)
}

fn print(as_json: bool, json: &impl Serialize, lines: &[String]) -> Result<(), CliError> {
    let mut out = io::stdout();
    if as_json {
        return Ok(writeln!(out, "{}", serde_json::to_string(json).map_err(io::Error::other)?)?);
    }
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    Ok(())
}

//! The read of everything that is stored, to find damage before a challenge does.
//!
//! Every group is checked against the outboard, the outboard against the root, every tag against its check. A run goes on where it was
//! interrupted; what it finds is on the list of damaged blocks at once. Slow on purpose: challenges come first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assay_core::claim::Claim;
use assay_core::hash::Hash32;
use assay_core::replica::BLOCK_BYTES;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::Scrub;
use crate::error::StoreError;
use crate::files::Files;
use crate::index::{Block, ScrubRun};
use crate::replica::{Replica, Tags, present};
use crate::store::{Found, Store, now_s};

/// Blocks that are read at a time: 4 MiB.
const BLOCKS_AT_A_TIME: u64 = 32;
/// How often a run writes down how far it is.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// After a failure of the index or the disk.
const RETRY: Duration = Duration::from_secs(60);

/// Reads everything again and again, as configured, until the shutdown.
pub async fn keep_scrubbing(store: Arc<Store>, settings: Scrub, shutdown: CancellationToken) {
    while settings.every_s > 0 {
        let due = due_in(&store, settings.every_s).await.unwrap_or(RETRY);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(due) => (),
        }
        if let Err(error) = continued(&store, &settings, &shutdown).await {
            error!(%error, "a scrub failed");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(RETRY) => (),
            }
        }
    }
}

async fn due_in(store: &Store, every_s: u64) -> Result<Duration, StoreError> {
    let newest = store.index().scrubs(1).await?.into_iter().next();
    let due_at = newest.and_then(|run| run.finished_at).map_or(0, |at| at.saturating_add_unsigned(every_s));
    Ok(Duration::from_secs(due_at.saturating_sub(now_s()).max(0).cast_unsigned()))
}

/// Goes on with the run that was interrupted, or begins one.
pub async fn continued(store: &Arc<Store>, settings: &Scrub, shutdown: &CancellationToken) -> Result<ScrubRun, StoreError> {
    let newest = store.index().scrubs(1).await?.into_iter().next();
    match newest.filter(|run| run.finished_at.is_none()) {
        Some(run) => walk(store, run, settings, shutdown).await,
        None => begun(store, settings, shutdown).await,
    }
}

/// Begins a run and reads everything, until the shutdown.
pub async fn begun(store: &Arc<Store>, settings: &Scrub, shutdown: &CancellationToken) -> Result<ScrubRun, StoreError> {
    let run = store.index().begin_scrub(now_s()).await?;
    walk(store, run, settings, shutdown).await
}

async fn walk(store: &Arc<Store>, run: ScrubRun, settings: &Scrub, shutdown: &CancellationToken) -> Result<ScrubRun, StoreError> {
    let mut walk = Walk { store, run, saved: Instant::now() };
    while let Some(claim) = walk.replica().await? {
        while walk.run.at_block < claim.blocks {
            if shutdown.is_cancelled() {
                store.index().save_scrub(&walk.run).await?;
                return Ok(walk.run);
            }
            let begun = Instant::now();
            let bytes = walk.step(&claim).await?;
            let due = Duration::from_secs_f64(bytes as f64 / settings.bytes_per_s.max(1) as f64);
            tokio::select! {
                () = shutdown.cancelled() => (),
                () = sleep(due.saturating_sub(begun.elapsed())) => (),
            }
        }
    }
    walk.run.finished_at = Some(now_s());
    store.index().save_scrub(&walk.run).await?;
    let run = walk.run;
    info!(blocks = run.blocks, damaged = run.damaged_blocks, unreadable = run.unreadable_blocks, "scrub complete");
    Ok(run)
}

struct Walk<'a> {
    store: &'a Arc<Store>,
    run: ScrubRun,
    saved: Instant,
}

impl Walk<'_> {
    /// The replica to go on with: the one that the run stands in while there is something left of it, else the next.
    async fn replica(&mut self) -> Result<Option<Claim>, StoreError> {
        let index = self.store.index();
        let at = self.run.at_root.unwrap_or(Hash32::ZERO);
        if self.run.at_block > 0
            && let Some(claim) = index.replica_at(&at).await?.filter(|claim| self.run.at_block < claim.blocks)
        {
            return Ok(Some(claim));
        }
        let next = index.next_replica(&at).await?;
        if let Some(claim) = &next {
            (self.run.at_root, self.run.at_block) = (Some(claim.root), 0);
        }
        Ok(next)
    }

    /// Reads the next blocks of a replica. Gives the bytes read.
    async fn step(&mut self, claim: &Claim) -> Result<u64, StoreError> {
        let (first, end) = (self.run.at_block, claim.blocks.min(self.run.at_block.saturating_add(BLOCKS_AT_A_TIME)));
        let of = claim.clone();
        let seen = self.store.read(move |files| check_blocks(files, &of, first, end)).await?;
        let (count, damaged) = (end - first, seen.found.damaged.len() as u64);
        if self.store.holds(&claim.root).await? {
            self.run.damaged_blocks += damaged;
            self.run.unreadable_blocks += seen.unreadable;
            self.store.note(seen.found).await;
        }
        self.run.blocks += count;
        self.run.at_block = end;
        if self.saved.elapsed() >= SAVE_EVERY {
            self.store.index().save_scrub(&self.run).await?;
            self.saved = Instant::now();
        }
        Ok(count.saturating_sub(damaged).saturating_mul(BLOCK_BYTES as u64))
    }
}

/// What a few blocks turned out to be.
struct Seen {
    found: Found,
    unreadable: u64,
}

fn check_blocks(files: &Files, claim: &Claim, first: u64, end: u64) -> Seen {
    let mut seen = Seen { found: Found::default(), unreadable: 0 };
    let opened = present(files.open_replica(&claim.root, claim.bytes()));
    let tags = match claim.tag_key_id.is_zero() {
        true => Ok(None),
        false => present(files.open_tags(&claim.root)),
    };
    let (replica, tags) = match (opened, tags) {
        (Ok(replica), Ok(tags)) => (replica, tags),
        (Err(error), _) | (_, Err(error)) => {
            warn!(replica = %claim.root, %error, "a stored replica does not open");
            seen.unreadable = end - first;
            return seen;
        }
    };
    for block in first..end {
        let place = Block { root: claim.root, block };
        match is_whole(claim, replica.as_ref(), tags.as_ref(), block) {
            Ok(true) => seen.found.whole.push(place),
            Ok(false) => {
                warn!(replica = %claim.root, block, "a stored block is missing or damaged");
                seen.found.damaged.push(place);
            }
            Err(error) => {
                warn!(replica = %claim.root, block, %error, "a stored block cannot be read");
                seen.unreadable += 1;
            }
        }
    }
    seen
}

fn is_whole(claim: &Claim, replica: Option<&Replica>, tags: Option<&Tags>, block: u64) -> std::io::Result<bool> {
    let Some(replica) = replica else { return Ok(false) };
    if replica.block(block)?.is_none() {
        return Ok(false);
    }
    match (claim.tag_key_id.is_zero(), tags) {
        (true, _) => Ok(true),
        (false, None) => Ok(false),
        (false, Some(tags)) => Ok(tags.tag(block)?.is_some()),
    }
}

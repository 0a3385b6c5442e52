//! Faults that the demo injects from outside, into unmodified programs.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use assay_core::replica::BLOCK_BYTES;

/// Overwrites every twentieth block (5 %) of every replica below a provider's data directory; returns (overwritten, all) blocks.
pub fn lose_blocks(data_dir: &Path) -> io::Result<(u64, u64)> {
    let (mut lost, mut all) = (0, 0);
    for entry in fs::read_dir(data_dir.join("replicas"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "replica") {
            continue;
        }
        let file = File::options().write(true).open(&path)?;
        let block = BLOCK_BYTES as u64;
        let blocks = file.metadata()?.len() / block;
        let rubbish = vec![0xa5; BLOCK_BYTES];
        for index in (0..blocks).step_by(20) {
            file.write_all_at(&rubbish, index * block)?;
            lost += 1;
        }
        file.sync_all()?;
        all += blocks;
    }
    Ok((lost, all))
}

//! The evaluations of all blocks between the pass that makes them and the tags, which need the root first.
//!
//! They are as secret as the owner's tag secret. So the file has no name, and a key that only this process knows encrypts it.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use assay_core::compact::Evaluation;
use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use assay_core::replica::{BLOCK_BYTES, OwnerSecret, ReplicaKey, apply_keystream};
use zeroize::Zeroizing;

use crate::error::BuilderError;

const EVALUATION_BYTES: usize = 32;
/// As many as one block of the keystream covers.
const PAGE_BYTES: usize = BLOCK_BYTES;

/// Evaluations in their order. Memory: 127 KB, however many there are.
pub struct Spool {
    directory: PathBuf,
    file: File,
    key: ReplicaKey,
    pages: u64,
    page: Zeroizing<Vec<u8>>,
}

impl Spool {
    /// An empty one on the disk of `directory`: 32 bytes for every block.
    pub fn new(directory: &Path) -> Result<Self, BuilderError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret).map_err(|_| BuilderError::Random)?;
        Ok(Self {
            directory: directory.to_owned(),
            file: tempfile::tempfile_in(directory).map_err(BuilderError::file(directory))?,
            key: ReplicaKey::derive(&OwnerSecret::new(*secret), &Hash32::ZERO, 0, ProviderId(0)),
            pages: 0,
            page: Zeroizing::new(Vec::with_capacity(PAGE_BYTES)),
        })
    }

    /// Adds the next one.
    pub fn push(&mut self, evaluation: &Evaluation) -> Result<(), BuilderError> {
        self.page.extend_from_slice(&*Zeroizing::new(evaluation.to_bytes()));
        if self.page.len() == PAGE_BYTES { self.write_page() } else { Ok(()) }
    }

    fn write_page(&mut self) -> Result<(), BuilderError> {
        self.apply(self.pages)?;
        let at = self.pages * PAGE_BYTES as u64;
        self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.write_all(&self.page)).map_err(BuilderError::file(&self.directory))?;
        self.pages += 1;
        self.page.clear();
        Ok(())
    }

    fn apply(&mut self, page: u64) -> Result<(), BuilderError> {
        Ok(apply_keystream(&self.key, page, &mut self.page).map_err(|_| assay_core::replica::ReplicaError::Blocks)?)
    }

    /// Gives `take` all of them from the first on, at most `most` at a time, until it says `false`.
    pub fn read(mut self, most: usize, mut take: impl FnMut(Vec<Evaluation>) -> bool) -> Result<(), BuilderError> {
        self.write_page()?;
        let length = self.file.metadata().map_err(BuilderError::file(&self.directory))?.len();
        for page in 0..self.pages {
            let at = page * PAGE_BYTES as u64;
            let bytes = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX).min(PAGE_BYTES);
            self.page.resize(bytes, 0);
            self.file.read_exact_at(&mut self.page, at).map_err(BuilderError::file(&self.directory))?;
            self.apply(page)?;
            for part in self.page.chunks(most * EVALUATION_BYTES) {
                let (evaluations, _) = part.as_chunks::<EVALUATION_BYTES>();
                if !take(evaluations.iter().map(Evaluation::from_bytes).collect::<Result<_, _>>()?) {
                    return Err(BuilderError::Stopped);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_come_back_in_order() {
        let directory = tempfile::tempdir().unwrap();
        for count in [0_u32, 1, 255, 256, 257, 3967, 3968, 3969, 8000] {
            let bytes = |i: u32| {
                let mut bytes = [0; 32];
                bytes[28..].copy_from_slice(&i.to_be_bytes());
                bytes
            };
            let mut spool = Spool::new(directory.path()).unwrap();
            (0..count).for_each(|i| spool.push(&Evaluation::from_bytes(&bytes(i)).unwrap()).unwrap());
            let mut next = 0;
            let check = |part: Vec<Evaluation>| {
                assert!(part.len() <= 256);
                for evaluation in part {
                    assert_eq!(evaluation.to_bytes(), bytes(next));
                    next += 1;
                }
                true
            };
            spool.read(256, check).unwrap();
            assert_eq!(next, count);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    // Defence: the keystream over every page. Without it a copy of the disk gives the tag secret away.
    #[test]
    fn the_file_shows_no_evaluation() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(directory.path()).unwrap();
        let plain = [7; 32];
        (0..4000).for_each(|_| spool.push(&Evaluation::from_bytes(&plain).unwrap()).unwrap());
        spool.write_page().unwrap();
        let mut file = spool.file.try_clone().unwrap();
        let mut stored = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        std::io::Read::read_to_end(&mut file, &mut stored).unwrap();
        assert_eq!(stored.len(), 4000 * 32);
        assert!(stored.chunks(32).all(|chunk| chunk != plain));
    }
}

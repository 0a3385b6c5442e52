//! Files that are there whole or not at all, and directories that one process works in.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::BuilderError;

/// Makes a directory that only its owner reads, with its parents; one that exists stays as it is.
pub fn private_dir(path: &Path) -> Result<(), BuilderError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(BuilderError::file(path))
}

/// Writes a new file beside `path`, syncs it and renames it, so that `path` is the old file or the whole new one. Mode 0600.
pub fn write<T>(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<T, BuilderError>) -> Result<T, BuilderError> {
    let staged = staged(path);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged);
    let mut writer = BufWriter::with_capacity(1 << 20, file.map_err(BuilderError::file(&staged))?);
    let filled = fill(&mut writer)?;
    let file = writer.into_inner().map_err(|error| BuilderError::file(&staged)(error.into_error()))?;
    file.sync_all().map_err(BuilderError::file(&staged))?;
    fs::rename(&staged, path).map_err(BuilderError::file(path))?;
    sync_parent(path)?;
    Ok(filled)
}

fn staged(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Makes the renames and deletions in a file's directory survive a crash of the machine.
pub fn sync_parent(path: &Path) -> Result<(), BuilderError> {
    let parent = parent(path);
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(BuilderError::file(parent))
}

/// The directory that a path stands in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes a file; an absent one is as good.
pub fn remove(path: &Path) -> Result<(), BuilderError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(BuilderError::file(path)(error)),
        _ => Ok(()),
    }
}

/// Removes a directory with everything in it; an absent one is as good.
pub fn remove_dir(path: &Path) -> Result<(), BuilderError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(BuilderError::file(path)(error)),
        _ => Ok(()),
    }
}

/// Held while a process works in a directory. The system lets go of it however the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "open for as long as the lock is held")] File);

impl Lock {
    /// Takes the directory, which is made if need be; [`BuilderError::InUse`] while another process has it.
    pub fn take(directory: &Path) -> Result<Self, BuilderError> {
        private_dir(directory)?;
        let path = directory.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(BuilderError::file(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(fs::TryLockError::WouldBlock) => Err(BuilderError::InUse(directory.to_owned())),
            Err(fs::TryLockError::Error(error)) => Err(BuilderError::file(&path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write(&path, |out| out.write_all(b"old").map_err(BuilderError::file(&path))).unwrap();
        let failed = write::<()>(&path, |out| {
            out.write_all(b"new").unwrap();
            Err(BuilderError::Stopped)
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write(&path, |out| out.write_all(b"newer").map_err(BuilderError::file(&path))).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    // Defence: `try_lock`. Without it two processes write one tags file.
    #[test]
    fn a_directory_has_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::take(directory.path()).unwrap();
        assert!(matches!(Lock::take(directory.path()), Err(BuilderError::InUse(_))));
        drop(first);
        Lock::take(directory.path()).unwrap();
    }
}

//! What the demo stores: the reader's own files, or the sources of our own dependencies.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The least the demo stores without the reader's own files.
pub const LEAST_BYTES: u64 = 64 * 1024 * 1024;

/// Why there is nothing to store.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The path given does not exist or cannot be read.
    #[error("{}: {source}; give DATA a directory or a file that you can read", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// No registry sources.
    #[error("the sources of the dependencies have {found} bytes below {}, {LEAST_BYTES} are needed; run `cargo fetch`, or give DATA=some/dir", dir.display())]
    TooFew {
        /// Where they were looked for.
        dir: PathBuf,
        /// Bytes found.
        found: u64,
    },
}

/// The reader's path, checked.
pub fn given(path: &Path) -> Result<PathBuf, DataError> {
    fs::canonicalize(path).map_err(|source| DataError::Unreadable { path: path.into(), source })
}

/// Copies sources of the dependencies to `into` until there are enough.
pub fn dependency_sources(into: &Path) -> Result<u64, DataError> {
    let home =
        std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let sources = home.unwrap_or_default().join("registry").join("src");
    let unreadable = |path: &Path| {
        let path = path.to_path_buf();
        move |source| DataError::Unreadable { path, source }
    };
    let mut crates: Vec<PathBuf> = Vec::new();
    for registry in fs::read_dir(&sources).map_err(unreadable(&sources))?.flatten() {
        crates.extend(fs::read_dir(registry.path()).map_err(unreadable(&registry.path()))?.flatten().map(|entry| entry.path()));
    }
    crates.sort();
    let mut copied = 0;
    for source in crates {
        if copied >= LEAST_BYTES {
            break;
        }
        let Some(name) = source.file_name() else { continue };
        copied += copy_tree(&source, &into.join(name)).map_err(unreadable(&source))?;
    }
    if copied < LEAST_BYTES {
        return Err(DataError::TooFew { dir: sources, found: copied });
    }
    Ok(copied)
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<u64> {
    let kind = fs::symlink_metadata(from)?;
    if kind.is_file() {
        return fs::copy(from, to);
    }
    if !kind.is_dir() {
        return Ok(0);
    }
    fs::create_dir_all(to)?;
    let mut copied = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copied += copy_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(copied)
}

//! Keystore files: read with a limit, created whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::KeystoreError;

const MAX_KEYSTORE_BYTES: u64 = 64 * 1024;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, KeystoreError> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_KEYSTORE_BYTES + 1).read_to_end(&mut bytes)).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => KeystoreError::NotFound(path.to_owned()),
        _ => KeystoreError::Read { path: path.to_owned(), source },
    })?;
    if bytes.len() as u64 > MAX_KEYSTORE_BYTES {
        return Err(KeystoreError::TooBig { path: path.to_owned(), limit: MAX_KEYSTORE_BYTES });
    }
    Ok(bytes)
}

/// Writes a temporary neighbour, syncs it, and links it to its name: a crash leaves the whole file or none, and an
/// existing file is never replaced (`link` fails where `rename` would overwrite).
pub(super) fn create(path: &Path, text: &str) -> Result<(), KeystoreError> {
    let staged = staging_name(path);
    let written = write_synced(&staged, text).and_then(|()| fs::hard_link(&staged, path));
    let _ = fs::remove_file(&staged);
    written.and_then(|()| sync_parent(path)).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeystoreError::Exists(path.to_owned()),
        _ => KeystoreError::Write { path: path.to_owned(), source },
    })
}

fn staging_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", uuid::Uuid::new_v4()))
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

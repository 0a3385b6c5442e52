//! A directory as one deterministic tar stream: sorted paths, no times, no owners.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tar::{Archive, Builder, EntryType, Header};

use crate::error::BuilderError;

/// Writes the directory's archive. The same content always gives the same bytes.
pub fn pack(directory: &Path, out: &mut dyn Write) -> Result<(), BuilderError> {
    let mut builder = Builder::new(out);
    for path in list(directory)? {
        let metadata = fs::symlink_metadata(&path).map_err(BuilderError::file(&path))?;
        let name = path.strip_prefix(directory).map_err(|_| BuilderError::NotAFile(path.clone()))?;
        let mut header = Header::new_gnu();
        header.set_mtime(0);
        if metadata.is_dir() {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            builder.append_data(&mut header, name, std::io::empty()).map_err(BuilderError::file(&path))?;
        } else {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            header.set_mode(if executable { 0o755 } else { 0o644 });
            header.set_size(metadata.len());
            let file = File::open(&path).map_err(BuilderError::file(&path))?;
            let exactly = std::io::Read::take(file, metadata.len());
            builder.append_data(&mut header, name, exactly).map_err(BuilderError::file(&path))?;
        }
    }
    builder.finish().map_err(BuilderError::file(directory))
}

/// Every file and directory below a directory, in the archive's order.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>, BuilderError> {
    let mut paths = Vec::new();
    walk(directory, &mut paths)?;
    paths.sort();
    Ok(paths)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), BuilderError> {
    for entry in fs::read_dir(directory).map_err(BuilderError::file(directory))? {
        let entry = entry.map_err(BuilderError::file(directory))?;
        let kind = entry.file_type().map_err(BuilderError::file(&entry.path()))?;
        if kind.is_dir() {
            walk(&entry.path(), found)?;
        } else if !kind.is_file() {
            return Err(BuilderError::NotAFile(entry.path()));
        }
        found.push(entry.path());
    }
    Ok(())
}

/// Unpacks an archive into a new directory; nothing is ever written outside of it.
pub fn unpack(archive: &mut File, directory: &Path) -> Result<(), BuilderError> {
    if directory.exists() {
        return Err(BuilderError::Exists(directory.to_owned()));
    }
    fs::create_dir_all(directory).map_err(BuilderError::file(directory))?;
    Archive::new(archive).unpack(directory).map_err(BuilderError::file(directory))
}

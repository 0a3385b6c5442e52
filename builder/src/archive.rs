//! A directory as one deterministic tar stream: sorted paths, no times, no owners.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tar::{Archive, Builder, EntryType, Header};

use crate::durable;
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

/// Unpacks an archive into a new directory, which is there whole or not at all; nothing is ever written outside of it.
pub fn unpack(archive: &mut File, directory: &Path) -> Result<(), BuilderError> {
    if directory.exists() {
        return Err(BuilderError::Exists(directory.to_owned()));
    }
    let parent = durable::parent(directory);
    fs::create_dir_all(parent).map_err(BuilderError::file(parent))?;
    let staging = tempfile::tempdir_in(parent).map_err(BuilderError::file(parent))?;
    let unpacked = staging.path().join("unpacked");
    fs::create_dir(&unpacked).map_err(BuilderError::file(&unpacked))?;
    Archive::new(archive).unpack(&unpacked).map_err(BuilderError::file(directory))?;
    fs::rename(&unpacked, directory).map_err(BuilderError::file(directory))?;
    durable::sync_parent(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Defence: unpacking beside the target. Without it half of a directory stands under its final name.
    #[test]
    fn a_broken_archive_leaves_no_directory() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("a"), "alpha").unwrap();
        fs::write(tree.join("b"), vec![7; 100_000]).unwrap();
        let mut packed = Vec::new();
        pack(&tree, &mut packed).unwrap();
        let path = directory.path().join("archive");
        fs::write(&path, &packed[..50_000]).unwrap();
        let out = directory.path().join("out");
        unpack(&mut File::open(&path).unwrap(), &out).unwrap_err();
        assert!(!out.exists());
        fs::write(&path, &packed).unwrap();
        unpack(&mut File::open(&path).unwrap(), &out).unwrap();
        assert_eq!(fs::read(out.join("b")).unwrap(), vec![7; 100_000]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "nothing else is left");
    }
}

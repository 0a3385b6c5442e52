//! What is uploaded: a file, or a directory as an archive.

use std::fs::{self, File, Metadata};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use assay_core::hash::Hash32;
use assay_core::replica::Header;
use serde::{Deserialize, Serialize};

use crate::archive;
use crate::error::BuilderError;

const COPY_BYTES: usize = 1 << 20;

/// Where an object's bytes come from. It must not change while it is read; a change is noticed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "path")]
pub enum Source {
    /// The bytes of one file.
    File(PathBuf),
    /// A directory, packed by [`archive::pack`].
    Directory(PathBuf),
}

impl Source {
    /// The file or the directory.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Directory(path) => path,
        }
    }

    /// The same source by its full path, so that it is found from every working directory.
    pub fn canonical(&self) -> Result<Self, BuilderError> {
        let full = |path: &Path| path.canonicalize().map_err(BuilderError::file(path));
        Ok(match self {
            Self::File(path) => Self::File(full(path)?),
            Self::Directory(path) => Self::Directory(full(path)?),
        })
    }

    /// Writes the object's bytes from byte `from` on. Blocks.
    pub fn write_to(&self, from: u64, out: &mut dyn Write) -> Result<(), BuilderError> {
        match self {
            Self::Directory(path) => archive::pack(path, &mut Skip { left: from, out }),
            Self::File(path) => copy(path, from, out).map_err(BuilderError::file(path)),
        }
    }

    /// The object's id and length. Reads everything; `heard` gets the bytes read so far. Blocks.
    pub fn identify(&self, replica_index: u64, heard: &mut dyn FnMut(u64)) -> Result<Header, BuilderError> {
        let mut counting = Counting { hasher: blake3::Hasher::new(), bytes: 0, heard };
        self.write_to(0, &mut counting)?;
        Ok(Header { object_length: counting.bytes, object_id: counting.hasher.finalize().into(), replica_index })
    }

    /// Bytes to read, as the file system says now. Of a directory without the archive's own bytes. Blocks.
    pub fn bytes(&self) -> Result<u64, BuilderError> {
        let mut bytes = 0_u64;
        self.look(&mut |_, metadata| bytes = bytes.saturating_add(if metadata.is_file() { metadata.len() } else { 0 }))?;
        Ok(bytes)
    }

    /// A hash over names, lengths and times of change. While it stays the same, the bytes are taken to be the same. Blocks.
    pub fn fingerprint(&self) -> Result<Hash32, BuilderError> {
        let mut hasher = blake3::Hasher::new();
        self.look(&mut |path, metadata| {
            let name = path.as_os_str().as_bytes();
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
            for number in [metadata.len(), metadata.mtime() as u64, metadata.mtime_nsec() as u64, u64::from(metadata.mode())] {
                hasher.update(&number.to_le_bytes());
            }
        })?;
        Ok(hasher.finalize().into())
    }

    fn look(&self, see: &mut dyn FnMut(&Path, &Metadata)) -> Result<(), BuilderError> {
        let paths = match self {
            Self::File(path) => vec![path.clone()],
            Self::Directory(path) => archive::list(path)?,
        };
        for path in paths {
            see(&path, &fs::metadata(&path).map_err(BuilderError::file(&path))?);
        }
        Ok(())
    }
}

/// `io::copy` would take pieces of 8 KB.
fn copy(path: &Path, from: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match io::Read::read(&mut file, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => out.write_all(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
    }
}

/// Drops the first bytes.
struct Skip<'a> {
    left: u64,
    out: &'a mut dyn Write,
}

impl Write for Skip<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= skipped as u64;
        self.out.write_all(&bytes[skipped..])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct Counting<'a> {
    hasher: blake3::Hasher,
    bytes: u64,
    heard: &'a mut dyn FnMut(u64),
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        (self.heard)(self.bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_notices_changes_of_length_and_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("object");
        fs::write(&path, "one").unwrap();
        for source in [Source::File(path.clone()), Source::Directory(directory.path().into())] {
            let first = source.fingerprint().unwrap();
            assert_eq!(source.fingerprint().unwrap(), first);
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            let second = source.fingerprint().unwrap();
            assert_ne!(first, second);
            fs::write(&path, "three").unwrap();
            assert_ne!(source.fingerprint().unwrap(), second);
        }
    }

    #[test]
    fn the_rest_of_a_source_is_the_rest_of_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("object");
        fs::write(&path, vec![7; 3000]).unwrap();
        for source in [Source::File(path), Source::Directory(directory.path().into())] {
            let mut whole = Vec::new();
            source.write_to(0, &mut whole).unwrap();
            for from in [1, 511, 2999, whole.len()] {
                let mut rest = Vec::new();
                source.write_to(from as u64, &mut rest).unwrap();
                assert_eq!(rest, whole[from..]);
            }
        }
    }
}

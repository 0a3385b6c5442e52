//! What is uploaded: a file, or a directory as an archive.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use assay_core::hash::Hash32;
use assay_core::replica::{Encoder, Header, ReplicaError, ReplicaKey};

use crate::archive;
use crate::error::BuilderError;

/// Where an object's bytes come from. It must not change between the passes; a change is noticed.
#[derive(Clone, Debug)]
pub enum Source {
    /// The bytes of one file.
    File(PathBuf),
    /// A directory, packed by [`archive::pack`].
    Directory(PathBuf),
}

impl Source {
    fn write_to(&self, out: &mut dyn Write) -> Result<(), BuilderError> {
        match self {
            Self::Directory(path) => archive::pack(path, out),
            Self::File(path) => {
                let mut file = File::open(path).map_err(BuilderError::file(path))?;
                io::copy(&mut file, out).map_err(BuilderError::file(path))?;
                Ok(())
            }
        }
    }

    /// Pass 1: the object's id and length. Blocks.
    pub fn identify(&self, replica_index: u64) -> Result<Header, BuilderError> {
        let mut counting = Counting::default();
        self.write_to(&mut counting)?;
        Ok(Header { object_length: counting.bytes, object_id: counting.hasher.finalize().into(), replica_index })
    }

    /// Pass 2: the replica's root. Blocks.
    pub fn root(&self, key: &ReplicaKey, header: &Header) -> Result<Hash32, BuilderError> {
        let mut hasher = blake3::Hasher::new();
        self.encode(key, header, &mut |block: &[u8]| {
            hasher.update(block);
        })?;
        Ok(hasher.finalize().into())
    }

    /// Gives every encrypted block in order. Blocks.
    pub fn encode(&self, key: &ReplicaKey, header: &Header, sink: &mut impl FnMut(&[u8])) -> Result<(), BuilderError> {
        let mut encoding = Encoding { encoder: Encoder::new(key.clone(), header), sink, failed: None };
        let written = self.write_to(&mut encoding);
        if let Some(error) = encoding.failed {
            return Err(error.into());
        }
        written?;
        Ok(encoding.encoder.finish(encoding.sink)?)
    }
}

#[derive(Default)]
struct Counting {
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Encoding<'a, S> {
    encoder: Encoder,
    sink: &'a mut S,
    failed: Option<ReplicaError>,
}

impl<S: FnMut(&[u8])> Write for Encoding<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.encoder.update(bytes, self.sink) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other(error))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

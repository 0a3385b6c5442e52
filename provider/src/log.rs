//! Every signed version of the claim set, in order, one file each: `claim-sets/<sequence>.set`. Everything here blocks.
//!
//! This is the truth about what was signed; the index follows it. A version is written here, whole and durable, before its signature
//! leaves, so that no loss of the index makes us sign a second version under the same number.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use assay_core::claim::{ClaimDomain, SignedClaimSet};
use assay_core::compact::TagKey;
use assay_core::hash::Hash32;
use assay_core::secp::{self, Signature65};
use assay_daemon::persistence::point;
use assay_proto::convert;
use assay_proto::provider::v1 as wire;
use prost::Message;

use crate::error::StoreError;
use crate::files::{sync_directory, write_whole};
use crate::index::OwnedClaim;
use crate::replica::present;

/// A version and what it changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The version.
    pub set: SignedClaimSet,
    /// What it changed.
    pub change: Change,
}

/// What a version changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It holds one claim more.
    Added {
        /// The claim.
        owned: OwnedClaim,
        /// The key that it names.
        tag_key: Option<TagKey>,
    },
    /// It holds one claim less.
    Released {
        /// The claim.
        owned: OwnedClaim,
        /// By its owner (`assay.release.v1`).
        signature: Signature65,
        /// When, unix seconds.
        at_s: i64,
    },
}

/// The file: BLAKE3 of what follows, then this.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(message, optional, tag = "1")]
    set: Option<wire::SignedClaimSet>,
    #[prost(message, optional, tag = "2")]
    added: Option<wire::SignedClaim>,
    #[prost(bytes = "vec", tag = "3")]
    tag_key: Vec<u8>,
    #[prost(message, optional, tag = "4")]
    released: Option<wire::Release>,
    #[prost(int64, tag = "5")]
    released_at: i64,
}

/// The directory.
#[derive(Clone, Debug)]
pub struct Log {
    directory: PathBuf,
}

impl Log {
    /// Opens, and creates where needed.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let directory = data_dir.join("claim-sets");
        fs::create_dir_all(&directory)?;
        sync_directory(data_dir)?;
        Ok(Self { directory })
    }

    fn path(&self, sequence: u64) -> PathBuf {
        self.directory.join(format!("{sequence:020}.set"))
    }

    /// Writes a version down. Refuses another one under a number that is taken.
    pub fn append(&self, entry: &Entry) -> Result<(), StoreError> {
        if let Some(there) = self.read(entry.set.sequence)? {
            return match there == *entry {
                true => Ok(()),
                false => Err(StoreError::SequenceTaken(entry.set.sequence)),
            };
        }
        let bytes = Record::from(entry).encode_to_vec();
        point("claim-set.before");
        write_whole(&self.path(entry.set.sequence), &[blake3::hash(&bytes).as_bytes(), &bytes])?;
        point("claim-set.after");
        Ok(())
    }

    /// A version; `None` behind the last.
    pub fn read(&self, sequence: u64) -> Result<Option<Entry>, StoreError> {
        let path = self.path(sequence);
        let Some(bytes) = present(fs::read(&path))? else { return Ok(None) };
        let damaged = || StoreError::LogDamaged(path.clone());
        let (sum, rest) = bytes.split_first_chunk::<32>().ok_or_else(damaged)?;
        if blake3::hash(rest) != *sum {
            return Err(damaged());
        }
        let record = Record::decode(rest).map_err(|_| damaged())?;
        let entry = record.parse().ok().filter(|entry| entry.set.sequence == sequence).ok_or_else(damaged)?;
        Ok(Some(entry))
    }

    /// The highest number that is taken; 0 for none. Also of a file that does not read.
    pub fn last(&self) -> io::Result<u64> {
        let mut last = 0;
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".set")).and_then(|number| number.parse().ok());
            last = last.max(number.unwrap_or(0));
        }
        Ok(last)
    }
}

impl Entry {
    /// Refuses what was signed for another provider, chain or registry.
    pub fn expect_domain(&self, domain: &ClaimDomain) -> Result<(), StoreError> {
        let (Change::Added { owned, .. } | Change::Released { owned, .. }) = &self.change;
        match secp::recover(&domain.claim_digest(&owned.claim.hash()), &owned.signature) == Ok(owned.claim.owner) {
            true => Ok(()),
            false => Err(StoreError::OtherLog(self.set.sequence)),
        }
    }
}

impl From<&Entry> for Record {
    fn from(entry: &Entry) -> Self {
        let set = Some((&entry.set).into());
        match &entry.change {
            Change::Added { owned, tag_key } => Self {
                set,
                added: Some(wire::SignedClaim::new(&owned.claim, &owned.signature)),
                tag_key: tag_key.as_ref().map(|key| key.to_bytes().to_vec()).unwrap_or_default(),
                ..Self::default()
            },
            Change::Released { owned, signature, at_s } => Self {
                set,
                released: Some(wire::Release {
                    claim: Some(wire::SignedClaim::new(&owned.claim, &owned.signature)),
                    signature: convert::wire_bytes(&signature.0),
                    sequence: entry.set.sequence,
                }),
                released_at: *at_s,
                ..Self::default()
            },
        }
    }
}

impl Record {
    fn parse(self) -> Result<Entry, convert::ConvertError> {
        let set = self.set.ok_or(convert::absent("set"))?.try_into()?;
        let change = match (self.added, self.released) {
            (Some(added), None) => {
                let (claim, signature) = added.parse()?;
                let tag_key = match claim.tag_key_id == Hash32::ZERO {
                    true => None,
                    false => Some(convert::tag_key(&self.tag_key)?),
                };
                Change::Added { owned: OwnedClaim { claim, signature }, tag_key }
            }
            (None, Some(release)) => {
                let (claim, signature) = release.claim.ok_or(convert::absent("claim"))?.parse()?;
                let by_owner = convert::signature(&release.signature)?;
                Change::Released { owned: OwnedClaim { claim, signature }, signature: by_owner, at_s: self.released_at }
            }
            _ => return Err(convert::malformed("change")),
        };
        Ok(Entry { set, change })
    }
}

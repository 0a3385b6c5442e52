//! Commits and the seeds they name.

use assay_core::ids::OracleId;
use assay_core::observation::{Commit, Seeds, SignedCommit};

use super::MAX_SLOTS;
use super::fields::{bls, bls_bytes, hash_bytes, hashes};
use crate::convert::{ConvertError, absent, hash, wire_bytes};
use crate::oracle::v1 as wire;

impl TryFrom<wire::Commit> for Commit {
    type Error = ConvertError;

    fn try_from(commit: wire::Commit) -> Result<Self, ConvertError> {
        Ok(Self {
            epoch: commit.epoch,
            oracle: OracleId(commit.oracle_id),
            seeds: hash(&commit.seeds, "seeds")?,
            secure: commit.secure,
            root: hash(&commit.root, "root")?,
            leaf_count: commit.leaf_count,
            log_head: hash(&commit.log_head, "log_head")?,
        })
    }
}

impl From<&Commit> for wire::Commit {
    fn from(commit: &Commit) -> Self {
        Self {
            epoch: commit.epoch,
            oracle_id: commit.oracle.0,
            seeds: wire_bytes(&commit.seeds.0),
            secure: commit.secure,
            root: wire_bytes(&commit.root.0),
            leaf_count: commit.leaf_count,
            log_head: wire_bytes(&commit.log_head.0),
        }
    }
}

impl TryFrom<wire::SignedCommit> for SignedCommit {
    type Error = ConvertError;

    fn try_from(signed: wire::SignedCommit) -> Result<Self, ConvertError> {
        Ok(Self { commit: signed.commit.ok_or(absent("commit"))?.try_into()?, signature: bls(&signed.signature, "commit.signature")? })
    }
}

impl From<&SignedCommit> for wire::SignedCommit {
    fn from(signed: &SignedCommit) -> Self {
        Self { commit: Some((&signed.commit).into()), signature: bls_bytes(&signed.signature) }
    }
}

impl TryFrom<wire::Seeds> for Seeds {
    type Error = ConvertError;

    fn try_from(seeds: wire::Seeds) -> Result<Self, ConvertError> {
        Ok(Self { epoch: hash(&seeds.epoch, "seeds.epoch")?, slots: hashes(&seeds.slots, MAX_SLOTS, "seeds.slots")?, secure: seeds.secure })
    }
}

impl From<&Seeds> for wire::Seeds {
    fn from(seeds: &Seeds) -> Self {
        Self { epoch: wire_bytes(&seeds.epoch.0), slots: hash_bytes(&seeds.slots), secure: seeds.secure }
    }
}

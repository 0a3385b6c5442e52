//! Reports and certificates.

use assay_core::report::{Certificate, Report};

use super::fields::{amount, amount_bytes, bls, bls_bytes};
use crate::convert::{ConvertError, absent, address, hash, wire_bytes};
use crate::oracle::v1 as wire;

impl TryFrom<wire::Report> for Report {
    type Error = ConvertError;

    fn try_from(report: wire::Report) -> Result<Self, ConvertError> {
        Ok(Self {
            chain_id: report.chain_id,
            settlement: address(&report.settlement, "settlement")?,
            set_epoch: report.set_epoch,
            epoch: report.epoch,
            view: report.view,
            parent_digest: hash(&report.parent_digest, "parent_digest")?,
            ref_block: report.ref_block,
            valid_until: report.valid_until,
            drand_round: report.drand_round,
            seed_secure: report.seed_secure,
            params_hash: hash(&report.params_hash, "params_hash")?,
            bit_votes_root: hash(&report.bit_votes_root, "bit_votes_root")?,
            obs_root: hash(&report.obs_root, "obs_root")?,
            result_root: hash(&report.result_root, "result_root")?,
            reward_root: hash(&report.reward_root, "reward_root")?,
            slash_root: hash(&report.slash_root, "slash_root")?,
            reward_total: amount(&report.reward_total, "reward_total")?,
            slash_total: amount(&report.slash_total, "slash_total")?,
            log_heads_root: hash(&report.log_heads_root, "log_heads_root")?,
            data_digest: hash(&report.data_digest, "data_digest")?,
        })
    }
}

impl From<&Report> for wire::Report {
    fn from(report: &Report) -> Self {
        Self {
            chain_id: report.chain_id,
            settlement: wire_bytes(&report.settlement.0),
            set_epoch: report.set_epoch,
            epoch: report.epoch,
            view: report.view,
            parent_digest: wire_bytes(&report.parent_digest.0),
            ref_block: report.ref_block,
            valid_until: report.valid_until,
            drand_round: report.drand_round,
            seed_secure: report.seed_secure,
            params_hash: wire_bytes(&report.params_hash.0),
            bit_votes_root: wire_bytes(&report.bit_votes_root.0),
            obs_root: wire_bytes(&report.obs_root.0),
            result_root: wire_bytes(&report.result_root.0),
            reward_root: wire_bytes(&report.reward_root.0),
            slash_root: wire_bytes(&report.slash_root.0),
            reward_total: amount_bytes(report.reward_total),
            slash_total: amount_bytes(report.slash_total),
            log_heads_root: wire_bytes(&report.log_heads_root.0),
            data_digest: wire_bytes(&report.data_digest.0),
        }
    }
}

impl TryFrom<wire::Certificate> for Certificate {
    type Error = ConvertError;

    fn try_from(certificate: wire::Certificate) -> Result<Self, ConvertError> {
        Ok(Self {
            report: certificate.report.ok_or(absent("report"))?.try_into()?,
            signers: hash(&certificate.signers, "signers")?.0,
            signature: bls(&certificate.signature, "certificate.signature")?,
        })
    }
}

impl From<&Certificate> for wire::Certificate {
    fn from(certificate: &Certificate) -> Self {
        Self {
            report: Some((&certificate.report).into()),
            signers: wire_bytes(&certificate.signers),
            signature: bls_bytes(&certificate.signature),
        }
    }
}

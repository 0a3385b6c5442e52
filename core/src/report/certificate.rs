//! The committee's signature under a report.

use std::collections::BTreeMap;

use super::{Report, Setting, signing_message};
use crate::bls::{BlsError, Domain, PublicKey, Signature};
use crate::ids::{Instance, OracleId};

/// A report that more than 2/3 of weight signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// The report.
    pub report: Report,
    /// Bit i is member i of the set, least significant first.
    pub signers: [u8; 32],
    /// Sum of the signatures.
    pub signature: Signature,
}

/// Why a certificate does not stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CertificateError {
    /// A bit beyond the committee.
    #[error("the bitmap has a bit that belongs to no member")]
    Stranger,
    /// Not more than 2/3 of weight.
    #[error("signed by {signed} of {total} weight, more than two thirds are needed")]
    SubQuorum {
        /// Weight that signed.
        signed: u64,
        /// Weight of the set.
        total: u64,
    },
    /// For another instance, epoch or set.
    #[error("the report is for another instance, epoch or committee set")]
    Context,
    /// The aggregate does not verify.
    #[error("the aggregate signature is not the signers': {0}")]
    Signature(#[from] BlsError),
}

impl Certificate {
    /// Sums the members' signatures over one report.
    pub fn assemble(setting: &Setting, report: Report, signatures: &BTreeMap<OracleId, Signature>) -> Result<Self, CertificateError> {
        let mut signers = [0u8; 32];
        let mut sum = Vec::new();
        for (index, member) in setting.members.iter().enumerate() {
            if let (Some(signature), Some(byte)) = (signatures.get(&member.oracle), signers.get_mut(index / 8)) {
                *byte |= 1 << (index % 8);
                sum.push(*signature);
            }
        }
        let certificate = Self { report, signers, signature: Signature::aggregate(&sum)? };
        certificate.verify(setting)?;
        Ok(certificate)
    }

    /// The signers' positions in the set.
    pub fn signer_bits(&self) -> impl Iterator<Item = usize> + '_ {
        (0..256).filter(|index| self.signers.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0))
    }

    /// The bitmap as the contract's `uint256`, big-endian.
    pub fn signers_word(&self) -> [u8; 32] {
        let mut word = self.signers;
        word.reverse();
        word
    }

    /// Checks context, bits, weight and the aggregate; returns the signed weight.
    pub fn verify(&self, setting: &Setting) -> Result<u64, CertificateError> {
        let report = &self.report;
        let here = Instance { chain_id: report.chain_id, settlement: report.settlement };
        if here != setting.instance || report.epoch != setting.epoch || report.set_epoch != setting.set_epoch {
            return Err(CertificateError::Context);
        }
        let mut keys = Vec::new();
        let mut signed = 0u64;
        for index in self.signer_bits() {
            let member = setting.members.get(index).ok_or(CertificateError::Stranger)?;
            keys.push(member.key);
            signed = signed.saturating_add(u64::from(member.weight));
        }
        if !setting.is_quorum(signed) {
            return Err(CertificateError::SubQuorum { signed, total: setting.total_weight() });
        }
        let message = signing_message(&setting.instance, report.epoch, report.view, &report.digest());
        PublicKey::aggregate(&keys)?.verify(Domain::Report, &message, &self.signature)?;
        Ok(signed)
    }
}

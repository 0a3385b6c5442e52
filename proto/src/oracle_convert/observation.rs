//! Observations.

use assay_core::ids::{OracleId, ProviderId};
use assay_core::observation::{Observation, SaltedObservation, Witness};

use super::counts;
use super::fields::{bytes_unless_zero, hash_or_zero};
use crate::convert::{ConvertError, hash, malformed, wire_bytes};
use crate::oracle::v1 as wire;

impl TryFrom<wire::Observation> for SaltedObservation {
    type Error = ConvertError;

    fn try_from(wire: wire::Observation) -> Result<Self, ConvertError> {
        let observation = Observation {
            epoch: wire.epoch,
            provider: ProviderId(wire.provider_id),
            oracle: OracleId(wire.oracle_id),
            counts: counts::read(&wire.counts)?.into(),
            witness: Witness::from_parts(wire.witness, hash_or_zero(&wire.witnessed, "witnessed")?).ok_or(malformed("witness"))?,
            struck: hash_or_zero(&wire.struck, "struck")?,
            evidence_root: hash(&wire.evidence_root, "evidence_root")?,
            facts_root: hash_or_zero(&wire.facts_root, "facts_root")?,
        };
        Ok(Self { observation, salt: hash(&wire.salt, "salt")? })
    }
}

impl From<&SaltedObservation> for wire::Observation {
    fn from(salted: &SaltedObservation) -> Self {
        let observation = &salted.observation;
        let (witness, witnessed) = observation.witness.parts();
        Self {
            epoch: observation.epoch,
            provider_id: observation.provider.0,
            oracle_id: observation.oracle.0,
            counts: counts::write(&observation.counts.to_vec()),
            witness: u32::from(witness),
            witnessed: bytes_unless_zero(&witnessed),
            struck: bytes_unless_zero(&observation.struck),
            evidence_root: wire_bytes(&observation.evidence_root.0),
            facts_root: bytes_unless_zero(&observation.facts_root),
            salt: wire_bytes(&salted.salt.0),
        }
    }
}

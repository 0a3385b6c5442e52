//! Proofs that members broke the protocol, checked against the committee of the epoch. Pure.

use assay_core::report::Setting;
use assay_proto::oracle_convert::Message;
use assay_proto::rest::ProofRef;

/// Whether these bytes prove what the list says of them.
pub fn check(setting: &Setting, listed: &ProofRef, bytes: &[u8]) -> Result<(), String> {
    let proof = match Message::decode(bytes) {
        Ok(Message::Misbehaviour(proof)) => proof,
        Ok(other) => return Err(format!("a {}, no proof", other.name())),
        Err(error) => return Err(error.to_string()),
    };
    if (proof.oracle(), proof.offence(), proof.epoch()) != (listed.oracle, listed.offence, setting.epoch) {
        return Err(format!("a proof of {} by oracle {} in epoch {}", proof.offence(), proof.oracle(), proof.epoch()));
    }
    proof.verify(setting).map_err(|error| error.to_string())
}

//! What a node finds out about another is proven, and never said of an honest one.

use assay_core::epoch::Misbehaviour;
use assay_core::report::Setting;

use super::Judge;

pub const ONLY_LIARS: &str = "no honest node is proven to have misbehaved";
pub const PROVEN: &str = "a proof of misbehaviour holds for everybody";

impl Judge {
    /// A node found a proof. Checked once for each member, offence and epoch.
    pub fn proven(&mut self, proof: &Misbehaviour, setting: &Setting, at_ms: u64) {
        let (oracle, offence, epoch) = (proof.oracle(), proof.offence(), proof.epoch());
        if !self.liars.contains(&oracle) {
            self.fail(ONLY_LIARS, at_ms, format!("{oracle}: {offence} in {epoch}"));
        }
        if self.proofs.insert((oracle, offence, epoch))
            && let Err(error) = proof.verify(setting)
        {
            self.fail(PROVEN, at_ms, format!("{oracle}: {offence} in {epoch}: {error}"));
        }
    }
}

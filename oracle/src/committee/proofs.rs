//! Proofs that a member broke the protocol: kept, and passed on.

use std::collections::BTreeSet;

use assay_core::epoch::{Misbehaviour, Offence};
use assay_core::ids::OracleId;
use assay_proto::oracle_convert::Message;
use tracing::{error, warn};

use super::Actor;
use crate::peers::{DeliverOutcome, Refusal};
use crate::store::StoredProof;

impl Actor {
    /// What is proven of whom by the proofs that are stored.
    pub(super) async fn proven(&self, epoch: u64) -> BTreeSet<(OracleId, Offence)> {
        let proofs = self.store.proofs(epoch).await.inspect_err(|error| error!(%error, epoch, "proofs of misbehaviour cannot be read"));
        proofs.unwrap_or_default().into_iter().map(|held| (held.oracle, held.offence)).collect()
    }

    fn is_proven(&self, epoch: u64, oracle: OracleId, offence: Offence) -> bool {
        self.running.get(&epoch).is_some_and(|running| running.proven.contains(&(oracle, offence)))
    }

    /// A proof that a peer found. What is proven already is not checked again: a proof may cost as much as a reveal.
    pub(super) async fn accuse(&mut self, epoch: u64, proof: Misbehaviour) -> DeliverOutcome {
        if self.is_proven(epoch, proof.oracle(), proof.offence()) {
            return DeliverOutcome::Known;
        }
        let Some(running) = self.running.get(&epoch) else { return DeliverOutcome::Later };
        if let Err(error) = proof.verify(&running.frame.setting) {
            return DeliverOutcome::Refused(Refusal::invalid(error.to_string()));
        }
        match self.keep_proof(epoch, proof).await {
            true => DeliverOutcome::Accepted,
            false => DeliverOutcome::Refused(Refusal::later("it cannot be stored here now")),
        }
    }

    /// Keeps what a refused reveal proves of its author, if anything.
    pub(super) async fn false_observation(&mut self, epoch: u64, message: &Message) {
        let Message::Reveal(reveal) = message else { return };
        if self.is_proven(epoch, reveal.oracle, Offence::FalseObservation) {
            return;
        }
        if let Some(proof) = self.running.get(&epoch).and_then(|running| running.close.false_observation(reveal)) {
            self.keep_proof(epoch, proof).await;
        }
    }

    /// Stores a proof that stands and passes it on, once; `false` when it could not be stored.
    pub(super) async fn keep_proof(&mut self, epoch: u64, proof: Misbehaviour) -> bool {
        let (oracle, offence) = (proof.oracle(), proof.offence());
        if self.is_proven(epoch, oracle, offence) {
            return true;
        }
        let message = Message::Misbehaviour(Box::new(proof));
        let held = StoredProof { epoch, oracle, offence, proof: message.encode().to_vec() };
        if let Err(error) = self.store.put_proof(&held).await {
            error!(%error, epoch, %oracle, %offence, "a proof of misbehaviour could not be stored");
            return false;
        }
        warn!(epoch, %oracle, %offence, "a member broke the protocol; the proof is kept and passed on");
        if let Some(running) = self.running.get_mut(&epoch) {
            running.proven.insert((oracle, offence));
        }
        self.broadcast(epoch, &message);
        true
    }
}

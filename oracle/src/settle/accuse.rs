//! Proofs that a member signed twice, brought to the court that slashes it.
//!
//! Anyone may accuse and is paid, so that every node can: one after the other, each after a look whether it is done.

use std::collections::{BTreeMap, BTreeSet};

use assay_chain::{BlockTag, EquivocationCourt, calls};
use assay_core::epoch::{Misbehaviour, Offence};
use assay_core::ids::{Address, OracleId};
use assay_proto::oracle_convert::Message;
use tracing::{info, warn};

use super::{SettleError, Settler, stage_of};
use crate::clock::now_ms;

/// Proofs are looked for so far back after a start: a restart does not forget one.
const LOOK_BACK: u64 = 64;

type Place = (u64, OracleId, Offence);

/// What this node knows and the court may not.
pub(super) struct Accuser {
    address: Address,
    court: Option<EquivocationCourt>,
    /// With the time from which on it waits for this node's turn.
    open: BTreeMap<Place, (Misbehaviour, u64)>,
    /// Punished for good, or nothing that the court takes.
    closed: BTreeSet<Place>,
    /// Every epoch before this one was read when it was over.
    read_to: Option<u64>,
}

impl Accuser {
    pub(super) fn new(address: Address) -> Self {
        Self { address, court: None, open: BTreeMap::new(), closed: BTreeSet::new(), read_to: None }
    }
}

impl Settler {
    /// Brings every stored proof to the court, but those against this node itself.
    pub(super) async fn accuse(&self, accuser: &mut Accuser) -> Result<(), SettleError> {
        let Some(now) = self.frames.epoch_at(now_ms()) else { return Ok(()) };
        self.collect(accuser, now).await?;
        if accuser.open.is_empty() {
            return Ok(());
        }
        let court = match &accuser.court {
            Some(court) => court.clone(),
            None => EquivocationCourt::connect(self.client.rpc(), &accuser.address).await?,
        };
        accuser.court = Some(court.clone());
        let mut punished = Vec::new();
        for (place, (proof, since_ms)) in &accuser.open {
            let (epoch, oracle, offence) = *place;
            if court.is_punished(oracle, epoch, offence, BlockTag::Finalized).await? {
                info!(epoch, %oracle, %offence, "punished");
                punished.push(*place);
            } else if !court.is_punished(oracle, epoch, offence, BlockTag::Latest).await? {
                self.send_accusation(&accuser.address, proof, *since_ms).await?;
            }
        }
        for place in punished {
            accuser.open.remove(&place);
            accuser.closed.insert(place);
        }
        Ok(())
    }

    /// Reads the proofs of epochs that may still get one.
    async fn collect(&self, accuser: &mut Accuser, now: u64) -> Result<(), SettleError> {
        for epoch in accuser.read_to.unwrap_or_else(|| now.saturating_sub(LOOK_BACK))..=now {
            for stored in self.store.proofs(epoch).await? {
                let place = (epoch, stored.oracle, stored.offence);
                if accuser.closed.contains(&place) || accuser.open.contains_key(&place) {
                    continue;
                }
                match Message::decode(&stored.proof) {
                    Ok(Message::Misbehaviour(proof)) if stored.oracle != self.me && stored.offence != Offence::FalseObservation => {
                        accuser.open.insert(place, (*proof, now_ms()));
                    }
                    Ok(_) => {
                        accuser.closed.insert(place);
                    }
                    Err(error) => {
                        warn!(%error, epoch, oracle = %stored.oracle, "a stored proof of misbehaviour does not parse");
                        accuser.closed.insert(place);
                    }
                }
            }
        }
        // A report may be accepted, and so a proof be found, for as long as this.
        let settled = now.saturating_sub(self.frames.params().valid_epochs.saturating_add(1));
        accuser.read_to = Some(settled);
        let oldest = settled.saturating_sub(LOOK_BACK);
        accuser.closed.retain(|(epoch, ..)| *epoch >= oldest);
        Ok(())
    }

    /// Whether so much time has passed since `since_ms` (unix) that it is this node's turn among these members to send what any of them may:
    /// one, two, four and so on at a time, beginning with another one in each epoch.
    pub(super) fn is_my_turn(&self, epoch: u64, members: impl ExactSizeIterator<Item = OracleId>, since_ms: u64) -> bool {
        let count = members.len();
        let place = members.into_iter().position(|member| member == self.me);
        now_ms() >= since_ms.saturating_add(turn_of(place, count, epoch).saturating_mul(self.frames.params().transmit_stage_ms))
    }

    /// Enqueues an accusation when it is this node's turn.
    async fn send_accusation(&self, court: &Address, proof: &Misbehaviour, since_ms: u64) -> Result<(), SettleError> {
        let (epoch, oracle, offence) = (proof.epoch(), proof.oracle(), proof.offence());
        // Any set will do in which the member has the key that it signed with: a statement names its author and its epoch.
        let set = self.client.registry_at(self.client.finalized().await?.number).await?;
        let Some(member) = set.members.iter().position(|member| member.oracle == oracle) else {
            warn!(epoch, %oracle, "left the committee: its accusation is left to whoever looks its old set up");
            return Ok(());
        };
        if !self.is_my_turn(epoch, set.members.iter().map(|member| member.oracle), since_ms) {
            return Ok(());
        }
        match calls::punish(set.set_epoch, member, proof) {
            Ok(Some(calldata)) => {
                let intent = format!("accuse/{epoch}/{oracle}/{offence}");
                if self.outbox.status(&intent).await?.is_none() {
                    info!(epoch, %oracle, %offence, "accusing");
                }
                self.outbox.enqueue(&intent, *court, calldata).await?;
            }
            Ok(None) => {}
            Err(error) => warn!(%error, epoch, %oracle, "the signatures of a proof do not add up"),
        }
        Ok(())
    }
}

/// The stage in which a member acts, by its place among so many; a stranger comes after all of them.
fn turn_of(place: Option<usize>, count: usize, epoch: u64) -> u64 {
    let shift = usize::try_from(epoch).unwrap_or(0);
    stage_of(place.map_or(count, |place| place.wrapping_add(shift) % count.max(1)))
}

#[cfg(test)]
mod tests {
    use super::turn_of;

    // Defence: members take turns. With one stage for all, every node pays for what one of them does.
    #[test]
    fn one_member_is_first_in_each_epoch_and_another_one_in_the_next() {
        let turns = |epoch| (0..4).map(|place| turn_of(Some(place), 4, epoch)).collect::<Vec<_>>();
        assert_eq!((turns(0), turns(1)), (vec![0, 1, 1, 2], vec![1, 1, 2, 0]));
        assert_eq!(turn_of(None, 4, 0), 2, "a stranger");
    }
}

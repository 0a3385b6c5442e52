//! Proofs that a member signed twice, brought to the court that slashes it.
//!
//! Anyone may accuse and is paid, so that every node can: one after the other, each after a look whether it is done.

use std::collections::{BTreeMap, BTreeSet};

use assay_chain::{BlockTag, EquivocationCourt, calls};
use assay_core::epoch::{Misbehaviour, Offence};
use assay_core::ids::{Address, OracleId};
use assay_proto::oracle_convert::Message;
use tracing::{info, warn};

use super::{SettleError, Settler};
use crate::clock::now_ms;

/// Proofs are looked for so far back after a start: a restart does not forget one.
const LOOK_BACK: u64 = 64;
/// Who signed twice and left since is looked for in so many committee sets, the newest first.
const MAX_SETS: u64 = 64;

type Place = (u64, OracleId, Offence);

/// What this node knows and the court may not.
pub(super) struct Accuser {
    address: Address,
    court: Option<EquivocationCourt>,
    open: BTreeMap<Place, Case>,
    /// Punished for good, or nothing that the court takes.
    closed: BTreeSet<Place>,
    /// Every epoch before this one was read when it was over.
    read_to: Option<u64>,
}

/// A proof on its way to the court.
struct Case {
    proof: Misbehaviour,
    /// What proves it there, once it was looked up.
    calldata: Option<Vec<u8>>,
    /// When it is to be looked at again.
    next_ms: u64,
}

impl Accuser {
    pub(super) fn new(address: Address) -> Self {
        Self { address, court: None, open: BTreeMap::new(), closed: BTreeSet::new(), read_to: None }
    }
}

impl Settler {
    /// Brings every stored proof to the court, but those against this node itself. One that fails keeps no other from it.
    pub(super) async fn accuse(&self, accuser: &mut Accuser) -> Result<(), SettleError> {
        let Some(now) = self.frames.epoch_at(now_ms()) else { return Ok(()) };
        self.collect(accuser, now).await?;
        let now_ms = now_ms();
        let due: Vec<Place> = accuser.open.iter().filter(|(_, case)| case.next_ms <= now_ms).map(|(place, _)| *place).collect();
        if due.is_empty() {
            return Ok(());
        }
        let court = match &accuser.court {
            Some(court) => court.clone(),
            None => EquivocationCourt::connect(self.client.rpc(), &accuser.address).await?,
        };
        accuser.court = Some(court.clone());
        let mut failed = Ok(());
        for place in due {
            let Some(case) = accuser.open.get_mut(&place) else { continue };
            case.next_ms = now_ms.saturating_add(self.frames.params().transmit_stage_ms);
            match self.press(&court, &accuser.address, place, case).await {
                Ok(Progress::Open) => {}
                Ok(Progress::Closed) => {
                    accuser.open.remove(&place);
                    accuser.closed.insert(place);
                }
                Err(error) => failed = Err(error),
            }
        }
        failed
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
                        accuser.open.insert(place, Case { proof: *proof, calldata: None, next_ms: 0 });
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

    /// Does what is due in one case.
    async fn press(&self, court: &EquivocationCourt, address: &Address, place: Place, case: &mut Case) -> Result<Progress, SettleError> {
        let (epoch, oracle, offence) = place;
        if court.is_punished(oracle, epoch, offence, BlockTag::Finalized).await? {
            info!(epoch, %oracle, %offence, "punished");
            return Ok(Progress::Closed);
        }
        if court.is_punished(oracle, epoch, offence, BlockTag::Latest).await? {
            return Ok(Progress::Open);
        }
        let Some(calldata) = &case.calldata else { return self.prepare(place, case).await };
        self.send(&format!("accuse/{epoch}/{oracle}/{offence}"), address, calldata.clone()).await?;
        Ok(Progress::Open)
    }

    /// Looks up what proves a case, and lets those whose turn is before this node's go first.
    async fn prepare(&self, (epoch, oracle, offence): Place, case: &mut Case) -> Result<Progress, SettleError> {
        let Some((set_epoch, members, member)) = self.set_with_key_of(&case.proof).await? else {
            warn!(epoch, %oracle, %offence, "no accusation: the key that signed twice is in none of the last {MAX_SETS} committee sets");
            return Ok(Progress::Closed);
        };
        case.calldata = match calls::punish(set_epoch, member, &case.proof) {
            Ok(Some(calldata)) => Some(calldata),
            Ok(None) => return Ok(Progress::Closed),
            Err(error) => {
                warn!(%error, epoch, %oracle, %offence, "no accusation: the signatures of the proof do not add up");
                return Ok(Progress::Closed);
            }
        };
        case.next_ms = now_ms().saturating_add(self.turn_ms(epoch, &members));
        Ok(Progress::Open)
    }

    /// The newest committee set that has the key of a proof: its number, its members, and the author's place. An author that left, or has
    /// another key by now, is in an older one. Any such set will do: a statement names its author and its epoch.
    async fn set_with_key_of(&self, proof: &Misbehaviour) -> Result<Option<(u64, Vec<OracleId>, usize)>, SettleError> {
        let instance = self.frames.instance();
        let newest = self.client.current_set().await?;
        let oldest = newest.saturating_sub(MAX_SETS).saturating_add(1);
        let mut refuted = None;
        for set_epoch in (oldest..=newest).rev() {
            let set = self.client.set_keys(set_epoch).await?;
            let Some((place, key)) = set.iter().enumerate().find_map(|(at, (id, key))| (*id == proof.oracle()).then_some((at, *key)))
            else {
                continue;
            };
            if refuted != Some(key) && proof.is_signed_with(&key, &instance) {
                return Ok(Some((set_epoch, set.iter().map(|(id, _)| *id).collect(), place)));
            }
            refuted = Some(key);
        }
        Ok(None)
    }
}

enum Progress {
    Open,
    /// Punished for good, or never to be.
    Closed,
}

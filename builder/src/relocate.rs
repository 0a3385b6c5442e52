//! Moves a replica from one provider to another. The old one is released only when the new one is proved.

use std::fs;
use std::path::{Path, PathBuf};

use assay_core::claim::{Claim, ClaimDomain};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::client::{Client, Wanted};
use crate::durable::{self, Lock};
use crate::error::BuilderError;
use crate::keys::Keys;
use crate::prepare::{Order, Prepared, prepare};
use crate::progress::Line;
use crate::register::Registry;
use crate::release::{self, Released, release};
use crate::restore::{Target, restore};
use crate::source::Source;
use crate::upload::{Uploaded, upload};
use crate::verify::{Verified, verify};

const VERSION: u32 = 1;

/// What is to be moved. Both clients must be connected with the right provider.
pub struct Move<'a> {
    /// The keys of the owner.
    pub keys: &'a Keys,
    /// The object.
    pub object: Hash32,
    /// Which replica; it keeps its number.
    pub replica: u64,
    /// The object's bytes at hand; without them they are restored from the old provider.
    pub source: Option<Source>,
    /// Whether the new claim has tags.
    pub tags: bool,
    /// Where the state and, for as long as it takes, the object's plain bytes are kept.
    pub work: PathBuf,
    /// Where both claim sets are published; without it nothing is.
    pub registry: Option<&'a Registry>,
    /// Random places that the new provider must show.
    pub samples: u64,
}

/// Steps that are done for good. The proof is none of them: it is made anew right before every release.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// The state is written, with the claim to be given up.
    Begun,
    /// The new provider signed a set with the claim, which is published if there is a chain.
    Stored,
    /// The old claim is given up, and the set without it is published if there is a chain.
    Released,
}

/// `move.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct State {
    version: u32,
    chain_id: u64,
    provider_registry: Address,
    from: ProviderId,
    to: ProviderId,
    /// At the old provider.
    old: Claim,
    /// At the new provider.
    new: Option<Claim>,
    done: Step,
}

/// What became of a move.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The claim at the old provider.
    pub old: Claim,
    /// The claim at the new provider.
    pub new: Claim,
    /// The new provider's proof; `None` when the move had been finished before.
    pub proof: Option<Verified>,
    /// Unix seconds until which the old provider keeps its data; `None` when it had been released before.
    pub kept_until: Option<u64>,
}

/// Moves. Killed at any point, a repeat finishes. `tell` hears what begins.
pub async fn relocate(order: &Move<'_>, from: &mut Client, to: &mut Client, tell: &mut dyn FnMut(&str)) -> Result<Moved, BuilderError> {
    if from.domain == to.domain {
        return Err(BuilderError::SameProvider(to.domain.provider));
    }
    let ClaimDomain { chain_id, provider_registry: registry, .. } = from.domain;
    if (to.domain.chain_id, to.domain.provider_registry) != (chain_id, registry) {
        return Err(BuilderError::OtherRegistry { chain_id, registry });
    }
    let _lock = Lock::take(&order.work)?;
    let mut journal = Journal::open(order, from, to).await?;
    if journal.state.done == Step::Released {
        let new = journal.state.new.clone().ok_or_else(|| journal.damaged("it names no new claim"))?;
        order.clear()?;
        return Ok(Moved { old: journal.state.old, new, proof: None, kept_until: None });
    }
    let uploaded = order.store(&mut journal, from, to, tell).await?;
    let proof = order.prove(to, &uploaded.claim, tell).await?;
    let released = order.give_up(&journal.state.old, from, tell).await?;
    journal.reached(Step::Released)?;
    order.clear()?;
    Ok(Moved { old: released.claim, new: uploaded.claim, proof: Some(proof), kept_until: released.kept_until })
}

impl Move<'_> {
    fn wanted(&self) -> Wanted {
        Wanted { object: self.object, replica: self.replica, owner: Some(self.keys.signer.address()) }
    }

    /// Stores and publishes at the new provider, however far an earlier attempt came.
    async fn store(
        &self,
        journal: &mut Journal,
        from: &mut Client,
        to: &mut Client,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Uploaded, BuilderError> {
        let source = match &self.source {
            Some(source) => source.clone(),
            None => self.fetched(&journal.state.old, from, tell).await?,
        };
        tell("encrypting for the new provider");
        let prepared = self.prepared(source, &to.domain).await?;
        if prepared.claim().object_id != self.object {
            return Err(BuilderError::OtherSource { expected: self.object, found: prepared.claim().object_id });
        }
        tell("storing at the new provider");
        let uploaded = upload(to, self.keys, &prepared, &mut Line::new()).await?;
        if let Some(registry) = self.registry {
            tell("publishing the new provider's claims");
            registry.publish(to, &uploaded.set).await?;
        }
        journal.state.new = Some(uploaded.claim.clone());
        journal.reached(Step::Stored)?;
        Ok(uploaded)
    }

    /// The object's bytes from the old provider, whole and checked.
    async fn fetched(&self, old: &Claim, from: &mut Client, tell: &mut dyn FnMut(&str)) -> Result<Source, BuilderError> {
        let path = self.work.join("object");
        if !path.exists() {
            tell("fetching from the old provider");
            // What an earlier attempt left is of no use.
            let part = self.work.join("part");
            durable::remove_dir(&part)?;
            durable::private_dir(&part)?;
            let target = Target::File(part.join("object"));
            restore(from, &self.keys.secret, old, &target, &mut Line::new()).await?;
            fs::rename(target.path(), &path).map_err(BuilderError::file(&path))?;
            durable::sync_parent(&path)?;
        }
        Ok(Source::File(path))
    }

    async fn prepared(&self, source: Source, domain: &ClaimDomain) -> Result<Prepared, BuilderError> {
        let order = Order { source, replica_index: self.replica, domain: *domain, tags: self.tags };
        let (directory, keys) = (self.work.join("prepared"), self.keys.clone());
        spawn_blocking(move || prepare(&directory, &keys, &order, &mut Line::new())).await?
    }

    /// The new provider must hold every place asked for, in a set that it signed. Nothing is released otherwise.
    async fn prove(&self, to: &mut Client, claim: &Claim, tell: &mut dyn FnMut(&str)) -> Result<Verified, BuilderError> {
        tell("checking the new provider");
        let newest = to.claim_set(0).await?;
        if newest.is_none_or(|(_, set)| set.index_of(&claim.hash()).is_none()) {
            return Err(BuilderError::Untrusted("the committed claim is not in it"));
        }
        let proof = verify(to, claim, self.samples).await?;
        match proof.is_clean() {
            true => Ok(proof),
            false => Err(BuilderError::NotHeld(proof.words())),
        }
    }

    async fn give_up(&self, old: &Claim, from: &mut Client, tell: &mut dyn FnMut(&str)) -> Result<Released, BuilderError> {
        tell("releasing the old provider");
        let released = release(from, &self.keys.signer, old).await?;
        if let Some(registry) = self.registry {
            tell("publishing the old provider's claims");
            registry.publish(from, &released.set).await?;
        }
        Ok(released)
    }

    /// Removes the plain bytes and the prepared directory. The journal stays, so that a repeat knows that all is done.
    fn clear(&self) -> Result<(), BuilderError> {
        durable::remove(&self.work.join("object"))?;
        durable::remove_dir(&self.work.join("part"))?;
        durable::remove_dir(&self.work.join("prepared"))
    }
}

struct Journal {
    path: PathBuf,
    state: State,
}

impl Journal {
    /// Goes on with the move that was begun in this directory, or begins it.
    async fn open(order: &Move<'_>, from: &mut Client, to: &Client) -> Result<Self, BuilderError> {
        let path = order.work.join("move.json");
        if path.exists() {
            let journal = Self { state: read(&path)?, path: path.clone() };
            if !journal.is_of(order, &from.domain, &to.domain) {
                return Err(BuilderError::OtherMove(order.work.clone()));
            }
            // A replica that was moved away and back may be moved away again.
            let is_back = journal.state.done == Step::Released && from.find(&order.wanted()).await.is_ok();
            if !is_back {
                return Ok(journal);
            }
        }
        let old = release::find(from, &order.wanted()).await?;
        let ClaimDomain { chain_id, provider_registry, provider } = from.domain;
        let to = to.domain.provider;
        let state = State { version: VERSION, chain_id, provider_registry, from: provider, to, old, new: None, done: Step::Begun };
        let journal = Self { path, state };
        journal.write()?;
        Ok(journal)
    }

    fn is_of(&self, order: &Move<'_>, from: &ClaimDomain, to: &ClaimDomain) -> bool {
        let State { chain_id, provider_registry, from: old, to: new, .. } = self.state;
        let domain = |provider| ClaimDomain { chain_id, provider_registry, provider };
        let claim = &self.state.old;
        let same_claim = (claim.object_id, claim.replica_index, claim.owner) == (order.object, order.replica, order.keys.signer.address());
        same_claim && domain(old) == *from && domain(new) == *to
    }

    fn reached(&mut self, step: Step) -> Result<(), BuilderError> {
        self.state.done = self.state.done.max(step);
        self.write()
    }

    fn write(&self) -> Result<(), BuilderError> {
        let text = serde_json::to_string_pretty(&self.state).map_err(|error| self.damaged(&error.to_string()))?;
        durable::write(&self.path, |out| writeln!(out, "{text}").map_err(BuilderError::file(&self.path)))
    }

    fn damaged(&self, problem: &str) -> BuilderError {
        BuilderError::Journal { path: self.path.clone(), problem: problem.to_owned() }
    }
}

fn read(path: &Path) -> Result<State, BuilderError> {
    let refused = |problem: String| BuilderError::Journal { path: path.to_owned(), problem };
    let bytes = fs::read(path).map_err(BuilderError::file(path))?;
    let state: State = serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
    match state.version {
        VERSION => Ok(state),
        other => Err(refused(format!("its version is {other}, only {VERSION} is read"))),
    }
}

/// Where `move` keeps its state when no directory is named: one place for every move, beside the keys.
pub fn work_directory(keys: &Path, object: &Hash32, replica: u64, from: ProviderId, to: ProviderId) -> PathBuf {
    keys.join("moves").join(format!("{}-{replica}-{}-to-{}", hex::encode(&object.0[..8]), from.0, to.0))
}

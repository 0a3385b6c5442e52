//! Statements as bytes, each decoded and verified once.
//!
//! Decoding and verification are pure functions of the bytes, the frozen epoch and, for a reveal, the commit that it opens. So the
//! n² deliveries of a statement share one result; each delivery is judged anew against what the receiver holds.

use std::collections::BTreeMap;
use std::rc::Rc;

use assay_core::epoch::{Close, Input, verify_bit_vote, verify_commit, verify_signature, verify_wish};
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::observation::{RevealError, VerifiedReveal};
use assay_core::report::Setting;
use assay_proto::oracle_convert::{LogEntry, MAX_MESSAGE_BYTES, Message};
use bytes::Bytes;

/// Handle of a statement on the network.
pub type ParcelId = usize;

/// Why a statement is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Something that it depends on is not held yet.
    NotYet,
    ForGood,
}

pub struct Parcel {
    pub bytes: Bytes,
    /// None when the decoder refuses the bytes.
    pub message: Option<Rc<Message>>,
    /// As it stands in a log.
    pub entry: Bytes,
    pub entry_digest: [u8; 32],
    pub epoch: u64,
    checked: Option<Result<Input, Refusal>>,
    root: Hash32,
}

#[derive(Default)]
pub struct Memo {
    parcels: Vec<Parcel>,
    by_digest: BTreeMap<[u8; 32], ParcelId>,
    /// Commits of which anybody heard, by epoch and oracle.
    commits: BTreeMap<(u64, OracleId), Vec<Hash32>>,
    reveals: BTreeMap<(ParcelId, Hash32), Result<Rc<VerifiedReveal>, Refusal>>,
    oldest: ParcelId,
}

impl Memo {
    /// A statement through the production encoder and back through the decoder.
    pub fn encode(&mut self, message: &Message) -> ParcelId {
        self.bytes(message.encode(), message.epoch())
    }

    /// Any bytes.
    pub fn bytes(&mut self, bytes: Bytes, epoch: u64) -> ParcelId {
        let digest = *blake3::hash(&bytes).as_bytes();
        if let Some(id) = self.by_digest.get(&digest) {
            return *id;
        }
        // The service counts before it decodes.
        let decoded = if bytes.len() <= MAX_MESSAGE_BYTES { Message::decode(&bytes).ok() } else { None };
        let (mut entry, mut root, mut epoch) = (Bytes::new(), Hash32::ZERO, epoch);
        let message = decoded.map(|message| {
            epoch = message.epoch();
            if let Message::Reveal(reveal) = &message {
                root = reveal.root();
            }
            let logged = LogEntry::Received(message);
            entry = logged.encode();
            let LogEntry::Received(message) = logged else { unreachable!() };
            Rc::new(message)
        });
        let entry_digest = *blake3::hash(&entry).as_bytes();
        let id = self.parcels.len();
        self.parcels.push(Parcel { bytes, message, entry, entry_digest, epoch, checked: None, root });
        self.by_digest.insert(digest, id);
        id
    }

    pub fn parcel(&self, id: ParcelId) -> &Parcel {
        &self.parcels[id]
    }

    /// A commit that was signed: reveals are matched with it.
    fn note_commit(&mut self, epoch: u64, oracle: OracleId, digest: Hash32) {
        let known = self.commits.entry((epoch, oracle)).or_default();
        if let Err(at) = known.binary_search(&digest) {
            known.insert(at, digest);
        }
    }

    /// A reveal's verification that its author did already.
    pub fn note_reveal(&mut self, id: ParcelId, verified: &VerifiedReveal) {
        self.reveals.entry((id, verified.commit_digest)).or_insert_with(|| Ok(Rc::new(verified.clone())));
    }

    /// What `committee::verify` says of the statement at this node.
    pub fn verify(&mut self, id: ParcelId, setting: &Setting, close: &Close) -> Result<Input, Refusal> {
        let message = self.parcels[id].message.clone().ok_or(Refusal::ForGood)?;
        if let Message::Reveal(reveal) = &*message {
            return self.open(id, reveal, close);
        }
        if let Some(checked) = &self.parcels[id].checked {
            return checked.clone();
        }
        let checked = self.check(&message, setting, close);
        self.parcels[id].checked = Some(checked.clone());
        checked
    }

    fn check(&mut self, message: &Message, setting: &Setting, close: &Close) -> Result<Input, Refusal> {
        let bad = |_| Refusal::ForGood;
        Ok(match message {
            Message::Commit(signed) => {
                let verified = verify_commit(setting, *signed).map_err(bad)?;
                self.note_commit(setting.epoch, signed.commit.oracle, signed.commit.digest(&setting.instance));
                Input::Commit(verified)
            }
            Message::BitVote(signed) => Input::BitVote(verify_bit_vote(setting, signed.clone()).map_err(bad)?),
            Message::Proposal(proposal) => {
                let verified = close.verify_proposal((**proposal).clone()).map_err(bad)?;
                for signed in &proposal.basis.commits {
                    self.note_commit(setting.epoch, signed.commit.oracle, signed.commit.digest(&setting.instance));
                }
                Input::Proposal(Box::new(verified))
            }
            Message::Signature(signed) => Input::Signature(verify_signature(setting, *signed).map_err(bad)?),
            Message::Wish(wish) => Input::Wish(verify_wish(setting, *wish).map_err(bad)?),
            Message::Certificate(certificate) => {
                certificate.verify(setting).map_err(|_| Refusal::ForGood)?;
                Input::Certificate(certificate.clone())
            }
            Message::Reveal(_) | Message::Misbehaviour(_) => return Err(Refusal::ForGood),
        })
    }

    /// `Close::open`, once for each commit that a holder may match the reveal with.
    fn open(&mut self, id: ParcelId, reveal: &assay_core::observation::Reveal, close: &Close) -> Result<Input, Refusal> {
        let root = self.parcels[id].root;
        let known = self.commits.get(&(reveal.epoch, reveal.oracle)).map_or(&[][..], Vec::as_slice);
        let holds = |digest: &&Hash32| close.commit(reveal.oracle, digest).is_some_and(|signed| signed.commit.root == root);
        let digest = *known.iter().find(holds).ok_or(Refusal::NotYet)?;
        let opened = self.reveals.entry((id, digest)).or_insert_with(|| match close.open(reveal.clone()) {
            Ok(verified) => Ok(Rc::new(verified)),
            Err(RevealError::Mismatch) => Err(Refusal::NotYet),
            Err(_) => Err(Refusal::ForGood),
        });
        opened.clone().map(|verified| Input::Reveal(Box::new((*verified).clone())))
    }

    /// Forgets what earlier epochs said.
    pub fn prune(&mut self, epoch: u64) {
        while let Some(parcel) = self.parcels.get_mut(self.oldest).filter(|parcel| parcel.epoch < epoch) {
            *parcel = Parcel {
                bytes: Bytes::new(),
                message: None,
                entry: Bytes::new(),
                entry_digest: [0; 32],
                epoch: 0,
                checked: None,
                root: Hash32::ZERO,
            };
            self.oldest += 1;
        }
        let oldest = self.oldest;
        self.by_digest.retain(|_, id| *id >= oldest);
        self.commits.retain(|(at, _), _| *at >= epoch);
        self.reveals.retain(|(id, _), _| *id >= oldest);
    }
}

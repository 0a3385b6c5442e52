//! The only place that signs with the verdict key.
//!
//! Whatever could contradict another statement of ours (a commit, a bit-vote, a report signature) is recorded in [`Protection`] before
//! it is signed. Wishes, VRFs and bindings of TLS keys contradict nothing: a wish says no more than its view, a VRF has one value only, and
//! an oracle may have any number of TLS keys.

mod protection;

use std::sync::atomic::{AtomicU64, Ordering};

use assay_core::bls::{Domain, PublicKey, SecretKey, Signature};
use assay_core::challenge::schedule::vrf_message;
use assay_core::epoch::{BitVote, Misbehaviour, ReportSignature, SignedBitVote, Wish, wish_message};
use assay_core::hash::Hash32;
use assay_core::ids::{Instance, OracleId};
use assay_core::observation::{Commit, SignedCommit};
use assay_core::report::signing_message;
use assay_proto::oracle_convert::Message;

use crate::peers::tls::{Binding, VerdictKey};

pub use protection::{ImportSummary, Protection, ProtectionError, StatementKind};

/// Why nothing was signed. Every one of them leaves the record as it was.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// Another digest was signed, or may have been. Signing this one would be slashed; the node must not ask again.
    #[error("refused to sign {asked} as {kind} of epoch {epoch}, view {view}: {recorded} is recorded, and two of them would be slashed")]
    WouldEquivocate {
        /// What was to be signed.
        kind: StatementKind,
        /// Epoch.
        epoch: u64,
        /// View; 0 for commits and bit-votes.
        view: u64,
        /// What is recorded.
        recorded: Hash32,
        /// What was asked for.
        asked: Hash32,
    },
    /// Imported records contradict each other here.
    #[error("refused to sign {asked} as {kind} of epoch {epoch}, view {view}: imported records name different digests for it")]
    Blocked {
        /// What was to be signed.
        kind: StatementKind,
        /// Epoch.
        epoch: u64,
        /// View.
        view: u64,
        /// What was asked for.
        asked: Hash32,
    },
    /// The records of this epoch were pruned.
    #[error("refused to sign for epoch {epoch}: the records through epoch {through} were pruned")]
    Pruned {
        /// The epoch asked for.
        epoch: u64,
        /// The watermark.
        through: u64,
    },
    /// We listen first, or stopped signing: somebody else may sign with our key.
    #[error("refused to sign for epoch {epoch}: it is not known yet whether another node signs with this key")]
    Silent {
        /// The epoch asked for.
        epoch: u64,
    },
    /// The statement is in the name of another oracle.
    #[error("refused to sign in the name of oracle {asked}: this is oracle {here}")]
    NotOurs {
        /// Whose statement it is.
        asked: OracleId,
        /// Who we are.
        here: OracleId,
    },
    /// The record could not be read or written: nothing may be signed.
    #[error(transparent)]
    Protection(#[from] ProtectionError),
}

/// The verdict key and the record of what it signed.
pub struct Signer {
    key: SecretKey,
    public_key: PublicKey,
    oracle: OracleId,
    instance: Instance,
    protection: Protection,
    /// Nothing of an earlier epoch is signed; [`NEVER`] while nothing may be signed at all.
    signs_from: AtomicU64,
}

const NEVER: u64 = u64::MAX;

/// A statement with our name on it, by whoever made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statement {
    /// What is stated.
    pub kind: StatementKind,
    /// Epoch.
    pub epoch: u64,
    /// View; 0 for commits and bit-votes.
    pub view: u64,
    /// Its digest.
    pub digest: Hash32,
    /// Under it.
    signature: Signature,
}

impl Signer {
    /// Joins a key with its record; refused when the record is another key's or another instance's.
    pub fn new(key: SecretKey, oracle: OracleId, instance: Instance, protection: Protection) -> Result<Self, ProtectionError> {
        let public_key = key.public_key();
        protection.check_binding(&public_key, &instance)?;
        Ok(Self { key, public_key, oracle, instance, protection, signs_from: AtomicU64::new(0) })
    }

    /// Signs nothing any more, until [`Self::speak_from`].
    pub fn fall_silent(&self) {
        self.signs_from.store(NEVER, Ordering::SeqCst);
    }

    /// Signs for this epoch and later ones.
    pub fn speak_from(&self, epoch: u64) {
        self.signs_from.store(epoch, Ordering::SeqCst);
    }

    /// Whether we may sign for an epoch.
    pub fn speaks_in(&self, epoch: u64) -> bool {
        epoch >= self.signs_from.load(Ordering::SeqCst)
    }

    /// What a message holds that is stated in our name once and for all. Not verified.
    pub fn statements_in(&self, message: &Message) -> Vec<Statement> {
        let commit = |signed: &SignedCommit| Statement {
            kind: StatementKind::Commit,
            epoch: signed.commit.epoch,
            view: 0,
            digest: signed.commit.digest(&self.instance),
            signature: signed.signature,
        };
        let bit_vote = |signed: &SignedBitVote| Statement {
            kind: StatementKind::BitVote,
            epoch: signed.vote.epoch,
            view: 0,
            digest: signed.vote.digest(&self.instance),
            signature: signed.signature,
        };
        let report = |signed: &ReportSignature| Statement {
            kind: StatementKind::Report,
            epoch: signed.epoch,
            view: signed.view,
            digest: signed.digest,
            signature: signed.signature,
        };
        let is_ours = |oracle: OracleId| oracle == self.oracle;
        let commits = |all: &[SignedCommit]| all.iter().filter(|signed| is_ours(signed.commit.oracle)).map(commit).collect();
        let bit_votes = |all: &[SignedBitVote]| all.iter().filter(|signed| is_ours(signed.vote.oracle)).map(bit_vote).collect();
        let reports = |all: &[ReportSignature]| all.iter().filter(|signed| is_ours(signed.oracle)).map(report).collect();
        match message {
            Message::Commit(signed) => commits(std::slice::from_ref(signed)),
            Message::BitVote(signed) => bit_votes(std::slice::from_ref(signed)),
            Message::Signature(signed) => reports(std::slice::from_ref(signed)),
            Message::Proposal(proposal) => {
                let basis: (Vec<Statement>, Vec<Statement>) = (commits(&proposal.basis.commits), bit_votes(&proposal.basis.bit_votes));
                [basis.0, basis.1].concat()
            }
            Message::Misbehaviour(proof) => match proof.as_ref() {
                Misbehaviour::Commits(both) => commits(both.as_slice()),
                Misbehaviour::BitVotes(both) => bit_votes(both.as_slice()),
                Misbehaviour::Reports(both) => reports(both),
                Misbehaviour::FalseObservation(signed, _) => commits(std::slice::from_ref(signed)),
            },
            Message::Reveal(_) | Message::Wish(_) | Message::Certificate(_) => Vec::new(),
        }
    }

    /// Whether our key made a statement and our record does not know of it: another node signs with the key, or did before this record
    /// was put in its place. A forgery is not foreign: it says nothing.
    pub async fn is_foreign(&self, statement: &Statement) -> Result<bool, ProtectionError> {
        let Statement { kind, epoch, view, ref digest, ref signature } = *statement;
        if self.protection.knows(kind, epoch, view, digest).await? {
            return Ok(false);
        }
        let verified = match kind {
            StatementKind::Commit => self.public_key.verify(Domain::Commit, digest, signature),
            StatementKind::BitVote => self.public_key.verify(Domain::BitVote, digest, signature),
            StatementKind::Report => {
                self.public_key.verify(Domain::Report, &signing_message(&self.instance, epoch, view, digest), signature)
            }
        };
        Ok(verified.is_ok())
    }

    /// The verdict key's public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Who we are.
    pub fn oracle(&self) -> OracleId {
        self.oracle
    }

    /// The instance that every statement is bound to.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The record, for export and pruning.
    pub fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Signs a commit of ours: one per epoch.
    pub async fn sign_commit(&self, commit: Commit) -> Result<SignedCommit, SignerError> {
        self.check_ours(commit.oracle)?;
        self.check_speaks(commit.epoch)?;
        let digest = commit.digest(&self.instance);
        self.protection.check_and_record(StatementKind::Commit, commit.epoch, 0, &digest).await?;
        Ok(SignedCommit { commit, signature: self.key.sign(Domain::Commit, &digest) })
    }

    /// Signs a bit-vote of ours: one per epoch.
    pub async fn sign_bit_vote(&self, vote: BitVote) -> Result<SignedBitVote, SignerError> {
        self.check_ours(vote.oracle)?;
        self.check_speaks(vote.epoch)?;
        let digest = vote.digest(&self.instance);
        self.protection.check_and_record(StatementKind::BitVote, vote.epoch, 0, &digest).await?;
        Ok(SignedBitVote { signature: self.key.sign(Domain::BitVote, &digest), vote })
    }

    /// Signs a report by its digest: one per epoch and view.
    pub async fn sign_report(&self, epoch: u64, view: u64, digest: Hash32) -> Result<ReportSignature, SignerError> {
        self.check_speaks(epoch)?;
        self.protection.check_and_record(StatementKind::Report, epoch, view, &digest).await?;
        let message = signing_message(&self.instance, epoch, view, &digest);
        Ok(ReportSignature { epoch, view, oracle: self.oracle, digest, signature: self.key.sign(Domain::Report, &message) })
    }

    /// Signs the wish to move to a view.
    pub fn sign_wish(&self, epoch: u64, view: u64) -> Wish {
        let message = wish_message(&self.instance, epoch, view, self.oracle);
        Wish { epoch, view, oracle: self.oracle, signature: self.key.sign(Domain::ViewWish, &message) }
    }

    /// The VRF of one slot under its seed.
    pub fn vrf(&self, epoch: u64, slot: u32, seed: &Hash32) -> Signature {
        self.key.sign(Domain::Vrf, &vrf_message(&self.instance, epoch, slot, seed))
    }

    fn check_speaks(&self, epoch: u64) -> Result<(), SignerError> {
        match self.speaks_in(epoch) {
            true => Ok(()),
            false => Err(SignerError::Silent { epoch }),
        }
    }

    fn check_ours(&self, asked: OracleId) -> Result<(), SignerError> {
        match asked == self.oracle {
            true => Ok(()),
            false => Err(SignerError::NotOurs { asked, here: self.oracle }),
        }
    }
}

/// TLS keys are bound to the verdict key here.
impl VerdictKey for Signer {
    fn bind(&self, binding: &Binding) -> Signature {
        self.key.sign(Domain::TlsKey, &binding.message())
    }
}

#[cfg(test)]
mod tests {
    use assay_core::ids::Address;

    use super::*;

    const INSTANCE: Instance = Instance { chain_id: 31_337, settlement: Address([7; 20]) };

    async fn signer(directory: &std::path::Path) -> Signer {
        let key = SecretKey::key_gen(&[1; 32]).unwrap();
        let path = directory.join("protection.sqlite");
        Protection::create(&path, &key.public_key(), &INSTANCE).await.unwrap();
        let protection = Protection::open(&path, &key.public_key(), &INSTANCE).await.unwrap();
        Signer::new(key, OracleId(3), INSTANCE, protection).unwrap()
    }

    fn commit(oracle: u64, root: u8) -> Commit {
        Commit {
            epoch: 5,
            oracle: OracleId(oracle),
            seeds: Hash32([1; 32]),
            secure: true,
            root: Hash32([root; 32]),
            leaf_count: 4,
            log_head: Hash32::ZERO,
        }
    }

    #[tokio::test]
    async fn what_it_signs_verifies() {
        let directory = tempfile::tempdir().unwrap();
        let signer = signer(directory.path()).await;
        let key = *signer.public_key();

        let signed = signer.sign_commit(commit(3, 1)).await.unwrap();
        signed.verify(&INSTANCE, &key).unwrap();
        assert_eq!(signer.sign_commit(commit(3, 1)).await.unwrap(), signed);

        let vote = BitVote { epoch: 5, oracle: OracleId(3), held: vec![(OracleId(3), Hash32([2; 32]))] };
        let signed = signer.sign_bit_vote(vote.clone()).await.unwrap();
        key.verify(Domain::BitVote, &vote.digest(&INSTANCE), &signed.signature).unwrap();

        let digest = Hash32([9; 32]);
        let signed = signer.sign_report(5, 1, digest).await.unwrap();
        key.verify(Domain::Report, &signing_message(&INSTANCE, 5, 1, &digest), &signed.signature).unwrap();
        assert_eq!((signed.oracle, signed.view), (OracleId(3), 1));

        let wish = signer.sign_wish(5, 2);
        key.verify(Domain::ViewWish, &wish_message(&INSTANCE, 5, 2, OracleId(3)), &wish.signature).unwrap();
        let vrf = signer.vrf(5, 0, &Hash32([4; 32]));
        key.verify(Domain::Vrf, &vrf_message(&INSTANCE, 5, 0, &Hash32([4; 32])), &vrf).unwrap();
    }

    #[tokio::test]
    async fn one_digest_for_each_kind_epoch_and_view() {
        let directory = tempfile::tempdir().unwrap();
        let signer = signer(directory.path()).await;
        signer.sign_commit(commit(3, 1)).await.unwrap();
        let error = signer.sign_commit(commit(3, 2)).await.unwrap_err();
        let (recorded, asked) = (commit(3, 1).digest(&INSTANCE), commit(3, 2).digest(&INSTANCE));
        assert!(
            matches!(error, SignerError::WouldEquivocate { kind: StatementKind::Commit, epoch: 5, view: 0, recorded: r, asked: a } if (r, a) == (recorded, asked)),
            "{error}"
        );
        for view in 0..3 {
            signer.sign_report(5, view, Hash32([view as u8; 32])).await.unwrap();
        }
        let error = signer.sign_report(5, 1, Hash32([8; 32])).await.unwrap_err();
        assert!(matches!(error, SignerError::WouldEquivocate { kind: StatementKind::Report, view: 1, .. }), "{error}");
        let vote = |held| BitVote { epoch: 5, oracle: OracleId(3), held };
        signer.sign_bit_vote(vote(vec![])).await.unwrap();
        assert!(signer.sign_bit_vote(vote(vec![(OracleId(1), Hash32([1; 32]))])).await.is_err());
    }

    #[tokio::test]
    async fn it_signs_in_its_own_name_only() {
        let directory = tempfile::tempdir().unwrap();
        let signer = signer(directory.path()).await;
        let error = signer.sign_commit(commit(4, 1)).await.unwrap_err();
        assert!(matches!(error, SignerError::NotOurs { asked: OracleId(4), here: OracleId(3) }), "{error}");
        signer.sign_commit(commit(3, 1)).await.unwrap();
    }

    #[tokio::test]
    async fn another_keys_record_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let own = signer(directory.path()).await;
        let other = SecretKey::key_gen(&[2; 32]).unwrap();
        let error = Signer::new(other, OracleId(3), INSTANCE, own.protection).err().unwrap();
        assert!(matches!(error, ProtectionError::Foreign { .. }), "{error}");
    }
}

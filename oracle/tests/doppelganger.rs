//! Another node with our key, as it shows in what peers say.

use assay_core::bls::{Domain, SecretKey};
use assay_core::epoch::{BitVote, Misbehaviour, SignedBitVote};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId};
use assay_core::observation::{Commit, SignedCommit};
use assay_oracle::doppelganger::{Doppelganger, DoppelgangerError};
use assay_oracle::signer::{Protection, Signer, SignerError};
use assay_oracle::store::{SqliteStore, Store};
use assay_proto::oracle_convert::{LogEntry, Message};
use std::sync::Arc;
use tempfile::TempDir;

const INSTANCE: Instance = Instance { chain_id: 31_337, settlement: Address([7; 20]) };
const ME: OracleId = OracleId(1);

fn key() -> SecretKey {
    SecretKey::key_gen(&[1; 32]).unwrap()
}

/// A node's signer, from the moment at which it speaks; its record is in use since before genesis.
async fn node() -> (TempDir, Arc<Signer>, Doppelganger) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("protection.sqlite");
    Protection::create(&path, &key().public_key(), &INSTANCE).await.unwrap();
    let protection = Protection::open(&path, &key().public_key(), &INSTANCE).await.unwrap();
    let signer = Arc::new(Signer::new(key(), ME, INSTANCE, protection).unwrap());
    let doppelganger = Doppelganger::watch(signer.clone(), None, 25_000).await.unwrap();
    (directory, signer, doppelganger)
}

fn commit(epoch: u64, root: u8) -> Commit {
    let (seeds, log_head) = (Hash32([3; 32]), Hash32::ZERO);
    Commit { epoch, oracle: ME, seeds, secure: true, root: Hash32([root; 32]), leaf_count: 1, log_head }
}

/// As a second node with `key` signs it.
fn signed(key: &SecretKey, commit: Commit) -> SignedCommit {
    SignedCommit { commit, signature: key.sign(Domain::Commit, &commit.digest(&INSTANCE)) }
}

async fn speaking(doppelganger: &Doppelganger) {
    let cancel = tokio_util::sync::CancellationToken::new();
    let terms = assay_oracle::peers::tls::Terms { instance: INSTANCE, params_hash: Hash32::ZERO, oracle: ME };
    let tls = assay_oracle::peers::tls::Tls::new(terms, node().await.1, Default::default()).unwrap();
    doppelganger.first_word(&assay_oracle::peers::Outgoing::new(ME, tls, cancel), None).await;
}

#[tokio::test]
async fn our_own_statements_come_back_and_change_nothing() {
    let (_directory, signer, doppelganger) = node().await;
    assert!(matches!(signer.sign_commit(commit(5, 1)).await, Err(SignerError::Silent { epoch: 5 })), "nothing before the first word");
    speaking(&doppelganger).await;
    let own = signer.sign_commit(commit(5, 1)).await.unwrap();
    doppelganger.hear("oracle 2", &Message::Commit(own)).await;
    assert!(!doppelganger.is_found());
    signer.sign_commit(commit(6, 1)).await.unwrap();
}

// Defence: `Signer::is_foreign` verifies the signature; without it any peer stops any node by a statement in its name.
#[tokio::test]
async fn a_forged_statement_stops_nobody() {
    let (_directory, signer, doppelganger) = node().await;
    speaking(&doppelganger).await;
    let forger = SecretKey::key_gen(&[2; 32]).unwrap();
    doppelganger.hear("oracle 2", &Message::Commit(signed(&forger, commit(5, 9)))).await;
    // Ours, but of another epoch than it says.
    let moved = SignedCommit { commit: commit(6, 9), ..signed(&key(), commit(5, 9)) };
    doppelganger.hear("oracle 2", &Message::Commit(moved)).await;
    assert!(!doppelganger.is_found());
    signer.sign_commit(commit(5, 1)).await.unwrap();
}

// Defence: `Doppelganger::hear`; without it a second node with the key is noticed when both have signed.
#[tokio::test]
async fn what_our_key_signed_elsewhere_ends_the_signing() {
    let theirs = signed(&key(), commit(5, 9));
    let vote = BitVote { epoch: 5, oracle: ME, held: Vec::new() };
    let vote = SignedBitVote { signature: key().sign(Domain::BitVote, &vote.digest(&INSTANCE)), vote };
    let both = [signed(&key(), commit(5, 8)), theirs];
    let shown = [Message::Commit(theirs), Message::BitVote(vote), Message::Misbehaviour(Box::new(Misbehaviour::Commits(Box::new(both))))];
    for message in shown {
        let (_directory, signer, doppelganger) = node().await;
        speaking(&doppelganger).await;
        doppelganger.hear("oracle 2", &message).await;
        assert!(doppelganger.is_found(), "{}", message.name());
        for epoch in [4, 5, 6] {
            assert!(matches!(signer.sign_commit(commit(epoch, 1)).await, Err(SignerError::Silent { .. })), "{}", message.name());
        }
        speaking(&doppelganger).await;
        assert!(!signer.speaks_in(9), "what was found is not forgotten");
    }
}

// Defence: `Doppelganger::check_log`; without it a restored record lets the node sign again what its log says that it signed.
#[tokio::test]
async fn a_record_that_is_older_than_the_log_is_refused() {
    let (directory, signer, doppelganger) = node().await;
    speaking(&doppelganger).await;
    let store = SqliteStore::open(&directory.path().join("node.sqlite")).await.unwrap();
    let own = signer.sign_commit(commit(5, 1)).await.unwrap();
    store.append_input(5, 1, &LogEntry::Received(Message::Commit(own)).encode()).await.unwrap();
    doppelganger.check_log(&store, 3..=6).await.unwrap();

    let (_restored, _signer, restored) = node().await;
    let error = restored.check_log(&store, 3..=6).await.unwrap_err();
    assert!(matches!(error, DoppelgangerError::OldRecord { epoch: 5, .. }), "{error}");
    assert!(error.to_string().contains("older than the node's log"), "{error}");
}

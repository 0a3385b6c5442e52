//! What every [`Store`] promises. The suite is generic: another back end is one more [`Backend`] and one more line at the end.

use std::path::{Path, PathBuf};

use assay_core::challenge::Kinds;
use assay_core::claim::{Claim, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, ProviderId};
use assay_core::params::{Params, TOKEN};
use assay_core::report::{Inputs, Ledger, Outcome, Setting, StoredDigest};
use assay_oracle::store::{
    AcceptedEpoch, AuditStore, CLAIMS_KEPT_EPOCHS, CertifiedEpoch, ClaimAge, ClaimVersion, EvidenceBundle, PLANS_KEPT_EPOCHS, Plan,
    Planned, ProviderAge, Samples, SqliteStore, Store, StoreError, Tally,
};

/// A place that keeps a store's data while it is closed.
trait Backend: Sized {
    type Opened: Store;
    async fn create() -> Self;
    async fn open(&self) -> Result<Self::Opened, StoreError>;
    /// Runs SQL as an operator with a database client could; `Err` is the database's refusal.
    async fn execute(&self, store: &Self::Opened, sql: &'static str) -> Result<(), String>;
}

fn outcome(epoch: u64, view: u64) -> Outcome {
    let setting = Setting {
        instance: Instance { chain_id: 31_337, settlement: Address([7; 20]) },
        epoch,
        genesis_s: 1_000,
        params: Params::devnet(),
        kinds: Kinds::standard(),
        token: Address([8; 20]),
        epoch_budget: 10_000 * TOKEN,
        set_epoch: 1,
        members: vec![],
        providers: vec![],
        ref_block: 5,
        ref_block_hash: Hash32([2; 32]),
        drand_round: 9,
    };
    let parent = Ledger { digest: Hash32([9; 32]), epoch: epoch.checked_sub(1), ..Ledger::default() };
    Outcome::compute(&Inputs { setting: &setting, view, parent: &parent, bit_votes_root: Hash32([3; 32]), reveals: &Default::default() })
}

fn certified(epoch: u64, view: u64) -> CertifiedEpoch {
    CertifiedEpoch { certificate: vec![epoch as u8, view as u8], outcome: outcome(epoch, view) }
}

fn bundle(epoch: u64, slot: u32, provider: u64) -> EvidenceBundle {
    let bundle = format!("epoch {epoch} slot {slot} provider {provider}").into_bytes();
    EvidenceBundle { digest: blake3::hash(&bundle).into(), epoch, slot, provider: ProviderId(provider), bundle }
}

fn accepted(epoch: u64, gas_used: u64) -> AcceptedEpoch {
    AcceptedEpoch { epoch, digest: Hash32([4; 32]), tx_hash: Hash32([5; 32]), block_number: 17, gas_used }
}

async fn received(store: &impl Store, epoch: u64) -> Vec<(u64, Vec<u8>)> {
    store.inputs(epoch).await.unwrap().into_iter().map(|input| (input.received_ms, input.message)).collect()
}

async fn an_input_is_appended_once_with_its_first_arrival<B: Backend>() {
    let store = B::create().await.open().await.unwrap();
    assert!(store.append_input(3, 100, b"commit").await.unwrap());
    assert!(!store.append_input(3, 250, b"commit").await.unwrap());
    assert!(!store.append_input(3, 50, b"commit").await.unwrap());
    assert!(store.append_input(3, 100, b"").await.unwrap(), "an empty message is a message");
    assert_eq!(received(&store, 3).await, [(100, b"commit".to_vec()), (100, vec![])]);
}

async fn inputs_stay_in_the_order_of_the_calls<B: Backend>() {
    let store = B::create().await.open().await.unwrap();
    // The wall clock may jump back; the order of arrival does not.
    for (received_ms, message) in [(300, b"c"), (100, b"a"), (200, b"b")] {
        store.append_input(1, received_ms, message).await.unwrap();
    }
    assert_eq!(received(&store, 1).await, [(300, b"c".to_vec()), (100, b"a".to_vec()), (200, b"b".to_vec())]);
}

async fn epochs_do_not_mix<B: Backend>() {
    let store = B::create().await.open().await.unwrap();
    assert!(store.append_input(1, 10, b"same").await.unwrap());
    assert!(store.append_input(2, 20, b"same").await.unwrap(), "the same bytes in another epoch are another input");
    assert_eq!(received(&store, 1).await, [(10, b"same".to_vec())]);
    assert_eq!(received(&store, 2).await, [(20, b"same".to_vec())]);
    assert!(received(&store, 3).await.is_empty());
    store.put_evidence(&bundle(1, 0, 7)).await.unwrap();
    store.put_evidence(&bundle(2, 0, 7)).await.unwrap();
    assert_eq!(store.evidence_about(1, ProviderId(7)).await.unwrap(), [bundle(1, 0, 7)]);
    store.put_outcome(1, &certified(1, 0)).await.unwrap();
    assert_eq!(store.outcome(2).await.unwrap(), None);
    store.put_accepted(&accepted(1, 9)).await.unwrap();
    assert_eq!(store.accepted(2).await.unwrap(), None);
}

// Defence: a report is kept before it is signed. Without it, whoever assembles the certificate in private and posts it leaves the honest
// signers without the ledger that the next report continues from: no report, for ever.
async fn a_signed_report_is_found_by_the_digest_that_the_contract_keeps<B: Backend>() {
    let backend = B::create().await;
    let (first, second) = (outcome(4, 0), outcome(4, 1));
    {
        let store = backend.open().await.unwrap();
        store.put_candidate(&first).await.unwrap();
        store.put_candidate(&second).await.unwrap();
        store.put_candidate(&second).await.unwrap();
    }
    let store = backend.open().await.unwrap();
    for report in [&first, &second] {
        let kept = StoredDigest::of(&report.ledger.digest);
        assert_eq!(store.reported(4, &kept).await.unwrap().as_ref(), Some(report));
        assert_eq!(store.reported(5, &kept).await.unwrap(), None);
    }
    assert_eq!(store.reported(4, &StoredDigest(Hash32([1; 32]))).await.unwrap(), None);
    assert!(store.certified_epochs(9).await.unwrap().is_empty(), "signed is not certified");
}

async fn stores_do_not_mix<B: Backend>() {
    let (left, right) = (B::create().await, B::create().await);
    let (left, right) = (left.open().await.unwrap(), right.open().await.unwrap());
    left.append_input(1, 10, b"left").await.unwrap();
    left.put_outcome(1, &certified(1, 0)).await.unwrap();
    right.put_outcome(2, &certified(2, 0)).await.unwrap();
    assert!(received(&right, 1).await.is_empty());
    assert_eq!((left.certified_epochs(9).await.unwrap(), right.certified_epochs(9).await.unwrap()), (vec![1], vec![2]));
}

async fn everything_survives_a_reopen<B: Backend>() {
    let backend = B::create().await;
    {
        let store = backend.open().await.unwrap();
        store.append_input(1, 10, b"first").await.unwrap();
        store.put_evidence(&bundle(1, 2, 7)).await.unwrap();
        store.put_outcome(1, &certified(1, 0)).await.unwrap();
        store.put_accepted(&accepted(1, 187_000)).await.unwrap();
    }
    let store = backend.open().await.unwrap();
    assert!(!store.append_input(1, 99, b"first").await.unwrap());
    assert!(store.append_input(1, 5, b"second").await.unwrap());
    assert_eq!(received(&store, 1).await, [(10, b"first".to_vec()), (5, b"second".to_vec())]);
    assert_eq!(store.evidence(&bundle(1, 2, 7).digest).await.unwrap(), Some(bundle(1, 2, 7)));
    assert_eq!(store.outcome(1).await.unwrap(), Some(certified(1, 0)));
    assert_eq!(store.accepted(1).await.unwrap(), Some(accepted(1, 187_000)));
}

async fn evidence_is_found_by_digest_and_by_slot<B: Backend>() {
    let store = B::create().await.open().await.unwrap();
    for slot in [4, 0, 2] {
        store.put_evidence(&bundle(1, slot, 7)).await.unwrap();
    }
    store.put_evidence(&bundle(1, 1, 8)).await.unwrap();
    assert_eq!(store.evidence_about(1, ProviderId(7)).await.unwrap(), [bundle(1, 0, 7), bundle(1, 2, 7), bundle(1, 4, 7)]);
    assert_eq!(store.evidence(&Hash32([1; 32])).await.unwrap(), None);
    // A digest is bound to what was stored first.
    let forged = EvidenceBundle { bundle: b"forged".to_vec(), ..bundle(1, 0, 7) };
    store.put_evidence(&forged).await.unwrap();
    assert_eq!(store.evidence(&forged.digest).await.unwrap(), Some(bundle(1, 0, 7)));
}

async fn the_latest_certificate_stays_and_epochs_descend<B: Backend>() {
    let store = B::create().await.open().await.unwrap();
    for epoch in [2, 9, 4] {
        store.put_outcome(epoch, &certified(epoch, 0)).await.unwrap();
    }
    store.put_outcome(4, &certified(4, 1)).await.unwrap();
    store.put_outcome(4, &certified(4, 1)).await.unwrap();
    assert_eq!(store.outcome(4).await.unwrap(), Some(certified(4, 1)));
    assert_eq!(store.certified_epochs(10).await.unwrap(), [9, 4, 2]);
    assert_eq!(store.certified_epochs(2).await.unwrap(), [9, 4]);
    assert!(store.certified_epochs(0).await.unwrap().is_empty());
}

async fn what_the_chain_said_first_stays<B: Backend>() {
    let store = B::create().await.open().await.unwrap();
    store.put_accepted(&accepted(1, 100)).await.unwrap();
    store.put_accepted(&accepted(1, 999)).await.unwrap();
    assert_eq!(store.accepted(1).await.unwrap(), Some(accepted(1, 100)));
}

/// Defence: the append-only triggers. Without them an operator's UPDATE changes what was measured.
async fn what_was_received_or_measured_cannot_be_updated<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await.unwrap();
    store.append_input(1, 10, b"commit").await.unwrap();
    store.put_evidence(&bundle(1, 0, 7)).await.unwrap();
    let refusal = backend.execute(&store, "UPDATE evidence SET bundle = x'00'").await.unwrap_err();
    assert!(refusal.contains("append-only"), "{refusal}");
    let refusal = backend.execute(&store, "UPDATE inputs SET received_ms = 1").await.unwrap_err();
    assert!(refusal.contains("append-only"), "{refusal}");
    assert_eq!(store.evidence(&bundle(1, 0, 7).digest).await.unwrap(), Some(bundle(1, 0, 7)));
    assert_eq!(received(&store, 1).await, [(10, b"commit".to_vec())]);
}

async fn a_malformed_row_is_named<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await.unwrap();
    store.put_outcome(1, &certified(1, 0)).await.unwrap();
    backend.execute(&store, "UPDATE outcomes SET outcome = '{}'").await.unwrap();
    let error = store.outcome(1).await.unwrap_err();
    assert!(matches!(error, StoreError::Malformed { what: "outcome", .. }), "{error}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

/// Claims of so many replicas.
fn claims(count: u8) -> ClaimSet {
    let claim = |number: u8| Claim {
        object_id: Hash32([1; 32]),
        replica_index: u64::from(number),
        root: Hash32([number; 32]),
        object_length: 1_000,
        blocks: assay_core::replica::blocks_for(1_000),
        tag_key_id: Hash32::ZERO,
        owner: Address([3; 20]),
    };
    ClaimSet::new((0..count).map(claim).collect()).unwrap()
}

// Defence: the deletion in `put_claims`; without it a provider fills every oracle's disk with claim sets that nobody will ever ask about.
async fn claim_sets_are_kept_while_they_are_of_use<B: Backend>() {
    let backend = B::create().await;
    {
        let store = backend.open().await.unwrap();
        for count in [0, 1, 3] {
            assert_eq!(store.claims(&claims(count).root().hash).await.unwrap(), None);
            store.put_claims(5, &claims(count)).await.unwrap();
        }
    }
    let store = backend.open().await.unwrap();
    for count in [0, 1, 3] {
        assert_eq!(store.claims(&claims(count).root().hash).await.unwrap(), Some(claims(count)));
    }
    store.put_claims(6, &claims(1)).await.unwrap();
    store.put_claims(2, &claims(1)).await.unwrap();
    store.put_claims(6 + CLAIMS_KEPT_EPOCHS, &claims(2)).await.unwrap();
    assert_eq!(store.claims(&claims(3).root().hash).await.unwrap(), None, "not of use for too long");
    assert_eq!(store.claims(&claims(1).root().hash).await.unwrap(), Some(claims(1)), "prolonged, and never shortened");
}

fn samples(last_proven_ms: Option<u64>, clean: u64, bad: u64) -> Samples {
    Samples { last_proven_ms, clean, bad }
}

/// What an epoch showed of provider 7 and of its claims, by their place in the set.
fn tally(set: &ClaimSet, total: Samples, of_claims: &[(usize, Samples)]) -> Tally {
    let hash = |place: usize| set.claims().nth(place).unwrap().hash();
    let claims = of_claims.iter().map(|(place, samples)| (hash(*place), *samples)).collect();
    Tally { provider: ProviderId(7), root: set.root().hash, total, claims }
}

async fn ages(store: &impl Store) -> Vec<ClaimAge> {
    store.claim_ages(ProviderId(7), &Hash32::ZERO, &Hash32([0xff; 32])).await.unwrap()
}

// Defence: the folded epoch that is kept. Without it a restart between compiling and revealing counts an epoch's samples twice, and the bound
// of loss is half of what is supported.
async fn an_epochs_tallies_are_folded_exactly_once<B: Backend>() {
    let backend = B::create().await;
    let (set, seen) = (claims(3), samples(Some(500), 30, 0));
    let of_claims = [(0, samples(Some(500), 20, 0)), (1, samples(Some(400), 10, 0))];
    {
        let store = backend.open().await.unwrap();
        store.put_claims(4, &set).await.unwrap();
        store.put_tallies(4, 1_000, &[tally(&set, seen, &of_claims)]).await.unwrap();
        store.put_tallies(4, 1, &[tally(&set, samples(Some(1), 999, 0), &[])]).await.unwrap();
        assert_eq!(store.fold_tallies(999).await.unwrap(), 0, "the first tally stays, and is not due");
    }
    let store = backend.open().await.unwrap();
    assert_eq!(store.provider_age(ProviderId(7)).await.unwrap(), None);
    assert_eq!((store.fold_tallies(1_000).await.unwrap(), store.fold_tallies(1_000).await.unwrap()), (1, 0));
    for epoch in [3, 4] {
        store.put_tallies(epoch, 1, &[tally(&set, seen, &of_claims)]).await.unwrap();
        assert_eq!(store.fold_tallies(9_999).await.unwrap(), 0, "epoch {epoch}");
    }
    let folded = ProviderAge { epoch: 4, root: set.root().hash, samples: seen };
    assert_eq!(store.provider_age(ProviderId(7)).await.unwrap(), Some(folded));
    let all = ages(&store).await;
    assert!(all.iter().map(|age| age.samples).eq([of_claims[0].1, of_claims[1].1]));
    assert_eq!(store.claim_ages(ProviderId(7), &all[1].claim, &all[1].claim).await.unwrap(), all[1..]);
    assert_eq!(store.oldest_proof(ProviderId(7)).await.unwrap(), (2, Some(400)));
    assert_eq!(store.oldest_proof(ProviderId(8)).await.unwrap(), (0, None));
}

async fn epochs_add_up_and_a_fault_begins_anew<B: Backend>() {
    let store = B::create().await.open().await.unwrap();
    let set = claims(3);
    store.put_claims(1, &set).await.unwrap();
    let (clean, bad) = (samples(Some(100), 30, 0), samples(Some(900), 5, 2));
    store.put_tallies(1, 10, &[tally(&set, clean, &[(0, clean), (1, clean)])]).await.unwrap();
    store.put_tallies(2, 20, &[tally(&set, samples(None, 0, 0), &[])]).await.unwrap();
    store.put_tallies(3, 30, &[tally(&set, bad, &[(0, bad), (2, samples(None, 0, 1))])]).await.unwrap();
    store.put_tallies(4, 40, &[tally(&set, clean, &[(1, clean)])]).await.unwrap();
    assert_eq!(store.fold_tallies(20).await.unwrap(), 2);
    assert_eq!(store.provider_age(ProviderId(7)).await.unwrap().unwrap().samples, clean, "an epoch without answers changes nothing");
    assert_eq!(store.fold_tallies(40).await.unwrap(), 2);
    let seen = store.provider_age(ProviderId(7)).await.unwrap().unwrap();
    assert_eq!((seen.epoch, seen.samples), (4, samples(Some(100), 35, 2)));
    let expected = [bad, samples(Some(100), 60, 0), samples(None, 0, 1)];
    assert!(ages(&store).await.iter().map(|age| age.samples).eq(expected));
    assert_eq!(store.oldest_proof(ProviderId(7)).await.unwrap(), (2, Some(100)), "one was never proven");
}

async fn claims_that_left_the_set_are_forgotten_at_the_fold<B: Backend>() {
    let store = B::create().await.open().await.unwrap();
    let (before, after, clean) = (claims(3), claims(2), samples(Some(100), 1, 0));
    for set in [&before, &after] {
        store.put_claims(1, set).await.unwrap();
    }
    store.put_tallies(1, 10, &[tally(&before, clean, &[(0, clean), (1, clean), (2, clean)])]).await.unwrap();
    store.put_tallies(2, 20, &[tally(&after, clean, &[(0, clean)])]).await.unwrap();
    store.fold_tallies(10).await.unwrap();
    assert_eq!(ages(&store).await.len(), 3);
    store.fold_tallies(20).await.unwrap();
    let left: Vec<Hash32> = ages(&store).await.iter().map(|age| age.claim).collect();
    assert_eq!(left, after.claims().map(Claim::hash).collect::<Vec<_>>());
}

async fn the_first_plan_of_an_epoch_stays_until_it_is_folded<B: Backend>() {
    let backend = B::create().await;
    let plan = |block| Plan { from_slot: 1, claims: vec![Planned { claim: Hash32([block; 32]), first_block: 5, blocks: 2 }] };
    {
        let store = backend.open().await.unwrap();
        store.put_plan(4, ProviderId(7), &plan(1)).await.unwrap();
        store.put_plan(4, ProviderId(7), &plan(2)).await.unwrap();
        store.put_plan(5, ProviderId(7), &plan(3)).await.unwrap();
        store.put_plan(5, ProviderId(8), &plan(4)).await.unwrap();
    }
    let store = backend.open().await.unwrap();
    assert_eq!(store.plans(ProviderId(7), 9).await.unwrap(), [(4, plan(1)), (5, plan(3))]);
    assert_eq!(store.plans(ProviderId(7), 4).await.unwrap(), [(4, plan(1))]);
    store.put_tallies(4, 1, &[tally(&claims(0), Samples::default(), &[])]).await.unwrap();
    store.fold_tallies(1).await.unwrap();
    assert_eq!(store.plans(ProviderId(7), 9).await.unwrap(), [(5, plan(3))]);
    store.put_plan(6 + PLANS_KEPT_EPOCHS, ProviderId(8), &plan(5)).await.unwrap();
    assert!(store.plans(ProviderId(7), 99).await.unwrap().is_empty(), "of epochs that were never folded");
}

// Defence: the accepted sets in `put_claims`. Without them a provider serves nothing until the set that it is held to is forgotten, and then
// registers one without what it lost.
async fn the_set_that_was_accepted_last_is_not_forgotten<B: Backend>() {
    let store = B::create().await.open().await.unwrap();
    let version = |epoch, count| ClaimVersion { epoch, sequence: epoch + 1, root: claims(count).root().hash };
    assert_eq!(store.accepted_claims(ProviderId(7)).await.unwrap(), None);
    for (epoch, count) in [(5, 1), (6, 2)] {
        store.put_claims(epoch, &claims(count)).await.unwrap();
        store.accept_claims(ProviderId(7), &version(epoch, count)).await.unwrap();
    }
    store.accept_claims(ProviderId(7), &version(5, 1)).await.unwrap();
    assert_eq!(store.accepted_claims(ProviderId(7)).await.unwrap(), Some(version(6, 2)), "an epoch that is set up late changes nothing");
    store.put_claims(100 + CLAIMS_KEPT_EPOCHS, &claims(3)).await.unwrap();
    assert_eq!(store.claims(&claims(1).root().hash).await.unwrap(), None);
    assert_eq!(store.claims(&claims(2).root().hash).await.unwrap(), Some(claims(2)));
}

async fn many_writers_lose_nothing<B: Backend>() {
    let store = B::create().await.open().await.unwrap();
    let store = &store;
    let writes = (0..100u64).map(|i| async move { store.append_input(1, i, &(i % 50).to_be_bytes()).await.unwrap() });
    let added = futures::future::join_all(writes).await;
    assert_eq!(added.iter().filter(|added| **added).count(), 50);
    assert_eq!(received(store, 1).await.len(), 50);
}

macro_rules! conformance {
    ($module:ident, $backend:ty, [$($test:ident),* $(,)?]) => {
        mod $module {
            use super::*;

            $(#[tokio::test]
            async fn $test() {
                super::$test::<$backend>().await;
            })*
        }
    };
}

macro_rules! conforms {
    ($module:ident, $backend:ty) => {
        conformance!(
            $module,
            $backend,
            [
                an_input_is_appended_once_with_its_first_arrival,
                inputs_stay_in_the_order_of_the_calls,
                epochs_do_not_mix,
                a_signed_report_is_found_by_the_digest_that_the_contract_keeps,
                stores_do_not_mix,
                everything_survives_a_reopen,
                evidence_is_found_by_digest_and_by_slot,
                the_latest_certificate_stays_and_epochs_descend,
                what_the_chain_said_first_stays,
                what_was_received_or_measured_cannot_be_updated,
                a_malformed_row_is_named,
                claim_sets_are_kept_while_they_are_of_use,
                an_epochs_tallies_are_folded_exactly_once,
                epochs_add_up_and_a_fault_begins_anew,
                claims_that_left_the_set_are_forgotten_at_the_fold,
                the_first_plan_of_an_epoch_stays_until_it_is_folded,
                the_set_that_was_accepted_last_is_not_forgotten,
                many_writers_lose_nothing,
            ]
        );
    };
}

/// A SQLite file in a directory of its own.
struct SqliteFile(tempfile::TempDir);

impl SqliteFile {
    fn path(&self) -> PathBuf {
        self.0.path().join("node.sqlite")
    }
}

impl Backend for SqliteFile {
    type Opened = SqliteStore;

    async fn create() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open(&self) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(&self.path()).await
    }

    async fn execute(&self, store: &SqliteStore, sql: &'static str) -> Result<(), String> {
        sqlx::query(sql).execute(store.pool()).await.map(drop).map_err(|error| error.to_string())
    }
}

conforms!(sqlite, SqliteFile);

/// Closed, so that all of it lies in the one file.
async fn filled_file(backend: &SqliteFile) {
    let store = backend.open().await.unwrap();
    store.append_input(1, 10, b"commit").await.unwrap();
    store.pool().close().await;
}

/// The error names the file and what to do.
fn assert_clear(error: &StoreError, path: &Path) {
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert!(["check that", "give this user write permission", "restore a backup"].iter().any(|advice| text.contains(advice)), "{text}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let backend = SqliteFile::create().await;
    std::fs::write(backend.path(), [0x5a; 8_192]).unwrap();
    let error = backend.open().await.err().expect("garbage opened");
    assert!(matches!(error, StoreError::Database { .. }), "{error}");
    assert_clear(&error, &backend.path());
    assert_eq!(std::fs::read(backend.path()).unwrap(), [0x5a; 8_192]);
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let backend = SqliteFile::create().await;
    filled_file(&backend).await;
    let mut bytes = std::fs::read(backend.path()).unwrap();
    // The header stays, every page behind it is lost.
    bytes[100..].fill(0xff);
    std::fs::write(backend.path(), bytes).unwrap();
    let error = backend.open().await.err().expect("a damaged file opened");
    assert_clear(&error, &backend.path());
}

#[tokio::test]
async fn a_file_of_another_version_is_refused() {
    let backend = SqliteFile::create().await;
    let store = backend.open().await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00'").execute(store.pool()).await.unwrap();
    store.pool().close().await;
    drop(store);
    let error = backend.open().await.err().expect("another version's file opened");
    assert!(matches!(error, StoreError::Schema { .. }), "{error}");
    assert!(error.to_string().contains("another version"), "{error}");
    assert_clear(&error, &backend.path());
}

/// By SQLite's own means, since a superuser may write to a read-only file.
#[tokio::test]
async fn a_read_only_database_fails_the_write_and_says_so() {
    let backend = SqliteFile::create().await;
    let store = backend.open().await.unwrap();
    sqlx::query("PRAGMA query_only = ON").execute(store.pool()).await.unwrap();
    let error = store.append_input(1, 10, b"commit").await.unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
    assert_clear(&error, &backend.path());
    assert!(store.put_outcome(1, &certified(1, 0)).await.is_err());
    assert!(received(&store, 1).await.is_empty(), "reads still work");
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_file_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let backend = SqliteFile::create().await;
    filled_file(&backend).await;
    let read_only = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    read_only(&backend.path(), 0o444);
    read_only(backend.0.path(), 0o555);
    if std::fs::OpenOptions::new().append(true).open(backend.path()).is_ok() {
        read_only(backend.0.path(), 0o755);
        return; // We are the superuser, whom no mode stops.
    }
    let failed = match backend.open().await {
        Ok(store) => store.append_input(1, 20, b"late").await.err(),
        Err(error) => Some(error),
    };
    read_only(backend.0.path(), 0o755);
    assert_clear(&failed.expect("a read-only file was written"), &backend.path());
}

#[tokio::test]
async fn a_directory_in_the_place_of_the_file_is_refused() {
    let backend = SqliteFile::create().await;
    std::fs::create_dir(backend.path()).unwrap();
    assert_clear(&backend.open().await.err().expect("a directory opened"), &backend.path());
}

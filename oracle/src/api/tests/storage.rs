//! What audits show of objects, and when.

use std::collections::BTreeMap;

use assay_core::claim::{Claim, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, OracleId, ProviderId};
use assay_core::replica::blocks_for;
use assay_proto::rest::{StorageDocument, StoredObject};

use super::world::{EPOCH, World};
use crate::store::{AuditStore, Samples, Store, Tally};

const PATH: &str = "/v1/providers/1/storage";

fn claims() -> ClaimSet {
    let claim = |number: u8| Claim {
        object_id: Hash32([number; 32]),
        replica_index: 2,
        root: Hash32([100 + number; 32]),
        object_length: 1_000,
        blocks: blocks_for(1_000),
        tag_key_id: Hash32::ZERO,
        owner: Address([3; 20]),
    };
    ClaimSet::new((1..=3).map(claim).collect()).unwrap()
}

fn samples(last_proven_ms: u64, clean: u64) -> Samples {
    Samples { last_proven_ms: Some(last_proven_ms), clean, bad: 0 }
}

/// A world whose epoch showed this of the first claims of provider 1, in their order.
async fn audited(world: &World, of_claims: &[Samples]) {
    let set = claims();
    world.store.put_claims(EPOCH, &set).await.unwrap();
    let claims: BTreeMap<Hash32, Samples> = set.claims().map(Claim::hash).zip(of_claims.iter().copied()).collect();
    let total = Samples {
        last_proven_ms: claims.values().filter_map(|samples| samples.last_proven_ms).max(),
        clean: claims.values().map(|samples| samples.clean).sum(),
        bad: claims.values().map(|samples| samples.bad).sum(),
    };
    let tally = Tally { provider: ProviderId(1), root: set.root().hash, total, claims };
    world.store.put_tallies(EPOCH, world.reveals_due_ms(), &[tally]).await.unwrap();
}

async fn read(world: &World, path: &str) -> StorageDocument {
    serde_json::from_value(world.read(path).await).unwrap()
}

#[tokio::test]
async fn a_page_tells_ages_and_bounds() {
    let world = World::start().await;
    audited(&world, &[samples(5_000, 40), samples(9_000, 20)]).await;
    world.store.fold_tallies(world.reveals_due_ms()).await.unwrap();
    let seen = read(&world, PATH).await;
    assert_eq!((seen.provider, seen.oracle, seen.epoch), (ProviderId(1), Some(OracleId(10)), Some(EPOCH)));
    assert_eq!((seen.clean_samples, seen.loss_upper_bound_ppm, seen.last_proven_at_ms), (60, Some(50_000), Some(9_000)));
    assert_eq!((seen.never_proven, seen.count, seen.oldest_age_ms), (1, 3, None), "one was never proven");
    assert_eq!((seen.claim_root, seen.next), (Some(claims().root().hash), None));
    let set = claims();
    let first = set.claims().next().unwrap();
    let object = StoredObject {
        claim: first.hash(),
        object_id: first.object_id,
        replica_index: 2,
        blocks: 1,
        tag_key_id: first.tag_key_id,
        last_proven_at_ms: Some(5_000),
        clean_samples: 40,
        loss_upper_bound_ppm: Some(75_000),
    };
    assert_eq!(seen.objects[0], object);
    let last = &seen.objects[2];
    assert_eq!((last.last_proven_at_ms, last.clean_samples, last.loss_upper_bound_ppm), (None, 0, None));
}

#[tokio::test]
async fn the_oldest_age_is_there_once_every_object_was_proven() {
    let world = World::start().await;
    audited(&world, &[samples(5_000, 1), samples(9_000, 2), samples(7_000, 0)]).await;
    world.store.fold_tallies(world.reveals_due_ms()).await.unwrap();
    let seen = read(&world, PATH).await;
    assert_eq!((seen.never_proven, seen.oldest_age_ms), (0, Some(world.reveals_due_ms() - 5_000)));
    assert_eq!(seen.loss_upper_bound_ppm, Some(1_000_000), "three samples say nothing");
}

#[tokio::test]
async fn objects_come_in_pages() {
    let world = World::start().await;
    audited(&world, &[samples(5_000, 40), samples(9_000, 20)]).await;
    world.store.fold_tallies(world.reveals_due_ms()).await.unwrap();
    let all = read(&world, PATH).await;
    let first = read(&world, &format!("{PATH}?limit=2")).await;
    assert_eq!((&first.objects[..], first.next), (&all.objects[..2], Some(2)));
    let second = read(&world, &format!("{PATH}?limit=2&after=2")).await;
    assert_eq!((&second.objects[..], second.next), (&all.objects[2..], None));
    assert!(read(&world, &format!("{PATH}?after=9")).await.objects.is_empty());
    assert_eq!(world.refused("/v1/providers/0/storage").await, (400, "bad_request".to_owned()));
    assert_eq!(world.refused(&format!("{PATH}?x=1")).await, (400, "bad_request".to_owned()));
    assert_eq!(world.refused("/v1/providers/5/storage").await, (404, "not_found".to_owned()));
}

// Defence: a tally is folded when its epoch's reveals are due, and `check_revealed` stands before the records. Without them a clean count that
// falls to zero tells what this oracle will reveal.
#[tokio::test]
async fn nothing_of_an_epoch_is_in_the_records_before_its_reveals_are_due() {
    let world = World::start().await;
    world.set_now(world.reveals_due_ms() - 1);
    let unaudited = world.get(PATH).await.text;
    audited(&world, &[samples(5_000, 40), Samples { last_proven_ms: None, clean: 0, bad: 3 }]).await;
    assert_eq!(world.store.fold_tallies(world.reveals_due_ms() - 1).await.unwrap(), 0);
    assert_eq!(world.get(PATH).await.text, unaudited);
    let empty = read(&world, PATH).await;
    assert_eq!((empty.epoch, empty.clean_samples, empty.count, empty.loss_upper_bound_ppm), (None, 0, 0, None));
    world.store.fold_tallies(world.reveals_due_ms()).await.unwrap();
    assert_eq!(world.get(PATH).await.status, 425, "a clock that is ahead of the readers' one is no reason to show it");
    world.set_now(world.reveals_due_ms());
    assert_eq!(read(&world, PATH).await.epoch, Some(EPOCH));
}

//! A provider that is measured in an epoch, and its set-up beside the measuring.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use assay_chain::ProviderRecord;
use assay_challenger::link::{Line, Link, LinkError};
use assay_core::challenge::Challenge;
use assay_core::claim::{ClaimRoot, ClaimSet};
use assay_core::report::{Ledger, ProviderTerms, Watched};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::open::OpenChallenges;
use super::releases::Refused;
use super::{Measurer, set_up_time};
use crate::frame::Frame;
use crate::store::{ClaimVersion, Plan, StoreError};

/// One provider this oracle measures in this epoch, with as much of it as its set-up has reached.
pub(super) struct Subject {
    pub(super) terms: ProviderTerms,
    pub(super) line: Line,
    /// The claim set that is registered in this epoch, once it is known to lack nothing that was not released.
    pub(super) claims: OnceLock<Arc<ClaimSet>>,
    /// The registered set as it was kept or served, perhaps to be refused.
    registered: OnceLock<Arc<ClaimSet>>,
    /// Whose blocks audits ask for beside the drawn ones.
    pub(super) plan: OnceLock<Plan>,
    /// What the parent's ledger says that its panel watches.
    pub(super) watched: Option<Watched>,
    /// The claim set of the watched challenge, when it is another than the registered one.
    watched_claims: OnceLock<Arc<ClaimSet>>,
    /// The provider was asked for that set and did not serve it.
    watched_claims_refused: AtomicBool,
    pub(super) open: OpenChallenges,
}

impl Subject {
    /// The challenge that the panel asks. One whose silence is slashed is not asked any more.
    pub(super) fn watched(&self) -> Option<&Challenge> {
        self.watched.as_ref().filter(|watched| !watched.is_slashed()).map(|watched| &watched.challenge)
    }

    /// The claim set that a challenge names, as far as we have it.
    pub(super) fn claims_of(&self, challenge: &Challenge) -> Option<Arc<ClaimSet>> {
        let set = if self.names_registered(challenge) { &self.claims } else { &self.watched_claims };
        set.get().cloned()
    }

    /// Whether silence on it would be the provider's. A set that is or was registered is the provider's to serve: once it was asked for it and
    /// did not, an answer that nobody can check is silence. Before that it is not.
    pub(super) fn can_ask(&self, challenge: &Challenge) -> bool {
        self.names_registered(challenge) || self.watched_claims.get().is_some() || self.watched_claims_refused.load(Ordering::Relaxed)
    }

    fn names_registered(&self, challenge: &Challenge) -> bool {
        root_of(challenge) == self.terms.keys.claims
    }
}

fn root_of(challenge: &Challenge) -> ClaimRoot {
    ClaimRoot { hash: challenge.claim_root, blocks: challenge.claim_blocks }
}

/// Starts a provider's set-up.
pub(super) fn begin(
    measurer: &Arc<Measurer>,
    frame: &Arc<Frame>,
    terms: ProviderTerms,
    ledger: &Ledger,
    set_ups: &mut JoinSet<()>,
) -> (Arc<Subject>, AbortHandle) {
    let subject = Arc::new(Subject {
        terms,
        line: Line::default(),
        claims: OnceLock::new(),
        registered: OnceLock::new(),
        plan: OnceLock::new(),
        watched: ledger.watch.get(&terms.provider).cloned(),
        watched_claims: OnceLock::new(),
        watched_claims_refused: AtomicBool::new(false),
        open: OpenChallenges::default(),
    });
    let (measurer, frame, shared) = (measurer.clone(), frame.clone(), subject.clone());
    let set_up = set_ups.spawn(async move {
        let Some(record) = frame.records.get(&terms.provider) else { return };
        if let Err(error) = measurer.recall(&shared, &frame, record).await {
            warn!(epoch = frame.setting.epoch, %error, "claim sets that are kept cannot be read");
        }
        let pause = Duration::from_millis(frame.setting.params.slot_ms);
        // What went wrong is not logged: an outage is a measurement, and secret until the reveals.
        while measurer.set_up(&shared, &frame, record).await.is_err() {
            sleep(pause).await;
        }
    });
    (subject, set_up)
}

impl Measurer {
    /// Takes what is kept: the epoch's plan if it was begun before, and claim sets of earlier epochs. They come before the provider serves
    /// them again, if it ever does.
    async fn recall(&self, subject: &Subject, frame: &Frame, record: &ProviderRecord) -> Result<(), StoreError> {
        let epoch = frame.setting.epoch;
        if let Some((_, plan)) = self.store.plans(record.id, epoch).await?.pop().filter(|(of, _)| *of == epoch) {
            subject.plan.get_or_init(|| plan);
        }
        if let Some(claims) = self.store.claims(&subject.terms.keys.claims.hash).await? {
            subject.registered.get_or_init(|| Arc::new(claims));
            // What was released is asked for once there is a connection.
            match self.accept(subject, frame, record, None).await {
                Err(Refused::Store(error)) => return Err(error),
                Ok(()) | Err(Refused::Link(_) | Refused::Vanished { .. }) => {}
            }
        }
        let Some(Watched { challenge, .. }) = &subject.watched else { return Ok(()) };
        if !subject.names_registered(challenge)
            && let Some(claims) = self.store.claims(&challenge.claim_root).await?
        {
            self.store.put_claims(epoch, &claims).await?;
            subject.watched_claims.get_or_init(|| Arc::new(claims));
        }
        Ok(())
    }

    async fn set_up(&self, subject: &Subject, frame: &Frame, record: &ProviderRecord) -> Result<(), Refused> {
        let link = match subject.line.open(&record.endpoint, &self.links).await {
            Ok(link) => link,
            Err(error) => {
                subject.watched_claims_refused.store(true, Ordering::Relaxed);
                return Err(error.into());
            }
        };
        // A provider that draws this out only delays its own claims.
        let _ = timeout(set_up_time(&frame.setting.params), link.warm_up()).await;
        // Both are tried, whatever became of the other.
        let watched = self.fetch_watched(subject, frame.setting.epoch, link).await;
        self.fetch_registered(subject, frame, record, link).await?;
        Ok(watched?)
    }

    /// The claim set of the watched challenge, when it is another than the registered one and not kept here: members of a panel change.
    async fn fetch_watched(&self, subject: &Subject, epoch: u64, link: &Link) -> Result<(), LinkError> {
        let Some(challenge) = subject.watched.as_ref().map(|watched| &watched.challenge) else { return Ok(()) };
        if subject.names_registered(challenge) || subject.watched_claims.get().is_some() {
            return Ok(());
        }
        let served = link.earlier_claims(root_of(challenge)).await;
        let claims = served.inspect_err(|_| subject.watched_claims_refused.store(true, Ordering::Relaxed))?;
        if let Err(error) = self.store.put_claims(epoch, &claims).await {
            warn!(epoch, %error, "a claim set could not be kept");
        }
        subject.watched_claims.get_or_init(|| Arc::new(claims));
        Ok(())
    }

    async fn fetch_registered(&self, subject: &Subject, frame: &Frame, record: &ProviderRecord, link: &Link) -> Result<(), Refused> {
        if subject.claims.get().is_some() {
            return Ok(());
        }
        if subject.registered.get().is_none() {
            let claims = link.claims(record.claim_sequence, subject.terms.keys.claims, record.claim_count).await?;
            subject.registered.get_or_init(|| Arc::new(claims));
        }
        self.accept(subject, frame, record, Some(link)).await
    }

    /// Takes the registered set into use, if it may follow the one before, keeps it, and plans whose blocks are asked for.
    async fn accept(&self, subject: &Subject, frame: &Frame, record: &ProviderRecord, link: Option<&Link>) -> Result<(), Refused> {
        let Some(claims) = subject.registered.get().cloned() else { return Ok(()) };
        let epoch = frame.setting.epoch;
        let version = ClaimVersion { epoch, sequence: record.claim_sequence, root: claims.root().hash };
        self.check_releases(record.id, &version, &claims, link).await?;
        subject.claims.get_or_init(|| claims.clone());
        let kept = async {
            self.store.put_claims(epoch, &claims).await?;
            self.store.accept_claims(record.id, &version).await?;
            self.plan(subject, &frame.setting, claims.clone()).await
        };
        if let Err(error) = kept.await {
            warn!(epoch, %error, "a claim set could not be kept");
        }
        Ok(())
    }
}

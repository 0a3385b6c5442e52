//! What members of a committee send each other. Only members are heard ([`tls`]), and nothing that they say is believed: the inbox
//! verifies every statement.

mod client;
mod evidence;
mod heard;
mod service;
pub mod tls;

use std::fmt;

use assay_core::epoch::MessageError;
use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::observation::{Reveal, SignedCommit};
use assay_core::report::{Certificate, Outcome, StoredDigest};
use assay_proto::oracle::v1 as wire;
use async_trait::async_trait;
use bytes::Bytes;

pub use assay_proto::oracle_convert::Message;
pub use client::Outgoing;
pub use evidence::EvidenceCache;
pub use heard::Heard;
pub use service::{CommitteeService, serve};

/// The largest request or reply: the largest message and a little for the fields around it.
const MAX_TRANSPORT_BYTES: usize = assay_proto::oracle_convert::MAX_MESSAGE_BYTES + 64 * 1024;

/// What became of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeliverOutcome {
    /// Verified and stored: it survives a crash.
    Accepted,
    /// It was stored before.
    Known,
    /// Not now; the sender tries again.
    Later,
    /// Not taken; whether to try again depends on the reason.
    Refused(Refusal),
}

impl DeliverOutcome {
    /// The node is stopping: the sender tries again.
    pub fn stopping() -> Self {
        Self::Later
    }
}

/// Why a statement is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What the sender goes by.
    pub reason: Reason,
    /// For its log.
    pub text: String,
}

/// What a sender can go by. All but [`Reason::NotYet`] are for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The epoch is not known yet, or what this depends on is not held yet.
    NotYet,
    /// A signature does not verify.
    BadSignature,
    /// Its author is not in the committee.
    Stranger,
    /// After the deadline.
    TooLate,
    /// It contradicts itself or the epoch's frozen values.
    Invalid,
}

impl Refusal {
    /// Refused for now.
    pub fn later(text: &str) -> Self {
        Self { reason: Reason::NotYet, text: text.to_owned() }
    }

    /// Refused because it came after its deadline.
    pub fn too_late(text: &str) -> Self {
        Self { reason: Reason::TooLate, text: text.to_owned() }
    }

    /// Refused because of what it says.
    pub fn invalid(text: String) -> Self {
        Self { reason: Reason::Invalid, text }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<MessageError> for Refusal {
    fn from(error: MessageError) -> Self {
        let reason = match error {
            MessageError::Signature(_) => Reason::BadSignature,
            MessageError::Stranger(_) => Reason::Stranger,
            MessageError::Epoch { .. } | MessageError::Leader { .. } | MessageError::List | MessageError::Incomplete => Reason::Invalid,
        };
        Self { reason, text: error.to_string() }
    }
}

impl From<Reason> for wire::Reason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NotYet => Self::NotYet,
            Reason::BadSignature => Self::BadSignature,
            Reason::Stranger => Self::Stranger,
            Reason::TooLate => Self::TooLate,
            Reason::Invalid => Self::Invalid,
        }
    }
}

impl From<DeliverOutcome> for wire::DeliverReply {
    fn from(outcome: DeliverOutcome) -> Self {
        let taken =
            |outcome: wire::Outcome| Self { outcome: outcome.into(), reason: wire::Reason::Unspecified.into(), text: String::new() };
        match outcome {
            DeliverOutcome::Accepted => taken(wire::Outcome::Accepted),
            DeliverOutcome::Known => taken(wire::Outcome::Known),
            DeliverOutcome::Later => Refusal::later("not now").into(),
            DeliverOutcome::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<Refusal> for wire::DeliverReply {
    fn from(refusal: Refusal) -> Self {
        let reason = wire::Reason::from(refusal.reason).into();
        Self { outcome: wire::Outcome::Refused.into(), reason, text: refusal.text }
    }
}

impl DeliverOutcome {
    /// What a peer's reply means. Replies of a later version that say nothing known are tried again.
    fn from_reply(reply: wire::DeliverReply) -> Self {
        let reason = match reply.reason() {
            wire::Reason::BadSignature => Reason::BadSignature,
            wire::Reason::Stranger => Reason::Stranger,
            wire::Reason::TooLate => Reason::TooLate,
            wire::Reason::Invalid => Reason::Invalid,
            wire::Reason::NotYet | wire::Reason::Unspecified => Reason::NotYet,
        };
        match reply.outcome() {
            wire::Outcome::Accepted => Self::Accepted,
            wire::Outcome::Known => Self::Known,
            wire::Outcome::Refused => Self::Refused(Refusal { reason, text: reply.text.chars().take(200).collect() }),
            wire::Outcome::Unspecified => Self::Later,
        }
    }

    /// Whether sending it again could change anything.
    fn is_final(&self) -> bool {
        match self {
            Self::Accepted | Self::Known => true,
            Self::Later => false,
            Self::Refused(refusal) => refusal.reason != Reason::NotYet,
        }
    }
}

/// The node as its peers see it. Calls are concurrent and may be dropped at any await: each must leave the node whole.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    /// Verifies a statement and stores it before it says `Accepted`. Repeating it is harmless.
    async fn deliver(&self, message: Message) -> DeliverOutcome;
    /// A commit, by its digest, and the reveal that opens it, if both are held: a commit is opened by what may be shown already.
    async fn opened(&self, epoch: u64, oracle: OracleId, commit_digest: Hash32) -> Option<(SignedCommit, Reveal)>;
    /// A report that we signed or hold certified, by the digest that the contract keeps.
    async fn report(&self, epoch: u64, digest: StoredDigest) -> Option<(Option<Certificate>, Outcome)>;
    /// All bundles that we recorded of a provider in an epoch, by slot and order of storing; `None` before reveals are open.
    async fn evidence(&self, epoch: u64, provider: ProviderId) -> Option<Vec<Bytes>>;
    /// What we hold of a member's own commits, bit-votes and report signatures since an epoch, as encoded envelopes.
    async fn statements(&self, oracle: OracleId, since_epoch: u64) -> Vec<Bytes>;
}

#[cfg(test)]
mod tests;

//! Groups of 16 KiB from anywhere in a replica, each checked against the replica's root.

use std::collections::VecDeque;
use std::time::Duration;

use assay_core::claim::Claim;
use assay_core::hash::Hash32;
use assay_core::slice::group::{Group, verify_group};
use assay_core::slice::group_count;
use assay_proto::convert::wire_bytes;
use assay_proto::provider::v1 as wire;
use tokio::time::timeout;
use tonic::Streaming;

use crate::client::{Client, within};
use crate::error::BuilderError;

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The most that one call may ask for.
const GROUPS_PER_CALL: usize = 4096;

/// What came for one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// Its bytes lead to the root.
    Held(Vec<u8>),
    /// The provider gives nothing for it.
    Missing,
    /// The provider gives something that does not lead to the root.
    Wrong,
}

/// Groups of one replica, in the order asked for.
pub struct Groups<'a> {
    client: &'a mut Client,
    root: Hash32,
    total_bytes: u64,
    wanted: Box<dyn Iterator<Item = u64> + Send + 'a>,
    asked: VecDeque<u64>,
    replies: Option<Streaming<wire::Group>>,
}

impl<'a> Groups<'a> {
    /// Will ask for `wanted`, some thousands in one call.
    pub fn new(client: &'a mut Client, claim: &Claim, wanted: impl Iterator<Item = u64> + Send + 'a) -> Self {
        let wanted = Box::new(wanted);
        Self { client, root: claim.root, total_bytes: claim.bytes(), wanted, asked: VecDeque::new(), replies: None }
    }

    /// The next group's number and what came for it; `None` behind the last.
    pub async fn next(&mut self) -> Result<Option<(u64, Found)>, BuilderError> {
        if self.asked.is_empty() {
            self.ask().await?;
        }
        let Some(group) = self.asked.pop_front() else { return Ok(None) };
        let reply = match &mut self.replies {
            Some(replies) => timeout(CALL_TIMEOUT, replies.message()).await.map_err(|_| BuilderError::Timeout("RetrieveGroups"))??,
            None => None,
        };
        // A stream that ends too early gives nothing for the rest.
        Ok(Some((group, reply.map_or(Found::Missing, |reply| self.judge(group, reply)))))
    }

    async fn ask(&mut self) -> Result<(), BuilderError> {
        self.asked = self.wanted.by_ref().take(GROUPS_PER_CALL).collect();
        if !self.asked.is_empty() {
            let request = wire::RetrieveGroupsRequest { root: wire_bytes(&self.root.0), groups: self.asked.iter().copied().collect() };
            let call = self.client.ingest.retrieve_groups(request);
            self.replies = Some(within(CALL_TIMEOUT, "RetrieveGroups", call).await?.into_inner());
        }
        Ok(())
    }

    fn judge(&self, number: u64, reply: wire::Group) -> Found {
        if reply.data.is_empty() {
            return Found::Missing;
        }
        match Group::try_from(reply) {
            Ok(group) if verify_group(&self.root, self.total_bytes, number, &group).is_ok() => Found::Held(group.bytes),
            _ => Found::Wrong,
        }
    }
}

/// Groups of a claimed replica.
pub fn groups_of(claim: &Claim) -> u64 {
    group_count(claim.bytes())
}

//! Where a process may die around a write: named points before and after each one that must survive it.
//!
//! In production a point is one atomic load. The crash tests' own binary installs a hook that ends the process at a point; no config key,
//! argument or environment variable of another binary reaches it.

use std::sync::OnceLock;

type Hook = Box<dyn Fn(&'static str) + Send + Sync>;

static HOOK: OnceLock<Hook> = OnceLock::new();

/// A kind of durable write, and the names of the points around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Write {
    before: &'static str,
    after: &'static str,
}

macro_rules! writes {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        impl Write {
            $($(#[$doc])* pub const $kind: Self = Self { before: concat!($name, ".before"), after: concat!($name, ".after") };)*
        }

        /// Every point there is, by its name.
        pub const POINTS: &[&str] = &[$(concat!($name, ".before"), concat!($name, ".after"),)*];
    };
}

writes! {
    /// A bundle of transcripts.
    EVIDENCE = "evidence",
    /// Our observations of an epoch, in the log of inputs.
    OBSERVATION = "observation",
    /// A commit of ours, in the record of what the verdict key signed.
    COMMIT = "commit",
    /// A bit-vote of ours, in that record.
    BIT_VOTE = "bit-vote",
    /// Our signature under a report, in that record.
    REPORT = "report",
    /// A statement of ours, in the log of inputs.
    STATEMENT = "statement",
    /// A peer's statement, in the log of inputs.
    RECEIVED = "received",
    /// A report that is about to be signed.
    CANDIDATE = "candidate",
    /// A certified report.
    OUTCOME = "outcome",
    /// What the chain accepted.
    ACCEPTED = "accepted",
    /// A transaction that is wanted.
    QUEUED = "outbox.queued",
    /// A transaction's nonce and signed bytes.
    SIGNED = "outbox.signed",
    /// That a transaction was sent.
    BROADCAST = "outbox.broadcast",
    /// That a transaction is in a block.
    MINED = "outbox.mined",
    /// That this block is final.
    FINAL = "outbox.final",
}

/// Passes a point: does nothing unless a hook is installed.
pub fn point(name: &'static str) {
    if let Some(hook) = HOOK.get() {
        hook(name);
    }
}

/// Does a durable write between its two points. A write that fails does not pass the second.
pub async fn durable<T, E>(write: Write, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    point(write.before);
    let done = work.await?;
    point(write.after);
    Ok(done)
}

/// Calls `hook` at every point from now on; `false` when there is a hook already, which stays. For tests only.
pub fn install(hook: impl Fn(&'static str) + Send + Sync + 'static) -> bool {
    HOOK.set(Box::new(hook)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    // Defence: `?` in `durable`. Without it a write that failed would count as one that is on disk.
    #[tokio::test]
    async fn a_write_passes_its_points_in_order_and_the_second_only_when_it_succeeded() {
        let passed = Arc::new(Mutex::new(Vec::new()));
        let seen = passed.clone();
        assert!(install(move |name| seen.lock().unwrap().push(name)));
        assert!(!install(|_| {}), "the first hook stays");
        let inner = passed.clone();
        durable(Write::EVIDENCE, async move {
            inner.lock().unwrap().push("written");
            Ok::<_, ()>(())
        })
        .await
        .unwrap();
        durable(Write::OUTCOME, async { Err::<(), _>("disk full") }).await.unwrap_err();
        assert_eq!(*passed.lock().unwrap(), ["evidence.before", "written", "evidence.after", "outcome.before"]);
        assert!(passed.lock().unwrap().iter().filter(|name| **name != "written").all(|name| POINTS.contains(name)));
    }

    #[test]
    fn no_two_points_share_a_name() {
        let names: std::collections::BTreeSet<_> = POINTS.iter().collect();
        assert_eq!(names.len(), POINTS.len());
    }
}

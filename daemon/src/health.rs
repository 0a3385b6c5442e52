//! Whether a process does its work: one line a component.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// The shared health board. Cloning shares it.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Option<String>>>>);

/// What a health endpoint answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// Whether every component that reported is well.
    pub ready: bool,
    /// The components that are not, each with what is wrong.
    pub problems: BTreeMap<&'static str, String>,
}

impl Health {
    /// A board with these components, each unwell ("starting") until it reports.
    pub fn starting(components: &[&'static str]) -> Self {
        let health = Self::default();
        for component in components {
            health.problem(component, "starting");
        }
        health
    }

    /// The component works.
    pub fn well(&self, component: &'static str) {
        self.set(component, None);
    }

    /// The component does not work, and why.
    pub fn problem(&self, component: &'static str, what: impl Into<String>) {
        self.set(component, Some(what.into()));
    }

    /// The board at this moment.
    pub fn report(&self) -> HealthReport {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let problems: BTreeMap<_, _> = board.iter().filter_map(|(name, state)| state.clone().map(|what| (*name, what))).collect();
        HealthReport { ready: problems.is_empty(), problems }
    }

    fn set(&self, component: &'static str, state: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(component, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_component_is() {
        let health = Health::starting(&["chain", "store"]);
        health.well("store");
        let report = health.report();
        assert!(!report.ready);
        assert_eq!(report.problems, BTreeMap::from([("chain", "starting".to_owned())]));
        health.well("chain");
        assert!(health.report().ready);
    }
}

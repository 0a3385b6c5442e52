//! The agent on a provider's machine: stores claimed replicas, answers challenges.

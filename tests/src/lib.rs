//! Harness, devnet and end-to-end tests.

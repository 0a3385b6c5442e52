//! The auditor: recomputes an epoch from what an API says, without trust in that API, and compares it with the chain.
//!
//! [`verify`] and [`evidence`] are pure: documents in, [`findings`] out. [`online`] fetches the documents, [`cli`] shows the findings.
//! `docs/audit.md` says what an audit proves and what it does not.

pub mod api;
pub mod beacon;
pub mod claims;
pub mod cli;
pub mod evidence;
pub mod findings;
pub mod misbehaviour;
pub mod online;
pub mod verify;

//! Puts challenges to providers and measures.
//!
//! The prober takes clock readings; what they and the answers mean is decided in `assay_core::transcript`. For each provider of an epoch
//! open a [`link::Line`], warm it up and fetch its claims, as far as the provider lets you; for each slot call [`measure::run_slot`] and
//! then [`seal::seal`].
//!
//! Everything a provider sends is hostile: where it is connected to is vetted once and pinned ([`endpoint`]), every reply is bounded in
//! bytes and time ([`link`]), and nothing is believed before it is parsed and checked. Nothing here writes an outcome to a log:
//! measurements of an epoch stay secret until its reveals.

pub mod bandwidth;
pub mod clock;
pub mod convert;
pub mod endpoint;
pub mod link;
pub mod measure;
pub mod seal;
pub mod watchdog;

//! What `docs/STORAGE.md` says of chances, counted: how often a loss is found, that every block and chunk is asked for as often as any
//! other, how many audits want slices, and that an honest provider never looks like one that lost data, however slow it is.
//!
//! Challenges are the core's own, drawn from seeds that are fixed here, so that every run counts the same. Bounds for what is counted are
//! quantiles of 99.99 % or three standard deviations.

mod draws;
mod slow;

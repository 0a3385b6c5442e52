//! The data owner's side: encrypt, upload, register.
//!
//! Everything streams, and no step holds more than a few megabytes. An object is read three times: for its id, for root and tags of its
//! replica, and for the upload.

pub mod archive;
pub mod cli;
pub mod client;
pub mod durable;
pub mod encrypt;
pub mod error;
pub mod groups;
pub mod keys;
pub mod manifest;
pub mod parallel;
pub mod prepare;
pub mod progress;
pub mod range;
pub mod register;
pub mod release;
pub mod relocate;
pub mod restore;
pub mod source;
pub mod status;
pub mod upload;
pub mod verify;

mod spool;

//! The data owner's side: encrypt, upload, register.
//!
//! Everything streams. An object is read three times: for its id, for the root of its replica, and for the upload; no step holds more than
//! a few blocks.

pub mod archive;
pub mod cli;
pub mod client;
pub mod error;
pub mod keys;
pub mod register;
pub mod restore;
pub mod source;
pub mod upload;

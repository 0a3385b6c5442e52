//! Harness, devnet and end-to-end tests.
//!
//! Real processes, real sockets, a real chain: nothing here is a mock. Whatever is started is ended on drop.

pub mod anvil;
pub mod baseline;
pub mod beacon;
pub mod binaries;
pub mod clock;
pub mod deploy;
pub mod devnet;
pub mod fuzzing;
pub mod mesh;
pub mod mortal;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod record;
pub mod report;
pub mod rpc_proxy;

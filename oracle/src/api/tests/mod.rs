//! The interface over real HTTP on loopback, a real database, and a clock that the tests set.

mod limits;
mod routes;
mod secrecy;
mod storage;
mod world;

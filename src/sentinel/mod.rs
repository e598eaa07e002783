//! The Sentinel protocol, without sockets, files and clocks: one file per section of
//! spec/protocol.md.
#![forbid(unsafe_code)]

pub mod action;
pub mod election;
pub mod failover;
pub mod instance;
pub mod link;
pub mod setup;
pub mod vote;

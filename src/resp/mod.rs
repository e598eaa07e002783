//! RESP, the wire format: requests from clients, replies from servers, and the writers for both.
//!
//! Everything here works on byte slices and `Vec<u8>`; nothing knows connections or commands.
#![forbid(unsafe_code)]

#[cfg(test)]
#[path = "../../tests/support/feed.rs"]
mod feed;
pub mod reply;
pub mod request;
pub mod write;

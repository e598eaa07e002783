//! What is fuzzed; each file says at its head what must hold.

mod acl;
mod client;
mod config;
#[path = "../../support/feed.rs"]
mod feed;
mod hello;
mod house;
mod info;
mod reply;
mod request;
mod resp;
mod text;

use crate::engine::{Target, hash};
use sentineld::util::rng::Rng;

/// All of them.
pub const TARGETS: &[Target] = &[
    request::TARGET,
    reply::TARGET,
    hello::TARGET,
    info::TARGET,
    config::TARGET,
    client::TARGET,
    acl::TARGET,
    text::TARGET,
];

/// The target of this name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Cuts bytes into a few pieces; the same bytes always into the same.
fn cut(bytes: &[u8]) -> Vec<&[u8]> {
    let mut rng = Rng::new(hash(bytes));
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = if rng.below(2) == 0 { 4 } else { rest.len() as u64 };
        let at = (1 + rng.below(most) as usize).min(rest.len());
        pieces.push(&rest[..at]);
        rest = &rest[at..];
    }
    pieces
}

/// The input in parts, which are divided by lines of this text.
fn parts<'a>(input: &'a [u8], divider: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(divider.len()).position(|window| window == divider) {
        parts.push(&rest[..at]);
        rest = &rest[at + divider.len()..];
    }
    parts.push(rest);
    parts
}

/// One number out of several.
fn signature(parts: &[u64]) -> u64 {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
    hash(&bytes)
}

//! Clients: their requests, replies, subscriptions and rights.
#![forbid(unsafe_code)]

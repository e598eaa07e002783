//! The requests, by subject. A line of a table is one of
//!
//! - `WORDS …`: a request on connection `a`; `"…"` is one word, with escapes; `<name>` is what the
//!   twin has its own value for. In RESP3 passes command names are typed in lower case;
//! - `conn> WORDS …`: on the connection of that name, which is opened when first named (a name
//!   that begins with `bare` says no HELLO and needs no login);
//! - `REQUEST ;; REQUEST`: several in one write;
//! - `raw> bytes`, `inline> bytes`: sent as they are, raw ones on a connection of their own;
//! - `message> conn`: waits for a message of Pub/Sub;
//! - `close> conn`.
//!
//! A line that ends in `\` goes on in the next one, and one that begins with `#` is a comment.
//!
//! After each request a PING with a marker is sent, and everything that comes before its answer
//! is compared: a reply too many or too few shows at the place where it happens.

pub mod acl;
pub mod changes;
pub mod client;
pub mod command;
pub mod connection;
pub mod failover;
pub mod locked;
pub mod protocol;
pub mod pubsub;
pub mod scripts;
pub mod sentinel;

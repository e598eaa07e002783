//! The configuration file: directives, loading, and rewriting (spec/config.md).
//!
//! Pure: text in, settings out; state in, text out. Files are read through [`load::Files`].
#![forbid(unsafe_code)]

pub mod load;
pub mod rewrite;
pub mod settings;

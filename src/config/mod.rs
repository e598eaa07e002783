//! The configuration file: directives, loading, and rewriting (spec/config.md).
//!
//! Pure: text in, settings out; state in, text out. Files are read through [`load::Files`].
//!
//! - [`settings`]: what the server's own directives set; [`crate::sentinel::setup`] holds the rest.
//! - [`load`]: the way of a text through includes and queues; `directives` and `ignored` are its
//!   tables, `values` its arguments, `sentinel_lines` the part that begins with `sentinel`.
//! - [`options`]: command-line words to lines.
//! - [`lines`]: when two lines speak of the same thing, when they say the same, and the comments
//!   that correct included files.
//! - [`kept`]: settings that nothing changes, so that none is lost with the file.
//! - [`render`] and [`mod@rewrite`]: state to lines, lines into a file; [`again`] does it quickly,
//!   with lines that are kept as [`packed`] ones.
#![forbid(unsafe_code)]

pub mod again;
mod directives;
mod ignored;
pub mod kept;
pub mod lines;
pub mod load;
pub mod options;
pub mod packed;
pub mod render;
pub mod rewrite;
mod sentinel_lines;
pub mod settings;
mod values;

/// The directives with effect: those of the server, then the kinds of `sentinel` lines.
pub fn directive_names() -> (Vec<&'static str>, Vec<&'static str>) {
    (directives::names().collect(), lines::form_names().collect())
}

#[cfg(test)]
mod conf_tests;
#[cfg(test)]
mod kept_tests;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod rewrite_tests;
#[cfg(test)]
mod test_files;

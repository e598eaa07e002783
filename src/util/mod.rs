//! Small tools without any knowledge of Sentinel: time, random numbers, glob, words, numbers,
//! texts.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod defect;
pub mod glob;
pub mod ident;
pub mod num;
pub mod rng;
pub mod text;
pub mod time;
pub mod words;

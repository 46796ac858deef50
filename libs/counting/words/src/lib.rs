//! Numbers in English words, exactly as Python's num2words writes them with `lang='en'`.
//! Pure: no I/O, and no allocation but that of the caller's buffer.
//!
//! [`push`] writes a number, [`parse`] reads it, and [`lines`] handles the text in which
//! line n is n in words.

mod group;
pub mod lines;
mod parse;
mod write;

pub use parse::{NotANumber, parse};
pub use write::{LONGEST, is_written_as, push, words};

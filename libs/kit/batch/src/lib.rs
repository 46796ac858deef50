//! Group commit: concurrent callers share one operation, and each gets its own result.
//!
//! Callers hand items to a [`Batcher`] and wait for their results. A [`Worker`] takes the
//! items that wait, up to the [`Limits`], and carries them out in one operation, such as a
//! transaction or an append with one fsync. Items that arrive meanwhile form the next
//! batch, so batches grow with the load and no timer delays a lone item.
//!
//! ```
//! use kit_batch::{Batcher, Failure, Limits, Metrics, Operation};
//!
//! /// Appends lines to a file.
//! #[derive(Default)]
//! struct Append {
//!     length: usize,
//! }
//!
//! impl Operation for Append {
//!     type Item = String;
//!     type Output = usize;
//!     type Outputs = Vec<usize>;
//!     type Error = String;
//!
//!     fn weight(line: &String) -> usize {
//!         line.len()
//!     }
//!
//!     async fn execute(&mut self, lines: &[String]) -> Result<Vec<usize>, Failure<String>> {
//!         // Here the lines would be written and synced; on failure: Err(Failure::Batch(error)).
//!         let numbers = (self.length..).take(lines.len()).collect();
//!         self.length += lines.len();
//!         Ok(numbers)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let limits = Limits { waiting: 1024, items: 256, weight: 1 << 20 };
//! let (batcher, worker) = Batcher::new(limits, Metrics::default());
//! let task = tokio::spawn(worker.run(Append::default()));
//! assert_eq!(batcher.call("one".to_owned()).await, Ok(0));
//! drop(batcher);
//! task.await.unwrap();
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **Order.** Items enter batches in the order in which they were submitted. With one
//!   worker, batches are carried out in that order too.
//! - **One answer.** Every submitted item gets exactly one answer. An item whose caller has
//!   gone away is carried out all the same.
//! - **Bounds.** At most [`Limits::waiting`] items wait; a caller beyond that gets
//!   [`Error::Full`] at once.
//! - **Failure.** The operation says which items an error concerns: see [`Failure`]. An item
//!   that is refused gets the error alone; the others of its batch are carried out in
//!   [`Parts`]. If something is locked, each item is carried out alone. The operation itself repeats requests to a store that is unavailable.
//! - **Drain.** Once every [`Batcher`] is dropped, the workers carry out what waits and end.
//! - **Panic.** A worker that panics or is aborted answers the items it holds with
//!   [`Error::Stopped`]. When the last worker is gone, all callers get that.
//!
//! # Several batches at once
//!
//! A worker carries out one batch at a time, [`Worker::run_many`] several in one task. For
//! several tasks, clone the worker: clones take from the same queue. Either way the order
//! between batches is given up.

mod batcher;
mod metrics;
mod operation;
mod parts;
mod queue;
mod worker;

pub use crate::batcher::{Batcher, Error, Pending};
pub use crate::metrics::Metrics;
pub use crate::operation::{Failure, Operation};
pub use crate::parts::Parts;
pub use crate::worker::Worker;

/// The bounds of a [`Batcher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Items that may wait for a worker, at least 1. Items in a batch do not count.
    pub waiting: usize,
    /// Items in one batch, at least 1.
    pub items: usize,
    /// Sum of the weights in one batch; [`usize::MAX`] for no limit.
    pub weight: usize,
}

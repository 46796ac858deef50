//! What is done with a batch.

/// Carries out a batch, such as a transaction or an append with one fsync.
pub trait Operation: Send {
    /// What callers hand in.
    type Item: Send + Sync;
    /// The result of an item.
    type Output: Send;
    /// The results of a batch.
    type Outputs: IntoIterator<Item = Self::Output>;
    /// Why an item has no result.
    type Error: Clone + Send;

    /// The share that an item takes of [`Limits::weight`](crate::Limits::weight), such as
    /// bytes or rows. An item that reaches the limit by itself is alone in its batch.
    fn weight(_item: &Self::Item) -> usize {
        0
    }

    /// Carries out `items`, at least one, and returns a result for each in the same order.
    /// An item without a result is answered with [`Error::Stopped`](crate::Error::Stopped).
    fn execute(
        &mut self,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Self::Outputs, Failure<Self::Error>>> + Send;
}

/// Which items an error of an operation concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure<E> {
    /// One of the items is at fault. The worker repeats the operation with the first half
    /// and then the second half of the items, so that only the item at fault gets the error.
    /// The failed operation must have had no effect.
    Item(E),
    /// Some of the items need something that another session has locked, and the operation has
    /// waited for it in vain and had no effect. The worker repeats the operation with each item
    /// alone, because halves would repeat the wait more often. Each failure then concerns the
    /// item alone. After four items that waited in vain, the others get the error too, since
    /// everything may be locked.
    Locked(E),
    /// Every item of the batch that has no result yet gets the error.
    Batch(E),
    /// Every item of the batch that has no result yet gets the error, and so does every item
    /// that waits: for a store that is away, so that no caller waits for a second failure.
    All(E),
}

impl<E> Failure<E> {
    /// The error, whatever it concerns.
    pub(crate) fn into_error(self) -> E {
        match self {
            Self::Item(error) | Self::Locked(error) | Self::Batch(error) | Self::All(error) => error,
        }
    }
}

//! The messages of a batch, fairly between clients.

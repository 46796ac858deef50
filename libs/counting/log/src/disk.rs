//! What the log does with its file.

use std::io;

/// The operations on an open file. Tests put a disk that crashes behind them.
pub trait Disk {
    /// Opens the file again and forgets cached contents, as far as the system allows. Creates
    /// the file if it has been removed.
    fn reopen(&mut self) -> io::Result<()>;

    /// Length of the file in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Reads bytes at an offset. Returns how many; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes at an offset. After an error, any part of them may be written.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Shortens the file, and makes the new length durable.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Makes everything that was written durable. After an error, nothing that was written
    /// since the last sync may be durable, even if a later sync succeeds.
    fn sync(&mut self) -> io::Result<()>;
}

impl<D: Disk + ?Sized> Disk for Box<D> {
    fn reopen(&mut self) -> io::Result<()> {
        (**self).reopen()
    }

    fn length(&self) -> io::Result<u64> {
        (**self).length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        (**self).write_at(bytes, offset)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        (**self).truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }
}

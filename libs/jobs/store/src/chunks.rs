//! Lists in parts that fit into one statement each.

/// Most items in one statement, which bounds how long other transactions wait for its locks.
const CHUNK: usize = 200;

/// Most bytes of payloads and results in one statement: servers limit the length of a
/// packet, to 16 MB or more.
const CHUNK_BYTES: usize = 3 * 1024 * 1024;

/// Splits `items`, of `size` bytes each, into parts that fit into one statement.
pub(crate) fn chunks<T>(items: &[T], size: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut chunks = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, item) in items.iter().enumerate() {
        let size = size(item);
        if index > start && (index - start >= CHUNK || bytes + size > CHUNK_BYTES) {
            chunks.push(&items[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < items.len() {
        chunks.push(&items[start..]);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_small_and_hold_everything_in_order() {
        let sizes: Vec<usize> = (0..1000).map(|i| if i % 100 == 7 { CHUNK_BYTES } else { 10 }).collect();
        let chunks = chunks(&sizes, |size| *size);
        assert_eq!(chunks.concat(), sizes);
        for chunk in chunks {
            assert!(chunk.len() <= CHUNK && !chunk.is_empty());
            assert!(chunk.len() == 1 || chunk.iter().sum::<usize>() <= CHUNK_BYTES);
        }
        assert_eq!(super::chunks::<u8>(&[], |_| 1), Vec::<&[u8]>::new());
    }
}

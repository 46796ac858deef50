//! Lists in parts that fit into one statement, and into one packet.

/// Most items in one statement, which bounds how long other transactions wait for its locks.
const CHUNK: usize = 200;

/// Most bytes of payloads and results in one statement, so that a script with its hexadecimal
/// literals stays small. [`fitting`] observes the limit of the server.
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

/// Splits `items` into parts whose scripts, as `script` writes them, are at most `longest`
/// bytes long. A part of one item may be longer: the store refuses to run it.
pub(crate) fn fitting<'a, T>(
    items: &'a [T],
    longest: usize,
    script: &impl Fn(&[T]) -> String,
) -> Vec<(&'a [T], String)> {
    if items.is_empty() {
        return Vec::new();
    }
    let sql = script(items);
    if items.len() == 1 || sql.len() <= longest {
        return vec![(items, sql)];
    }
    let (first, second) = items.split_at(items.len() / 2);
    let mut parts = fitting(first, longest, script);
    parts.extend(fitting(second, longest, script));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_if_their_items_do_and_hold_everything_in_order() {
        let script = |items: &[usize]| "x".repeat(10 + items.iter().sum::<usize>());
        let items: Vec<usize> = (0..50).map(|i| if i == 20 { 200 } else { i % 7 + 1 }).collect();
        let parts = fitting(&items, 60, &script);
        assert_eq!(parts.iter().flat_map(|(items, _)| items.to_vec()).collect::<Vec<_>>(), items);
        for (items, sql) in &parts {
            assert_eq!(*sql, script(items));
            assert!(sql.len() <= 60 || *items == [200], "{items:?}");
        }
        assert!(parts.len() < 15, "{parts:?}");
        assert_eq!(fitting(&items, 1000, &script), [(&items[..], script(&items))]);
        assert_eq!(fitting(&[], 60, &script), []);
    }

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

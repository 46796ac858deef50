//! Pages of lists.

/// Cuts `rows` to a page of `limit` rows. A handler reads one row more than it answers with: that
/// row shows whether there is a next page. Returns the page and, if there is a next one, the `key`
/// of its last row, after which the next page begins.
#[must_use]
pub fn page_of<T, K>(mut rows: Vec<T>, limit: u32, key: impl FnOnce(&T) -> K) -> (Vec<T>, Option<K>) {
    let limit = limit as usize;
    let has_next = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_next).map(key);
    (rows, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_with_a_next_one_has_a_key() {
        let page = |rows| page_of(rows, 2, |row: &i32| row * 10);
        assert_eq!(page(vec![]), (vec![], None));
        assert_eq!(page(vec![1, 2]), (vec![1, 2], None));
        assert_eq!(page(vec![1, 2, 3]), (vec![1, 2], Some(20)));
    }
}

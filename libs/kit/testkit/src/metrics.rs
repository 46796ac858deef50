//! Reads the text of `/metrics`.

/// The value of a series, given by its name and labels as the text has them. `None` if there is no
/// such series.
#[must_use]
pub fn metric<'a>(text: &'a str, series: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

#[cfg(test)]
mod tests {
    use super::metric;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let text = "# TYPE a gauge\na_total 1\na 2\na{b=\"c\"} 3.5\n";
        assert_eq!(metric(text, "a"), Some("2"));
        assert_eq!(metric(text, "a{b=\"c\"}"), Some("3.5"));
        assert_eq!(metric(text, "a_tot"), None);
    }
}

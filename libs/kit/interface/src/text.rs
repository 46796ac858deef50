//! Fixed text in place of what varies.

use std::collections::BTreeSet;

/// Puts each tag on a line of its own; removes the versions of files and the ports of
/// loopback addresses.
pub(crate) fn page(html: &str) -> String {
    let mut text = String::new();
    for line in html.replace("><", ">\n<").lines() {
        text.push_str(&without_port(&without_version(line)));
        text.push('\n');
    }
    text
}

/// `static/style.css?0123abcd"` becomes `static/style.css?VERSION"`.
fn without_version(line: &str) -> String {
    let mut parts = line.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(part.len());
        let is_version = end > 0 && part[end..].starts_with('"');
        text.push('?');
        text.push_str(if is_version { "VERSION" } else { &part[..end] });
        text.push_str(&part[end..]);
    }
    text
}

/// `127.0.0.1:8000` becomes `127.0.0.1:PORT`.
fn without_port(line: &str) -> String {
    const LOOPBACK: &str = "127.0.0.1:";
    let mut parts = line.split(LOOPBACK);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(LOOPBACK);
        text.push_str("PORT");
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    text
}

/// The comments of a text of metrics, each followed by its samples: their names with the
/// names of their labels.
pub(crate) fn metrics(text: &str) -> String {
    let mut lines = Vec::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        let line = if line.starts_with('#') { line.to_owned() } else { sample(line) };
        if seen.insert(line.clone()) {
            lines.push(line + "\n");
        }
    }
    lines.concat()
}

fn sample(line: &str) -> String {
    let end = line.find(['{', ' ']).unwrap_or(line.len());
    let labels: Vec<&str> = line[end..].split(['{', ',']).filter_map(|pair| Some(pair.split_once("=\"")?.0)).collect();
    format!("{}{{{}}}", &line[..end], labels.join(","))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_page_has_one_tag_a_line_and_no_versions() {
        let html = r#"<p><a href="a.css?0a1b">what?</a><a href="?page=2">2</a>127.0.0.1:80/</p>"#;
        let wanted = "<p>\n<a href=\"a.css?VERSION\">what?</a>\n<a href=\"?page=2\">2</a>127.0.0.1:PORT/</p>\n";
        assert_eq!(super::page(html), wanted);
    }

    #[test]
    fn metrics_have_labels_and_no_values() {
        let text = "# HELP a Things.\n# TYPE a counter\na_total{x=\"1\",y=\"/b\"} 5\na_total{x=\"2\",y=\"/c\"} 7\nb 1\n# EOF\n";
        assert_eq!(super::metrics(text), "# HELP a Things.\n# TYPE a counter\na_total{x,y}\nb{}\n# EOF\n");
    }
}

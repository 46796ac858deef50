//! The files that pages link to.

use testkit::Folder;

use crate::running::System;

#[tokio::test]
async fn every_page_links_to_versions_that_browsers_keep() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    for (page, own) in [
        (&system.index, &[][..]),
        (&system.visits, &["visits.css"]),
        (&system.values, &["live.js", "charts.js", "values.js", "values.css"]),
        (&system.jobs, &["live.js", "charts.js", "jobs.js", "jobs.css"]),
        (&system.round_robin, &["live.js", "round-robin.js", "round-robin.css"]),
    ] {
        let html = testkit::http_get(page).await.unwrap().text().await.unwrap();
        let links: Vec<&str> = html.split('"').filter(|text| text.starts_with("static/")).collect();
        assert_eq!(links.len(), html.matches("<script").count() + html.matches("<link").count(), "{html}");
        for file in own.iter().chain(&["style.css", "icon.svg"]) {
            assert!(links.iter().any(|link| link.starts_with(&format!("static/{file}?"))), "{page}: {file}");
        }
        for link in links {
            let response = testkit::http_get(format!("{page}/{link}")).await.unwrap().error_for_status().unwrap();
            let caching = response.headers()["cache-control"].to_str().unwrap();
            assert!(caching.contains("immutable"), "{page}/{link}: {caching}");
        }
    }
}

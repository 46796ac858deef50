//! The program as a process.

use testkit::{Launch, Redis, eventually, free_port};

use crate::PATIENCE;

fn launch() -> (Launch, u16) {
    let port = free_port();
    let launch = Launch::new(env!("CARGO_BIN_EXE_visit-counter"))
        .env("HOST", "127.0.0.1")
        .env("PORT", port.to_string())
        .env("ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()))
        .env("LOG_FORMAT", "json");
    (launch, port)
}

#[tokio::test]
async fn the_established_variables_are_enough() {
    let redis = Redis::start().await;
    let (launch, port) = launch();
    let process = launch
        .env("ENVIRONMENT", "staging")
        .env("REDIS_HOST", redis.address().ip().to_string())
        .env("REDIS_PORT", redis.address().port().to_string())
        .env("REDIS_DB", "3")
        .spawn();
    let page = async || {
        let response = testkit::http_get(format!("http://127.0.0.1:{port}/")).await.ok()?.error_for_status().ok()?;
        response.text().await.ok()
    };
    let page = eventually(PATIENCE, "the page", page).await;
    assert!(page.contains("Hi from staging environment! Counter: 1<"), "{page}");
    process.terminate();
    let status = process.wait(PATIENCE).await;
    assert!(status.success(), "{status}: {}", process.tail());
}

/// The variables in the help.
async fn variables() -> Vec<String> {
    let process = launch().0.arg("--help").spawn();
    process.wait(PATIENCE).await;
    let lines = process.output().await;
    lines.iter().filter_map(|line| Some(line.split_once("[env: ")?.1.split_once(['=', ']'])?.0.to_owned())).collect()
}

#[tokio::test]
async fn an_empty_variable_is_not_set() {
    let redis = Redis::start().await;
    let (mut launch, port) = launch();
    let needed = [
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", port.to_string()),
        ("ADMIN_LISTEN", format!("127.0.0.1:{}", free_port())),
        ("REDIS_HOST", redis.address().ip().to_string()),
        ("REDIS_PORT", redis.address().port().to_string()),
    ];
    let empty: Vec<String> =
        variables().await.into_iter().filter(|name| needed.iter().all(|(set, _)| set != name)).collect();
    for name in
        ["ENVIRONMENT", "LISTEN", "MAX_CONNECTIONS", "OTEL_EXPORTER_OTLP_ENDPOINT", "REDIS_PASSWORD", "RUST_LOG"]
    {
        assert!(empty.iter().any(|variable| variable == name), "{name} is not in {empty:?}");
    }
    for name in empty {
        launch = launch.env(&name, "").env(name + "_FILE", "");
    }
    for (name, value) in needed {
        launch = launch.env(name, value);
    }
    let process = launch.spawn();
    let page = eventually(PATIENCE, "the page", async || {
        assert_eq!(process.exit_status(), None, "{}", process.tail());
        testkit::http_get(format!("http://127.0.0.1:{port}/")).await.ok()?.text().await.ok()
    })
    .await;
    assert!(page.contains("Hi from local environment! Counter: 1<"), "{page}");
}

#[tokio::test]
async fn bad_configuration_is_one_line_and_exit_2() {
    for (variable, value) in [
        ("HOST", "no such host"),
        ("PORT", "70000"),
        ("PORT", "http"),
        ("LISTEN", "8000"),
        ("PATH_PREFIX", "counter"),
        ("REDIS_URL", "mysql://:hush@localhost"),
        ("REDIS_URL", "redis://:hush@localhost/x"),
        ("REDIS_HOST", "redis://localhost"),
        ("REDIS_PORT", "hush"),
        ("REDIS_DB", "-1"),
        ("REDIS_CA", "hush"),
        ("REDIS_PASSWORD_FILE", "/does/not/exist"),
    ] {
        let process = launch().0.env(variable, value).spawn();
        let status = process.wait(PATIENCE).await;
        let lines = process.all_lines().await;
        assert_eq!((status.code(), lines.len()), (Some(2), 1), "{variable}={value}: {}", process.tail());
        let line = &lines[0].text;
        assert!(line.starts_with(variable), "{variable}={value}: {line}");
        assert!(variable == "REDIS_PORT" || !line.contains("hush"), "{line}");
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_variable_that_changes_it() {
    let (launch, port) = launch();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let process = launch.spawn();
    assert_eq!(process.wait(PATIENCE).await.code(), Some(2));
    let lines = process.all_lines().await;
    assert!(lines[0].text.contains(&port.to_string()) && lines[0].text.contains("PORT"), "{}", lines[0].text);
}

//! Redirects: each target is checked like the first URL.

use http::{Method, StatusCode};

use super::{Dns, PRIVATE, PUBLIC, Server, client, get, send};
use crate::{Client, Error, Refused};

const ALLOWLIST: &str = "a.test,b.test,private.test,127.0.0.2,[::ffff:7f00:1]";

fn names() -> Dns {
    Dns::default().with("a.test", [&[PUBLIC]]).with("b.test", [&[PUBLIC]]).with("private.test", [&[PRIVATE]])
}

async fn redirected(client: &Client, server: &Server, target: &str) -> Error {
    get(client, &server.redirect("a.test", target)).await.unwrap_err()
}

#[tokio::test]
async fn a_redirect_is_followed_with_the_body_and_on_one_origin_with_the_headers() {
    let server = Server::start().await;
    let client = client(ALLOWLIST, &names());
    let response = get(&client, &server.redirect("a.test", "/echo")).await.unwrap();
    assert_eq!(response.body, b"GET a.test s body");
    let response = get(&client, &server.redirect("a.test", &server.url("b.test", "/echo"))).await.unwrap();
    assert_eq!(response.body, b"GET b.test - body");
    let twice = server.redirect("a.test", &server.redirect("b.test", &server.url("a.test", "/echo")));
    assert_eq!(get(&client, &twice).await.unwrap().body, b"GET a.test - body");
}

#[tokio::test]
async fn only_redirects_of_get_and_head_are_followed() {
    let server = Server::start().await;
    let client = client(ALLOWLIST, &names());
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let response = send(&client, method, &server.redirect("a.test", "/echo")).await.unwrap();
        assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT);
    }
    let response = send(&client, Method::HEAD, &server.redirect("a.test", "/echo")).await.unwrap();
    assert_eq!((response.status, response.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused() {
    let server = Server::start().await;
    let client = client(ALLOWLIST, &names());
    for host in ["127.0.0.2", "2130706434", "0x7f.2", "[::ffff:127.0.0.1]", "private.test"] {
        let refused = redirected(&client, &server, &server.url(host, "/echo")).await;
        assert!(matches!(refused, Error::PrivateAddress(_)), "{host}: {refused:?}");
    }
    assert!(!server.connections().contains(&PRIVATE));
}

#[tokio::test]
async fn a_redirect_to_another_host_or_scheme_is_refused() {
    let server = Server::start().await;
    let dns = names();
    let client = client(ALLOWLIST, &dns);
    let refused = redirected(&client, &server, "http://metadata.internal/latest").await;
    assert!(matches!(refused, Error::Refused(Refused::HostNotAllowed(_))), "{refused:?}");
    for target in ["file:///etc/passwd", "ftp://b.test/", "data:,x", "http://user:secret@b.test/"] {
        let refused = redirected(&client, &server, target).await;
        assert!(matches!(refused, Error::Refused(Refused::UnsupportedUrl)), "{target}: {refused:?}");
    }
    assert!(dns.names().iter().all(|name| name == "a.test"));
}

#[tokio::test]
async fn the_number_of_redirects_is_limited() {
    let server = Server::start().await;
    let client = client(ALLOWLIST, &names());
    let looping = get(&client, &server.url("a.test", "/loop")).await;
    assert!(matches!(looping, Err(Error::TooManyRedirects(3))), "{looping:?}");
    let mut url = server.url("a.test", "/echo");
    for _ in 0..3 {
        url = server.redirect("a.test", &url);
    }
    assert_eq!(get(&client, &url).await.unwrap().status, StatusCode::OK);
    let too_many = get(&client, &server.redirect("a.test", &url)).await;
    assert!(matches!(too_many, Err(Error::TooManyRedirects(3))), "{too_many:?}");
    let invalid = get(&client, &server.url("a.test", "/nowhere")).await;
    assert!(matches!(invalid, Err(Error::InvalidRedirect)), "{invalid:?}");
}

//! Pages of other sites.

use std::sync::Arc;

use counting_server::Config;
use reqwest::{Method, Response};
use tokio::net::TcpStream;

use crate::disk::Faults;
use crate::raw::Raw;
use crate::server::{Server, assert_problem, config};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A server that allows pages of these origins.
async fn allowing(origins: &[&str]) -> Server {
    let cors_origins = origins.iter().map(ToString::to_string).collect();
    let folder = Arc::new(testkit::Folder::new("counting"));
    let server = Server::with(folder, Config { cors_origins, ..config() }, Faults::default()).await;
    server.until_open().await;
    server
}

async fn from(server: &Server, origin: &str, path: &str) -> Response {
    server.request(Method::GET, path).header("origin", origin).send().await.unwrap()
}

/// Opens a WebSocket as a page does. Returns the error.
async fn socket_from(server: &Server, origin: &str) -> Option<String> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    Raw::over(stream, "transport=websocket", Some(origin)).await.err().map(|error| error.to_string())
}

async fn preflight(server: &Server, origin: &str) -> Response {
    let request = server.request(Method::OPTIONS, POLLING).header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    request.header("access-control-request-headers", "content-type").send().await.unwrap()
}

fn allowed(response: &Response) -> Option<&str> {
    Some(response.headers().get("access-control-allow-origin")?.to_str().unwrap())
}

#[tokio::test]
async fn pages_of_other_sites_are_refused_unless_they_are_allowed() {
    for origins in [&[][..], &["https://counting.example", "http://localhost:3000"]] {
        let server = allowing(origins).await;
        for origin in ["https://evil.example", "https://counting.example.evil", "http://counting.example", "null"] {
            assert_problem(origin, from(&server, origin, POLLING).await, 403).await;
            let error = socket_from(&server, origin).await.expect(origin);
            assert!(error.contains("403"), "{origin}: {error}");
            assert_eq!(allowed(&preflight(&server, origin).await), None, "{origin}");
            // A page cannot read what it is not allowed to.
            assert_eq!(allowed(&from(&server, origin, "/numbers").await), None, "{origin}");
        }
        // The own page, and programs, which send no origin.
        let own = format!("http://{}", server.address);
        assert_eq!(from(&server, &own, POLLING).await.status(), 200);
        assert_eq!(socket_from(&server, &own).await, None);
        assert_eq!(server.get(POLLING).await.status(), 200);
    }
}

#[tokio::test]
async fn pages_of_allowed_sites_get_the_headers_that_browsers_ask_for() {
    for (origins, answer) in [(&["*"][..], "*"), (&["https://a.example", "https://b.example"], "https://b.example")] {
        let server = allowing(origins).await;
        let origin = "https://b.example";
        assert_eq!(socket_from(&server, origin).await, None);
        for path in [POLLING, "/numbers", "/health"] {
            let response = from(&server, origin, path).await;
            assert_eq!((response.status().as_u16(), allowed(&response)), (200, Some(answer)), "{path}");
        }
        let response = preflight(&server, origin).await;
        assert!(response.status().is_success(), "{}", response.status());
        assert_eq!(allowed(&response), Some(answer));
        assert!(response.headers().contains_key("access-control-allow-methods"), "{:?}", response.headers());
        assert!(response.headers().contains_key("access-control-allow-headers"), "{:?}", response.headers());
    }
}

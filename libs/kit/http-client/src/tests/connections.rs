//! Connections: reuse, proxies and TLS.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use http::{HeaderMap, Method};
use kit_tls::RootCertStore;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use super::{Dns, PUBLIC, Server, check, client, get, options};
use crate::{Client, Error, Request};

#[tokio::test]
async fn an_allowed_host_is_called() {
    let server = Server::start().await;
    let dns = Dns::default().with("a.test", [&[PUBLIC]]);
    let client = client("a.test", &dns);
    let headers = HeaderMap::from_iter([("host".parse().unwrap(), "other.test".parse().unwrap())]);
    let url = server.url("a.test", "/echo").parse().unwrap();
    let request = Request { method: Method::POST, url, headers, body: b"body".to_vec() };
    assert_eq!(client.send(request).await.unwrap().body, b"POST a.test - body");
}

#[tokio::test]
async fn connections_are_reused() {
    let server = Server::start().await;
    let dns = Dns::default().with("a.test", [&[PUBLIC]]);
    let client = client("a.test", &dns);
    for path in ["/echo", "/bytes?4096", "/redirect?/echo", "/nothing"] {
        let url = server.url("a.test", path).parse().unwrap();
        let request = Request { method: Method::GET, url, headers: HeaderMap::new(), body: Vec::new() };
        client.clone().send(request).await.unwrap();
    }
    assert_eq!((server.connections().len(), dns.names().len()), (1, 1));
}

#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "tests::connections::an_allowed_host_is_called"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, &address);
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD");
    let child = tokio::task::spawn_blocking(move || child.output().unwrap());
    tokio::select! {
        biased;
        _ = proxy.accept() => panic!("the client connected to the proxy"),
        output = child => {
            let output = output.unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
    }
}

#[tokio::test]
async fn certificates_are_verified() {
    let (port, certificate) = tls_server().await;
    let dns = Dns::default().with("tls.test", [&[PUBLIC]]).with("other.test", [&[PUBLIC]]);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = |roots: RootCertStore| {
        let allowlist = "tls.test,other.test,127.0.0.1";
        Client::with(options(allowlist), check, Arc::new(dns.clone()), kit_tls::client_config(roots))
    };
    for host in ["tls.test", "127.0.0.1"] {
        let response = get(&client(roots.clone()), &format!("https://{host}:{port}/")).await.unwrap();
        assert_eq!(response.body, b"ok", "{host}");
    }
    for (host, roots) in [("other.test", roots), ("tls.test", kit_tls::public_roots())] {
        let failed = get(&client(roots), &format!("https://{host}:{port}/")).await;
        assert!(
            matches!(&failed, Err(error @ Error::Connect(_)) if error.to_string().contains("certificate")),
            "{failed:?}"
        );
    }
}

/// A server with a certificate for `tls.test` and its address, which answers `ok`.
async fn tls_server() -> (u16, CertificateDer<'static>) {
    let names = vec!["tls.test".to_owned(), PUBLIC.to_string()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()))
        .unwrap();
    let listener = TcpListener::bind(SocketAddr::new(PUBLIC, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            // A client that refuses the certificate ends the handshake.
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\nbody") {
                request.push(stream.read_u8().await.unwrap());
            }
            let response = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            stream.write_all(response).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (port, cert.der().clone())
}

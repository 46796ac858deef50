//! Encrypted connections, through a proxy with a certificate in front of the broker. The
//! key beside it is public, and only these tests trust it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jobs_queue::{JobQueue, Priority, RabbitMqQueue};
use testkit::eventually_ok;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::backend::{Backend, SOON, assert_same, messages, options, take};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/certificates").join(name)
}

/// Listens with TLS and forwards to `server`.
async fn tls_in_front_of(server: SocketAddr) -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(file("localhost.pem")).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(file("localhost.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn tls_connects_only_to_a_trusted_broker() {
    let server = testkit::RabbitMq::shared().await;
    let proxy = tls_in_front_of(server.address()).await;
    let path = server.url().split_once('@').unwrap();
    let (user, vhost) = (path.0.trim_start_matches("amqp://"), path.1.split_once('/').unwrap().1);
    let url = |host: &str| format!("amqps://{user}@{host}:{}/{vhost}", proxy.port());
    let trusting = format!("?cacertfile={}", file("ca.pem").display());

    let name = server.prefix("tls").trim_end_matches('.').to_owned();
    let backend = Backend::rabbitmq_at(&(url("localhost") + &trusting), options(name.clone()));
    let sent = messages(3, Priority::Default);
    backend.publish(&sent).await;
    assert_same(&take(&mut backend.queue.consume(5), 3).await, &sent);
    backend.queue.close().await;
    Backend::rabbitmq_at(server.url(), options(name)).clean_up().await;

    // An untrusted certificate, and one for a different host.
    for (url, reason) in [(url("localhost"), "UnknownIssuer"), (url("127.0.0.1") + &trusting, "NotValidForName")] {
        let refused = RabbitMqQueue::open(&url, options("unused".to_owned())).unwrap();
        eventually_ok(SOON, reason, async || match refused.ping().await {
            Err(error) if error.to_string().contains(reason) || error.to_string().contains("certificate") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        refused.close().await;
    }
}

//! Passwords and TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testkit::{Folder, Redis, free_port};
use visits_store::{RedisStore, VisitStore};

use crate::PATIENCE;
use crate::backend::open;

/// A password that has to be percent-encoded in a URL.
const PASSWORD: &str = "p@ss:w/ord";

async fn counts(store: &RedisStore) -> Result<i64, String> {
    store.add(1, PATIENCE).await.map(|total| total.total).map_err(|error| error.to_string())
}

fn from_parts(redis: &Redis, more: &[String]) -> RedisStore {
    let parts = [
        format!("--redis-host={}", redis.address().ip()),
        format!("--redis-port={}", redis.address().port()),
        "--redis-db=7".to_owned(),
    ];
    open(&[&parts, more].concat())
}

#[tokio::test]
async fn a_password_is_given_by_itself_or_within_the_url() {
    let redis = Redis::start().await;
    redis.command(&["CONFIG", "SET", "requirepass", PASSWORD]).await.unwrap();
    assert_eq!(counts(&from_parts(&redis, &[format!("--redis-password={PASSWORD}")])).await, Ok(1));
    let url = redis.url().replace("redis://", "redis://:p%40ss%3Aw%2Ford@");
    assert_eq!(counts(&open(&[format!("--redis-url={url}/7")])).await, Ok(2), "the same database");
    for wrong in [vec![], vec!["--redis-password=other".to_owned()]] {
        let error = counts(&from_parts(&redis, &wrong)).await.unwrap_err();
        assert!(!error.contains("other"), "{error}");
    }
}

#[tokio::test]
async fn a_user_may_be_kept_to_the_one_key() {
    let redis = Redis::start_with(&[("user", "visits on >secret ~counter +incrby +get +select")]).await;
    let user = ["--redis-username=visits".to_owned(), "--redis-password=secret".to_owned()];
    let store = from_parts(&redis, &user);
    assert_eq!(counts(&store).await, Ok(1));
    assert_eq!(store.read(PATIENCE).await.unwrap(), 1);
    store.ping(PATIENCE).await.unwrap();
    let elsewhere = from_parts(&redis, &[&user[..], &["--counter-key=other".to_owned()]].concat());
    counts(&elsewhere).await.expect_err("another key");
}

/// Creates an authority, and certificates for 127.0.0.1 that it has signed, in `folder`.
fn certificates(folder: &Folder) -> String {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    std::fs::write(folder.path().join("server.pem"), server.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
    authority.pem()
}

#[tokio::test]
async fn tls_is_for_those_whose_certificate_is_vouched_for() {
    let folder = Folder::new("certificates");
    let authority = certificates(&folder);
    let port = free_port().to_string();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let redis = Redis::start_with(&[
        ("tls-port", &port),
        ("tls-cert-file", &file("server.pem")),
        ("tls-key-file", &file("server.key")),
        ("tls-auth-clients", "no"),
    ])
    .await;
    let url = format!("--redis-url=rediss://127.0.0.1:{port}");
    assert_eq!(counts(&open(&[url.clone(), format!("--redis-ca={authority}")])).await, Ok(1));
    counts(&open(std::slice::from_ref(&url))).await.expect_err("no authority of the system's vouches for it");
    let other = certificates(&Folder::new("other"));
    counts(&open(&[url, format!("--redis-ca={other}")])).await.expect_err("another authority");
    drop(redis);
}

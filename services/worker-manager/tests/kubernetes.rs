//! The Kubernetes scaler against a mocked API server: its requests, and its handling of
//! the answers.
#![cfg(feature = "kubernetes")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::Handle;
use worker_manager::scaler::Scaler;
use worker_manager::scaler::kubernetes::KubernetesScaler;

type ApiServer = Handle<Request<Body>, Response<Body>>;

const SCALE: &str = "/apis/apps/v1/namespaces/worker-system/deployments/worker/scale";

fn scaler() -> (KubernetesScaler, ApiServer) {
    let (service, server) = tower_test::mock::pair();
    (KubernetesScaler::new(kube::Client::new(service, "worker-system"), "worker"), server)
}

/// Receives a request and answers it. Returns the request.
async fn answer(server: &mut ApiServer, status: StatusCode, body: Value) -> (Method, String, Value) {
    let (request, respond) = server.next_request().await.expect("a request");
    let (parts, sent) = request.into_parts();
    let sent = sent.collect().await.unwrap().to_bytes();
    let sent = if sent.is_empty() { Value::Null } else { serde_json::from_slice(&sent).unwrap() };
    respond.send_response(Response::builder().status(status).body(Body::from(body.to_string().into_bytes())).unwrap());
    (parts.method, parts.uri.path().to_owned(), sent)
}

fn scale(replicas: u32) -> Value {
    json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": { "name": "worker", "namespace": "worker-system" },
        "spec": { "replicas": replicas },
    })
}

fn forbidden() -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "message": "no", "code": 403 })
}

#[tokio::test]
async fn reads_the_scale_subresource() {
    let (scaler, mut server) = scaler();
    let (replicas, request) = tokio::join!(scaler.replicas(), answer(&mut server, StatusCode::OK, scale(7)));
    assert_eq!(replicas.unwrap(), 7);
    assert_eq!(request, (Method::GET, SCALE.to_owned(), Value::Null));
}

#[tokio::test]
async fn a_deployment_scaled_to_zero_has_no_replicas_field() {
    let (scaler, mut server) = scaler();
    let empty = json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {}, "spec": {} });
    let (replicas, _) = tokio::join!(scaler.replicas(), answer(&mut server, StatusCode::OK, empty));
    assert_eq!(replicas.unwrap(), 0);
}

#[tokio::test]
async fn marks_the_victims_then_patches_the_scale_alone() {
    let (scaler, mut server) = scaler();
    let victims = ["worker-a".to_owned(), "worker-b".to_owned()];
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "worker-a" } });
    let (done, requests) = tokio::join!(scaler.scale(3, &victims), async {
        [
            answer(&mut server, StatusCode::OK, pod.clone()).await,
            answer(&mut server, StatusCode::OK, pod.clone()).await,
            answer(&mut server, StatusCode::OK, scale(3)).await,
        ]
    });
    done.unwrap();
    let cost = json!({
        "metadata": { "annotations": { "controller.kubernetes.io/pod-deletion-cost": "-1000" } }
    });
    let pods = "/api/v1/namespaces/worker-system/pods";
    assert_eq!(requests[0], (Method::PATCH, format!("{pods}/worker-a"), cost.clone()));
    assert_eq!(requests[1], (Method::PATCH, format!("{pods}/worker-b"), cost));
    assert_eq!(requests[2], (Method::PATCH, SCALE.to_owned(), json!({ "spec": { "replicas": 3 } })));
}

#[tokio::test]
async fn a_victim_that_is_gone_does_not_keep_it_from_scaling() {
    let (scaler, mut server) = scaler();
    let victims = ["worker-a".to_owned()];
    let (done, request) = tokio::join!(scaler.scale(3, &victims), async {
        answer(&mut server, StatusCode::NOT_FOUND, forbidden()).await;
        answer(&mut server, StatusCode::OK, scale(3)).await
    });
    done.unwrap();
    assert_eq!(request.1, SCALE);
}

#[tokio::test]
async fn a_refusal_is_an_error_not_a_number() {
    let (scaler, mut server) = scaler();
    let (replicas, _) = tokio::join!(scaler.replicas(), answer(&mut server, StatusCode::FORBIDDEN, forbidden()));
    assert!(replicas.is_err());
    let (done, _) = tokio::join!(scaler.scale(3, &[]), answer(&mut server, StatusCode::FORBIDDEN, forbidden()));
    assert!(done.is_err());
}

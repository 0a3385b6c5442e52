use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::world::World;
use crate::api::listener::Limits;

/// Sends raw bytes and reads until the server ends the connection; what it answered, if anything.
async fn raw(world: &World, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    // The server may hang up while we are still writing.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn browsers_may_read_and_nobody_may_write() {
    let world = World::start().await;
    assert_eq!(world.get("/healthz").await.headers["access-control-allow-origin"], "*");
    let refusal = world.get("/v1/providers/0").await;
    assert_eq!((refusal.status, &refusal.headers["access-control-allow-origin"]), (400, &"*".parse().unwrap()));
    let preflight = world.send("OPTIONS", "/v1/providers", "").await;
    assert_eq!((preflight.status, preflight.text.as_str()), (204, ""));
    assert_eq!(preflight.headers["access-control-allow-methods"], "GET, HEAD");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = world.send(method, "/v1/providers", "{}").await;
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"), "{method}");
        assert_eq!(answer.headers["allow"], "GET, HEAD, OPTIONS");
    }
    let head = world.send("HEAD", "/healthz", "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn oversized_and_unknown_requests_are_refused_with_a_reason() {
    let world = World::start().await;
    assert_eq!(world.refused("/").await, (404, "not_found".to_owned()));
    assert_eq!(world.refused("/v1/nothing").await, (404, "not_found".to_owned()));
    assert_eq!(world.refused(&format!("/v1/providers?x={}", "a".repeat(1_100))).await, (414, "uri_too_long".to_owned()));
    let body = world.send("GET", "/v1/providers", "{}").await;
    assert_eq!((body.status, body.code().as_str()), (413, "body_refused"));
    let header = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {}\r\n\r\n", "a".repeat(9_000));
    let answer = raw(&world, header.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431") && answer.contains("headers_too_large"), "{answer}");
    let endless = format!("GET /healthz HTTP/1.1\r\nx: {}", "a".repeat(200_000));
    assert!(!raw(&world, endless.as_bytes()).await.contains(" 200 "));
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn silent_and_slow_peers_lose_their_connection() {
    let quick = Duration::from_millis(150);
    let world = World::start_within(Limits { connections: 1, idle: quick, request: quick, ..Limits::default() }).await;
    assert_eq!(raw(&world, b"").await, "", "silent from the start");
    assert_eq!(raw(&world, b"GET /healthz HTTP/1.1\r\nhost:").await, "", "half a request");
    let answer = raw(&world, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "idle after an answer: {answer}");
    // The only slot is free again.
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn more_connections_than_slots_wait() {
    let world = World::start_within(Limits { connections: 1, idle: Duration::from_millis(300), ..Limits::default() }).await;
    let _silent = TcpStream::connect(world.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = world.get("/healthz");
    assert_eq!(timeout(Duration::from_secs(5), second).await.unwrap().status, 200, "served once the silent peer is dropped");
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_the_server() {
    let world = World::start().await;
    assert_eq!(world.get("/healthz").await.status, 200);
    world.stop.cancel();
    timeout(Duration::from_secs(5), world.server).await.expect("the server drains").unwrap().unwrap();
    assert!(TcpStream::connect(world.address).await.is_err());
}

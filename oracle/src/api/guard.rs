//! Limits on every request, and leave for browsers to read.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::error::ApiError;

/// Requests answered at once.
const CONCURRENT: usize = 32;
/// The longest an answer may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of path and query.
const MAX_URI: usize = 1_024;
/// Bytes of all header names and values.
const MAX_HEADERS: usize = 8_192;

/// What all requests share.
#[derive(Clone)]
pub(super) struct Guard(Arc<Semaphore>);

impl Default for Guard {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CONCURRENT)))
    }
}

/// Refuses what no reader needs, bounds the rest.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match check(&request) {
        Ok(Check::Preflight) => StatusCode::NO_CONTENT.into_response(),
        Ok(Check::Read) => bounded(&guard, request, next).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    }
    response
}

enum Check {
    Read,
    Preflight,
}

fn check(request: &Request) -> Result<Check, ApiError> {
    let uri = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
    if uri > MAX_URI {
        return Err(ApiError::new(
            StatusCode::URI_TOO_LONG,
            "uri_too_long",
            format!("path and query hold {uri} bytes, {MAX_URI} are allowed"),
        ));
    }
    let size = header_bytes(request.headers());
    if size > MAX_HEADERS {
        let message = format!("the headers hold {size} bytes, {MAX_HEADERS} are allowed");
        return Err(ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message));
    }
    match *request.method() {
        Method::OPTIONS => return Ok(Check::Preflight),
        Method::GET | Method::HEAD => {}
        _ => return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this interface only reads: use GET")),
    }
    if has_body(request.headers()) {
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_refused", "a read carries no body"));
    }
    Ok(Check::Read)
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len().saturating_add(value.len())).sum()
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    length || headers.contains_key(header::TRANSFER_ENCODING)
}

async fn bounded(guard: &Guard, request: Request, next: Next) -> Response {
    let Ok(_running) = guard.0.try_acquire() else {
        return ApiError::unavailable("busy", format!("{CONCURRENT} requests are running; try again")).retry_after(1).into_response();
    };
    match tokio::time::timeout(TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("no answer within {} s; try again or ask for a smaller page", TIMEOUT.as_secs());
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message).retry_after(1).into_response()
        }
    }
}

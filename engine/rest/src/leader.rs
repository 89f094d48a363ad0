//! Requests are answered by the JobManager that leads: another one passes them on.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use millrace_cluster::Dispatcher;
use millrace_cluster::process::Role;
use millrace_core::Error;

use crate::answer::{Failure, Result};
use crate::state::State;

/// Of a request that comes from another JobManager: it is passed on once.
const PASSED_ON: HeaderName = HeaderName::from_static("millrace-passed-on");

/// What is sent on of a request and its answer.
const KEPT: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::ACCEPT,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
];

fn nobody_leads() -> Failure {
    Failure::with(
        StatusCode::SERVICE_UNAVAILABLE,
        "Service temporarily unavailable due to an ongoing leader election. Please refresh.",
    )
}

/// The jobs, where this JobManager leads.
pub fn dispatcher(state: &State) -> Result<Dispatcher> {
    match &*state.parts.role.borrow() {
        Role::Leader(dispatcher) => Ok(dispatcher.clone()),
        Role::Standby => Err(nobody_leads()),
    }
}

/// Answers, or passes the request on.
pub async fn answers(state: Extract<Arc<State>>, request: Request, next: Next) -> Response {
    if matches!(&*state.parts.role.borrow(), Role::Leader(_)) {
        return next.run(request).await;
    }
    let leader = state
        .parts
        .leader
        .as_ref()
        .and_then(|leader| leader.borrow().clone());
    match leader {
        Some(leader) if !request.headers().contains_key(PASSED_ON) => {
            pass_on(&state, &leader.addresses.rest, request)
                .await
                .unwrap_or_else(IntoResponse::into_response)
        }
        _ => nobody_leads().into_response(),
    }
}

async fn pass_on(state: &State, address: &str, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let unreachable = |e: reqwest::Error| {
        tracing::warn!(leader = address, error = %e, "a request could not be passed on to the JobManager that leads");
        nobody_leads()
    };
    let body = to_bytes(body, state.settings.max_content)
        .await
        .map_err(|e| Failure::with(StatusCode::PAYLOAD_TOO_LARGE, e.to_string()))?;
    let mut passed = state
        .passing
        .request(parts.method, format!("{address}{path}"))
        .header(PASSED_ON, HeaderValue::from_static("1"))
        .body(body);
    for name in KEPT {
        if let Some(value) = parts.headers.get(&name) {
            passed = passed.header(name, value);
        }
    }
    let answer = passed.send().await.map_err(unreachable)?;
    let mut response = Response::builder().status(answer.status());
    for name in KEPT {
        if let Some(value) = answer.headers().get(&name) {
            response = response.header(name, value);
        }
    }
    let body = answer.bytes().await.map_err(unreachable)?;
    response
        .body(Body::from(body))
        .map_err(|e| Failure::of(&Error::internal("an answer cannot be passed on").with_source(e)))
}

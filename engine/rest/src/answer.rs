//! What is answered: bodies in JSON, and failures.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_core::{Error, ErrorKind};
use millrace_rest_types::Errors;
use serde::Serialize;

/// As Flink writes it.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

pub type Result<T> = std::result::Result<T, Failure>;

/// What every handler gives.
pub type Answer = Result<Response>;

/// A body with status 200.
pub fn ok(body: &impl Serialize) -> Answer {
    with_status(StatusCode::OK, body)
}

/// A body with status 202: what was asked for has begun.
pub fn accepted(body: &impl Serialize) -> Answer {
    with_status(StatusCode::ACCEPTED, body)
}

fn with_status(status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body)
        .map_err(|e| Failure::of(&Error::internal("an answer cannot be written as JSON").with_source(e)))?;
    Ok((status, [(header::CONTENT_TYPE, JSON)], body).into_response())
}

/// A request that is not answered as it was meant: Flink's status, and words for people. What tools look for in them,
/// names of Flink's exceptions, is there too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    status: StatusCode,
    errors: Vec<String>,
}

impl Failure {
    fn new(status: StatusCode, error: String) -> Self {
        Failure {
            status,
            errors: vec![error],
        }
    }

    /// 404 of a request that was understood.
    pub fn not_found(message: impl AsRef<str>) -> Self {
        let message = message.as_ref();
        Failure::new(
            StatusCode::NOT_FOUND,
            format!("org.apache.flink.runtime.rest.NotFoundException: {message}"),
        )
    }

    pub fn with(status: StatusCode, message: impl AsRef<str>) -> Self {
        let message = message.as_ref();
        Failure::new(
            status,
            format!("org.apache.flink.runtime.rest.handler.RestHandlerException: {message}"),
        )
    }

    pub fn bad_request(message: impl AsRef<str>) -> Self {
        Failure::with(StatusCode::BAD_REQUEST, message)
    }

    /// A value in a path or after `?` that does not parse.
    pub fn parameter(kind: &str, name: &str, value: &str) -> Self {
        Failure::bad_request(format!(
            "Bad request, could not parse parameters: Cannot resolve {kind} parameter ({name}) from value \"{value}\"."
        ))
    }

    /// 404 with words alone.
    pub fn no_such_path(message: String) -> Self {
        Failure::new(StatusCode::NOT_FOUND, message)
    }

    pub fn unknown_job(id: &str) -> Self {
        Failure::not_found(format!("Job {id} not found"))
    }

    /// 500, as Flink has it where one part of it asks another for a job.
    pub fn unknown_job_inside(id: &str) -> Self {
        Failure::inside(&format!(
            "org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({id})"
        ))
    }

    pub fn unknown_vertex(id: &str) -> Self {
        Failure::with(StatusCode::NOT_FOUND, format!("No vertex with ID '{id}' exists."))
    }

    /// 500 in Flink's form.
    pub fn inside(cause: &str) -> Self {
        Failure {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            errors: vec![
                "Internal server error.".to_owned(),
                format!("<Exception on server side:\n{cause}\n\nEnd of exception on server side>"),
            ],
        }
    }

    /// An error of the engine: 400 where the request is to blame.
    pub fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::User => Failure::bad_request(error.to_string()),
            _ => Failure::inside(&error.to_string()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::of(&error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Errors { errors: self.errors };
        match with_status(self.status, &body) {
            Ok(response) => response,
            Err(_) => self.status.into_response(),
        }
    }
}

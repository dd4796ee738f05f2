//! `GET /v1/openapi.json`: the description of this face for programs. The file is written by hand,
//! and a test compares it with the routes.

use axum::http::header;
use axum::response::{IntoResponse as _, Response};

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

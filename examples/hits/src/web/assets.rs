//! Files that pages may name, one directory of them.

use std::ffi::OsStr;
use std::path::Path as FilePath;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::App;

/// The names change with the content, so that whoever has one keeps it.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

pub async fn show(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    // A name alone: nothing that leads elsewhere.
    if FilePath::new(&name).file_name() != Some(OsStr::new(&name)) {
        return missing();
    }
    let path = app.assets.join(&name);
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    match read {
        Ok(Ok(bytes)) => ([(CONTENT_TYPE, kind(&name)), (CACHE_CONTROL, FOR_EVER)], bytes).into_response(),
        _ => missing(),
    }
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, "no such asset\n").into_response()
}

fn kind(name: &str) -> &'static str {
    match FilePath::new(name).extension().and_then(OsStr::to_str) {
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

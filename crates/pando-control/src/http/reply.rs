//! Refusals as HTTP answers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use pando_api::{ErrorBody, ErrorCode};
use pando_rt::error_chain::error_chain;

use crate::artifacts::ArtifactError;
use crate::layers::LayerError;
use crate::store::StoreError;

/// What a handler answers when it says no. Boxed: handlers' good answers are small.
#[derive(Debug)]
pub(crate) struct Refused(Box<ErrorBody>);

impl Refused {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ErrorBody::new(code, message).into()
    }

    pub(crate) fn body(&self) -> &ErrorBody {
        &self.0
    }
}

impl From<ErrorBody> for Refused {
    fn from(body: ErrorBody) -> Self {
        Self(Box::new(body))
    }
}

impl From<ArtifactError> for Refused {
    fn from(error: ArtifactError) -> Self {
        ErrorBody::from(error).into()
    }
}

impl From<LayerError> for Refused {
    fn from(error: LayerError) -> Self {
        ErrorBody::from(error).into()
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        let text = error_chain(&error);
        let code = match error {
            StoreError::Full { .. } => ErrorCode::NoSpace,
            StoreError::Broken { .. } | StoreError::TimedOut | StoreError::Closed => ErrorCode::Unavailable,
            _ => ErrorCode::Internal,
        };
        tracing::error!("a request failed: {text}");
        Self::new(code, text)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let unauthorized = self.0.code == ErrorCode::Unauthorized;
        let mut response = (status, Json(*self.0)).into_response();
        if unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// What handlers answer.
pub(crate) type Answer<T> = Result<Json<T>, Refused>;

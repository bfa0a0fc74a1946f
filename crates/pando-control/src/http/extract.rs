//! Paths, queries and bodies as checked values; whatever is wrong with them becomes a refusal in our own words.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use pando_api::ErrorCode;
use serde::de::DeserializeOwned;

use super::gate::BodyLimit;
use super::reply::Refused;

/// The variable parts of the path.
pub(crate) struct Place<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Place<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|error| {
            Refused::new(ErrorCode::Invalid, format!("the path is wrong: {}", error.body_text()))
        })
    }
}

/// The query; unknown names in it are left alone.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        Query::<T>::try_from_uri(&parts.uri).map(|Query(value)| Self(value)).map_err(|error| {
            Refused::new(ErrorCode::Invalid, format!("the query is wrong: {}", error.body_text()))
        })
    }
}

/// A JSON body of at most the route's limit.
pub(crate) struct Sent<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequest<S> for Sent<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        let limit = request.extensions().get::<BodyLimit>().map_or(0, |limit| limit.0);
        let too_large = || Refused::new(ErrorCode::TooLarge, format!("a body of over {limit} bytes"));
        let body = Limited::new(request.into_body(), limit).collect().await;
        let bytes = body.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                return too_large();
            }
            Refused::new(ErrorCode::Invalid, format!("the body could not be read: {error}"))
        })?;
        serde_json::from_slice(&bytes.to_bytes())
            .map(Self)
            .map_err(|error| Refused::new(ErrorCode::Invalid, format!("the body is wrong: {error}")))
    }
}

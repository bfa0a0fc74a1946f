//! One HTTP request and its answer, with a deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, EXPECT};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use pando_rt::clock::Clock;
use pando_trust::Subject;
use pando_trust::tls::pinned_config;
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::address::{self, Address};
use super::connect::Http;
use super::{ClientError, DEADLINE, mistrust};
use crate::auth::Bearer;
use crate::error::{ErrorBody, ErrorCode};

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The longest answer that is taken whole. The largest in practice is a target with its table.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

#[derive(Clone)]
pub(crate) struct Transport {
    http: Http,
    /// Who is expected to answer.
    whom: Subject,
    base: String,
    token: Option<Bearer>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("base", &self.base).finish_non_exhaustive()
    }
}

/// A request before it is sent.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Body,
    deadline: Duration,
    go_ahead: Option<Arc<Notify>>,
}

impl Call {
    pub(crate) fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: whole(Bytes::new()),
            deadline: DEADLINE,
            go_ahead: None,
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    /// Until the head of the answer; and again for a body that is read whole.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Asks whether the body is wanted before it is sent; `go_ahead` is told when it is. The body waits for that by itself.
    pub(crate) fn expect_continue(mut self, go_ahead: Arc<Notify>) -> Self {
        self.headers.push((EXPECT, HeaderValue::from_static("100-continue")));
        self.go_ahead = Some(go_ahead);
        self
    }

    pub(crate) fn json(self, body: &impl Serialize) -> Result<Self, ClientError> {
        let bytes = serde_json::to_vec(body)
            .map_err(|error| ClientError::Protocol { url: self.path.clone(), what: error.to_string() })?;
        Ok(self
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(whole(Bytes::from(bytes))))
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// `?a=b&c=d`, or nothing.
pub(crate) fn query(values: &impl Serialize) -> Result<String, ClientError> {
    let text = serde_urlencoded::to_string(values)
        .map_err(|error| ClientError::Protocol { url: "?".to_owned(), what: error.to_string() })?;
    Ok(if text.is_empty() { text } else { format!("?{text}") })
}

impl Transport {
    /// Plain to this machine, or by TLS with the authority that `url` pins.
    pub(crate) fn new(url: &str, token: Option<Bearer>) -> Result<Self, ClientError> {
        let address = |why: String| ClientError::Address { url: url.to_owned(), why };
        match address::read(url).map_err(address)? {
            Address::Plain(base) => Ok(Self { http: Http::plain(), whom: Subject::Control, base, token }),
            Address::Pinned(pinned) => {
                let config = pinned_config(pinned.fingerprint, &Clock::system());
                let config = config.map_err(|error| address(error.to_string()))?;
                let place = pinned.authority();
                Ok(Self::with_tls(&place, token, config, Subject::Control))
            }
        }
    }

    /// By TLS to `HOST:PORT`, believing whom `config` believes.
    pub(crate) fn with_tls(
        place: &str,
        token: Option<Bearer>,
        config: Arc<ClientConfig>,
        whom: Subject,
    ) -> Self {
        Self { http: Http::with_tls(config, whom), whom, base: format!("https://{place}"), token }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Sends it and waits for the head of a good answer; others become [`ClientError::Refused`].
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, ClientError> {
        let (after, request) = (call.deadline, self.request(call)?);
        let sent = tokio::time::timeout(after, self.http.request(request)).await;
        let response = sent
            .map_err(|_| ClientError::TimedOut { url: self.base.clone(), after })?
            .map_err(|error| self.failed(error))?;
        let answer = Answer { response, base: self.base.clone(), deadline: after };
        if answer.response.status().as_u16() >= 400 { Err(answer.refusal().await) } else { Ok(answer) }
    }

    fn request(&self, call: Call) -> Result<Request<Body>, ClientError> {
        let url = format!("{}{}", self.base, call.path);
        let protocol = |what: String| ClientError::Protocol { url: url.clone(), what };
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| protocol(error.to_string()))?;
        let mut request = Request::new(call.body);
        *request.method_mut() = call.method;
        *request.uri_mut() = uri;
        request.headers_mut().extend(call.headers);
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        if let Some(go_ahead) = call.go_ahead {
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == StatusCode::CONTINUE {
                    go_ahead.notify_one();
                }
            });
        }
        Ok(request)
    }

    fn failed(&self, error: hyper_util::client::legacy::Error) -> ClientError {
        let url = self.base.clone();
        let connecting = error.is_connect();
        match mistrust::of(&error) {
            Some(mistrust) => mistrust.because(url, Box::new(error)),
            None if connecting => ClientError::Unreachable { whom: self.whom, url, source: Box::new(error) },
            None => ClientError::Broken { url, source: Box::new(error) },
        }
    }
}

/// An answer whose status is below 400, before its body is read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) base: String,
    deadline: Duration,
}

impl Answer {
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let base = self.base.clone();
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ClientError::Protocol { url: base, what: error.to_string() })
    }

    /// Reads the body to its end, so that the connection can be used again.
    pub(crate) async fn nothing(self) -> Result<(), ClientError> {
        self.bytes().await.map(|_| ())
    }

    async fn bytes(self) -> Result<Bytes, ClientError> {
        let until = Instant::now() + self.deadline.max(DEADLINE);
        let url = self.base;
        match timeout_at(until, Limited::new(self.response.into_body(), MAX_ANSWER).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(source)) => Err(ClientError::Broken { url, source }),
            Err(_) => Err(ClientError::TimedOut { url, after: self.deadline }),
        }
    }

    async fn refusal(self) -> ClientError {
        let (status, base) = (self.response.status(), self.base.clone());
        let bytes = match self.bytes().await {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        ClientError::Refused(serde_json::from_slice(&bytes).unwrap_or_else(|_| foreign(&base, status)))
    }
}

/// An error answer that no control plane wrote, such as a gateway's, or one without a body.
fn foreign(base: &str, status: StatusCode) -> ErrorBody {
    let code = ErrorCode::ALL.into_iter().find(|code| code.status() == status.as_u16());
    ErrorBody::new(code.unwrap_or(ErrorCode::Unknown), format!("{base} answered {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_leave_out_what_is_not_given() {
        let wanted = crate::v1::events::EventQuery { limit: Some(5), ..Default::default() };
        assert_eq!(query(&wanted).unwrap(), "?limit=5");
        assert_eq!(query(&crate::v1::events::EventQuery::default()).unwrap(), "");
    }
}

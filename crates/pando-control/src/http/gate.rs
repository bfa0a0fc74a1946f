//! The one place where it is decided who may do what.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;
use http::header::AUTHORIZATION;
use http::request::Parts;
use pando_api::auth::{Bearer, Scope};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::id::ServerId;
use pando_model::name::AppName;
use pando_model::server::Server;
use pando_trust::PeerIdentity;

use super::MAX_WAIT;
use super::connection::Certified;
use super::reply::Refused;
use super::routes::RouteInfo;
use crate::shared::Shared;
use crate::store::Key;
use crate::store::value::decode;
use crate::tokens::{self, Caller};

/// What it takes to use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nothing.
    Open,
    /// To see the whole cluster: `read`, `admin`.
    Read,
    /// To see the app in the path: `read`, `admin`, `deploy` for it.
    ReadApp,
    /// To see the whole cluster, or the app in the query's `app`.
    ReadOf,
    /// To change the app in the path: `admin`, `deploy` for it.
    ChangeApp,
    /// To send releases: `admin`, `deploy` for any app.
    Send,
    /// To fetch releases: `admin`, any agent.
    Fetch,
    Admin,
    /// To speak for the server in the path: its own agent.
    Agent,
    /// As [`Access::Agent`], even with a certificate that has expired.
    Renew,
    /// To join: a token for it.
    Join,
}

/// How long a handler may take until its answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// What takes milliseconds.
    Quick,
    /// What may take a minute.
    Slow,
    /// A long poll.
    Poll,
    /// A body without a known length; the handler watches that it moves on.
    Upload,
}

impl Pace {
    fn deadline(self) -> Option<Duration> {
        match self {
            Self::Quick => Some(Duration::from_secs(15)),
            Self::Slow => Some(Duration::from_secs(60)),
            Self::Poll => Some(MAX_WAIT + Duration::from_secs(15)),
            Self::Upload => None,
        }
    }
}

/// The most bytes that the route's body may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// The table, as the gate reads it.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) shared: Arc<Shared>,
    pub(crate) routes: Arc<[RouteInfo]>,
}

/// Runs before every handler: without the route's say-so, none does.
pub(crate) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let route = match gate.admit(&mut parts).await {
        Ok(route) => route,
        Err(refused) => return refused.into_response(),
    };
    parts.extensions.insert(BodyLimit(route.body));
    let answer = next.run(Request::from_parts(parts, body));
    let Some(deadline) = route.pace.deadline() else { return answer.await };
    match tokio::time::timeout(deadline, answer).await {
        Ok(response) => response,
        Err(_) => {
            Refused::new(ErrorCode::Unavailable, "the control plane was too slow to answer").into_response()
        }
    }
}

impl Gate {
    async fn admit(&self, parts: &mut Parts) -> Result<RouteInfo, Refused> {
        let route = self.route(parts)?;
        if route.access == Access::Open {
            return Ok(route);
        }
        let caller = self.caller(parts, route.access).await?;
        let place = Place::of(parts).await?;
        if !allows(route.access, &caller.scope, &place) {
            return Err(forbidden(&caller).into());
        }
        parts.extensions.insert(caller);
        Ok(route)
    }

    fn route(&self, parts: &Parts) -> Result<RouteInfo, Refused> {
        let unknown =
            || Refused::new(ErrorCode::NotFound, format!("there is no `{}` here", parts.uri.path()));
        let path = parts.extensions.get::<MatchedPath>().ok_or_else(unknown)?;
        let found =
            self.routes.iter().find(|route| route.path == path.as_str() && route.method == parts.method);
        found.cloned().ok_or_else(|| {
            let method: &Method = &parts.method;
            Refused::new(ErrorCode::Invalid, format!("`{}` does not take {method}", parts.uri.path()))
        })
    }

    /// Whoever shows a token is who it says; others are who their certificate says.
    async fn caller(&self, parts: &Parts, access: Access) -> Result<Caller, Refused> {
        let now = self.shared.now();
        match (parts.headers.get(AUTHORIZATION), parts.extensions.get::<Certified>()) {
            (None, Some(certified)) => self.member(certified.0.at(now), access).await,
            (shown, _) => {
                let bearer = shown.and_then(Bearer::from_header);
                let bearer = bearer.ok_or_else(|| unauthorized("a token is needed"))?;
                let known = tokens::check(&*self.shared.store, &bearer, now).await?;
                known.ok_or_else(|| unauthorized("the token is not known, or has expired"))
            }
        }
    }

    /// The server that a certificate is for, as long as it is one of the cluster's.
    async fn member(&self, peer: PeerIdentity, access: Access) -> Result<Caller, Refused> {
        let Some(server) = peer.subject.server() else {
            return Err(Refused::new(
                ErrorCode::Unauthorized,
                "the control plane's certificate opens nothing here",
            ));
        };
        let known = self.shared.store.get(&Key::ServerSpec(server)).await?;
        let entry = known.ok_or_else(|| no_member(server))?;
        let name = decode::<Server>(&entry)?.name.to_string();
        if peer.expired && access != Access::Renew {
            let text = format!("the certificate of {name} has expired: it is good for its renewal alone");
            return Err(Refused::new(ErrorCode::Unauthorized, text));
        }
        Ok(Caller { id: server.to_string(), name, scope: Scope::Agent { server } })
    }
}

/// What somebody is told who was a server of the cluster, or never was.
pub(super) fn no_member(server: ServerId) -> Refused {
    let text = format!("{server} is not, or no longer, a server of this cluster");
    let error = ErrorBody::new(ErrorCode::Unauthorized, text);
    error.hint("it can join again: `pando cluster token` makes a token for it").into()
}

fn unauthorized(message: &str) -> Refused {
    ErrorBody::new(ErrorCode::Unauthorized, message)
        .hint("make one with `pando token create` and give it as PANDO_TOKEN")
        .into()
}

fn forbidden(caller: &Caller) -> ErrorBody {
    let text = format!("the token `{}` ({}) does not allow this", caller.name, caller.scope);
    ErrorBody::new(ErrorCode::Forbidden, text)
}

/// What a request is about.
#[derive(Debug, Default)]
struct Place {
    app: Option<AppName>,
    queried_app: Option<AppName>,
    server: Option<String>,
}

impl Place {
    async fn of(parts: &mut Parts) -> Result<Self, Refused> {
        let params = RawPathParams::from_request_parts(parts, &()).await;
        let params = params.map_err(|error| Refused::new(ErrorCode::Invalid, error.body_text()))?;
        let find = |name| params.iter().find(|(found, _)| *found == name).map(|(_, value)| value.to_owned());
        let app = find("app").map(app_name).transpose()?;
        let queried_app = queried(parts, "app").map(app_name).transpose()?;
        Ok(Self { app, queried_app, server: find("server") })
    }
}

fn app_name(text: String) -> Result<AppName, Refused> {
    AppName::new(text).map_err(|error| Refused::new(ErrorCode::Invalid, error.to_string()))
}

/// The one value of a name in the query. A name that stands there twice is no value: the handler might read the other one.
fn queried(parts: &Parts, name: &str) -> Option<String> {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).ok()?;
    let mut values = pairs.0.into_iter().filter(|(found, _)| found == name).map(|(_, value)| value);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn allows(access: Access, scope: &Scope, place: &Place) -> bool {
    let app = place.app.as_ref();
    let sees_all = matches!(scope, Scope::Read | Scope::Admin);
    match access {
        Access::Open => true,
        Access::Read => sees_all,
        Access::ReadApp => app.is_some_and(|app| scope.may_read(app)),
        Access::ReadOf => sees_all || place.queried_app.as_ref().is_some_and(|app| scope.may_read(app)),
        Access::ChangeApp => app.is_some_and(|app| scope.may_change(app)),
        Access::Send => matches!(scope, Scope::Admin | Scope::Deploy { .. }),
        Access::Fetch => matches!(scope, Scope::Admin | Scope::Agent { .. }),
        Access::Admin => *scope == Scope::Admin,
        Access::Join => *scope == Scope::Join,
        Access::Agent | Access::Renew => match scope {
            Scope::Agent { server } => place.server.as_deref() == Some(server.to_string().as_str()),
            _ => false,
        },
    }
}

//! A request's way through a rule that does something to it.

use std::sync::Arc;

use pando_routing::rule::{Redirect, Respond};

use super::change::{Change, Wanted};
use super::cors::Fields;
use super::door::Door;
use super::entry::{self, How, Turned};
use super::fill::Facts;
use super::live::Reason;
use super::redirect;
use super::route::{Route, To};
use super::shown::Shown;
use crate::asked::Asked;
use crate::client::Client;
use crate::forward::{self, End, Id, Page, Refused, Reply, Routed, Tally, Wants};
use crate::front::Front;
use crate::plane::Plane;
use crate::snapshot::PoolView;

/// A request, who sent it, and the rule that is for it.
pub(super) struct Case<'a> {
    pub(super) route: Arc<Route>,
    /// Bytes of the path that the replica doesn't see.
    pub(super) strip: usize,
    pub(super) client: &'a Client,
    pub(super) id: &'a Id,
    pub(super) plane: &'a Arc<Plane>,
}

/// Answers a request as its rule would have it.
pub(crate) async fn run<F: Front>(
    front: &mut F,
    mut asked: Asked,
    (route, strip): (Arc<Route>, usize),
    client: &Client,
    id: &Id,
    plane: &Arc<Plane>,
    mut tally: Tally,
) -> End {
    tally.for_route(&route.live);
    let case = Case { route, strip, client, id, plane };
    let mut door = Door::new(front, &case.route, Wants::of(&asked), id.text(asked.bytes.bytes()));
    case.adorn(&mut door, &asked);
    match case.enter(&mut door, &mut asked) {
        Ok((pool, change)) => case.carry(&mut door, &mut asked, pool, change, tally).await,
        Err(turned) => case.turn(&mut door, turned, &asked, tally).await,
    }
}

impl Case<'_> {
    fn facts<'f>(&'f self, asked: &'f Asked) -> Facts<'f> {
        let shown = Shown { paper: asked, client: self.client };
        Facts { shown, id: self.id.text(asked.bytes.bytes()), route: &self.route }
    }

    /// What the rule wants every answer to say.
    fn adorn<F: Front>(&self, door: &mut Door<'_, F>, asked: &Asked) {
        let facts = self.facts(asked);
        for (name, value) in self.route.filters.response_headers.values() {
            door.add(Arc::clone(name), facts.header(value));
        }
    }

    /// The pool that the request goes to, and how it is changed.
    fn enter<F: Front>(
        &self,
        door: &mut Door<'_, F>,
        asked: &mut Asked,
    ) -> Result<(Arc<PoolView>, Change), Turned> {
        let key = self.plane.snapshot.load().as_deref().map_or(self.plane.key, |snapshot| snapshot.key);
        let facts = self.facts(asked);
        for (name, value) in entry::check(&self.route, facts.shown, &key)? {
            door.add(name, value);
        }
        let pool = self.destination(door, &facts)?;
        let climbs = || {
            Turned::page(
                Reason::Denied,
                Page::BadRequest("The path leads out of where it may."),
                Fields::new(),
            )
        };
        let wanted = Wanted::of(&facts).ok_or_else(climbs)?;
        let mut change = wanted.make(asked, &self.route.filters.request_headers);
        if let To::Split(split) = &self.route.to
            && let Some(name) = split.cookie()
        {
            let sticky = pool.sticky.as_ref().map(|sticky| &sticky.policy.cookie);
            let names: Vec<_> = [Some(name), sticky].into_iter().flatten().collect();
            change.hide_cookies(asked, &names);
        }
        Ok((pool, change))
    }

    fn destination<F: Front>(
        &self,
        door: &mut Door<'_, F>,
        facts: &Facts<'_>,
    ) -> Result<Arc<PoolView>, Turned> {
        match &self.route.to {
            To::Pool(pool) => Ok(Arc::clone(pool)),
            To::Split(split) => {
                let chosen = split.choose(facts.shown);
                if let Some(cookie) = chosen.cookie {
                    door.add("set-cookie", cookie.into_bytes());
                }
                Ok(chosen.pool)
            }
            To::Redirect(redirect) => Err(redirected(redirect, facts)),
            To::Respond(respond) => Err(responded(respond, facts)),
        }
    }

    async fn carry<F: Front>(
        &self,
        door: &mut Door<'_, F>,
        asked: &mut Asked,
        pool: Arc<PoolView>,
        change: Change,
        tally: Tally,
    ) -> End {
        let routed = Routed { pool, strip: self.strip, change: Some(Arc::new(change)) };
        match forward::carry(door, asked, routed, self.client, self.id, self.plane, tally).await {
            Ok(end) => end,
            Err((page, tally)) => self.refuse(door, page.into(), asked, tally).await,
        }
    }

    async fn turn<F: Front>(
        &self,
        door: &mut Door<'_, F>,
        turned: Turned,
        asked: &Asked,
        tally: Tally,
    ) -> End {
        let Turned { reason, how, fields } = turned;
        self.route.live.kept(reason);
        match how {
            How::Page(page, message) => {
                let refused = Refused { page, fields, message, pages: None };
                self.refuse(door, refused, asked, tally).await
            }
            How::Answer(status, body) => {
                let (to_all, fields): (Fields, Fields) =
                    fields.into_iter().partition(|_| reason == Reason::Preflight);
                to_all.into_iter().for_each(|(name, value)| door.add(name, value));
                let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
                let reply = Reply { status, fields: &fields, body: body.as_bytes() };
                forward::reply(door, reply, asked, self.id, tally, self.plane).await
            }
        }
    }

    async fn refuse<F: Front>(
        &self,
        door: &mut Door<'_, F>,
        refused: Refused,
        asked: &Asked,
        tally: Tally,
    ) -> End {
        let refused = Refused { pages: self.route.pages.clone(), ..refused };
        forward::refuse(door, refused, asked, self.client, self.id, tally, self.plane).await
    }
}

fn redirected(redirect: &Redirect, facts: &Facts<'_>) -> Turned {
    let Some(location) = redirect::location(redirect, facts) else {
        let page = Page::BadRequest("The path leads out of where it may.");
        return Turned::page(Reason::Redirected, page, Fields::new());
    };
    let fields = vec![("location".into(), location)];
    Turned { reason: Reason::Redirected, how: How::Answer(redirect.status, "".into()), fields }
}

fn responded(respond: &Respond, facts: &Facts<'_>) -> Turned {
    let mut fields: Fields =
        respond.headers.iter().map(|(name, value)| (Arc::clone(name), facts.header(value))).collect();
    let has_kind = respond.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"));
    if !has_kind && !respond.body.is_empty() {
        fields.push(("content-type".into(), b"text/plain; charset=utf-8".to_vec()));
    }
    let how = How::Answer(respond.status, Arc::clone(&respond.body));
    Turned { reason: Reason::Responded, how, fields }
}

//! One request and the rule that is for it: in at the door, up to a replica, and back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use pando_http::Known;
use pando_routing::rule::{Redirect, Respond};

use super::authority::{self, Said};
use super::change::{Change, Wanted};
use super::copy;
use super::cors::Fields;
use super::door::Door;
use super::entry::{self, How, Turned};
use super::fill::Facts;
use super::live::Reason;
use super::password::Word;
use super::redirect;
use super::route::{Route, To};
use super::shown::Shown;
use super::squeeze;
use super::up::Taken;
use crate::asked::Asked;
use crate::client::Client;
use crate::forward::{self, End, Id, Page, Refused, Reply, Routed, Tally, Wants};
use crate::front::Front;
use crate::plane::Plane;
use crate::snapshot::PoolView;
use crate::upstream::write_changed_head;

/// A request, who sent it, and the rule that is for it.
pub(super) struct Case<'a> {
    pub(super) route: Arc<Route>,
    /// Bytes of the path that the replica doesn't see.
    pub(super) strip: usize,
    pub(super) client: &'a Client,
    pub(super) id: &'a Id,
    pub(super) plane: &'a Arc<Plane>,
}

/// Why a request goes no further.
enum Stop {
    Turned(Turned),
    /// The client has gone.
    Gone,
}

impl From<Turned> for Stop {
    fn from(turned: Turned) -> Self {
        Self::Turned(turned)
    }
}

/// Headers of a service's word, for the replica.
type Copied = Vec<(Arc<str>, Option<Vec<u8>>)>;

impl Case<'_> {
    /// `late`: it was held for too long already.
    pub(super) async fn settle<F: Front>(
        &self,
        front: &mut F,
        asked: &mut Asked,
        late: bool,
        tally: Tally,
    ) -> End {
        let mut door = Door::new(front, &self.route, Wants::of(asked), self.id.text(asked.bytes.bytes()));
        self.adorn(&mut door, asked);
        let entered = match late {
            true => Err(Stop::Turned(entry::late(&self.route))),
            false => self.enter(&mut door, asked).await,
        };
        match entered {
            Ok((pool, change)) => self.carry(&mut door, asked, pool, change, tally).await,
            Err(Stop::Turned(turned)) => self.turn(&mut door, turned, asked, tally).await,
            Err(Stop::Gone) => End::Cut,
        }
    }

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
    async fn enter<F: Front>(
        &self,
        door: &mut Door<'_, F>,
        asked: &mut Asked,
    ) -> Result<(Arc<PoolView>, Change), Stop> {
        let key = self.plane.snapshot.load().as_deref().map_or(self.plane.key, |snapshot| snapshot.key);
        for (name, value) in entry::check(&self.route, self.facts(asked).shown, &key)? {
            door.add(name, value);
        }
        self.password(asked).await?;
        let copied = self.authority(asked).await?;
        let pool = self.destination(door, &self.facts(asked))?;
        let change = self.change(asked, &pool, copied)?;
        let compression = self.route.filters.compression.as_ref();
        door.squeeze(compression.and_then(|compression| squeeze::agree(compression, asked)));
        self.body(door, asked, &change).await?;
        Ok((pool, change))
    }

    async fn password(&self, asked: &Asked) -> Result<(), Turned> {
        let (Some(auth), Some((users, passwords))) = (&self.route.filters.basic_auth, &self.route.users)
        else {
            return Ok(());
        };
        let field = asked.head.fields.only(Known::Authorization);
        let field = field.map(|field| field.value.bytes(asked.bytes.bytes()));
        let retry = |seconds: u64| vec![("retry-after".into(), seconds.to_string().into_bytes())];
        let (page, fields) = match passwords.ask(users, field, self.client.address).await {
            Word::Right => return Ok(()),
            Word::Wrong => {
                let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", auth.realm);
                (Page::Unauthorised, vec![("www-authenticate".into(), challenge.into_bytes())])
            }
            Word::TooMany(seconds) => (Page::TooMany, retry(seconds)),
            Word::Busy => (Page::Busy, retry(1)),
        };
        Err(Turned::page(Reason::Unauthorised, page, fields))
    }

    async fn authority(&self, asked: &Asked) -> Result<Copied, Turned> {
        let (Some(auth), Some(pool)) = (&self.route.filters.forward_auth, &self.route.authority) else {
            return Ok(Copied::new());
        };
        let facts = self.facts(asked);
        let said = Box::pin(authority::consult(auth, pool, facts.shown, facts.id, self.plane)).await;
        let answer = match said {
            Said::Pass(answer) => answer,
            Said::No(answer) => return Err(Turned::theirs(answer)),
            Said::Nothing => {
                return Err(Turned::page(Reason::Forbidden, Page::NoAuthority, Fields::new()));
            }
        };
        let of_name = |name: &Arc<str>| {
            let mut all =
                answer.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
            all.next().map(|(_, value)| value.clone())
        };
        Ok(auth.copy.iter().map(|name| (Arc::clone(name), of_name(name))).collect())
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

    fn change(&self, asked: &mut Asked, pool: &PoolView, copied: Copied) -> Result<Change, Turned> {
        let filters = &self.route.filters;
        let wanted = Wanted::of(&self.facts(asked)).ok_or_else(Turned::climbs)?;
        let mut change = wanted.make(asked, &filters.request_headers);
        if filters.basic_auth.as_ref().is_some_and(|auth| !auth.pass_on) {
            change.remove(asked, "authorization");
        }
        for (name, value) in copied {
            change.set(asked, &name, value.as_deref());
        }
        if let To::Split(split) = &self.route.to
            && let Some(name) = split.cookie()
        {
            let sticky = pool.sticky.as_ref().map(|sticky| &sticky.policy.cookie);
            let names: Vec<_> = [Some(name), sticky].into_iter().flatten().collect();
            change.hide_cookies(asked, &names);
        }
        Ok(change)
    }

    /// Holds the request's body and sends a copy off, where the rule says so.
    async fn body<F: Front>(
        &self,
        door: &mut Door<'_, F>,
        asked: &mut Asked,
        change: &Change,
    ) -> Result<(), Stop> {
        let filters = &self.route.filters;
        let upgrades = asked.head.upgrade.is_some();
        let mirror = filters.mirror.as_ref().filter(|mirror| !upgrades && copy::is_drawn(mirror));
        let limits = &self.plane.limits;
        let taken = match (&filters.buffer_request, mirror) {
            (Some(buffer), _) => match door.take(asked, buffer.max_bytes, limits).await {
                Taken::More => Taken::Refused(Page::TooLarge),
                taken => taken,
            },
            (None, Some(mirror)) => door.take(asked, mirror.max_body_bytes, limits).await,
            (None, None) => return Ok(()),
        };
        match taken {
            Taken::Gone => return Err(Stop::Gone),
            Taken::Refused(page) => return Err(Stop::Turned(Turned::refused(page))),
            Taken::Whole | Taken::More => {}
        }
        if let (Some(mirror), Some(pool)) = (mirror, &self.route.mirror) {
            let body = door.up.whole();
            if taken == Taken::More || body.len() as u64 > mirror.max_body_bytes {
                self.route.live.not_copied();
                return Ok(());
            }
            let copy = (self.copied_head(asked, change), body.to_vec());
            copy::send(&self.route.live, mirror, pool, copy, self.client, self.plane);
        }
        Ok(())
    }

    /// The head as the replica gets it.
    fn copied_head(&self, asked: &mut Asked, change: &Change) -> Vec<u8> {
        // Named where the client named no host at all.
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        write_changed_head(asked, (self.strip, change), nobody, self.client, self.id);
        asked.upstream.clone()
    }

    async fn carry<F: Front>(
        &self,
        door: &mut Door<'_, F>,
        asked: &mut Asked,
        pool: Arc<PoolView>,
        change: Change,
        tally: Tally,
    ) -> End {
        let routed = Routed { pool, strip: self.strip, route: None, change: Some(Arc::new(change)) };
        let carried = forward::carry(door, asked, routed, self.client, self.id, self.plane, tally).await;
        match carried {
            Err((page, tally)) => self.refuse(door, page.into(), asked, tally).await,
            Ok(End::Cut) => End::Cut,
            Ok(end) => match door.finish(self.plane.limits.client_stall).await {
                Ok(()) => end,
                Err(_) => End::Cut,
            },
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
        if let Some(reason) = reason {
            self.route.live.kept(reason);
        }
        match how {
            How::Page(page, message) => {
                let refused = Refused { page, fields, message, pages: None };
                self.refuse(door, refused, asked, tally).await
            }
            How::Answer(status, body) => {
                // A preflight's fields are those that nobody else may say.
                let (to_all, fields): (Fields, Fields) =
                    fields.into_iter().partition(|_| reason == Some(Reason::Preflight));
                to_all.into_iter().for_each(|(name, value)| door.add(name, value));
                let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
                let reply = Reply { status, fields: &fields, body: &body };
                forward::reply(door, reply, asked, self.client, self.id, tally, self.plane).await
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
    let Some(location) = redirect::location(redirect, facts) else { return Turned::climbs() };
    let fields = vec![("location".into(), location)];
    Turned { reason: Some(Reason::Redirected), how: How::Answer(redirect.status, Vec::new()), fields }
}

fn responded(respond: &Respond, facts: &Facts<'_>) -> Turned {
    let mut fields: Fields =
        respond.headers.iter().map(|(name, value)| (Arc::clone(name), facts.header(value))).collect();
    let has_kind = respond.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"));
    if !has_kind && !respond.body.is_empty() {
        fields.push(("content-type".into(), b"text/plain; charset=utf-8".to_vec()));
    }
    let how = How::Answer(respond.status, respond.body.as_bytes().to_vec());
    Turned { reason: Some(Reason::Responded), how, fields }
}

//! What is done to requests and answers on the way, in the routing table's words.

use std::path::Path;
use std::sync::Arc;

use pando_model::traffic::UsersSpec;
use pando_routing::rule::access::ForwardAuth;
use pando_routing::rule::answers::{self, ErrorPage, ErrorPages};
use pando_routing::rule::filters::{Filters, HeaderChanges};
use pando_routing::rule::limits::{Buffering, Mirror, NetworkBits, RateKey, RateLimit};
use pando_routing::{Network, PoolId, SecretText, rule::Rewrite};

use super::Surroundings;
use crate::decode::{Field, OneOrMany, OrRecord, Switch};
use crate::diagnostic::Sink;
use crate::raw::Route;
use crate::raw::filters as raw;
use crate::value::{self, CountedBy, HeaderName, Text};

/// Bytes of a page.
const MOST_PAGE: usize = 64 << 10;

pub(super) fn filters(route: &Route, sink: &mut Sink) -> Filters {
    let headers = route.headers.value();
    Filters {
        rewrite: rewrite(route, sink),
        request_headers: changes(headers.and_then(|headers| headers.request.value())),
        response_headers: changes(headers.and_then(|headers| headers.response.value())),
        allow: networks(&route.allow),
        deny: networks(&route.deny),
        forward_auth: route.forward_auth.value().and_then(forward_auth),
        rate_limits: rate_limits(route),
        cors: route.cors.value().and_then(|cors| self::cors(&cors.0)),
        compression: route.compression.value().and_then(Switch::on).map(compression),
        buffer_request: buffer(route, |buffering| buffering.request.value().map(|size| size.0)),
        buffer_response: buffer(route, |buffering| buffering.response.value().map(|size| size.0)),
        mirror: route.mirror.value().and_then(|mirror| self::mirror(&mirror.0)),
        ..Filters::default()
    }
}

fn rewrite(route: &Route, sink: &mut Sink) -> Option<Rewrite> {
    let given = route.rewrite.get()?;
    let OrRecord(rewrite) = &given.value;
    match (rewrite.to.value(), rewrite.prefix.value()) {
        (Some(to), None) => Some(Rewrite::To(to.0.clone())),
        (None, Some(prefix)) => Some(Rewrite::Prefix(prefix.0.clone())),
        _ => {
            sink.error(given.key, "a rewrite has one of the keys `to` and `prefix`");
            None
        }
    }
}

pub(super) fn networks(given: &Field<OneOrMany<value::Network>>) -> Vec<Network> {
    given.value().map(|list| list.0.iter().map(|at| at.value.0).collect()).unwrap_or_default()
}

fn names(given: &Field<OneOrMany<HeaderName>>) -> Vec<Arc<str>> {
    let list = given.value().map(|list| list.0.as_slice()).unwrap_or_default();
    list.iter().map(|at| at.value.0.as_str().into()).collect()
}

fn changes(given: Option<&raw::HeaderChanges>) -> HeaderChanges {
    let Some(given) = given else { return HeaderChanges::default() };
    let values = |field: &Field<crate::decode::Named<HeaderName, value::Filled>>| {
        let entries = field.value().map(|map| map.entries.as_slice()).unwrap_or_default();
        entries.iter().map(|(name, text)| (name.value.0.as_str().into(), text.value.0.clone())).collect()
    };
    HeaderChanges { set: values(&given.set), add: values(&given.add), remove: names(&given.remove) }
}

pub(super) fn users(route: &Route) -> Option<UsersSpec> {
    let given = route.basic_auth.value()?;
    let users = given.users.value()?.entries.iter();
    let users = users.map(|(name, hash)| (name.value.0.as_str().into(), SecretText(hash.value.0.clone())));
    Some(UsersSpec {
        users: users.collect(),
        realm: given.realm.value().map(|realm| realm.0.clone()).filter(|realm| realm != "Restricted"),
        pass_on: given.pass_on.value().is_some_and(|flag| flag.0),
    })
}

fn forward_auth(given: &raw::ForwardAuth) -> Option<ForwardAuth> {
    Some(ForwardAuth {
        pool: PoolId(given.process.value()?.to_string()),
        path: given.path.value()?.0.clone(),
        send: given.send_headers.value().map(|_| names(&given.send_headers)),
        copy: names(&given.copy_headers),
        timeout_millis: given.timeout.value().map_or(5_000, |time| time.0.0),
    })
}

fn rate_limits(route: &Route) -> Vec<RateLimit> {
    let list = route.rate_limit.value().map(|list| list.0.as_slice()).unwrap_or_default();
    list.iter().filter_map(|at| rate_limit(&at.value.0)).collect()
}

fn rate_limit(given: &raw::RateLimit) -> Option<RateLimit> {
    let rate = given.rate.value()?;
    Some(RateLimit {
        name: given.name.value().map_or("default", |name| &name.0).into(),
        requests: rate.requests,
        window_seconds: rate.seconds,
        burst: given.burst.value().map(|count| count.0),
        key: match given.by.value() {
            None | Some(CountedBy::Address) => RateKey::Address,
            Some(CountedBy::Network) => RateKey::Network(NetworkBits::default()),
            Some(CountedBy::Header(name)) => RateKey::Header(name.as_str().into()),
            Some(CountedBy::Cookie(name)) => RateKey::Cookie(name.as_str().into()),
            Some(CountedBy::Everyone) => RateKey::Everyone,
        },
        subjects: given.subjects.value().map_or(8_192, |count| count.0),
    })
}

fn cors(given: &raw::Cors) -> Option<answers::Cors> {
    let methods = given.methods.value().map(|list| list.0.iter().map(|at| at.value.0.clone()).collect());
    Some(answers::Cors {
        origins: given.origins.value()?.0.iter().map(|at| at.value.0.clone()).collect(),
        methods: methods.unwrap_or_else(|| ["GET", "HEAD", "POST"].map(str::to_owned).into()),
        headers: names(&given.headers),
        expose: names(&given.expose),
        credentials: given.credentials.value().is_some_and(|flag| flag.0),
        max_age_seconds: given.max_age.value().map_or(600, |age| seconds(age.0.0)),
    })
}

fn seconds(millis: u64) -> u32 {
    u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX)
}

fn compression(given: &raw::Compression) -> answers::Compression {
    let default = answers::Compression::default();
    let encoding = |encoding: &raw::Encoding| match encoding {
        raw::Encoding::Zstd => answers::Encoding::Zstd,
        raw::Encoding::Br => answers::Encoding::Br,
        raw::Encoding::Gzip => answers::Encoding::Gzip,
    };
    let encodings = given.encodings.value();
    let types = given.types.value();
    answers::Compression {
        encodings: encodings
            .map_or(default.encodings, |list| list.0.iter().map(|at| encoding(&at.value)).collect()),
        types: types.map(|list| list.0.iter().map(|at| at.value.0.as_str().into()).collect()),
        min_bytes: given.min_size.value().map_or(default.min_bytes, |size| size.0),
        event_streams: given.event_streams.value().is_some_and(|flag| flag.0),
    }
}

fn buffer(route: &Route, size: fn(&raw::Buffering) -> Option<u64>) -> Option<Buffering> {
    route.buffering.value().and_then(size).map(|max_bytes| Buffering { max_bytes })
}

fn mirror(given: &raw::Mirror) -> Option<Mirror> {
    Some(Mirror {
        pool: PoolId(given.process.value()?.to_string()),
        percent: given.share.value().map_or(100, |share| share.0),
        max_body_bytes: given.max_body.value().map_or(64 << 10, |size| size.0),
        max_in_flight: given.max_in_flight.value().map_or(64, |count| count.0),
    })
}

/// With the files that it names, read.
pub(super) fn error_pages(route: &Route, around: &Surroundings<'_>, sink: &mut Sink) -> Option<ErrorPages> {
    let replica_errors = route.replace_errors.value().is_some_and(|flag| flag.0);
    let given = match (route.error_pages.value(), route.replace_errors.key()) {
        (Some(given), _) => given,
        (None, Some(key)) if replica_errors && route.error_pages.is_absent() => {
            sink.error(key, "`replace_errors` needs `error_pages` to put in their place");
            return None;
        }
        _ => return None,
    };
    let mut pages = std::collections::BTreeMap::new();
    for (statuses, page) in &given.entries {
        let OrRecord(files) = &page.value;
        let mut read = |file| page_of(file, around, sink);
        let page = ErrorPage { html: read(&files.html), json: read(&files.json), text: read(&files.text) };
        pages.insert(statuses.value.0, page);
    }
    Some(ErrorPages { pages, replica_errors })
}

fn page_of(file: &Field<Text>, around: &Surroundings<'_>, sink: &mut Sink) -> Option<Arc<str>> {
    let at = file.get()?;
    let path = Path::new(&at.value.0);
    let reason = match around.read(path) {
        Ok(bytes) if bytes.len() > MOST_PAGE => {
            format!("`{}` is larger than the 64 KiB that a page may have", path.display())
        }
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => return Some(text.into()),
            Err(_) => format!("`{}` is not UTF-8 text", path.display()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("there is no file `{}`", path.display())
        }
        Err(error) => format!("`{}` can't be read: {error}", path.display()),
    };
    sink.error_hint(at.span, reason, "pages are files, named as seen from the directory of this one");
    None
}

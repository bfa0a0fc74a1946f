//! The keys of a route: which requests it is for, and where they go. What is done on the way is in `filters`.

use pando_model::ProcessName;
use pando_routing::rule::Test;
use serde_json::{Value as Json, json};

use super::balancing::SameSite;
use super::filters::{
    BasicAuth, Buffering, Compression, Cors, ForwardAuth, HeaderRules, Mirror, Page, RateLimit,
};
use crate::decode::{
    At, Decode, Definitions, Field, Key, Leaf, List, Named, OneOrMany, OrRecord, Record, Shorthand, Switch,
    Wrong, choice, complain, record,
};
use crate::diagnostic::Sink;
use crate::tree::{Kind, Node, Value};
use crate::value::{
    CookieName, Count, Duration, ErrorStatuses, Filled, Flag, HashOn, HeaderName, Host, Method, Network,
    PathPattern, Port, RedirectTo, Text, UrlPath, Word,
};

record! {
    /// Requests that go elsewhere than to `web`, or to which something is done on the way.
    Route = "a route" {
        /// How metrics and logs call it. Without it: host and path.
        name: Text;
        /// The one of `domains` (or their aliases) that it is for, or a name below one that begins with `*.`. Without it: every one.
        host: Host;
        /// The path and all below it: `/api` is `/api` and `/api/x`, not `/apiary`. Or a map with `exact` or `pattern`.
        path: OrRecord<Path> [default "/"];
        /// What else must hold of a request.
        when: When;
        /// The process that gets the requests. Without it, and without `split`, `redirect` and `respond`: `web`.
        process: ProcessName;
        /// Processes that share the requests, each with its part relative to the others', such as `{web: 95, beta: 5}`.
        split: Named<ProcessName, Count<0, 1_000_000>>;
        /// With `split`: whether a visitor stays on one side.
        stick: Switch<Stick>;
        /// Where clients are sent: a path or a URL, perhaps with the places of the pattern, or the keys below. The query comes along.
        redirect: OrRecord<Redirect>;
        /// An answer that stands here: a text, a status such as `404`, or the keys below.
        respond: OrRecord<Respond>;
        /// Whether the process sees the path without this prefix.
        strip_prefix: Flag [default "false"];
        /// The path that the process sees, perhaps with the places of the pattern, or `{prefix: …}` in place of the one that matched.
        rewrite: OrRecord<Rewrite>;
        /// Changes of headers.
        headers: HeaderRules;
        /// Who may come: addresses or ranges. Others get 403.
        allow: OneOrMany<Network>;
        /// Who may not, even if `allow` has them: addresses or ranges.
        deny: OneOrMany<Network>;
        /// Users with passwords.
        basic_auth: BasicAuth;
        /// A process that is asked whether a request may pass.
        forward_auth: ForwardAuth;
        /// How many requests pass, such as `100/m`, of each address; or the keys below, or a list of such. More get 429.
        rate_limit: OneOrMany<OrRecord<RateLimit>>;
        /// Which pages of other origins may read the answers: an origin, or the keys below.
        cors: OrRecord<Cors>;
        /// Whether answers are compressed for clients that can read them so.
        compression: Switch<Compression>;
        /// How much of a body is held.
        buffering: Buffering;
        /// Pages for errors, by status (`503`) or class (`5xx`): files beside this one, at most 64 KiB each.
        error_pages: Named<ErrorStatuses, OrRecord<Page>>;
        /// Whether the pages stand in for the process's own answers of 500 and above, too.
        replace_errors: Flag [default "false"];
        /// A process that gets copies of the requests; its answers are thrown away. Its name, or the keys below.
        mirror: OrRecord<Mirror>;
    } misplaced misplaced
}

fn misplaced(key: &str) -> Option<String> {
    let hint = match key {
        "domain" | "domains" => "did you mean `host`?",
        "to" | "service" | "backend" | "upstream" | "target" | "pool" => "did you mean `process`?",
        "method" | "methods" | "header" | "query" | "cookie" | "cookies" | "from" | "source" | "tls" => {
            "this belongs below `when`"
        }
        "auth" => "did you mean `basic_auth` (passwords) or `forward_auth` (another process is asked)?",
        "prefix" | "exact" | "pattern" => {
            "this belongs to the path: `path: /api`, `path: {exact: /api}`, `path: {pattern: /users/{id}}`"
        }
        "weight" | "weights" | "canary" => "did you mean `split: {web: 95, beta: 5}`?",
        "return" | "status" | "body" => "did you mean `respond`?",
        "maintenance" | "pause" => "that is said by a command: `pando maintenance on`, `pando pause`",
        "gzip" | "compress" | "encode" => "did you mean `compression`?",
        _ => return None,
    };
    Some(hint.to_owned())
}

record! {
    /// Which paths are meant. One key is given.
    Path = "a path" {
        /// The path and all below it.
        prefix: UrlPath;
        /// This path alone.
        exact: UrlPath;
        /// A path with places: `/users/{id}`, `/files/{name}.json`, `/static/{rest...}`.
        pattern: PathPattern;
    }
}

impl Shorthand for Path {
    type Short = UrlPath;

    fn from_short(short: At<UrlPath>) -> Self {
        Self { prefix: Field::Given(short), ..Self::default() }
    }
}

record! {
    /// What must hold of a request, all of it.
    When = "a condition" {
        /// One of these methods.
        method: OneOrMany<Method>;
        /// Headers by name: a value, a list of values, `true` (it is there), `false` (it is not), or `{starts_with: …}`.
        headers: Named<HeaderName, Condition>;
        /// Cookies by name, as `headers`.
        cookies: Named<CookieName, Condition>;
        /// Parameters of the query by name, as `headers`.
        query: Named<Text, Condition>;
        /// The client's address is one of these, or in one of these ranges.
        from: OneOrMany<Network>;
        /// The client came over TLS, or did not.
        tls: Flag;
    } misplaced singular
}

fn singular(key: &str) -> Option<String> {
    let hint = match key {
        "methods" => "did you mean `method`? It takes a list, too",
        "header" => "did you mean `headers`?",
        "cookie" => "did you mean `cookies`?",
        "source" | "address" | "ip" | "client" => "did you mean `from`?",
        "host" | "path" => "this belongs to the route itself, beside `when`",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What one value must be.
#[derive(Debug, Clone)]
pub(crate) struct Condition(pub(crate) Test);

record! {
    /// The beginning of a value.
    Beginning = "a condition" {
        /// What the value begins with.
        starts_with: Word [required];
    }
}

impl Decode for Condition {
    fn expected() -> String {
        "a value, a list of values, `true`, `false` or `{starts_with: …}`".to_owned()
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let test = match &node.value {
            Value::List(_) => {
                let words = List::<Word>::decode(node, sink)?.0;
                Test::OneOf(words.into_iter().map(|word| word.value.0).collect())
            }
            Value::Map(_) => Test::StartsWith(Beginning::decode(node, sink)?.starts_with.value()?.0.clone()),
            Value::Scalar(scalar) => match (scalar.as_bool(), scalar.kind) {
                (Some(true), _) => Test::Present,
                (Some(false), _) => Test::Absent,
                (None, Kind::Null) => {
                    complain(node, &Self::expected(), Wrong::default(), sink);
                    return None;
                }
                (None, _) => Test::Is(scalar.text.clone()),
            },
        };
        Some(Self(test))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({"anyOf": [
            {"type": ["string", "number", "boolean"]},
            {"type": "array", "items": <Word as Leaf>::schema()},
            Beginning::schema(definitions),
        ]})
    }

    fn nested() -> Option<(&'static str, Vec<Key>)> {
        Some((".", Beginning::keys()))
    }
}

record! {
    /// How a visitor stays on one side.
    Stick = "a rule for who stays where" {
        /// The name of the cookie that remembers it.
        cookie: CookieName [default "pando_side"];
        /// How long a visitor stays; `0`: until the browser is closed.
        ttl: Duration<0, 31_536_000_000> [default "1d"];
        /// Whether the cookie comes along from other sites.
        same_site: SameSite [default "lax"];
        /// No cookie: the same value of `header NAME`, `cookie NAME`, `address` or `path` is always on the same side.
        hash_on: HashOn;
    }
}

choice! {
    /// The scheme of a URL.
    Scheme {
        Http = "http",
        Https = "https",
    }
}

record! {
    /// Where clients are sent. What is not named stays as they asked for it.
    Redirect = "a redirect" {
        /// A path or a URL, perhaps with the places of the pattern.
        to: RedirectTo;
        /// Another scheme.
        scheme: Scheme;
        /// Another host.
        host: Host;
        /// Another port.
        port: Port;
        /// In place of the prefix that matched.
        prefix: UrlPath;
        /// 301 and 308 are remembered by browsers, 302, 303 and 307 are not; 307 and 308 keep the method.
        status: Count<301, 308> [default "302"];
        /// Whether the query comes along.
        keep_query: Flag [default "true"];
    }
}

impl Shorthand for Redirect {
    type Short = RedirectTo;

    fn from_short(short: At<RedirectTo>) -> Self {
        Self { to: Field::Given(short), ..Self::default() }
    }
}

record! {
    /// An answer that stands here.
    Respond = "an answer" {
        /// The status.
        status: Count<200, 599> [default "200"];
        /// Headers, perhaps with variables. Without a `content-type` it is plain text.
        headers: Named<HeaderName, Filled>;
        /// The text, at most 64 KiB.
        body: Word;
    }
}

impl Shorthand for Respond {
    type Short = Word;

    /// Three digits are a status.
    fn from_short(short: At<Word>) -> Self {
        let At { key, span, value } = &short;
        let status = Some(&value.0).filter(|text| text.len() == 3).and_then(|text| text.parse().ok());
        match status.filter(|status| (200..600).contains(status)) {
            Some(status) => {
                let status = At { key: *key, span: *span, value: Count(status) };
                Self { status: Field::Given(status), ..Self::default() }
            }
            None => Self { body: Field::Given(short), ..Self::default() },
        }
    }
}

record! {
    /// The path that the process sees. One key is given.
    Rewrite = "a rewrite" {
        /// The whole path, perhaps with the places of the pattern.
        to: Filled;
        /// In place of the prefix that matched.
        prefix: UrlPath;
    }
}

impl Shorthand for Rewrite {
    type Short = Filled;

    fn from_short(short: At<Filled>) -> Self {
        Self { to: Field::Given(short), ..Self::default() }
    }
}

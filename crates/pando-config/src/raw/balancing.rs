//! The keys of load balancing: how requests are spread over replicas, and what becomes of them when replicas fail.

use pando_model::ServerName;

use super::placement::Servers;
use crate::decode::{At, Field, Named, OneOrMany, OrRecord, Shorthand, Switch, choice, record};
use crate::value::{
    CookieName, Count, Duration, Flag, HashBound, HashOn, Host, Percent, ServerName as TlsName, StatusRange,
    Text, UrlPath,
};

choice! {
    /// Which replica gets a request.
    Algorithm {
        RoundRobin = "round_robin",
        Weighted = "weighted",
        LeastConnections = "least_connections",
        PowerOfTwo = "power_of_two",
        PeakEwma = "peak_ewma",
        ConsistentHash = "consistent_hash",
    }
}

choice! {
    /// What becomes of requests while no replica is in rotation.
    WhenAllDown {
        Serve = "serve",
        Refuse = "refuse",
    }
}

choice! {
    /// What replicas speak.
    Speaks {
        Http1 = "http1",
        H2c = "h2c",
        H2 = "h2",
        Grpc = "grpc",
    }
}

choice! {
    /// How replicas are told on whose behalf a connection is opened.
    ProxyProtocol {
        V1 = "v1",
        V2 = "v2",
    }
}

choice! {
    /// Whether a cookie comes along from other sites.
    SameSite {
        Lax = "lax",
        Strict = "strict",
        None = "none",
    }
}

choice! {
    /// How load balancers look at replicas.
    ProbeType {
        Tcp = "tcp",
        Http = "http",
        Grpc = "grpc",
        None = "none",
    }
}

record! {
    /// How requests are spread over the replicas.
    LoadBalancing = "load balancing" {
        /// Which replica gets a request: each in turn (`round_robin`; `weighted` by `weights`), the one with the fewest requests under way,
        /// the better of two drawn, the one that answers fastest (`peak_ewma`), or always the same for the same visitor
        /// (`consistent_hash`).
        algorithm: Algorithm [default "peak_ewma"];
        /// With `consistent_hash`: what decides, `header NAME`, `cookie NAME`, `address` or `path`. Without it: `address`.
        hash_on: HashOn;
        /// With `consistent_hash`: how much of the average one replica may have under way before the next gets the request; `0%`: no bound.
        /// Without it: `125%`.
        hash_bound: HashBound;
        /// With `weighted`: by server, the part of the requests that each replica there gets relative to others. Others have 1.
        weights: Named<ServerName, Count<1, 256>>;
        /// Replicas on these servers get requests while no other one can.
        standby: Servers;
        /// Whether a visitor stays with one replica.
        sticky: Switch<Sticky>;
        /// How long a replica that comes into rotation is spared, from a tenth of its part to all of it; `0`: not at all.
        slow_start: Duration<0, 900_000> [default "15s"];
        /// When requests themselves show that a replica fails, it gets none for a while; `false`: never.
        ejection: Switch<Ejection>;
        /// Whether a request is tried again on another replica where that is safe, as a count or with the keys below.
        retries: OrRecord<Retries>;
        /// Whether a GET or HEAD that takes longer than most is asked of a second replica too, so that the client gets the answer that is there
        /// first: `true`, or the keys below. What it costs comes out of the budget for retries. Not with `sticky`.
        hedge: Switch<Hedge>;
        /// How many requests one replica may have under way. Without it: as many as come.
        max_in_flight: Count<1, 1_000_000>;
        /// Where requests wait while every replica has all that it may have, as a length or with the keys below. Without it: they get 503.
        queue: OrRecord<Queue>;
        /// How many requests a replica may have under way is found out from how fast it answers.
        adaptive_limit: Switch<AdaptiveLimit>;
        /// How long replicas may take.
        timeouts: Timeouts;
        /// What becomes of requests while no replica is in rotation: those that may serve after all are tried, and where all have stopped listening a moment ago, requests wait for up to 3 s; or they get 503.
        when_all_down: WhenAllDown [default "serve"];
        /// What replicas speak: `http1`, or HTTP/2, called `h2c` without `tls` and `h2` with it, and `grpc` either way.
        protocol: Speaks [default "http1"];
        /// Whether replicas speak TLS: `true`, or the keys below.
        tls: Switch<ReplicaTls>;
        /// How replicas are told on whose behalf a connection is opened (PROXY protocol): as text (`v1`) or in binary (`v2`), before TLS if there is both.
        /// Without it: by `X-Forwarded-For` alone.
        proxy_protocol: ProxyProtocol;
        /// How long WebSockets and streams of events go on while their replica drains.
        drain: Drain;
        /// The load balancers' own look at each replica, beside the health check on its server.
        probe: Probe;
    } misplaced misplaced give_way give_way
}

/// What goes with one algorithm goes with it.
fn give_way(under: &mut LoadBalancing, over: &LoadBalancing) {
    let Some(algorithm) = over.algorithm.value() else { return };
    if *algorithm != Algorithm::ConsistentHash {
        (under.hash_on, under.hash_bound) = (Field::Absent, Field::Absent);
    }
    if *algorithm != Algorithm::Weighted {
        under.weights = Field::Absent;
    }
}

fn misplaced(key: &str) -> Option<String> {
    let hint = match key {
        "strategy" | "method" | "policy" => "did you mean `algorithm`?",
        "health" | "health_check" => {
            "the health check of a process is `health`; the load balancers' own is `probe`"
        }
        "outlier_detection" | "outlier" | "circuit_breaker" => "did you mean `ejection`?",
        "max_conn" | "max_connections" | "maxconn" => "did you mean `max_in_flight`?",
        "upstream_tls" | "backend_tls" | "ssl" => "did you mean `tls`?",
        "hedging" => "did you mean `hedge`?",
        "timeout" => "did you mean `timeouts: {response: …}`?",
        _ => return None,
    };
    Some(hint.to_owned())
}

record! {
    /// How a visitor stays with one replica.
    Sticky = "stickiness" {
        /// The name of the cookie.
        cookie: CookieName [default "pando_server"];
        /// How long a visitor stays; `0`: until the browser is closed.
        ttl: Duration<0, 31_536_000_000> [default "1d"];
        /// Whether the cookie comes along from other sites. It is `HttpOnly` in any case.
        same_site: SameSite [default "lax"];
        /// Whether browsers send it over TLS alone. Without it: where it was set over TLS. `true` is for load balancers behind another one that
        /// ends TLS.
        secure: Flag;
    }
}

record! {
    /// When a replica gets no requests for a while.
    Ejection = "a rule for ejection" {
        /// So many failures in a row eject.
        failures: Count<1, 10_000> [default "5"];
        /// Fewer successes than this in the last 10 s eject too; `0%`: never.
        success: Percent [default "70%"];
        /// But only of so many requests in those 10 s.
        min_requests: Count<1, 1_000_000> [default "20"];
        /// How long the first time; n times as long the n-th time.
        time: Duration<1, 86_400_000> [default "10s"];
        /// Never longer than this.
        max_time: Duration<1, 86_400_000> [default "5m"];
        /// At most this part of the replicas at once, and never the last one.
        max_ejected: Percent [default "50%"];
    }
}

record! {
    /// When a request is tried again.
    Retries = "a rule for retries" {
        /// Tries beyond the first of what a replica may have seen.
        attempts: Count<0, 5> [default "1"];
        /// Tries beyond the first while no replica could be connected to.
        connect: Count<0, 5> [default "2"];
        /// Retries in percent of the requests of the last 10 s.
        budget: Percent [default "20%"];
        /// And so many a second besides.
        budget_per_second: Count<0, 1_000_000> [default "10"];
    }
}

impl Shorthand for Retries {
    type Short = Count<0, 5>;

    fn from_short(short: At<Count<0, 5>>) -> Self {
        Self { attempts: Field::Given(short), ..Self::default() }
    }
}

record! {
    /// When a second replica is asked too.
    Hedge = "a rule for hedging" {
        /// Once a request has taken longer than so many percent of the answers of the last 10 to 20 s.
        percentile: Count<50, 99> [default "95"];
        /// But never sooner.
        at_least: Duration<1, 900_000> [default "10ms"];
        /// In place of both: after this time.
        after: Duration<1, 900_000>;
    } give_way one_way
}

/// When it is too long is overridden as a whole.
fn one_way(under: &mut Hedge, over: &Hedge) {
    if !over.after.is_absent() {
        (under.percentile, under.at_least) = (Field::Absent, Field::Absent);
    }
    if !(over.percentile.is_absent() && over.at_least.is_absent()) {
        under.after = Field::Absent;
    }
}

record! {
    /// Where requests wait.
    Queue = "a queue" {
        /// How many may wait at each load balancer.
        length: Count<1, 1_000_000> [default "100"];
        /// How long one waits.
        wait: Duration<1, 900_000> [default "5s"];
    }
}

impl Shorthand for Queue {
    type Short = Count<1, 1_000_000>;

    fn from_short(short: At<Count<1, 1_000_000>>) -> Self {
        Self { length: Field::Given(short), ..Self::default() }
    }
}

record! {
    /// Between which bounds the limit is found out.
    AdaptiveLimit = "an adaptive limit" {
        /// Where it starts.
        initial: Count<1, 1_000_000> [default "20"];
        /// Never lower.
        min: Count<1, 1_000_000> [default "20"];
        /// Never higher.
        max: Count<1, 1_000_000> [default "200"];
    }
}

record! {
    /// How replicas are spoken to over TLS.
    ReplicaTls = "rules for TLS" {
        /// The file with the authorities that replicas' certificates come from, in PEM, beside this one. Without it: those that the load
        /// balancer's system believes.
        ca: Text;
        /// The host or address that replicas' certificates are for; a host is named to them. Without it: each replica's address.
        server_name: TlsName;
        /// Whether whatever certificate is shown is taken, so that anybody on the way can read and change everything.
        insecure_skip_verify: Flag [default "false"];
        /// For replicas that ask: the host of a certificate that was brought with `pando cert import`.
        client_certificate: Host;
    }
}

record! {
    /// How long what lasts goes on while its replica drains.
    Drain = "rules for draining" {
        /// WebSockets get a close frame within this.
        websockets: Duration<0, 86_400_000> [default "5m"];
        /// Streams of events end within this.
        event_streams: Duration<0, 86_400_000> [default "5m"];
    }
}

record! {
    /// How long replicas may take.
    Timeouts = "a set of time-outs" {
        /// To open a connection to a replica.
        connect: Duration<1, 600_000> [default "2s"];
        /// From the whole request sent to the head of the answer.
        response: Duration<1, 86_400_000> [default "60s"];
        /// Without a byte either way while a body or a WebSocket goes on.
        idle: Duration<1, 86_400_000> [default "5m"];
    }
}

record! {
    /// The load balancers' own look at each replica.
    Probe = "a probe" {
        /// `tcp`: the port must accept a connection. `http`: GET `path` must be answered as expected. `grpc`: the gRPC
        /// health service must answer `SERVING`. `none`: only requests tell. Without it: `http` or `grpc` where a key for that is given, else
        /// `tcp`.
        r#type: ProbeType;
        /// With `http`: what to ask for. Without it: `/`.
        path: UrlPath;
        /// With `http`: the `Host` to ask for. Without it: the replica's address.
        host: Host;
        /// With `http`: which statuses are right. Without it: 200 to 399.
        status: OneOrMany<StatusRange>;
        /// With `http`: a text that must be in the first 64 KiB of the answer.
        body: Text;
        /// With `grpc`: the service to ask about. Without it: the whole server.
        service: Text;
        /// From one look to the next, a tenth more or less.
        interval: Duration<10, 3_600_000> [default "500ms"];
        /// How long one look may take.
        timeout: Duration<10, 600_000> [default "500ms"];
        /// How many passes in a row bring a replica back.
        healthy: Count<1, 100> [default "1"];
        /// How many failures in a row take a replica out.
        unhealthy: Count<1, 100> [default "2"];
    } give_way new_question
}

/// What is asked is overridden as a whole, how often key by key.
fn new_question(under: &mut Probe, over: &Probe) {
    let Probe { r#type, path, host, status, body, service, .. } = over;
    let same = r#type.is_absent() && path.is_absent() && host.is_absent() && service.is_absent();
    if !(same && status.is_absent() && body.is_absent()) {
        (under.r#type, under.path, under.host) = (Field::Absent, Field::Absent, Field::Absent);
        (under.status, under.body, under.service) = (Field::Absent, Field::Absent, Field::Absent);
    }
}

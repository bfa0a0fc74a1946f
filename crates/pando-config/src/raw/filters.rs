//! The keys of what is done to requests and answers on the way.

use pando_model::ProcessName;

use crate::decode::{At, Field, List, Named, OneOrMany, Shorthand, choice, record};
use crate::value::{
    Bytes, Count, CountedBy, Duration, Filled, Flag, HeaderName, MediaType, Method, Origin, PasswordHash,
    Percent, Rate, Text, UrlPath,
};

record! {
    /// Changes of headers both ways.
    HeaderRules = "a set of header changes" {
        /// Of requests, before the process sees them.
        request: HeaderChanges;
        /// Of answers, before the client sees them.
        response: HeaderChanges;
    }
}

record! {
    /// Changes of headers: first `remove`, then `set`, then `add`. Values may have variables, such as `{client_address}`,
    /// `{host}`, `{request_id}` or `{header.NAME}`.
    HeaderChanges = "a set of header changes" {
        /// In place of all of that name.
        set: Named<HeaderName, Filled>;
        /// Beside those that are there.
        add: Named<HeaderName, Filled>;
        /// By name.
        remove: OneOrMany<HeaderName>;
    }
}

record! {
    /// Users with passwords.
    BasicAuth = "a set of users" {
        /// By name, each with the hash of a password as `htpasswd -nB NAME` or `openssl passwd -6` prints it.
        users: Named<Text, PasswordHash> [required];
        /// What browsers show.
        realm: Text [default "Restricted"];
        /// Whether the process gets the `Authorization` header too.
        pass_on: Flag [default "false"];
    }
}

record! {
    /// A process that is asked about each request: 2xx lets it pass, any other answer goes to the client.
    ForwardAuth = "a process that is asked" {
        /// The process.
        process: ProcessName [required];
        /// What it is asked, by GET; what the client asked for is in `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`.
        path: UrlPath [required];
        /// Which of the client's headers it sees. Without it: all.
        send_headers: OneOrMany<HeaderName>;
        /// Headers of its answer that go to the process, in place of the client's own.
        copy_headers: OneOrMany<HeaderName>;
        /// How long it may take.
        timeout: Duration<1, 60_000> [default "5s"];
    }
}

record! {
    /// So many requests in so much time.
    RateLimit = "a rate limit" {
        /// A count and a time: `10/s`, `100/m`, `1000/h`, `5/30s`. Each load balancer counts for itself.
        rate: Rate [required];
        /// How many at once. Without it: as many as the rate has.
        burst: Count<1, 1_000_000>;
        /// Whom it is counted for: `address`, `network`, `header NAME`, `cookie NAME` or `everyone` together.
        by: CountedBy [default "address"];
        /// How headers and metrics call it; of several, each has its own.
        name: Text [default "default"];
        /// How many addresses (or values) are remembered.
        subjects: Count<1, 1_000_000> [default "8192"];
    }
}

impl Shorthand for RateLimit {
    type Short = Rate;

    fn from_short(short: At<Rate>) -> Self {
        Self { rate: Field::Given(short), ..Self::default() }
    }
}

record! {
    /// Which pages of other origins may read the answers. Preflights are answered by the load balancer.
    Cors = "a rule for other origins" {
        /// Theirs, such as `https://app.example.com`, `https://*.example.com` or `*`.
        origins: OneOrMany<Origin> [required];
        /// Methods. Without it: GET, HEAD and POST.
        methods: OneOrMany<Method>;
        /// Headers of requests that need leave; `*`: whichever the page asks for.
        headers: OneOrMany<HeaderName>;
        /// Headers of answers that pages may read.
        expose: OneOrMany<HeaderName>;
        /// Whether cookies come along. Not together with the origin `*`.
        credentials: Flag [default "false"];
        /// How long browsers remember what they were told.
        max_age: Duration<0, 86_400_000> [default "10m"];
    }
}

impl Shorthand for Cors {
    type Short = Origin;

    fn from_short(short: At<Origin>) -> Self {
        let origins = OneOrMany(vec![short.clone()]);
        Self {
            origins: Field::Given(At { key: short.key, span: short.span, value: origins }),
            ..Self::default()
        }
    }
}

choice! {
    /// How answers are compressed.
    Encoding {
        Zstd = "zstd",
        Br = "br",
        Gzip = "gzip",
    }
}

record! {
    /// Which answers are compressed, and how.
    Compression = "a rule for compression" {
        /// The client's own preference decides; among equals the first. Without it: `zstd`, `br`, `gzip`.
        encodings: List<Encoding>;
        /// Media types, such as `text/*`. Without it: texts, JSON, XML, JavaScript, SVG, WebAssembly, fonts.
        types: List<MediaType>;
        /// Answers that say that they are smaller stay as they are.
        min_size: Bytes<0, 1_073_741_824> [default "1KiB"];
        /// Whether streams of events are compressed, too; each event is sent on at once.
        event_streams: Flag [default "false"];
    }
}

record! {
    /// How much of a body is held.
    Buffering = "a rule for buffering" {
        /// A request goes to the process once it is whole; a larger one gets 413.
        request: Bytes<1, 67_108_864>;
        /// So much of an answer is taken off the process at once, however slow the client is.
        response: Bytes<1, 67_108_864>;
    }
}

record! {
    /// The page for an error, by format; a format that is missing is Pando's own. `{status}`, `{reason}`, `{message}` and `{request_id}`
    /// are filled in.
    Page = "a page" {
        /// The file with the page for browsers.
        html: Text;
        /// The file with the page for programs.
        json: Text;
        /// The file with the page for everybody else.
        text: Text;
    }
}

impl Shorthand for Page {
    type Short = Text;

    /// Its name says its format.
    fn from_short(short: At<Text>) -> Self {
        let extension = short.value.0.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        match extension.as_deref() {
            Some("json") => Self { json: Field::Given(short), ..Self::default() },
            Some("txt" | "text") => Self { text: Field::Given(short), ..Self::default() },
            _ => Self { html: Field::Given(short), ..Self::default() },
        }
    }
}

record! {
    /// A process that gets copies.
    Mirror = "a mirror" {
        /// The process.
        process: ProcessName [required];
        /// How many of the requests.
        share: Percent [default "100%"];
        /// Requests with a larger body are not copied.
        max_body: Bytes<0, 1_048_576> [default "64KiB"];
        /// How many copies are under way at most; more are not made.
        max_in_flight: Count<1, 10_000> [default "64"];
    }
}

impl Shorthand for Mirror {
    type Short = ProcessName;

    fn from_short(short: At<ProcessName>) -> Self {
        Self { process: Field::Given(short), ..Self::default() }
    }
}

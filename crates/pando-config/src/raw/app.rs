//! The keys of an app: at the root of the file, and in each target.

use pando_model::{AppName, ProcessName, ServiceName};

use super::balancing::LoadBalancing;
use super::env::{EnvList, From};
use super::operations::{Autoscale, Schedule, Service};
use super::placement::{Labels, Servers};
use super::process::{Health, Process, Resources};
use super::route::Route;
use crate::decode::{At, Field, List, Named, OrRecord, Shorthand, choice, record};
use crate::value::{
    Amount, Assets, Command, Count, Duration, EnvName, EnvText, Flag, Host, ImageReference, Label, Port,
    ServerAddress, Tag, Text, UrlPath, Volume,
};

choice! {
    /// How a new release takes the place of the old one.
    Strategy {
        Rolling = "rolling",
        Replace = "replace",
        BlueGreen = "blue_green",
        Canary = "canary",
    }
}

choice! {
    /// When an image is pulled.
    PullPolicy {
        Always = "always",
        IfMissing = "if_missing",
        Never = "never",
    }
}

record! {
    /// An app, as one target runs it.
    Settings = "the file" {
        /// The name of the app.
        name: AppName;
        /// What to run: a directory, relative to the file, packed and run as plain processes.
        /// Exactly one of `source`, `image` and `build` is given.
        source: Text;
        /// What to run: a container image, as text or with the keys below.
        image: OrRecord<Image>;
        /// What to run: a container image built here; its missing layers are sent to the cluster.
        build: Build;
        /// With `source`: runs once per release on one server of each platform, before it is shipped on.
        prepare: Command;
        /// Starts at most once per deployment, on one server, before any traffic moves.
        release: Command;
        /// The port that the processes that get requests listen on in their container.
        /// Plain processes listen on the `PORT` that they are given.
        port: Port [default "8080"];
        /// How many replicas the processes that get requests (or the only process) have in all, spread over the
        /// servers with their role. Not together with `per_server`.
        replicas: Count<0, 1000>;
        /// How many replicas they have on each server with their role. Without `replicas`: 1.
        per_server: Count<0, 100> [default "1"];
        /// Where the file has one process: of the servers with its role, these alone, by name. Without it: all of them.
        servers: Servers;
        /// Where the file has one process: of the servers with its role, those alone that have all of these labels.
        labels: Labels;
        /// How a new release takes the place of the old one.
        deployment_strategy: Strategy [default "rolling"];
        /// With `rolling`: how far below the wanted count the ready replicas may go, as a count or a percentage.
        max_unavailable: Amount [default "0"];
        /// With `rolling`: how far above the wanted count the replicas may go, as a count or a percentage.
        max_surge: Amount [default "1"];
        /// Shorthand for `health: {type: http, path: …}`.
        health_check_path: UrlPath;
        /// How to find out whether a replica of the processes that get requests (or of the only process) can serve.
        /// Without it: `GET /` must answer 200 to 399 where requests go, and nothing is asked elsewhere.
        health: Health;
        /// How long a replica must be ready without a break before it counts. Without it: 0, and 5 where nothing is asked of a
        /// replica, so that one that dies soon after its start fails the deployment.
        min_ready_seconds: Duration<0, 3_600_000>;
        /// How many releases stay on the servers, the one that runs included: going back and forth between them needs no network.
        keep_releases: Count<1, 100> [default "5"];
        /// How long a process may take to end its requests and, after SIGTERM, itself, before SIGKILL.
        stop_timeout: Duration<0, 86_400_000> [default "30s"];
        /// What each replica may use.
        resources: Resources;
        /// The domains that the app answers to. Without any, it has no public route.
        domains: List<OrRecord<Domain>>;
        /// Requests that go elsewhere than to `web`, or to which something is done on the way. The most exact host wins, then the
        /// most exact path, then who asks for more in `when`.
        routes: List<Route>;
        /// `NAME:/path` or `/path/on/server:/path`, perhaps with `:ro`. Containers only.
        volumes: List<Volume>;
        /// Where the files lie that pages ask for by fingerprinted names: absolute in an image, relative to `source` otherwise.
        /// The replicas of each release that get requests serve those of the releases beside and before it, too. Containers
        /// see them read-only.
        asset_path: Assets;
        /// Environment variables of every process.
        env: EnvList;
        /// The processes by name. Without it, a `Procfile` beside the file says them;
        /// with neither, the keys above describe one process, `web`.
        processes: Named<ProcessName, Process>;
        /// Databases and caches that the app uses, by name.
        services: Named<ServiceName, Service>;
        /// Commands that run at given times.
        schedules: List<Schedule>;
        /// How requests are spread over the replicas of the processes that get some.
        load_balancing: LoadBalancing;
        /// By process: between which counts, and by which load, its replicas are scaled.
        autoscale: Named<ProcessName, Autoscale>;
        /// The name of the cluster that this goes to.
        cluster: Label;
        /// The cluster that this goes to, by the address of its control server.
        server: ServerAddress;
    } misplaced misplaced give_way give_way
}

fn give_way(under: &mut Settings, over: &Settings) {
    if !(over.source.is_absent() && over.image.is_absent() && over.build.is_absent()) {
        (under.source, under.image) = (Field::Absent, Field::Absent);
        if over.build.is_absent() {
            under.build = Field::Absent;
        }
    }
    if !(over.replicas.is_absent() && over.per_server.is_absent()) {
        (under.replicas, under.per_server) = (Field::Absent, Field::Absent);
    }
    if !(over.cluster.is_absent() && over.server.is_absent()) {
        (under.cluster, under.server) = (Field::Absent, Field::Absent);
    }
    if over.deployment_strategy.value().is_some_and(|strategy| *strategy != Strategy::Rolling) {
        (under.max_surge, under.max_unavailable) = (Field::Absent, Field::Absent);
    }
}

fn misplaced(key: &str) -> Option<String> {
    let hint = match key {
        "command" | "cmd" | "start" => "a command belongs to a process: `processes: {web: {command: …}}`",
        "environment" | "env_file" | "vars" => "did you mean `env`?",
        "health_check" | "healthcheck" | "check" => "did you mean `health`?",
        "host" | "hosts" => {
            "did you mean `domains` (what visitors type) or `server` (what it is deployed to)?"
        }
        "cron" | "crons" => "did you mean `schedules`?",
        "database" | "databases" | "accessories" => "did you mean `services`?",
        "role" | "singleton" | "user" | "depends_on" => "this belongs to a process: `processes: {NAME: {…}}`",
        "cpu" | "memory" => "this belongs below `resources`",
        "tag" | "pull_policy" => "this belongs to an image: `image: {repository: …, pull_policy: …}`",
        "dockerfile" | "context" => "this belongs to a build: `build: {context: ., dockerfile: …}`",
        "aliases" => "this belongs to a domain: `domains: [{domain: …, aliases: […]}]`",
        _ => return None,
    };
    Some(hint.to_owned())
}

record! {
    /// A container image.
    Image = "an image" {
        /// The image's name, with its registry unless that is Docker Hub or given below; a tag may follow.
        repository: ImageReference [required];
        /// The version of the image.
        tag: Tag [default "latest"];
        /// The registry, as its address; who signs in there is given to the cluster by `pando registry login`.
        registry: OrRecord<Registry>;
        /// When a server pulls the image.
        pull_policy: PullPolicy [default "always"];
    }
}

impl Shorthand for Image {
    type Short = ImageReference;

    fn from_short(short: At<ImageReference>) -> Self {
        Self { repository: Field::Given(short), ..Self::default() }
    }
}

record! {
    /// Where images come from.
    Registry = "a registry" {
        /// Its host name, perhaps with a port.
        server: ServerAddress [required];
        /// Who signs in. Not used: `pando registry login` gives it to the cluster.
        username: Text;
        /// What with: `{secret: NAME}`. Not used either.
        password: From;
    }
}

impl Shorthand for Registry {
    type Short = ServerAddress;

    fn from_short(short: At<ServerAddress>) -> Self {
        Self { server: Field::Given(short), ..Self::default() }
    }
}

record! {
    /// How an image is built.
    Build = "a build" {
        /// The directory that is sent to the builder.
        context: Text [default "."];
        /// The instructions, relative to the context.
        dockerfile: Text [default "Dockerfile"];
        /// Arguments of the build, by name.
        args: Named<EnvName, EnvText>;
        /// The stage of the instructions that is the image. Without it: the last one.
        target: Text;
    }
}

record! {
    /// A domain that the app answers to.
    Domain = "a domain" {
        /// The name that visitors type, perhaps `*.example.com`.
        domain: Host [required];
        /// Other names for it; their visitors are sent to it.
        aliases: List<Host>;
        /// How it is served once it has a certificate (`pando cert`).
        https: Https;
    }
}

record! {
    /// How a domain is served once it has a certificate.
    Https = "HTTPS settings" {
        /// Whether visitors who come without TLS are sent to HTTPS.
        redirect: Flag [default "true"];
        /// For how long browsers use nothing but HTTPS for it. It can't be taken back sooner.
        hsts: Hsts;
        /// Who may come in by a certificate of theirs. Without it: nobody is asked for one.
        client_auth: ClientAuth;
    }
}

record! {
    /// Who may come in by a certificate of theirs. Processes are told of it in the headers `Client-Cert` (RFC 9440), `X-Client-Cert-Subject` and
    /// `X-Client-Cert-Fingerprint`.
    ClientAuth = "a rule for clients' certificates" {
        /// The file with the authorities that certificates have to come from, in PEM, beside this one.
        ca: Text [required];
        /// Whether who shows none comes in too.
        optional: Flag [default "false"];
    }
}

record! {
    /// What browsers are told to remember (HTTP Strict Transport Security).
    Hsts = "a setting of HSTS" {
        /// For how long. Begin with minutes, and raise it once all is well.
        max_age: Duration<0, 63_072_000_000> [required];
        /// Whether it holds for all subdomains, too.
        include_subdomains: Flag [default "false"];
        /// Whether it may be built into browsers; for that it holds for a year and all subdomains.
        preload: Flag [default "false"];
    }
}

impl Shorthand for Domain {
    type Short = Host;

    fn from_short(short: At<Host>) -> Self {
        Self { domain: Field::Given(short), ..Self::default() }
    }
}

//! `proxy`, of the app and of roles: domains, paths, the port and the check of the processes that get requests.

use super::erb::PLACE;
use super::roles::Role;
use crate::decode::Leaf;
use crate::import::draft::{Draft, plain};
use crate::import::write::Out;
use crate::tree::{Node, Scalar};
use crate::value::{Duration, Host, Port, UrlPath};

type StartTimeout = Duration<100, 86_400_000>;
type Interval = Duration<100, 3_600_000>;
type CheckTimeout = Duration<10, 600_000>;
type Response = Duration<1, 86_400_000>;

/// What one `proxy` says.
#[derive(Debug, Default)]
struct Proxy {
    hosts: Vec<String>,
    paths: Vec<String>,
    strip: bool,
    redirects: bool,
    port: u16,
    health: Vec<(String, Out)>,
    response: Option<Out>,
}

/// Writes `domains`, `routes` and the processes.
pub(super) fn write(node: &Node, roles: &[Role], draft: &mut Draft) {
    let main = read(node.get("proxy"), "proxy", node, draft);
    let mut domains = domains(&main, draft);
    let mut routes: Vec<Out> =
        main.paths.iter().map(|path| route(None, Some(path), main.strip, "web")).collect();
    if !routes.is_empty() {
        draft.note("`proxy.path_prefix`: `web` gets the other paths of its domains, too, and without a prefix to strip");
    }
    let mut processes = Vec::new();
    for role in roles {
        let at = format!("servers.{}.proxy", role.name);
        let own = role.proxy.as_ref().map(|proxy| read(Some(proxy), &at, node, draft));
        if let Some(own) = own.as_ref().filter(|_| role.name != "web") {
            of_role(own, &role.name, &mut domains, &mut routes, draft);
        }
        let proxy = own.as_ref().or((role.name == "web").then_some(&main));
        let mut keys = role.keys.clone();
        keys.extend(proxy.map(of_process).into_iter().flatten());
        processes.push((role.name.clone(), Out::Map(keys)));
    }
    for (key, list) in [("domains", domains), ("routes", routes)] {
        if !list.is_empty() {
            draft.set(key, Out::List(list));
        }
    }
    draft.set_with("Each runs once on every server with its role.", "processes", Out::Map(processes));
}

/// Adds the domains and routes of a role that is not `web`.
fn of_role(own: &Proxy, role: &str, domains: &mut Vec<Out>, routes: &mut Vec<Out>, draft: &mut Draft) {
    if !own.paths.is_empty() {
        draft.left_out("proxy.path_prefix", role, "the other paths of its domains go to `web`");
    }
    for domain in self::domains(own, draft) {
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    routes.extend(places(own).into_iter().map(|(host, path)| route(host, path, own.strip, role)));
}

fn of_process(proxy: &Proxy) -> Vec<(String, Out)> {
    let mut keys = vec![
        ("port".to_owned(), Out::Raw(proxy.port.to_string())),
        ("health".to_owned(), Out::Map(proxy.health.clone())),
    ];
    keys.extend(proxy.response.clone().map(|response| {
        ("load_balancing".to_owned(), Out::pairs([("timeouts", Out::pairs([("response", response)]))]))
    }));
    keys
}

/// With Kamal's defaults where it says nothing: port 80, `GET /up` within 5 s.
fn read(node: Option<&Node>, at: &str, file: &Node, draft: &mut Draft) -> Proxy {
    let mut proxy = Proxy { strip: true, redirects: true, port: 80, ..Proxy::default() };
    let mut check = node.and_then(|node| node.get("healthcheck"));
    if check.is_none() && at == "proxy" {
        // Kamal 1 has it beside `proxy`.
        check = file.get("healthcheck");
        proxy.port = check.and_then(|check| port(check.get("port")?)).unwrap_or(80);
    }
    proxy.health = health(check, at, file, draft);
    for entry in node.and_then(Node::entries).unwrap_or_default() {
        key(&entry.key, &entry.value, at, &mut proxy, draft);
    }
    proxy
}

fn port(node: &Node) -> Option<u16> {
    node.scalar().and_then(|scalar| Port::parse(scalar).ok()).map(|port| port.0)
}

fn key(key: &str, value: &Node, at: &str, proxy: &mut Proxy, draft: &mut Draft) {
    let flag = value.scalar().and_then(Scalar::as_bool);
    match key {
        "healthcheck" => {}
        "host" | "hosts" => proxy.hosts.extend(texts(value)),
        "path_prefix" | "path_prefixes" => proxy.paths.extend(texts(value).into_iter().map(|path| {
            let path = path.trim_end_matches('/').to_owned();
            if path.starts_with('/') { path } else { format!("/{path}") }
        })),
        "strip_path_prefix" => proxy.strip = flag != Some(false),
        "ssl_redirect" => proxy.redirects = flag != Some(false),
        "app_port" => match port(value) {
            Some(port) => proxy.port = port,
            None => draft.note(format!("`{at}.app_port`: {} is not a port; it is 80", value.describe())),
        },
        "response_timeout" => {
            proxy.response = draft.checked::<Response>(&format!("{at}.response_timeout"), value)
        }
        _ => lost(key, value, at, draft),
    }
    proxy.paths.retain(|path| path != "/" && UrlPath::parse(&Scalar::text(path.clone())).is_ok());
}

fn lost(key: &str, value: &Node, at: &str, draft: &mut Draft) {
    let why = match key {
        "ssl" if value.scalar().is_some() => "a domain has HTTPS once it has a certificate: `pando cert`",
        "ssl" => "`pando cert import` brings a certificate of your own",
        "forward_headers" => "the load balancer says in its own headers who came, and believes no others",
        "buffering" => {
            "bodies are passed on as they come; `routes: [{path: /, buffering: {request: …, response: …}}]` holds them"
        }
        "logging" => "the access log is the load balancer's own setting",
        "run" => "the load balancer's ports and settings are its own",
        _ => "Pando has nothing like it",
    };
    draft.note(format!("`{at}.{}`: {why}", plain(key)));
}

/// One text with commas, or a list of them.
fn texts(node: &Node) -> Vec<String> {
    let items = node.items().unwrap_or(std::slice::from_ref(node)).iter();
    let texts = items.filter_map(Node::scalar).flat_map(|scalar| scalar.text.split(',').map(str::trim));
    texts.filter(|text| !text.is_empty() && !text.contains(PLACE)).map(str::to_owned).collect()
}

fn domains(proxy: &Proxy, draft: &mut Draft) -> Vec<Out> {
    let mut names: Vec<String> = proxy.hosts.iter().map(|name| name.to_lowercase()).collect();
    names.sort();
    names.dedup();
    let fitting = names.iter().filter_map(|name| draft.checked_text::<Host>("proxy.host", name));
    let domain = |name: Out| match proxy.redirects {
        true => name,
        false => {
            let https = Out::pairs([("redirect", Out::Raw("false".to_owned()))]);
            Out::pairs([("domain", name), ("https", https)])
        }
    };
    fitting.map(domain).collect()
}

/// Hosts and paths that requests for a role that is not `web` come to.
fn places(proxy: &Proxy) -> Vec<(Option<&str>, Option<&str>)> {
    let hosts: Vec<Option<&str>> = match proxy.hosts.is_empty() {
        true => vec![None],
        false => proxy
            .hosts
            .iter()
            .filter(|host| Host::parse(&Scalar::text(*host)).is_ok())
            .map(|host| Some(host.as_str()))
            .collect(),
    };
    let paths: Vec<Option<&str>> = match proxy.paths.is_empty() {
        true => vec![None],
        false => proxy.paths.iter().map(|path| Some(path.as_str())).collect(),
    };
    let all = hosts.iter().flat_map(|host| paths.iter().map(|path| (*host, *path)));
    all.filter(|(host, path)| host.is_some() || path.is_some()).collect()
}

fn route(host: Option<&str>, path: Option<impl AsRef<str>>, strip: bool, process: &str) -> Out {
    let mut pairs = Vec::new();
    pairs.extend(host.map(|host| ("host".to_owned(), Out::text(host.to_lowercase()))));
    if let Some(path) = path {
        pairs.push(("path".to_owned(), Out::text(path.as_ref())));
        if strip {
            pairs.push(("strip_prefix".to_owned(), Out::Raw("true".to_owned())));
        }
    }
    pairs.push(("process".to_owned(), Out::text(process)));
    Out::Map(pairs)
}

fn health(node: Option<&Node>, at: &str, file: &Node, draft: &mut Draft) -> Vec<(String, Out)> {
    let of = |key: &str| node.and_then(|node| node.get(key));
    let shown = |key: &str| format!("{at}.healthcheck.{key}");
    let path = of("path").and_then(|node| draft.checked::<UrlPath>(&shown("path"), node));
    let interval = of("interval").and_then(|node| draft.checked::<Interval>(&shown("interval"), node));
    let timeout = of("timeout").and_then(|node| draft.checked::<CheckTimeout>(&shown("timeout"), node));
    let mut keys = vec![("path".to_owned(), path.unwrap_or_else(|| Out::text("/up")))];
    keys.push(("interval".to_owned(), interval.unwrap_or_else(|| Out::text("1s"))));
    keys.push(("timeout".to_owned(), timeout.unwrap_or_else(|| Out::text("5s"))));
    let start =
        file.get("deploy_timeout").and_then(|node| draft.checked::<StartTimeout>("deploy_timeout", node));
    keys.extend(start.map(|start| ("start_timeout".to_owned(), start)));
    for entry in node.and_then(Node::entries).unwrap_or_default() {
        if !["path", "interval", "timeout", "port"].contains(&entry.key.as_str()) {
            draft.note(format!("`{}`: Pando has nothing like it", shown(&plain(&entry.key))));
        }
    }
    keys
}

//! Which services of a file are the app: those of one image or one build. An app of Pando has one.

use std::collections::{BTreeMap, BTreeSet};

use super::databases::{image_of, kind_of};
use super::{Service, merge};
use crate::decode::listed;
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::known::{self, Beside};
use crate::import::variables;
use crate::tree::{Node, Value};

/// How an image is built, as far as two builds may differ.
#[derive(Debug, Clone, PartialEq)]
struct Build {
    context: String,
    dockerfile: String,
    target: String,
    args: Vec<(String, Option<String>)>,
    inline: Option<String>,
    /// All other keys.
    others: BTreeMap<String, Value>,
}

impl Build {
    fn of(node: &Node) -> Self {
        let of = |key: &str| node.get(key).and_then(Node::scalar).map(|scalar| scalar.text.clone());
        let context = node.scalar().map(|scalar| scalar.text.clone()).or_else(|| of("context"));
        let context = context.unwrap_or_else(|| ".".to_owned());
        let plain = context.trim_start_matches("./").trim_end_matches('/');
        let mut args = node.get("args").map(variables::pairs).unwrap_or_default();
        args.sort();
        Self {
            context: if plain.is_empty() { ".".to_owned() } else { plain.to_owned() },
            dockerfile: of("dockerfile")
                .map_or_else(|| "Dockerfile".to_owned(), |path| path.trim_start_matches("./").to_owned()),
            target: of("target").unwrap_or_default(),
            args,
            inline: of("dockerfile_inline"),
            others: others(node),
        }
    }

    /// The keys in which `self` is another one than `other`.
    fn differences(&self, other: &Self) -> Vec<String> {
        let all = [
            ("context", self.context != other.context),
            ("dockerfile", self.dockerfile != other.dockerfile || self.inline != other.inline),
            ("target", self.target != other.target),
            ("args", self.args != other.args),
        ];
        let own = all.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key.to_owned());
        let keys: BTreeSet<&String> = self.others.keys().chain(other.others.keys()).collect();
        let differ = keys.into_iter().filter(|key| self.others.get(*key) != other.others.get(*key));
        own.chain(differ.map(|key| plain(key))).collect()
    }
}

/// The keys of a build that are not compared by their meaning.
fn others(node: &Node) -> BTreeMap<String, Value> {
    let compared = ["context", "dockerfile", "target", "args", "dockerfile_inline"];
    let given = node.entries().unwrap_or_default().iter();
    let given = given.filter(|entry| !compared.contains(&entry.key.as_str()) && !entry.value.is_null());
    given.map(|entry| (entry.key.clone(), merge::without_places(&entry.value).value)).collect()
}

/// Where a service is better suited to be the app than others: higher is better.
fn rank(service: &Service) -> (u8, bool, bool, bool) {
    let has = |key: &str| service.node.get(key).is_some();
    let built = has("build");
    let ruled = service.node.get("labels").is_some_and(|labels| {
        variables::pairs(labels).iter().any(|(key, _)| key.starts_with("traefik.http.routers."))
    });
    let likely = match beside(service) {
        None => 3,
        Some(Beside::WebServer) => 2,
        Some(Beside::Proxy) => 1,
        Some(Beside::Store | Beside::Tool) => 0,
    };
    (likely, built, ruled || has("ports"), has("expose"))
}

/// The service that the app is made of; `asked`: the one that was named. `None`: no service is an app.
pub(super) fn main<'a>(services: &'a [Service], asked: Option<&str>) -> Option<&'a Service> {
    if let Some(asked) = asked {
        return services.iter().find(|service| service.name == asked);
    }
    let candidates = services.iter().rev().filter(|service| kind_of(service).is_none());
    let runs =
        candidates.filter(|service| service.node.get("build").is_some() || image_of(service).is_some());
    // The first of the best.
    let best = runs.max_by_key(|service| rank(service))?;
    let built = best.node.get("build").is_some();
    (built || rank(best).0 > 0).then_some(best)
}

/// What a service is beside the app: by its image, or, where that is built, by its own name.
fn beside(service: &Service) -> Option<Beside> {
    if service.node.get("build").is_none() {
        return known::beside(image_of(service)?);
    }
    let name = service.name.as_str();
    let store = known::service_type(name).is_some() || matches!(name, "db" | "database" | "cache");
    match name {
        "proxy" | "reverse-proxy" | "webserver" | "loadbalancer" | "lb" => Some(Beside::Proxy),
        _ if store => Some(Beside::Store),
        _ => known::beside(name),
    }
}

/// Whether `service` runs what `main` does.
pub(super) fn is_same(main: &Service, service: &Service) -> bool {
    match (main.node.get("build"), service.node.get("build")) {
        (Some(ours), Some(theirs)) => Build::of(ours) == Build::of(theirs),
        // What one builds under a name, another runs by that name.
        _ => image_of(main).is_some() && image_of(main) == image_of(service),
    }
}

/// Whether it brings requests to the app.
pub(super) fn is_proxy(service: &Service) -> bool {
    matches!(beside(service), Some(Beside::Proxy | Beside::WebServer))
}

/// Says of a service that is neither a part of the app nor a database what to do about it.
pub(super) fn tell_other(main: &Service, service: &Service, file: &str, draft: &mut Draft) {
    let name = plain(&service.name);
    let at = format!("`services.{name}`");
    let own_file =
        format!("`pando init --from {file} --service {name} -c {name}/pando.yaml` writes one for it");
    let built = service.node.get("build");
    draft.note(match (beside(service), main.node.get("build"), built) {
        (Some(Beside::Proxy | Beside::WebServer), ..) => format!(
            "{at}: Pando's load balancer brings requests to the app, by `domains` and `routes`, with certificates; if it serves files, \
             let the app's image do so"
        ),
        (Some(Beside::Store), ..) => {
            format!("{at}: Pando has no `services` of that kind: run it yourself, and write its address below `env`")
        }
        (Some(Beside::Tool), ..) => format!("{at}: it is no part of the app; if you need it there, {own_file}"),
        (None, Some(ours), Some(theirs)) => format!(
            "{at}: it is built otherwise than {} ({}), and an app has one image, so it is an app of its own: {own_file}",
            quoted(&main.name),
            listed(Build::of(theirs).differences(&Build::of(ours)).iter().map(String::as_str), "and")
        ),
        (None, _, None) if image_of(service).is_none() => {
            format!("{at}: it names neither an image nor a build, so there is nothing to run")
        }
        _ => format!("{at}: it runs another image, and an app has one, so it is an app of its own: {own_file}"),
    });
}

//! Databases and caches, as `services` that the user runs.

use super::Service;
use crate::decode::{Leaf, listed};
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::known;
use crate::import::write::Out;
use crate::tree::{Node, Scalar};
use crate::value::{UrlTemplate, to_label};

#[derive(Debug)]
pub(super) struct Database {
    /// What the compose file calls it.
    pub(super) service: String,
    kind: &'static str,
    version: Option<String>,
    /// As which it is declared: name, and URL or, for its address alone, none.
    declared: Vec<(String, Option<String>)>,
    port: Option<u16>,
}

/// Its image, with variables in it where they could not be filled in.
pub(super) fn image_of(service: &Service) -> Option<&str> {
    let filled = service.node.get("image").and_then(Node::scalar).map(|scalar| scalar.text.as_str());
    filled.or(service.typed_image.as_deref())
}

pub(super) fn kind_of(service: &Service) -> Option<&'static str> {
    if service.node.get("build").is_some() { None } else { known::service_type(image_of(service)?) }
}

impl Database {
    pub(super) fn of(service: &Service, draft: &mut Draft) -> Option<Self> {
        let kind = kind_of(service)?;
        let name = to_label(&service.name);
        if name.is_empty() {
            draft.note(format!("`services`: {} can't be the name of a service", quoted(&service.name)));
            return None;
        }
        tell(service, kind, draft);
        let version = image_of(service).and_then(known::service_version);
        Some(Self { service: service.name.clone(), kind, version, declared: Vec::new(), port: None })
    }

    /// The name under which its URL, or its address, is known to the app. `None`: it can't be declared so.
    pub(super) fn declare(
        &mut self,
        url: Option<String>,
        port: Option<u16>,
        taken: &mut Vec<String>,
    ) -> Option<String> {
        if let Some((name, _)) = self.declared.iter().find(|(_, given)| *given == url) {
            return Some(name.clone());
        }
        if url.as_ref().is_some_and(|url| UrlTemplate::parse(&Scalar::text(url.clone())).is_err()) {
            return None;
        }
        if port.is_some() && self.port.is_some() && port != self.port {
            return None;
        }
        self.port = self.port.or(port);
        let name = free(&to_label(&self.service), taken);
        taken.push(name.clone());
        self.declared.push((name.clone(), url));
        Some(name)
    }

    /// The entries of `services`; one that no variable names is declared all the same.
    pub(super) fn entries(&mut self, taken: &mut Vec<String>) -> Vec<(String, Out)> {
        if self.declared.is_empty() {
            self.declare(None, None, taken);
        }
        let usual = known::usual_port(self.kind);
        let entry = |(name, url): &(String, Option<String>)| {
            let mut pairs = vec![("type".to_owned(), Out::text(self.kind))];
            pairs.extend(self.version.clone().map(|version| ("version".to_owned(), Out::text(version))));
            pairs.push(("managed".to_owned(), Out::Raw("false".to_owned())));
            let port = self.port.filter(|port| *port != usual);
            pairs.extend(port.map(|port| ("port".to_owned(), Out::Raw(port.to_string()))));
            pairs.extend(url.clone().map(|url| ("url".to_owned(), Out::Text(url))));
            (name.clone(), Out::Map(pairs))
        };
        self.declared.iter().map(entry).collect()
    }
}

/// `name`, or with a number behind it. Names of services are at most 63 long.
fn free(name: &str, taken: &[String]) -> String {
    let name = if name.is_empty() { "service" } else { name };
    let short: String = name.chars().take(58).collect();
    let numbered = (2..).map(|number| format!("{}-{number}", short.trim_end_matches('-')));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

fn tell(service: &Service, kind: &str, draft: &mut Draft) {
    let quiet = ["image", "restart", "networks", "container_name", "hostname"];
    let given = service.node.entries().unwrap_or_default().iter().map(|entry| entry.key.as_str());
    // What could not be filled in is not there any more, but was.
    let missing = service.report.left_out.iter().filter_map(|(at, _)| at.split('.').next());
    let mut keys: Vec<String> = Vec::new();
    for key in given.chain(missing).filter(|key| !quiet.contains(key) && !key.starts_with("x-")).map(plain) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let lost = match keys.is_empty() {
        true => String::new(),
        false => format!("; not carried over of it: {}", listed(keys.iter().map(String::as_str), "and")),
    };
    draft.note(format!(
        "`services`: {} is yours to run (`managed: false`), on a server with the role `{}`, reachable at its private address{lost}; \
         its data is not moved",
        quoted(&service.name),
        known::usual_role(kind)
    ));
}

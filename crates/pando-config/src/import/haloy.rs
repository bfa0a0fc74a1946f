//! From a `haloy.yaml`: its keys mean here what they mean there; those that
//! Pando has no use for become notes.

use std::path::Path;

use super::draft::{Draft, plain};
use super::mounts::{self, Mount};
use super::variables::{self, From, Variable};
use super::write::Out;
use super::{Imported, build};
use crate::diagnostic::{Problems, quoted};
use crate::raw::{PullPolicy, Strategy};
use crate::tree::{Entry, Node, Scalar, Value};
use crate::value::{
    Count, Duration, Host, ImageReference, Label, Port, ServerAddress, Tag, UrlPath, to_label,
};

type Replicas = Count<0, 1000>;
type MinReady = Duration<0, 3_600_000>;

/// Keys of the file as a whole, which a target does not have.
const OF_THE_FILE: [&str; 5] =
    ["images", "targets", "secret_providers", "global_pre_deploy", "global_post_deploy"];

pub(super) fn import(node: &Node, app: &str, base: &Path) -> Result<Imported, Problems> {
    let mut draft = Draft::new("a haloy.yaml");
    let given = node.get("name").and_then(Node::scalar).map(|scalar| scalar.text.clone());
    draft.name(given.as_deref(), app);
    let importer = Haloy { images: node.get("images"), base };
    let root = importer.keys(node, "", &mut draft);
    let targets = targets(&importer, node, &mut draft);
    let runs = |pairs: &[(String, Out)]| pairs.iter().any(|(key, _)| key == "image" || key == "build");
    let each_target_runs =
        !targets.is_empty() && targets.iter().all(|(_, keys)| matches!(keys, Out::Map(k) if runs(k)));
    if !runs(&root) && !each_target_runs {
        draft.set_with("Which image to run.", "image", Out::text("my-org/my-app:latest"));
        draft.note("`image`: the file names none; `my-org/my-app:latest` stands for it");
    }
    for (key, value) in root {
        draft.set(&key, value);
    }
    if !targets.is_empty() {
        let comment = "Each target overrides the keys above. Its server is the control address of a cluster.";
        draft.set_with(comment, "targets", Out::Map(targets));
    }
    for key in ["secret_providers", "global_pre_deploy", "global_post_deploy"] {
        if node.get(key).is_some() {
            draft.note(format!("`{key}`: Pando runs nothing on the machine that deploys; run it before or after `pando deploy`"));
        }
    }
    Ok(draft.finish())
}

fn targets(importer: &Haloy<'_>, node: &Node, draft: &mut Draft) -> Vec<(String, Out)> {
    let mut targets: Vec<(String, Out)> = Vec::new();
    for entry in node.get("targets").and_then(Node::entries).unwrap_or_default() {
        let name = to_label(&entry.key);
        if name.is_empty() || targets.iter().any(|(given, _)| *given == name) {
            draft.note(format!("`targets`: {} can't be the name of a target", quoted(&entry.key)));
            continue;
        }
        if name != entry.key {
            draft.note(format!(
                "`targets`: {} is called `{name}`, since names are DNS labels",
                quoted(&entry.key)
            ));
        }
        let mut keys = importer.keys(&entry.value, &format!("targets.{name}."), draft);
        if let Some(own) = entry.value.get("name").and_then(|name| draft.checked::<Label>("name", name)) {
            keys.insert(0, ("name".to_owned(), own));
        }
        targets.push((name, Out::Map(keys)));
    }
    targets
}

struct Haloy<'a> {
    images: Option<&'a Node>,
    /// What paths in the file are seen from.
    base: &'a Path,
}

impl Haloy<'_> {
    /// What the keys of the root or of a target become. `at`: what their names are shown after.
    fn keys(&self, node: &Node, at: &str, draft: &mut Draft) -> Vec<(String, Out)> {
        let mut out = Vec::new();
        for entry in node.entries().unwrap_or_default() {
            if entry.value.is_null() || (at.is_empty() && OF_THE_FILE.contains(&entry.key.as_str())) {
                continue;
            }
            self.key(entry, at, &mut out, draft);
        }
        out
    }

    fn key(&self, entry: &Entry, at: &str, out: &mut Vec<(String, Out)>, draft: &mut Draft) {
        let (key, node) = (entry.key.as_str(), &entry.value);
        let shown = format!("{at}{key}");
        let simple = match key {
            "name" => return,
            "server" => draft.checked::<ServerAddress>(&shown, node),
            "deployment_strategy" => draft.checked::<Strategy>(&shown, node),
            "health_check_path" => draft.checked::<UrlPath>(&shown, node),
            "min_ready_seconds" => draft.checked::<MinReady>(&shown, node),
            "port" => draft.checked::<Port>(&shown, node),
            "replicas" => draft.checked::<Replicas>(&shown, node),
            "volumes" => {
                let items = node.items().unwrap_or_default().iter();
                let mount =
                    |item: &Node| Some(Mount { text: item.scalar()?.text.clone(), of: "web".to_owned() });
                mounts::carry_over(&shown, &items.filter_map(mount).collect::<Vec<_>>(), draft)
            }
            "domains" => domains(&shown, node, draft),
            "env" => env(&shown, node, draft),
            "image" => return image(node, &shown, self.base, out, draft),
            "image_key" => return self.named_image(node, &shown, out, draft),
            "preset" => return preset(node, out, draft),
            _ => return left_out(key, &shown, draft),
        };
        if let Some(value) = simple {
            out.retain(|(given, _)| given != key);
            out.push((key.to_owned(), value));
        }
    }

    fn named_image(&self, node: &Node, shown: &str, out: &mut Vec<(String, Out)>, draft: &mut Draft) {
        let name = node.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
        match self.images.and_then(|images| images.get(name)) {
            Some(found) => image(found, shown, self.base, out, draft),
            None => draft.note(format!("`{shown}`: there is no image {}", quoted(name))),
        }
    }
}

fn preset(node: &Node, out: &mut Vec<(String, Out)>, draft: &mut Draft) {
    let name = node.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
    if out.iter().all(|(key, _)| key != "deployment_strategy") {
        out.push(("deployment_strategy".to_owned(), Out::text(Strategy::Replace.word())));
    }
    draft.note(format!(
        "`preset`: of {} only `deployment_strategy: replace` is kept; a database is better one of `services`",
        quoted(name)
    ));
}

fn left_out(key: &str, shown: &str, draft: &mut Draft) {
    let why = match key {
        "api_token" => "Pando's tokens are made by `pando token create` and given in `PANDO_TOKEN`",
        "naming_strategy" => {
            "replicas always have stable names (`PANDO_REPLICA`); `singleton: true` keeps a process to one"
        }
        "protected" => "deploys go to the targets that are named, or to all with `--all`",
        "network" => "replicas listen on the private address of their server",
        "pre_deploy" | "post_deploy" => {
            "Pando runs nothing on the machine that deploys; `release:` runs once in the cluster before traffic moves"
        }
        _ => "Pando has no such key",
    };
    draft.note(format!("`{shown}`: {why}"));
}

fn domains(shown: &str, node: &Node, draft: &mut Draft) -> Option<Out> {
    let mut seen: Vec<String> = Vec::new();
    let mut domains = Vec::new();
    for item in node.items().unwrap_or_default() {
        let Some(Out::Text(domain)) = item.get("domain").and_then(|name| draft.checked::<Host>(shown, name))
        else {
            continue;
        };
        others(item, shown, &["domain", "aliases"], draft);
        let mut names = vec![domain];
        for alias in item.get("aliases").and_then(Node::items).unwrap_or_default() {
            if let Some(Out::Text(alias)) = draft.checked::<Host>(shown, alias) {
                names.push(alias);
            }
        }
        names.retain(|name| {
            let lower = name.to_lowercase();
            let first = !seen.contains(&lower);
            seen.push(lower);
            first
        });
        let mut names = names.into_iter().map(Out::Text);
        let Some(domain) = names.next() else { continue };
        let aliases: Vec<Out> = names.collect();
        let mut pairs = vec![("domain".to_owned(), domain)];
        if !aliases.is_empty() {
            pairs.push(("aliases".to_owned(), Out::List(aliases)));
        }
        domains.push(Out::Map(pairs));
    }
    (!domains.is_empty()).then_some(Out::List(domains))
}

fn env(shown: &str, node: &Node, draft: &mut Draft) -> Option<Out> {
    let mut found = Vec::new();
    for item in node.items().unwrap_or_default() {
        let Some(name) = item.get("name").and_then(Node::scalar).map(|scalar| scalar.text.clone()) else {
            continue;
        };
        if !variables::usable(&name, draft) {
            continue;
        }
        others(item, shown, &["name", "value", "from", "build_arg"], draft);
        if item.get("build_arg").is_some() {
            draft.note(format!(
                "`{shown}`: `{name}` was an argument of the build too; write it below `build.args`"
            ));
        }
        let value = match item.get("value").and_then(Node::scalar) {
            Some(value) => variables::value(&name, &value.text, draft),
            None => Some(From::Secret),
        };
        found.extend(value.map(|value| Variable { name, value }));
    }
    variables::list(&found, draft)
}

fn image(node: &Node, shown: &str, base: &Path, out: &mut Vec<(String, Out)>, draft: &mut Draft) {
    let taken = |out: &[(String, Out)]| out.iter().any(|(key, _)| key == "image" || key == "build");
    if taken(out) {
        return draft.note(format!("`{shown}`: another image is given beside it"));
    }
    if let Value::Scalar(_) = node.value {
        out.extend(draft.checked::<ImageReference>(shown, node).map(|image| ("image".to_owned(), image)));
        return;
    }
    for key in ["history", "registry"] {
        if node.get(key).is_some() {
            draft.note(format!("`{shown}.{key}`: Pando keeps its own releases; `pando registry login` gives the cluster what a registry asks for"));
        }
    }
    if node.get("build_config").is_some() || node.get("build").is_some_and(is_true) {
        if node.get("repository").is_some() {
            draft.note(format!(
                "`{shown}.repository`: it is built here and sent to the cluster without a registry"
            ));
        }
        others(node, shown, &["repository", "tag", "registry", "history", "build", "build_config"], draft);
        return out.push((
            "build".to_owned(),
            build::keys(node.get("build_config"), &format!("{shown}.build_config"), base, draft),
        ));
    }
    others(node, shown, &["repository", "tag", "registry", "history", "build", "pull_policy"], draft);
    if let Some(pairs) = pulled(node, shown, draft) {
        out.push(("image".to_owned(), Out::Map(pairs)));
    }
}

/// Names the keys that are not among `known`.
fn others(node: &Node, shown: &str, known: &[&str], draft: &mut Draft) {
    for entry in
        node.entries().unwrap_or_default().iter().filter(|entry| !known.contains(&entry.key.as_str()))
    {
        draft.note(format!("`{shown}.{}`: Pando has no such key", plain(&entry.key)));
    }
}

/// An image that servers pull.
fn pulled(node: &Node, shown: &str, draft: &mut Draft) -> Option<Vec<(String, Out)>> {
    let repository = node.get("repository").and_then(|name| draft.checked::<ImageReference>(shown, name));
    let Some(repository) = repository else {
        draft.note(format!("`{shown}`: it has no usable `repository`"));
        return None;
    };
    let tagged = match &repository {
        Out::Text(text) => text.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])),
        _ => false,
    };
    let mut pairs = vec![("repository".to_owned(), repository)];
    if let Some(tag) = node.get("tag").filter(|_| !tagged) {
        pairs.extend(draft.checked::<Tag>(shown, tag).map(|tag| ("tag".to_owned(), tag)));
    }
    let registry = node.get("registry").map(|registry| registry.get("server").unwrap_or(registry));
    if let Some(server) = registry.filter(|server| server.scalar().is_some()) {
        let server = draft.checked::<ServerAddress>(&format!("{shown}.registry"), server);
        pairs.extend(server.map(|server| ("registry".to_owned(), server)));
    }
    if let Some(policy) = node.get("pull_policy") {
        let policy = draft.checked::<PullPolicy>(shown, policy);
        pairs.extend(policy.map(|policy| ("pull_policy".to_owned(), policy)));
    }
    Some(pairs)
}

fn is_true(node: &Node) -> bool {
    node.scalar().and_then(Scalar::as_bool).unwrap_or(false)
}

//! From a Kamal `deploy.yml`: roles are processes, accessories are services,
//! and its hosts are servers that join a cluster.

mod accessories;
mod env;
mod erb;
mod left_out;
mod proxy;
mod roles;

use std::path::{Path, PathBuf};

pub(super) use erb::without_erb;

use super::draft::Draft;
use super::mounts::{self, Mount};
use super::write::Out;
use super::{Imported, Request, build};
use crate::diagnostic::{Problems, quoted};
use crate::files::Files;
use crate::tree::{Entry, Node, Value};
use crate::value::{Assets, Count, Duration};

type StopTimeout = Duration<0, 86_400_000>;

pub(super) fn import(
    sources: &[(PathBuf, Node)],
    has_erb: bool,
    request: &Request<'_>,
    files: &dyn Files,
) -> Result<Imported, Problems> {
    let mut draft = Draft::new("a Kamal deploy.yml");
    let Some(((path, first), others)) = sources.split_first() else { return Ok(draft.finish()) };
    let node = others.iter().fold(first.clone(), |node, (_, over)| merged(&node, over));
    if has_erb {
        draft.note(format!(
            "ERB (`<%= … %>`) is not evaluated; where it stood is `{}`, or the key is left out",
            erb::PLACE
        ));
    }
    destination(sources, files, &mut draft);
    draft.name(text_of(&node, "service").as_deref(), request.app);
    set_build(&node, &root(path, request.base), &mut draft);
    timeouts(&node, &mut draft);
    volumes(&node, &mut draft);
    asset_path(&node, &mut draft);
    if let Some(env) = env::variables(node.get("env"), "env", &mut draft) {
        draft.set("env", env);
    }
    let roles = roles::roles(&node, &mut draft);
    proxy::write(&node, &roles, &mut draft);
    accessories::write(node.get("accessories"), &mut draft);
    left_out::tell(&node, &mut draft);
    left_out::hooks(path, files, &mut draft);
    Ok(draft.finish())
}

/// Maps key by key; of everything else the later.
fn merged(under: &Node, over: &Node) -> Node {
    let (Value::Map(below), Value::Map(above)) = (&under.value, &over.value) else { return over.clone() };
    let mut entries: Vec<Entry> = below.clone();
    for entry in above {
        match entries.iter_mut().find(|given| given.key == entry.key) {
            Some(given) => given.value = merged(&given.value, &entry.value),
            None => entries.push(entry.clone()),
        }
    }
    Node { span: over.span, value: Value::Map(entries) }
}

/// A destination's file says only what is different from `deploy.yml`.
fn destination(sources: &[(PathBuf, Node)], files: &dyn Files, draft: &mut Draft) {
    let [(path, _)] = sources else { return };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let base = path.with_file_name("deploy.yml");
    if name.split('.').count() > 2 && files.read(&base).is_ok() {
        draft.note(format!(
            "`{name}`: Kamal reads it over `deploy.yml`, which is not read here: `pando init --from {} --from {}`",
            base.display(),
            path.display()
        ));
    }
    for destination in ["production", "staging"] {
        let path = path.with_file_name(format!("deploy.{destination}.yml"));
        if name == "deploy.yml" && files.read(&path).is_ok() {
            draft.note(format!(
                "`deploy.{destination}.yml`: it is not read; what is different there is written below `targets: {{{destination}: {{…}}}}`"
            ));
        }
    }
}

/// What paths in the file are seen from: the directory above `config`.
fn root(path: &Path, base: &Path) -> PathBuf {
    let of_config = path.parent().and_then(Path::file_name).is_some_and(|name| name == "config");
    if of_config { base.join("..") } else { base.to_owned() }
}

fn text_of(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(Node::scalar).map(|scalar| scalar.text.clone())
}

/// Kamal builds the image from the Dockerfile unless it is told not to, so this does, too.
fn set_build(node: &Node, root: &Path, draft: &mut Draft) {
    let builder = node.get("builder");
    if let Some(image) = text_of(node, "image") {
        let image = quoted(&image);
        draft.note(format!("`image`: {image} is built here and sent to the cluster without a registry"));
    }
    if node.get("registry").is_some() {
        draft.note(
            "`registry`: what is built here needs none; for images that servers pull, `pando registry login` gives the cluster the \
             credentials",
        );
    }
    if builder.and_then(|builder| builder.get("context")).is_none() {
        draft.note("`build`: Kamal builds what is committed to Git; here the directory is built as it is");
    }
    let keys = build::keys(builder.filter(|builder| builder.entries().is_some()), "builder", root, draft);
    draft.set("build", keys);
}

fn timeouts(node: &Node, draft: &mut Draft) {
    let mut longest: Option<(u64, Out)> = None;
    for key in ["drain_timeout", "stop_timeout", "stop_wait_time"] {
        let Some(given) = node.get(key) else { continue };
        let Some(value) = draft.checked::<StopTimeout>(key, given) else { continue };
        let length = given.scalar().and_then(|scalar| scalar.text.parse().ok()).unwrap_or(0);
        if longest.as_ref().is_some_and(|(other, _)| *other != length) {
            draft.note(
                "`drain_timeout`, `stop_timeout`: `stop_timeout` is both here, and the longer one is kept",
            );
        }
        if longest.as_ref().is_none_or(|(other, _)| *other < length) {
            longest = Some((length, value));
        }
    }
    if let Some((_, value)) = longest {
        draft.set("stop_timeout", value);
    }
    let kept = node
        .get("retain_containers")
        .and_then(|node| draft.checked::<Count<1, 100>>("retain_containers", node));
    if let Some(kept) = kept {
        draft.set("keep_releases", kept);
    }
}

fn volumes(node: &Node, draft: &mut Draft) {
    let items = node.get("volumes").and_then(Node::items).unwrap_or_default();
    let mount = |item: &Node| Some(Mount { text: item.scalar()?.text.clone(), of: "web".to_owned() });
    let mounts: Vec<Mount> = items.iter().filter_map(mount).collect();
    if let Some(volumes) = mounts::carry_over("volumes", &mounts, draft) {
        draft.set("volumes", volumes);
    }
}

/// Kamal's may have options of the mount behind it. One of a role is the app's: whatever gets requests serves it.
fn asset_path(node: &Node, draft: &mut Draft) {
    let roles = node.get("servers").and_then(Node::entries).unwrap_or_default();
    let of_roles = roles.iter().filter_map(|role| text_of(&role.value, "asset_path"));
    let all: Vec<String> = text_of(node, "asset_path").into_iter().chain(of_roles).collect();
    let Some(typed) = all.first() else { return };
    for other in all.iter().filter(|other| *other != typed) {
        draft.note(format!("`asset_path`: {} is not carried over: an app has one", quoted(other)));
    }
    let (path, options) = typed.split_once(':').unwrap_or((typed, ""));
    if !options.is_empty() {
        draft.note(format!("`asset_path`: it is mounted read-only, without {}", quoted(options)));
    }
    if !path.starts_with('/') {
        draft.note(format!(
            "`asset_path`: {} is relative; write it as it is in the image, such as `/app/public/assets`",
            quoted(path)
        ));
        return;
    }
    if let Some(volume) = volume_in_the_way(node, path) {
        draft.note(format!(
            "`asset_path`: {} and the volume at {} are in each other's way; mount that elsewhere",
            quoted(path),
            quoted(&volume)
        ));
        return;
    }
    if let Some(path) = draft.checked_text::<Assets>("asset_path", path) {
        draft.set("asset_path", path);
    }
}

/// The path of a volume that holds `path`, or lies in it.
fn volume_in_the_way(node: &Node, path: &str) -> Option<String> {
    let volumes = node.get("volumes").and_then(Node::items).unwrap_or_default().iter();
    let mut targets = volumes.filter_map(|volume| volume.scalar()?.text.split(':').nth(1).map(str::to_owned));
    let path = Path::new(path);
    targets.find(|target| path.starts_with(target) || Path::new(target).starts_with(path))
}

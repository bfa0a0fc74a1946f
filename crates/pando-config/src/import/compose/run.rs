//! What the app runs: the image or the build that its services have in common.

use std::path::Path;

use super::databases::image_of;
use super::{Project, Service, paths};
use crate::decode::Leaf;
use crate::diagnostic::quoted;
use crate::import::build;
use crate::import::draft::{Draft, plain};
use crate::import::write::Out;
use crate::raw::PullPolicy;
use crate::tree::{Node, Scalar};
use crate::value::ImageReference;

/// `base`: where the compose file lies, seen from where the new one will.
pub(super) fn set(main: &Service, mine: &[Service], base: &Path, project: &Project<'_>, draft: &mut Draft) {
    fast_cgi(main, draft);
    tell_policies(main, mine, draft);
    if let Some(node) = main.node.get("build") {
        if let Some(image) = image_of(main) {
            let why = "it is built here and sent to the cluster without a registry";
            draft.left_out(&format!("image: {}", plain(image)), &main.name, why);
        }
        odd_dockerfile(node, project, draft);
        let keys = build::keys(Some(node), "build", base, draft);
        return draft.set("build", keys);
    }
    let reference = image_of(main).filter(|image| ImageReference::parse(&Scalar::text(*image)).is_ok());
    if let Some(image) = reference {
        let image = with_policy(image, main, draft);
        return draft.set("image", image);
    }
    let comment = "Which image to run: it has to be written here.";
    draft.set_with(comment, "image", Out::text("my-org/my-app:latest"));
    let name = quoted(&main.name);
    draft.note(format!("`image`: that of {name} is not known; `my-org/my-app:latest` stands for it"));
}

/// Says of a Dockerfile that is there, and none, that nothing can be built of it.
fn odd_dockerfile(build: &Node, project: &Project<'_>, draft: &mut Draft) {
    let of = |key: &str| build.get(key).and_then(Node::scalar);
    let context = build.scalar().or_else(|| of("context")).map_or(".", |scalar| scalar.text.as_str());
    let Some(node) = build.get("dockerfile").filter(|_| !paths::is_elsewhere(context)) else { return };
    let path =
        project.directory.join(context).join(of("dockerfile").map_or("", |scalar| scalar.text.as_str()));
    if project.reader.is_missing(&path) {
        return;
    }
    if let Err(why) = project.reader.text(&path) {
        draft.note(format!(
            "`build.dockerfile` ({}): {} can't be read: {why}; nothing is built until it names a Dockerfile",
            project.reader.place(node.span),
            quoted(&path.display().to_string())
        ));
    }
}

/// An app's image has one policy, and one that is built has none.
fn tell_policies(main: &Service, mine: &[Service], draft: &mut Draft) {
    let policy =
        |service: &Service| service.node.get("pull_policy")?.scalar().map(|scalar| scalar.text.clone());
    let built = main.node.get("build").is_some();
    for service in mine {
        let Some(typed) = policy(service) else { continue };
        let why = match built {
            true => "what is built here is sent to the servers, and nothing is pulled",
            false if policy(main).as_ref() == Some(&typed) => continue,
            false => "the processes of an app have one image, which is pulled in one way",
        };
        draft.left_out(&format!("pull_policy: {}", plain(&typed)), &service.name, why);
    }
}

/// The image, with `pull_policy` where the file names one.
fn with_policy(image: &str, main: &Service, draft: &mut Draft) -> Out {
    let typed = main.node.get("pull_policy").and_then(Node::scalar).map(|scalar| scalar.text.as_str());
    let policy = match typed {
        None => return Out::text(image),
        Some("always") => PullPolicy::Always,
        Some("missing" | "if_not_present") => PullPolicy::IfMissing,
        Some("never") => PullPolicy::Never,
        Some(other) => {
            let key = format!("pull_policy: {}", plain(other));
            draft.left_out(
                &key,
                &main.name,
                "the image is pulled once on each server, when a release arrives",
            );
            return Out::text(image);
        }
    };
    Out::pairs([("repository", Out::text(image)), ("pull_policy", Out::text(policy.word()))])
}

/// The load balancer speaks HTTP.
fn fast_cgi(main: &Service, draft: &mut Draft) {
    let tag = image_of(main).filter(|_| main.node.get("build").is_none()).unwrap_or_default();
    let exposed = ["ports", "expose"].iter().filter_map(|key| main.node.get(key)?.items()).flatten();
    let nine_thousand = exposed.filter_map(Node::scalar).any(|scalar| scalar.text == "9000");
    if tag.contains("fpm") || (nine_thousand && main.name.contains("php")) || main.name.contains("fpm") {
        draft.note(format!(
            "`services.{}`: it seems to speak FastCGI; the load balancer speaks HTTP, so the image needs a server in front of it, such as \
             nginx, Caddy or FrankenPHP",
            plain(&main.name)
        ));
    }
}

//! Volumes of other tools as `volumes`, which are the app's: all of its processes have the same.

use super::draft::Draft;
use super::write::Out;
use crate::decode::Leaf;
use crate::diagnostic::quoted;
use crate::tree::Scalar;
use crate::value::Volume;

/// A volume as engines take it, and whose it is: `SOURCE:TARGET`, perhaps with options behind it, or `TARGET` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) text: String,
    /// The process, or else the key that it stands below.
    pub(super) of: String,
}

#[derive(Debug)]
struct Kept {
    of: String,
    source: String,
    target: String,
    read_only: bool,
}

/// `volumes` of these; what can't be one is noted. `key`: how notes call them.
pub(super) fn carry_over(key: &str, mounts: &[Mount], draft: &mut Draft) -> Option<Out> {
    let mut kept: Vec<Kept> = Vec::new();
    for mount in mounts {
        let Some(new) = read(key, mount, draft) else { continue };
        match kept.iter_mut().find(|given| given.target == new.target) {
            Some(given) => same_path(key, given, &new, draft),
            None => kept.push(new),
        }
    }
    if kept.is_empty() {
        return None;
    }
    advise(key, &kept, draft);
    Some(Out::List(kept.iter().map(|kept| Out::text(text_of(kept))).collect()))
}

fn text_of(kept: &Kept) -> String {
    format!("{}:{}{}", kept.source, kept.target, if kept.read_only { ":ro" } else { "" })
}

fn same_path(key: &str, given: &mut Kept, new: &Kept, draft: &mut Draft) {
    let (shown, path) = (quoted(&new.source), quoted(&given.target));
    if given.source != new.source {
        return draft.note(format!(
            "`{key}` of `{}`: {shown} is not carried over: an app's volumes are the same in all of its processes, and at {path} \
             there is `{}` of `{}`; mount one of them elsewhere, or make two apps",
            new.of, given.source, given.of
        ));
    }
    if given.read_only != new.read_only {
        given.read_only = false;
        draft.note(format!(
            "`{key}`: {shown} was read-only for one of `{}` and `{}`; both may write to it now",
            given.of, new.of
        ));
    }
}

fn read(key: &str, mount: &Mount, draft: &mut Draft) -> Option<Kept> {
    let shown = quoted(&mount.text);
    let mut parts = mount.text.splitn(3, ':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
        draft.left_out(
            &format!("{key}: {}", shown.trim_matches('`')),
            &mount.of,
            "it has no name, so it was empty with each container; there is what the image has at its path",
        );
        return None;
    };
    if let Some(why) = no_volume(source) {
        draft.left_out(&format!("{key}: {}", shown.trim_matches('`')), &mount.of, why);
        return None;
    }
    let read_only = options(key, &shown, parts.next().unwrap_or_default(), source.starts_with('/'), draft);
    let kept = Kept { of: mount.of.clone(), source: source.to_owned(), target: target.to_owned(), read_only };
    match Volume::parse(&Scalar::text(text_of(&kept))) {
        Ok(_) => Some(kept),
        Err(wrong) => {
            let why = wrong.message.unwrap_or_else(|| "it can't be mounted".to_owned());
            draft.note(format!("`{key}` of `{}`: {shown}: {why}", mount.of));
            None
        }
    }
}

/// Why a source is neither a volume nor a directory of each server.
fn no_volume(source: &str) -> Option<&'static str> {
    let beside = source.starts_with('.') || source.starts_with('~');
    if beside || (source.contains('/') && !source.starts_with('/')) {
        return Some(
            "it lies beside the file on this machine, and servers do not have it: copy it into the image (`COPY` in the Dockerfile), \
             or put it on each server and name it by its absolute path",
        );
    }
    None
}

/// Whether it is read-only; of other options a note says what becomes of them.
fn options(key: &str, shown: &str, options: &str, directory: bool, draft: &mut Draft) -> bool {
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            // What is the default on Linux, or was only for other systems.
            "rw" | "cached" | "delegated" | "consistent" | "rprivate" => {}
            // The engine labels volumes itself.
            "z" | "Z" if !directory => {}
            "z" | "Z" => draft.note(format!(
                "`{key}`: {shown} is mounted without `{option}`: on servers with SELinux, label the directory once: `chcon -Rt \
                 container_file_t DIRECTORY`"
            )),
            other => draft.note(format!("`{key}`: {shown} is mounted without its option {}", quoted(other))),
        }
    }
    read_only
}

fn advise(key: &str, kept: &[Kept], draft: &mut Draft) {
    let (directories, volumes): (Vec<&Kept>, Vec<&Kept>) =
        kept.iter().partition(|kept| kept.source.starts_with('/'));
    if !volumes.is_empty() {
        draft.note(format!(
            "`{key}`: each server has its own, and what is in them is not moved; `servers: [NAME]` keeps a process where its \
             volume is"
        ));
    }
    if !directories.is_empty() {
        let names = crate::decode::listed(directories.iter().map(|kept| kept.source.as_str()), "and");
        draft.note(format!(
            "`{key}`: {names} must be there on each server, and is an administrator's to give: somebody with the scope `admin` has \
             to deploy the app first"
        ));
    }
}

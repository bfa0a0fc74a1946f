//! Which servers a process may run on, by its own keys or, in a file of one process, the root's.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::ServerName;

use super::{Draft, process};
use crate::decode::Field;
use crate::diagnostic::Sink;
use crate::raw::Settings;

/// Empty: all that have its role.
pub(super) fn servers(settings: &Settings, draft: &Draft) -> BTreeSet<ServerName> {
    let given = chosen(&draft.process.servers, &settings.servers, draft);
    given.value().map(|servers| servers.0.clone()).unwrap_or_default()
}

pub(super) fn labels(settings: &Settings, draft: &Draft) -> BTreeMap<String, String> {
    let given = chosen(&draft.process.labels, &settings.labels, draft);
    let labels = given.value().map(|labels| labels.0.entries.as_slice()).unwrap_or_default();
    labels.iter().map(|(name, value)| (name.value.0.clone(), value.value.0.clone())).collect()
}

fn chosen<'a, T>(own: &'a Field<T>, root: &'a Field<T>, draft: &Draft) -> &'a Field<T> {
    if own.is_absent() && draft.alone { root } else { own }
}

/// Of several processes, the root's keys would be tied to one by accident, so they are nobody's.
pub(super) fn check_root(settings: &Settings, drafts: &[Draft], sink: &mut Sink) {
    let Some(first) = drafts.first().filter(|_| process::all_known(settings, drafts)) else { return };
    let own = [!first.process.servers.is_absent(), !first.process.labels.is_absent()];
    let root = [(settings.servers.key(), "servers"), (settings.labels.key(), "labels")];
    for ((key, name), own) in root.into_iter().zip(own) {
        let Some(key) = key else { continue };
        if !first.alone {
            let reason = format!("`{name}` at the root is for a file of one process, and this has several");
            let hint = format!("write it where it is meant: `processes: {{{}: {{{name}: …}}}}`", first.name);
            sink.error_hint(key, reason, hint);
        } else if own {
            let reason = format!("`{name}` has no effect: `{}` has its own", first.name);
            sink.error_hint(key, reason, "keep one of them");
        }
    }
}

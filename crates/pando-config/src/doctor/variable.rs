//! Variables whose values only one server has: files, addresses of the machine itself, sessions.

use pando_model::AppSpec;

use super::{may_be_several, own_machine};
use crate::diagnostic::{Sink, quoted};
use crate::raw::{EnvList, Settings};
use crate::source::Span;

pub(super) fn environment(settings: &Settings, spec: &AppSpec, sink: &mut Sink) {
    let processes =
        settings.processes.value().map(|processes| processes.entries.as_slice()).unwrap_or_default();
    let own = processes.iter().map(|(_, process)| &process.value.env);
    for list in std::iter::once(&settings.env).chain(own) {
        for entry in list.value().map(EnvList::entries).unwrap_or_default() {
            let (Some(name), Some(value)) = (entry.value.name.get(), entry.value.value.value()) else {
                continue;
            };
            variable(name.span, &name.value.0, &value.0, spec, sink);
        }
    }
}

/// Points at the name: the value may hold a password.
fn variable(span: Span, name: &str, value: &str, spec: &AppSpec, sink: &mut Sink) {
    let lower = value.to_ascii_lowercase();
    if is_file_database(&lower) {
        let reason = format!("`{name}` is a database in a file, which only one server has");
        return sink.warn(
            span,
            reason,
            "use a database server that every server reaches, such as PostgreSQL",
        );
    }
    if let Some(host) = own_machine(&lower) {
        let reason = format!("`{name}` names {}, which is another machine on each server", quoted(host));
        return sink.warn(span, reason, declare(name, &lower));
    }
    if keeps_files(name, &lower) {
        let reason = format!("`{name}` keeps files on the disk of one server");
        return sink.warn(span, reason, "keep uploads in object storage, such as S3");
    }
    if keeps_sessions(name, &lower) && spec.processes.values().any(may_be_several) {
        let reason = format!("`{name}` keeps sessions on one server: on another, visitors are signed out");
        sink.warn(span, reason, "keep sessions in a database, in Redis or in cookies");
    }
}

fn is_file_database(value: &str) -> bool {
    let path = value.split(['?', '#']).next().unwrap_or(value);
    value.starts_with("sqlite:")
        || value.starts_with("sqlite3:")
        || value.starts_with("file:")
        || [".sqlite", ".sqlite3", ".db"]
            .iter()
            .any(|end| path.ends_with(end) && !path.contains(char::is_whitespace))
        || value == "sqlite"
        || value == "sqlite3"
}

/// How to say where a service is once, for every server: as `services` with what is known of it here.
fn declare(variable: &str, value: &str) -> String {
    let Some((name, kind)) = service_of(variable, value) else {
        return "use the private address of the server that runs it; `from: {service: NAME}` gives that of one of \
                `services`"
            .to_owned();
    };
    let url = match value.split_once("://") {
        Some((scheme, _)) => format!(", url: \"{scheme}://…{{host}}:{{port}}…\""),
        None => String::new(),
    };
    format!(
        "say where it runs, `services: {{{name}: {{type: {kind}, managed: false{url}}}}}`, and here `from: {{service: {name}}}`"
    )
}

/// The usual name and the type of the service that a variable is about.
fn service_of(variable: &str, value: &str) -> Option<(&'static str, &'static str)> {
    let by_scheme = value.split_once("://").and_then(|(scheme, _)| match scheme {
        "postgres" | "postgresql" | "postgis" => Some(("db", "postgres")),
        "mysql" | "mysql2" | "mariadb" => Some(("db", "mysql")),
        "redis" | "rediss" => Some(("cache", "redis")),
        "memcached" | "memcache" => Some(("cache", "memcached")),
        _ => None,
    });
    let variable = variable.to_ascii_uppercase();
    let named = |words: &[&str]| words.iter().any(|word| variable.contains(word));
    by_scheme.or_else(|| match () {
        () if named(&["REDIS"]) => Some(("cache", "redis")),
        () if named(&["MEMCACHE"]) => Some(("cache", "memcached")),
        () if named(&["MYSQL", "MARIADB"]) => Some(("db", "mysql")),
        () if named(&["POSTGRES"]) || variable.starts_with("PG") => Some(("db", "postgres")),
        () => None,
    })
}

fn keeps_files(name: &str, value: &str) -> bool {
    let disk = matches!(
        name,
        "FILESYSTEM_DISK"
            | "FILESYSTEM_DRIVER"
            | "ACTIVE_STORAGE_SERVICE"
            | "STORAGE_DRIVER"
            | "CARRIERWAVE_STORAGE"
            | "DEFAULT_FILE_STORAGE"
    );
    let local = matches!(value, "local" | "public" | "disk" | "file" | "filesystem")
        || value.ends_with(".filesystemstorage");
    (disk && local) || (holds_uploads(name) && is_path(value))
}

/// `UPLOAD_DIR`, `MEDIA_ROOT`: where what visitors send is put.
fn holds_uploads(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let what = ["UPLOAD", "MEDIA", "ATTACHMENT"].iter().any(|word| name.contains(word));
    what && ["DIR", "DIRECTORY", "PATH", "ROOT", "FOLDER"].iter().any(|end| name.ends_with(end))
}

fn is_path(value: &str) -> bool {
    value.starts_with(['/', '.', '~']) && !value.contains(char::is_whitespace)
}

fn keeps_sessions(name: &str, value: &str) -> bool {
    let store = matches!(name, "SESSION_DRIVER" | "SESSION_STORE" | "CACHE_DRIVER" | "CACHE_STORE");
    store
        && matches!(
            value,
            "file" | "file_store" | "filesystem" | "memory" | "memory_store" | "array" | "local"
        )
}

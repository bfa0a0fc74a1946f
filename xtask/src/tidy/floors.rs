//! The floors of ARCHITECTURE.md: which crate may depend on which, and what the
//! pure crates may not do.
//!
//! Only what ships counts: a crate's tests may look anywhere. A new arrow is a
//! decision: it is written in docs/decisions/ and then allowed here.

use super::Finding;
use super::crates::line_of;
use super::files::File;

pub(super) struct Crate {
    pub(super) name: &'static str,
    pub(super) floor: u8,
    /// The crates of this project that it may depend on.
    pub(super) allowed: &'static [&'static str],
}

pub(super) const CRATES: &[Crate] = &[
    Crate { name: "pando-routing", floor: 0, allowed: &[] },
    Crate { name: "pando-http", floor: 0, allowed: &[] },
    Crate { name: "pando-rt", floor: 0, allowed: &[] },
    Crate { name: "pando-heap", floor: 0, allowed: &[] },
    Crate { name: "pando-model", floor: 1, allowed: &["pando-routing"] },
    Crate { name: "pando-image", floor: 2, allowed: &["pando-model", "pando-rt"] },
    Crate { name: "pando-plan", floor: 2, allowed: &["pando-model", "pando-routing"] },
    Crate { name: "pando-config", floor: 2, allowed: &["pando-model", "pando-routing"] },
    Crate {
        name: "pando-proxy",
        floor: 2,
        allowed: &["pando-heap", "pando-http", "pando-routing", "pando-rt"],
    },
    Crate { name: "pando-runtime", floor: 2, allowed: &["pando-model", "pando-rt"] },
    Crate { name: "pando-provider", floor: 2, allowed: &["pando-model", "pando-rt"] },
    Crate { name: "pando-trust", floor: 2, allowed: &["pando-model", "pando-rt"] },
    Crate {
        name: "pando-api",
        floor: 3,
        allowed: &["pando-model", "pando-routing", "pando-rt", "pando-trust"],
    },
    Crate {
        name: "pando-control",
        floor: 4,
        allowed: &[
            "pando-model",
            "pando-routing",
            "pando-rt",
            "pando-image",
            "pando-plan",
            "pando-provider",
            "pando-trust",
            "pando-api",
        ],
    },
    Crate {
        name: "pando-agent",
        floor: 4,
        allowed: &[
            "pando-model",
            "pando-routing",
            "pando-rt",
            "pando-image",
            "pando-runtime",
            "pando-trust",
            "pando-api",
        ],
    },
    Crate {
        name: "pando",
        floor: 5,
        allowed: &[
            "pando-model",
            "pando-routing",
            "pando-rt",
            "pando-image",
            "pando-plan",
            "pando-config",
            "pando-proxy",
            "pando-runtime",
            "pando-provider",
            "pando-trust",
            "pando-api",
            "pando-control",
            "pando-agent",
        ],
    },
    Crate {
        name: "pando-sim",
        floor: 5,
        allowed: &[
            "pando-model",
            "pando-routing",
            "pando-rt",
            "pando-plan",
            "pando-runtime",
            "pando-api",
            "pando-control",
            "pando-agent",
        ],
    },
];

/// These only compute: they read no clock, file, variable or socket, and wait for nothing.
const PURE: [&str; 4] = ["pando-model", "pando-http", "pando-routing", "pando-plan"];
const IMPURE: [&str; 8] =
    ["::now()", "now_v7", "std::fs", "std::env::", "std::process", "std::thread", ".await", "async fn"];

pub(super) fn check(file: &File) -> Vec<Finding> {
    let Some((name, inside)) = file.path.strip_prefix("crates/").and_then(|path| path.split_once('/')) else {
        return Vec::new();
    };
    match inside {
        "Cargo.toml" => check_arrows(file, name),
        _ if PURE.contains(&name) && is_shipped(inside) => check_purity(file, name),
        _ => Vec::new(),
    }
}

fn check_arrows(manifest: &File, name: &str) -> Vec<Finding> {
    let finding = |line, message| Finding { path: manifest.path.clone(), line, message };
    let Some(from) = find(name) else {
        let message = format!("`{name}` stands on no floor: add it to ARCHITECTURE.md and to xtask's table");
        return vec![finding(1, message)];
    };
    let dependencies = match dependencies(&manifest.text) {
        Ok(dependencies) => dependencies,
        Err(error) => return vec![finding(1, format!("not readable as TOML: {error}"))],
    };
    let refused = dependencies
        .into_iter()
        .filter(|(_, package)| package == "pando" || package.starts_with("pando-"))
        .filter(|(_, package)| !from.allowed.contains(&package.as_str()));
    refused.map(|(key, package)| finding(line_of(manifest, &key), refusal(from, &package))).collect()
}

fn refusal(from: &Crate, package: &str) -> String {
    let arrow = format!("`{}` (floor {}) may not depend on `{package}`", from.name, from.floor);
    let Some(to) = find(package) else { return format!("{arrow}: it stands on no floor") };
    let why = match to.floor.cmp(&from.floor) {
        std::cmp::Ordering::Greater => "arrows point down, this one goes up",
        std::cmp::Ordering::Equal => "arrows point down, this one goes sideways",
        std::cmp::Ordering::Less => {
            "they are to meet through api and routing only; a new arrow is a decision"
        }
    };
    format!("{arrow} (floor {}): {why}", to.floor)
}

/// What is built into the crate: key and package name of every dependency but those of tests.
fn dependencies(manifest: &str) -> Result<Vec<(String, String)>, toml::de::Error> {
    let manifest: toml::Table = manifest.parse()?;
    let mut tables = vec![&manifest];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    tables.extend(targets.into_iter().flat_map(|targets| targets.values()).filter_map(toml::Value::as_table));
    let lists = tables.into_iter().flat_map(|table| {
        ["dependencies", "build-dependencies"].into_iter().filter_map(|kind| table.get(kind)?.as_table())
    });
    let package = |(key, value): (&String, &toml::Value)| {
        let renamed = value.get("package").and_then(toml::Value::as_str);
        (key.clone(), renamed.unwrap_or(key).to_owned())
    };
    Ok(lists.flatten().map(package).collect())
}

fn check_purity(file: &File, name: &str) -> Vec<Finding> {
    let code = file.lines().filter(|(_, text)| !text.trim_start().starts_with("//"));
    let impure =
        code.filter_map(|(line, text)| Some((line, IMPURE.iter().find(|word| has_word(text, word))?)));
    let message = |word| format!("`{name}` only computes; `{word}` does not belong: take it as an argument");
    impure.map(|(line, word)| Finding { path: file.path.clone(), line, message: message(word) }).collect()
}

/// Whether the word stands in the text, and not as the beginning of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let longer = |rest: &str| word.ends_with(char::is_alphanumeric) && rest.starts_with(is_of_a_word);
    text.match_indices(word).any(|(at, _)| !longer(&text[at + word.len()..]))
}

fn is_of_a_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Not a test: those may read the clock and the disk.
fn is_shipped(inside: &str) -> bool {
    inside.starts_with("src/") && !inside.split('/').any(|part| part == "tests" || part == "tests.rs")
}

pub(super) fn find(name: &str) -> Option<&'static Crate> {
    CRATES.iter().find(|known| known.name == name)
}

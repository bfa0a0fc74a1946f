//! `cargo run -p xtask -- docs`: writes what is generated from the types; `--check` only compares.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

/// A generated file, and its text as the types have it now.
struct Page {
    path: &'static str,
    text: String,
}

fn pages() -> Vec<Page> {
    vec![
        Page { path: "docs/reference/openapi.json", text: pando_control::http::openapi_json() },
        Page { path: "docs/reference/pando.schema.json", text: pando_config::schema_json() },
        Page { path: "docs/reference/pando-yaml.md", text: pando_config::reference_markdown() },
    ]
}

/// # Errors
/// When a file can't be written; with `check`, when one differs.
pub(crate) fn docs(root: &Path, check: bool) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for page in pages() {
        let path = root.join(page.path);
        let held = fs::read_to_string(&path).unwrap_or_default();
        if held == page.text {
            continue;
        }
        if check {
            stale.push(page.path);
            continue;
        }
        fs::write(&path, page.text).with_context(|| format!("can't write `{}`", path.display()))?;
        println!("wrote {}", page.path);
    }
    if !stale.is_empty() {
        bail!("not up to date: {}; renew with `cargo run -p xtask -- docs`", stale.join(", "));
    }
    Ok(())
}

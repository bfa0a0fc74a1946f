//! `cargo run -p xtask -- docs`: writes what is generated from the types and from the program; `--check` only compares.

mod cli;
mod contract;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// A generated file, and its text as the types have it now.
struct Page {
    path: &'static str,
    text: String,
}

fn pages(root: &Path) -> anyhow::Result<Vec<Page>> {
    Ok(vec![
        Page { path: "docs/reference/openapi.json", text: pando_control::http::openapi_json() },
        Page { path: "docs/reference/pando.schema.json", text: pando_config::schema_json() },
        Page { path: "docs/reference/pando-yaml.md", text: pando_config::reference_markdown() },
        Page { path: "docs/reference/metrics.md", text: pando_proxy::metrics_markdown() },
        Page { path: "docs/reference/runtime-contract.md", text: contract::page(root)? },
        Page { path: "docs/reference/cli.md", text: cli::page(&built(root)?)? },
    ])
}

/// The binary, built as it stands, beside this program.
fn built(root: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "-p", "pando", "--bin", "pando"]).current_dir(root);
    let status = build.status().context("can't run cargo to build `pando`")?;
    ensure!(status.success(), "`pando` does not build");
    Ok(std::env::current_exe()?.with_file_name("pando"))
}

/// # Errors
/// When a file can't be written; with `check`, when one differs.
pub(crate) fn docs(root: &Path, check: bool) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for page in pages(root)? {
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

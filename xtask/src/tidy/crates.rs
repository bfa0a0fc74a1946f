//! Rules for crates: the folder has the crate's name, and the crate opens with
//! the paragraph that says what it is for.

use super::Finding;
use super::files::File;

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let manifests = files.iter().filter_map(|file| Some((file, crate_folder(&file.path)?)));
    manifests.flat_map(|(manifest, folder)| check_crate(files, manifest, folder)).collect()
}

/// `crates/NAME` of `crates/NAME/Cargo.toml`, and `xtask`.
fn crate_folder(path: &str) -> Option<&str> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    let is_crate = matches!(folder.split('/').collect::<Vec<_>>().as_slice(), ["crates", _] | ["xtask"]);
    is_crate.then_some(folder)
}

fn check_crate(files: &[File], manifest: &File, folder: &str) -> Vec<Finding> {
    let finding = |path: &str, line, message| Finding { path: path.to_owned(), line, message };
    let mut findings = Vec::new();
    let wanted = folder.rsplit('/').next().unwrap_or(folder);
    match package_name(&manifest.text) {
        Ok(name) if name == wanted => {}
        Ok(name) => findings.push(finding(
            &manifest.path,
            line_of(manifest, "name"),
            format!("the crate is `{name}` but its folder is `{wanted}`: give them one name"),
        )),
        Err(message) => findings.push(finding(&manifest.path, 1, message)),
    }
    let roots = ["lib", "main"].map(|root| format!("{folder}/src/{root}.rs"));
    match files.iter().find(|file| roots.contains(&file.path)) {
        Some(root) if opens_with_paragraph(root) => {}
        Some(root) => findings.push(finding(
            &root.path,
            1,
            "begin with a `//!` paragraph: what the crate is for and what it leaves to others".to_owned(),
        )),
        None => {
            findings.push(finding(&manifest.path, 1, "the crate has no src/lib.rs or src/main.rs".to_owned()))
        }
    }
    findings
}

fn package_name(manifest: &str) -> Result<String, String> {
    let manifest: toml::Table = manifest.parse().map_err(|error| format!("not readable as TOML: {error}"))?;
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    name.map(str::to_owned).ok_or_else(|| "no `package.name`".to_owned())
}

/// The line on which `key` is set, or the first.
pub(super) fn line_of(manifest: &File, key: &str) -> usize {
    let sets_key = |text: &str| {
        let rest = text.trim_start().strip_prefix(key).unwrap_or_default();
        rest.starts_with(['.', '=', ' ']) || text.trim().ends_with(&format!(".{key}]"))
    };
    manifest.lines().find(|(_, text)| sets_key(text)).map_or(1, |(line, _)| line)
}

fn opens_with_paragraph(root: &File) -> bool {
    let first = root.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    first.and_then(|line| line.strip_prefix("//!")).is_some_and(|text| !text.trim().is_empty())
}

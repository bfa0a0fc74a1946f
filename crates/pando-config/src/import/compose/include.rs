//! `include`: other projects whose services, volumes and networks are taken in, each read in its own directory with its own variables.

use std::path::{Path, PathBuf};

use super::interpolate;
use super::keys::Keys;
use super::model::{Loader, Scope};
use super::{merge, paths};
use crate::decode::listed;
use crate::diagnostic::{Problems, quoted};
use crate::import::draft::plain;
use crate::source::Span;
use crate::tree::{Entry, Merge, Node, Value};

/// Files that include each other are no longer a chain than this.
const DEEPEST: usize = 16;
/// What is taken in of another project.
const RESOURCES: [&str; 5] = ["services", "volumes", "networks", "secrets", "configs"];

/// What one item of `include` says.
struct Include {
    paths: Vec<String>,
    directory: Option<String>,
    env_files: Option<Vec<String>>,
    span: Span,
}

/// `node`, a file of the project, with what it includes. `chain`: the files that lead to it, and itself.
pub(super) fn taken_in(
    mut node: Node,
    scope: &Scope,
    chain: &[PathBuf],
    loader: &mut Loader<'_, '_>,
) -> Result<Node, Problems> {
    let Value::Map(entries) = &mut node.value else { return Ok(node) };
    let Some(at) = entries.iter().position(|entry| entry.key == "include") else { return Ok(node) };
    let include = entries.remove(at);
    if include.merge == Merge::Remove || include.value.is_null() {
        return Ok(node);
    }
    let Some(items) = include.value.items() else {
        let hint = "write `include: [FILE]`, or a list of maps with `path`";
        return Err(loader.reader.error(include.value.span, "`include` is a list of files", hint));
    };
    for item in items {
        let include = read(item, scope, loader)?;
        if let Some(project) = project(&include, scope, chain, loader)? {
            put(&mut node, &project, include.span, loader)?;
        }
    }
    Ok(node)
}

fn read(item: &Node, scope: &Scope, loader: &mut Loader<'_, '_>) -> Result<Include, Problems> {
    let mut keys = Keys::of(item);
    let given =
        if item.scalar().is_some() || item.items().is_some() { Some(item) } else { keys.take("path") };
    let (directory, env_files) = (keys.take("project_directory"), keys.take("env_file"));
    keys.name_others("include", "the file", "Compose has no such key", loader.draft);
    let mut texts = |node: &Node| -> Result<Vec<String>, Problems> {
        let items = node.items().unwrap_or(std::slice::from_ref(node)).iter();
        items
            .filter(|item| !item.is_null())
            .filter_map(Node::scalar)
            .map(|scalar| loader.filled(&scalar.text, scope))
            .collect::<Result<_, _>>()
            .map_err(|names| {
                let hint = "give it a value in `.env`, or write the path out";
                loader.reader.error(
                    node.span,
                    &format!("it takes {names} from an environment that is not known here"),
                    hint,
                )
            })
    };
    Ok(Include {
        paths: given.map(&mut texts).transpose()?.unwrap_or_default(),
        directory: directory.map(&mut texts).transpose()?.and_then(|texts| texts.into_iter().next()),
        env_files: env_files.map(&mut texts).transpose()?,
        span: item.span,
    })
}

/// The project that is included, as seen from the one that includes it. `None`: it is not to be had, which is noted.
fn project(
    include: &Include,
    scope: &Scope,
    chain: &[PathBuf],
    loader: &mut Loader<'_, '_>,
) -> Result<Option<Node>, Problems> {
    let at = loader.reader.place(include.span);
    let Some(first) = include.paths.first() else {
        return Err(loader.reader.error(include.span, "this does not say which file", "write `path: FILE`"));
    };
    if let Some(url) = include.paths.iter().find(|path| paths::is_elsewhere(path)) {
        loader.draft.note(format!(
            "`include` ({at}): {} is fetched from elsewhere, and was not read: check it out here, and name its file",
            quoted(url)
        ));
        return Ok(None);
    }
    let files: Vec<PathBuf> = include.paths.iter().map(|path| paths::under(&scope.directory, path)).collect();
    for file in &files {
        readable(file, chain, include.span, loader)?;
    }
    let below = match &include.directory {
        Some(directory) => PathBuf::from(directory),
        None => Path::new(first).parent().map(Path::to_owned).unwrap_or_default(),
    };
    let inner = Scope {
        directory: paths::under(&scope.directory, &below.display().to_string()),
        variables: variables(include, &below, scope, loader)?,
    };
    let whole = loader.model(&files, &inner, chain)?;
    Ok(whole.map(|whole| as_seen_from_above(&whole, &below, &inner, loader)))
}

fn readable(file: &Path, chain: &[PathBuf], span: Span, loader: &mut Loader<'_, '_>) -> Result<(), Problems> {
    refuse_ring(file, chain, span, loader)?;
    if let Err(why) = loader.reader.text(file) {
        let reason = format!("`{}` can't be read: {why}", file.display());
        let hint = "Compose needs it, too: correct the path, or take it out of `include`";
        return Err(loader.reader.error(span, &reason, hint));
    }
    loader.reader.tell_outside(file, "include", span, loader.draft);
    Ok(())
}

fn refuse_ring(file: &Path, chain: &[PathBuf], span: Span, loader: &Loader<'_, '_>) -> Result<(), Problems> {
    let names: Vec<String> = chain
        .iter()
        .map(PathBuf::as_path)
        .chain([file])
        .map(|path| format!("`{}`", path.display()))
        .collect();
    let shown = names.join(" includes ");
    let real = |path: &Path| loader.reader.files.resolved(path);
    if chain.iter().any(|given| real(given) == real(file)) {
        let hint = "take one of these `include` out: Compose takes no such files";
        return Err(loader.reader.error(span, &format!("{shown}: that has no end"), hint));
    }
    if chain.len() >= DEEPEST {
        let hint = "name the files that the app is in with `--from`";
        return Err(loader.reader.error(
            span,
            &format!("these are more than {DEEPEST} files deep: {shown}"),
            hint,
        ));
    }
    Ok(())
}

/// Those of the project that includes win. Without `env_file`, `.env` of the included project's directory is read if it is there.
fn variables(
    include: &Include,
    below: &Path,
    scope: &Scope,
    loader: &mut Loader<'_, '_>,
) -> Result<interpolate::Variables, Problems> {
    let mut variables = scope.variables.clone();
    let Some(files) = &include.env_files else {
        return Ok(
            loader.own_variables(&paths::under(&scope.directory, &below.display().to_string()), &variables)
        );
    };
    for file in files {
        let path = paths::under(&scope.directory, file);
        variables = loader.variables(&path, &variables).map_err(|why| {
            let reason = format!("its `env_file` {} can't be read: {why}", quoted(file));
            loader.reader.error(
                include.span,
                &reason,
                "Compose needs it, too: correct the path, or take it out",
            )
        })?;
        loader.reader.tell_outside(&path, "include.env_file", include.span, loader.draft);
    }
    Ok(variables)
}

/// With its own variables filled in, its paths moved, and only what is taken in.
fn as_seen_from_above(whole: &Node, below: &Path, inner: &Scope, loader: &mut Loader<'_, '_>) -> Node {
    let mut others: Vec<String> = Vec::new();
    let mut kept = Vec::new();
    for entry in whole.entries().unwrap_or_default() {
        match entry.key.as_str() {
            "services" => {
                let moved = paths::each(&entry.value, |_, service| paths::seen_from_above(service, below));
                let mut report = interpolate::Report::default();
                let value = interpolate::partly(&moved, "", &inner.variables, &mut report);
                super::tell(&report, "", loader.draft);
                kept.push(Entry { value, ..entry.clone() });
            }
            key if RESOURCES.contains(&key) => kept.push(entry.clone()),
            "name" | "version" => {}
            key if key.starts_with("x-") => {}
            key => others.push(plain(key)),
        }
    }
    if !others.is_empty() {
        let shown = listed(others.iter().map(String::as_str), "and");
        loader.draft.note(format!(
            "`include` ({}): {shown} of the included files is not taken in, by Compose neither",
            loader.reader.place(whole.span)
        ));
    }
    Node { span: whole.span, value: Value::Map(kept) }
}

/// Puts the resources of `project` into `node`, which must not have others by their names.
fn put(node: &mut Node, project: &Node, span: Span, loader: &mut Loader<'_, '_>) -> Result<(), Problems> {
    let Value::Map(entries) = &mut node.value else { return Ok(()) };
    for taken in project.entries().unwrap_or_default() {
        let at = entries.iter().position(|entry| entry.key == taken.key && entry.value.entries().is_some());
        let Some(at) = at else {
            entries.retain(|entry| entry.key != taken.key);
            entries.push(taken.clone());
            continue;
        };
        let Value::Map(given) = &mut entries[at].value.value else { continue };
        for resource in taken.value.entries().unwrap_or_default() {
            match given.iter().find(|given| given.key == resource.key) {
                None => given.push(resource.clone()),
                Some(own) if merge::is_same(&own.value, &resource.value) => {}
                Some(own) => return Err(conflict(&taken.key, own, resource, span, loader)),
            }
        }
    }
    Ok(())
}

fn conflict(kind: &str, own: &Entry, taken: &Entry, span: Span, loader: &Loader<'_, '_>) -> Problems {
    let reason = format!(
        "`{kind}.{}` is in what is included here ({}), and otherwise in {}",
        plain(&own.key),
        loader.reader.place(taken.key_span),
        loader.reader.place(own.key_span)
    );
    let hint = "Compose takes no such files: give one of them another name, or change the included one from a file that is laid over \
                this one: `--from FILE --from OTHER`";
    loader.reader.error(span, &reason, hint)
}

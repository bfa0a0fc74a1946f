//! The reference of the file, as Markdown, from the same declarations that read it.

use std::fmt::Write as _;

use crate::decode::{Key, Note};
use crate::env::{SetBy, VARIABLES, Variable};
use crate::lower::NOT_YET;
use crate::raw::Root;

const HEAD: &str = "\
# pando.yaml

<!-- Generated from the program: `cargo run -p xtask -- docs` renews it. -->

The file that describes an app: `pando.yaml`, `pando.yml`, `pando.json` or `pando.toml`. Unknown keys are
errors. `pando check` says every problem at once; `pando schema` prints the JSON Schema of this page for editors.

How to read the first column: `[]` is each item of a list, `NAME` a name of your choice.

Durations are `500ms`, `2s`, `10m`, `1h30m`, or a plain number of seconds. Sizes are `512MB` (a power of ten)
or `512MiB` (a power of two). Names are DNS labels: up to 63 of `a-z`, `0-9` and `-`.
";

const TABLE: &str = "
## Keys

| key | type | default | meaning |
|---|---|---|---|
";

const TARGETS: &str = "
A target has the keys above, except `targets`, and each that it gives takes the place of the root's. `health`,
`resources` and `load_balancing` are overridden key by key, variables, processes and services by name, `labels` and other
lists as a whole. Where keys exclude each other (`source`, `image` and `build`; `replicas` and `per_server`),
the target's wins.

## What a replica is told

| variable | meaning | example |
|---|---|---|
";

const READ: &str = "
## What `pando` reads

| variable | meaning | example |
|---|---|---|
";

/// The whole page.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page =
        format!("{HEAD}\nThis version reads and checks, but does not run yet: {NOT_YET}.\n{TABLE}");
    for key in Root::keys() {
        rows(&mut page, "", &key);
    }
    page.push_str(TARGETS);
    page.push_str(&variables(SetBy::Pando));
    page.push_str(READ);
    page.push_str(&variables(SetBy::Caller));
    page
}

fn rows(page: &mut String, prefix: &str, key: &Key) {
    let name = format!("{prefix}{}", key.name);
    let default = match key.note {
        Note::Optional => String::new(),
        Note::Required => "required".to_owned(),
        Note::Default(typed) => format!("`{typed}`"),
    };
    let about = key.about.replace('|', "\\|");
    let _ = writeln!(page, "| `{name}` | {} | {default} | {about} |", type_name(key));
    if let Some((joint, below)) = (key.nested)() {
        for key in below {
            rows(page, &format!("{name}{joint}"), &key);
        }
    }
}

/// What messages say is expected, without its article: the column's head says that it is a type.
fn type_name(key: &Key) -> String {
    let expected = (key.expected)();
    let bare = expected
        .strip_prefix("a ")
        .or_else(|| expected.strip_prefix("an "))
        .or_else(|| expected.strip_prefix("the "))
        .unwrap_or(&expected);
    bare.replace('|', "\\|")
}

fn variables(set_by: SetBy) -> String {
    let row = |variable: &Variable| {
        let Variable { name, meaning, example, .. } = variable;
        format!("| `{name}` | {meaning} | `{example}` |\n")
    };
    VARIABLES.iter().filter(|variable| variable.set_by == set_by).map(row).collect()
}

//! The whole file: the keys of an app, and the targets that override them.

use serde_json::{Value as Json, json};

use super::app::Settings;
use crate::decode::{
    At, Decode, Definitions, Field, Key, Named, Note, Reader, Record, Wrong, complain, object_schema,
};
use crate::diagnostic::Sink;
use crate::tree::Node;
use crate::value::Label;

const TARGETS: &str = "targets";
const ABOUT_TARGETS: &str = "By name: clusters that the app is deployed to, each with the keys of this file that it overrides, key by key. \
     Variables, processes and services are overridden by name, `labels` and other lists as a whole.";

/// The file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Root {
    pub(crate) settings: Settings,
    pub(crate) targets: Field<Named<Label, Overrides>>,
}

/// What a target gives of the keys of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides(pub(crate) Settings);

impl Decode for Overrides {
    fn expected() -> String {
        "a target".to_owned()
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        if node.entries().is_none() {
            let hint = "it has keys of this file that it overrides; `{}` if none";
            complain(node, &Self::expected(), Wrong::with_hint(hint), sink);
            return None;
        }
        Reader::read(node, "a target", &[], sink).map(|(settings, _)| Self(settings))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        Settings::schema(definitions)
    }
}

impl Root {
    /// Reads what can be read; `None` only when the file is not a map of keys.
    pub(crate) fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        if node.entries().is_none() {
            let expected = "keys such as `name: my-app`";
            complain(node, expected, Wrong::with_hint("`pando init` writes a file to start from"), sink);
            return None;
        }
        let (settings, own) = Reader::read::<Settings>(node, "the file", &[TARGETS], sink)?;
        if settings.name.is_absent() {
            let first = node.entries().and_then(|entries| entries.first());
            let span = first.map_or(node.span, |entry| entry.key_span);
            sink.error_hint(span, "the file needs the key `name`", "it names the app: `name: my-app`");
        }
        let mut targets = Field::Absent;
        if let Some(entry) = own.first() {
            targets = match Named::decode(&entry.value, sink) {
                Some(value) => Field::Given(At { key: entry.key_span, span: entry.value.span, value }),
                None => Field::Wrong(entry.key_span),
            };
        }
        Some(Self { settings, targets })
    }

    /// All keys, as the reference lists them.
    pub(crate) fn keys() -> Vec<Key> {
        let mut keys = Settings::keys();
        for key in keys.iter_mut().filter(|key| key.name == "name") {
            key.note = Note::Required;
        }
        keys.push(Key {
            name: TARGETS,
            about: ABOUT_TARGETS.to_owned(),
            note: Note::Optional,
            expected: Named::<Label, Overrides>::expected,
            schema: Named::<Label, Overrides>::schema,
            // They are the keys of the file again.
            nested: || None,
        });
        keys
    }

    /// The schema of the file, without its definitions.
    pub(crate) fn schema(definitions: &mut Definitions) -> Json {
        let mut schema = object_schema::<Settings>(definitions);
        let mut targets = Named::<Label, Overrides>::schema(definitions);
        targets["description"] = ABOUT_TARGETS.into();
        schema["properties"][TARGETS] = targets;
        schema["description"] = "A pando.yaml: what an app runs, where, and how.".into();
        schema["required"] = json!(["name"]);
        schema
    }
}

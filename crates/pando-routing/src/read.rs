//! A table from text, and what to do where the text is none.

use crate::certificate::explain;
use crate::table::Table;

/// Words that are further from each other than this are not meant by one another.
const NEAR: f64 = 0.8;

impl Table {
    /// The table that a JSON text says. It is not [validated](Table::validate) yet.
    ///
    /// # Errors
    /// Why it is none: the place as a path, line and column, what is there, and what is expected. Long texts, which may be keys in the
    /// wrong place, are not repeated.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        // Following the path costs as much as reading, so it is done for texts that are wrong alone.
        serde_json::from_slice(json).map_err(|_| why(json))
    }
}

fn why(json: &[u8]) -> String {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read: Result<Table, _> = serde_path_to_error::deserialize(&mut reader);
    let error = match read {
        Ok(_) => return reader.end().map_or_else(|error| explain(&error), |()| "it is no JSON".to_owned()),
        Err(error) => error,
    };
    let place = error.path().to_string();
    let text = explain(error.inner());
    let hint = meant(&text).map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
    match &*place {
        "." => format!("{text}{hint}"),
        place => format!("`{place}`: {text}{hint}"),
    }
}

/// Of the words that `serde` says it expects, the one that what it found was meant to be.
fn meant(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("unknown field `").or_else(|| text.strip_prefix("unknown variant `"))?;
    let mut words = rest.split('`').step_by(2);
    let found = words.next()?;
    let likeness = |word: &str| strsim::jaro_winkler(found, word);
    let best = words.max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) >= NEAR).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(pools: &str) -> String {
        let text = format!("{{\"version\": {{\"epoch\": 1, \"revision\": 1}},\n \"pools\": {pools}}}");
        Table::read(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn the_place_the_value_and_what_to_do_are_named() {
        for (pools, expected) in [
            (
                r#"{"web": {"retries": {}}}"#,
                "`pools.web.retries`: unknown field `retries`, expected one of `algorithm`, ",
            ),
            (
                r#"{"web": {"retry": {"attempts": -1}}}"#,
                "`pools.web.retry.attempts`: invalid value: integer `-1`, expected u32 at line 2",
            ),
            (r#"{"web": {"algorithm": "roundrobin"}}"#, "did you mean `round_robin`?"),
            (r#"{"web": {"slow_start": 3}}"#, "did you mean `slow_start_millis`?"),
            (
                r#"{"web": {"endpoints": [{"id": "01890a5d-ac96-774b-bcce-b302099a8057", "address": "localhost"}]}}"#,
                "`pools.web.endpoints[0].address`: invalid socket address syntax at line 2 column",
            ),
            (r#"{"web": 3}"#, "`pools.web`: invalid type: integer `3`, expected struct Pool at line 2"),
            ("{", "EOF while parsing"),
        ] {
            let why = why(pools);
            assert!(why.contains(expected), "{why}\nshould have: {expected}");
        }
        assert!(!why(r#"{"web": {"xyz": 3}}"#).contains("did you mean"));
        assert!(Table::read(b"").unwrap_err().contains("line 1 column 0"));
        let twice = br#"{"version": {"epoch": 1, "revision": 1}} {}"#;
        assert!(Table::read(twice).unwrap_err().contains("trailing characters at line 1"));
    }
}

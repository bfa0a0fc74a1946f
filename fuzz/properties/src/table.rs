//! Routing tables.

use pando_routing::Table;

/// A table that is valid can be written down and is the same when it is read again; one that isn't says why in words.
pub fn table(data: &[u8]) {
    let Ok(table) = serde_json::from_slice::<Table>(data) else { return };
    if let Err(errors) = table.validate() {
        assert!(!errors.is_empty());
        assert!(errors.iter().all(|error| !error.to_string().is_empty()));
        return;
    }
    let text = serde_json::to_vec(&table).expect("a table can be written");
    let again: Table = serde_json::from_slice(&text).expect("and read again");
    assert_eq!(table, again);
    again.validate().expect("and is valid still");
    let _ = pando_routing::Matcher::new(&table);
}

//! Values: JSON in an envelope with a schema number.
//!
//! `{"schema": 1, "value": …}`. The number rises when a reader of the old shape
//! would misunderstand the new one; an added optional field needs no new number.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Entry, StoreError};

/// The shape that this version writes, and the newest that it reads.
pub const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Written<'a, T> {
    schema: u32,
    value: &'a T,
}

#[derive(Deserialize)]
struct Head {
    schema: u32,
}

#[derive(Deserialize)]
struct Read<T> {
    value: T,
}

/// # Errors
/// When the value has no form in JSON.
pub fn encode(key: &str, value: &impl Serialize) -> Result<Bytes, StoreError> {
    serde_json::to_vec(&Written { schema: SCHEMA, value })
        .map(Bytes::from)
        .map_err(|source| StoreError::Value { key: key.to_owned(), source })
}

/// # Errors
/// When the entry holds something else, or was written by a later version.
pub fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<T, StoreError> {
    let unreadable = |source| StoreError::Value { key: entry.key.clone(), source };
    match serde_json::from_slice::<Read<T>>(&entry.value) {
        Ok(read) => {
            let head: Head = serde_json::from_slice(&entry.value).map_err(unreadable)?;
            check_schema(entry, head.schema)?;
            Ok(read.value)
        }
        // A later version is the better explanation, where it is one.
        Err(error) => {
            let head: Head = serde_json::from_slice(&entry.value).map_err(unreadable)?;
            check_schema(entry, head.schema)?;
            Err(unreadable(error))
        }
    }
}

fn check_schema(entry: &Entry, schema: u32) -> Result<(), StoreError> {
    if schema > SCHEMA {
        return Err(StoreError::LaterValue { key: entry.key.clone(), schema });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        let value = Bytes::from(text.to_owned());
        Entry { key: "/v1/x".to_owned(), value, created: 1, modified: 1, lease: None }
    }

    #[test]
    fn values_carry_their_schema() {
        let bytes = encode("/v1/x", &vec![1, 2]).unwrap();
        assert_eq!(bytes, r#"{"schema":1,"value":[1,2]}"#);
        let read: Vec<u8> = decode(&Entry { value: bytes, ..entry("") }).unwrap();
        assert_eq!(read, [1, 2]);
    }

    #[test]
    fn what_cannot_be_read_says_which_key_and_why() {
        let later = decode::<u8>(&entry(r#"{"schema":2,"value":1}"#)).unwrap_err();
        assert!(matches!(later, StoreError::LaterValue { schema: 2, .. }), "{later}");
        let later = decode::<u8>(&entry(r#"{"schema":2,"value":"new shape"}"#)).unwrap_err();
        assert!(matches!(later, StoreError::LaterValue { schema: 2, .. }), "{later}");
        for bad in ["", "{}", r#"{"schema":1,"value":"x"}"#, r#"{"value":1}"#] {
            let error = decode::<u8>(&entry(bad)).unwrap_err();
            assert!(error.to_string().contains("/v1/x"), "{bad}: {error}");
        }
    }
}

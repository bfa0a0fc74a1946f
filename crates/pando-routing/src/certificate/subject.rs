//! Who a certificate is for, as text that can be told from every other subject's.

use std::fmt::Write;

use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

/// Bytes of a subject that are shown; a longer one is cut, which its end shows.
const MOST: usize = 1024;

/// The subject of a certificate as RFC 4514 writes it, such as `CN=alice,O=Example`: the most specific first, what could be taken for
/// something else escaped, and in visible ASCII alone. Empty, if it has none or can't be read.
#[must_use]
pub fn subject(der: &[u8]) -> String {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return String::new() };
    let names: Vec<_> = certificate.subject().iter().collect();
    let mut text = String::new();
    for name in names.into_iter().rev() {
        for (n, attribute) in name.iter().enumerate() {
            if !text.is_empty() {
                text.push(if n == 0 { ',' } else { '+' });
            }
            write_attribute(&mut text, attribute);
        }
        if text.len() > MOST {
            // It is ASCII.
            text.truncate(MOST);
            text.push_str("...");
            break;
        }
    }
    text
}

fn write_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    match oid2abbrev(attribute.attr_type(), oid_registry()) {
        Ok(name) => text.push_str(name),
        Err(_) => text.push_str(&attribute.attr_type().to_id_string()),
    }
    text.push('=');
    match attribute.as_str() {
        Ok(value) => escape(text, value),
        Err(_) => {
            text.push('#');
            text.push_str(&hex::encode(attribute.as_slice()));
        }
    }
}

fn escape(text: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (n, byte) in value.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' | b'#' if n == 0 || (byte == b' ' && n == last) => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => drop(write!(text, "\\{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn of(names: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        subject(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn no_value_can_be_taken_for_another_attribute() {
        let org = DnType::OrganizationName;
        assert_eq!(of(&[(org.clone(), "Example"), (DnType::CommonName, "alice")]), "CN=alice,O=Example");
        assert_eq!(of(&[(org.clone(), "x,CN=admin")]), r"O=x\,CN\=admin");
        assert_eq!(of(&[(org.clone(), " #a\r\nb: c+\"")]), r#"O=\ #a\0D\0Ab: c\+\""#);
        assert_eq!(of(&[(org.clone(), "ü")]), r"O=\C3\BC");
        assert_eq!(of(&[]), "");
        assert_eq!(subject(b"nothing"), "");
        let long = of(&[(org, &"x".repeat(5000))]);
        assert!(long.len() < 1100 && long.ends_with("..."));
    }
}

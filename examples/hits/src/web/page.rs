//! The page: one file of HTML that needs nothing else.

use crate::settings::Who;

const PAGE: &str = include_str!("page.html");

/// The page for one load. Everything that comes from outside is escaped.
pub fn render(hits: i64, who: &Who, store: &str) -> String {
    let values = [
        ("{{hits}}", grouped(hits)),
        ("{{hue}}", hue(&who.instance).to_string()),
        ("{{replica}}", escaped(&who.replica)),
        ("{{instance}}", escaped(&who.instance)),
        ("{{release}}", escaped(&who.release)),
        ("{{server}}", escaped(&who.server)),
        ("{{store}}", escaped(store)),
    ];
    let mut page = String::with_capacity(PAGE.len() + 256);
    let mut rest = PAGE;
    // One pass over the template, so that a value is never taken for a place to fill.
    while let Some(start) = rest.find("{{") {
        let (before, from) = rest.split_at(start);
        page.push_str(before);
        let value = values.iter().find(|(place, _)| from.starts_with(place));
        let (place, text) = value.map_or(("{{", "{{"), |(place, text)| (*place, text.as_str()));
        page.push_str(text);
        rest = from.get(place.len()..).unwrap_or_default();
    }
    page.push_str(rest);
    page
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// `1234567` as `1,234,567`.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// A colour for each instance, so that another one answering is seen at a glance.
fn hue(instance: &str) -> u32 {
    instance.bytes().fold(7u32, |hue, byte| (hue * 31 + u32::from(byte)) % 360)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> Who {
        Who {
            replica: "web-2".to_owned(),
            instance: "<i>&{{hits}}".to_owned(),
            release: "v3".to_owned(),
            server: "main".to_owned(),
        }
    }

    #[test]
    fn fills_every_place_and_escapes_what_it_fills_in() {
        let page = render(1_234_567, &who(), "SQLite");
        assert!(page.contains("1,234,567"), "{page}");
        assert!(page.contains("&lt;i&gt;&amp;{{hits}}"), "{page}");
        let places = PAGE.matches("{{").count();
        let instances = PAGE.matches("{{instance}}").count();
        assert!(places > instances, "the template has places");
        assert_eq!(page.matches("{{").count(), instances, "nothing else is left to fill");
    }

    #[test]
    fn groups_digits_by_three() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (-1234, "-1,234")];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }
}

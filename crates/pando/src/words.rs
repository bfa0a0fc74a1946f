//! Numbers, counts and ages as people say them.

use pando_model::time::{Millis, Timestamp};

/// `41,208`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 replica`, `1,200 replicas`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{} {}", thousands(count), plural(noun)) }
}

fn plural(noun: &str) -> String {
    match noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        Some(stem) => format!("{stem}ies"),
        None if noun.ends_with('s') => format!("{noun}es"),
        None => format!("{noun}s"),
    }
}

/// `140 ms`, `14.2 s`, `3 min 5 s`: to the tenth under a minute, since deploys are compared by it.
pub(crate) fn took(length: Millis) -> String {
    match length.0 {
        millis @ 0..1000 => format!("{millis} ms"),
        millis @ 1000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => length.to_string(),
    }
}

/// `850 µs`, `11 ms`, `1.2 s`.
pub(crate) fn latency(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..1_000_000 => format!("{} ms", (micros + 500) / 1000),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// `3 min`, `2 h`, `5 d`: one unit, as a table has room for.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    length(now.since(since))
}

/// One unit of a length of time.
pub(crate) fn length(length: Millis) -> String {
    match length.0 / 1000 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// What this machine's clock says.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(pando_rt::clock::Clock::system().now_millis())
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn listed<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.pop() {
        None => String::new(),
        Some(last) if items.is_empty() => last,
        Some(last) => format!("{} and {last}", items.join(", ")),
    }
}

/// Nothing that others wrote may move the cursor or change the colours of a terminal; tabs stay.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_counted() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (41_208, "41,208"), (1_234_567, "1,234,567")]
        {
            assert_eq!(thousands(number), text);
        }
        assert_eq!(counted(1, "replica"), "1 replica");
        assert_eq!(counted(0, "replica"), "0 replicas");
        assert_eq!(counted(2, "process"), "2 processes");
        assert_eq!(counted(2, "directory"), "2 directories");
    }

    #[test]
    fn times_have_the_precision_that_their_place_needs() {
        for (millis, text) in [(140, "140 ms"), (14_250, "14.2 s"), (1000, "1.0 s"), (185_000, "3 min 5 s")] {
            assert_eq!(took(Millis(millis)), text);
        }
        for (micros, text) in [(850, "850 µs"), (11_200, "11 ms"), (1_250_000, "1.2 s")] {
            assert_eq!(latency(micros), text);
        }
        for (seconds, text) in [(59, "59 s"), (3599, "59 min"), (7200, "2 h"), (200_000, "2 d")] {
            assert_eq!(length(Millis::from_secs(seconds)), text);
        }
    }

    #[test]
    fn lists_read_as_a_sentence() {
        assert_eq!(listed(["a", "b", "c"]), "a, b and c");
        assert_eq!(listed(["a", "b"]), "a and b");
        assert_eq!(listed(["a"]), "a");
        assert_eq!(listed::<&str>([]), "");
    }

    #[test]
    fn output_of_others_cannot_play_with_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31mred\tx\r"), "a\u{fffd}[31mred\tx\u{fffd}");
    }
}

//! ERB in a file, which is not evaluated.

/// What ERB is replaced by before the file is read.
pub(super) const PLACE: &str = "erb-was-here";

/// `text` with each `<% … %>` replaced by a word, and as many lines as before. What is not closed stays. `None`: there is none.
pub(in crate::import) fn without_erb(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, erb, after)) = next(rest) {
        out.push_str(before);
        if erb.starts_with('=') {
            out.push_str(PLACE);
        }
        out.extend(erb.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    (rest.len() < text.len()).then(|| out + rest)
}

/// What stands before, in and behind the first one.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("<%")?;
    let (erb, after) = rest.split_once("%>")?;
    Some((before, erb, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_closed_is_replaced() {
        assert_eq!(without_erb("a: <%= 1 %>\n<%\nx\n%>b: 2").as_deref(), Some("a: erb-was-here\n\n\nb: 2"));
        assert_eq!(without_erb("a: <%= 1 %>\nb: '<% x'\n").as_deref(), Some("a: erb-was-here\nb: '<% x'\n"));
        assert_eq!(without_erb("a: '<% x'\nb: 1\n"), None);
    }
}

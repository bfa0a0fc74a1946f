//! ERB in a file, which is not evaluated.

/// What ERB is replaced by before the file is read.
pub(super) const PLACE: &str = "erb-was-here";

pub(in crate::import) fn has_erb(text: &str) -> bool {
    text.contains("<%")
}

/// `text` with each `<% … %>` replaced by a word, and as many lines as before.
pub(in crate::import) fn without_erb(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("<%") {
        out.push_str(&rest[..start]);
        let after = &rest[start..];
        let end = after.find("%>").map_or(after.len(), |end| end + 2);
        let (erb, tail) = after.split_at(end);
        if erb.starts_with("<%=") {
            out.push_str(PLACE);
        }
        out.extend(erb.chars().filter(|c| *c == '\n'));
        rest = tail;
    }
    out + rest
}

//! What the programs below an engine say when they can't start one, in words for who wrote the file.

/// Without runc's account of the steps that led there.
pub(super) fn short(message: &str) -> &str {
    message.rsplit_once("container process: ").map_or(message, |(_, short)| short)
}

/// Why a program was not started, from what runc or the kernel says of it. `None`: it says nothing of that kind.
pub(super) fn not_started(message: &str) -> Option<String> {
    let says = |words: &str| message.contains(words);
    let named = program(message);
    let name = || named.map(|name| format!(" `{name}`")).unwrap_or_default();
    if !says("exec") {
        return None;
    }
    if says("executable file not found") || (says("no such file or directory") && says(": stat ")) {
        return Some(match named {
            Some(name) => format!("no program named `{name}` in the image"),
            None => format!("the image has no such program: {}", short(message)),
        });
    }
    if says("permission denied") {
        return Some(format!("the program{} in the image may not be executed (`chmod +x`)", name()));
    }
    if says("no such file or directory") {
        return Some(format!(
            "the program{} in the image lacks what it needs: an interpreter or a loader",
            name()
        ));
    }
    if says("exec format error") {
        return Some(format!("the program{} in the image is for another processor, or no program", name()));
    }
    None
}

/// A command that the engine could not start beside a replica: it says so in place of the command's output.
#[must_use]
pub fn exec_failed(output: &[u8]) -> Option<String> {
    let said = std::str::from_utf8(output).ok()?.trim();
    let message = said.strip_prefix("OCI runtime exec failed: ")?;
    Some(not_started(message).unwrap_or_else(|| format!("it can't be started: {}", short(message))))
}

/// `exec: "NAME": …` or `exec NAME: …`
fn program(message: &str) -> Option<&str> {
    let quoted = message.split_once("exec: \"").and_then(|(_, rest)| rest.split_once("\": "));
    let plain = || message.rsplit_once("exec ").and_then(|(_, rest)| rest.split_once(": "));
    quoted.or_else(plain).map(|(name, _)| name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker 20.10 and 28 say them.
    #[test]
    fn what_was_not_started_is_named() {
        for (said, told) in [
            (
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nothing\": executable file not found in \
                 $PATH: unknown\r\n",
                "no program named `nothing` in the image",
            ),
            (
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \"bin/nothing\": stat bin/nothing: no such \
                 file or directory: unknown",
                "no program named `bin/nothing` in the image",
            ),
            (
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \"/bin/sh\": permission denied: unknown",
                "the program `/bin/sh` in the image may not be executed (`chmod +x`)",
            ),
            (
                "OCI runtime exec failed: exec failed: container_linux.go:380: starting container process caused: exec /bin/run: no such \
                 file or directory: unknown",
                "the program `/bin/run` in the image lacks what it needs: an interpreter or a loader",
            ),
            (
                "OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd (\"/gone\") failed: x: unknown",
                "it can't be started: chdir to cwd (\"/gone\") failed: x: unknown",
            ),
        ] {
            assert_eq!(exec_failed(said.as_bytes()).as_deref(), Some(told), "{said}");
        }
        assert_eq!(exec_failed(b"exec: \"nothing\": executable file not found"), None);
        assert_eq!(exec_failed(b"\xff"), None);
    }
}

//! What the binary said, and waiting until it says what is wanted.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Between two questions: each is a process of its own.
const PAUSE: Duration = Duration::from_millis(25);

/// Asks again and again until the answer, JSON on stdout with exit code 0, is as wanted; within so many seconds. `logs` are what a
/// failing test shows beside the last answer.
#[track_caller]
pub(crate) fn wait_for_answer(
    what: &str,
    seconds: u64,
    ask: impl Fn() -> Output,
    logs: impl Fn() -> String,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let output = ask();
        let answer: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if let Some(answer) = answer.filter(|_| output.status.success()).filter(&wanted) {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "{what} did not come within {seconds} s; the answer is\n{}\n{}",
            told(&output),
            logs()
        );
        std::thread::sleep(PAUSE);
    }
}

/// Both outputs, for a failing assertion.
pub(crate) fn told(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

//! A command that goes on while the story does.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::Bed;
use crate::answer::told;

/// One `pando`, with what it says kept for its end.
pub(crate) struct Running {
    child: Child,
    words: Vec<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command, args: &[&str]) -> Self {
        // `nsenter` has a child, which must not outlive it.
        command.process_group(0);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, words: args.iter().map(|word| (*word).to_owned()).collect() }
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn kill(&self) {
        let group = rustix::process::Pid::from_child(&self.child);
        // It may have ended this moment.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }

    /// What it said and how it ended, within so many seconds.
    #[track_caller]
    pub(crate) fn end(mut self, bed: &Bed, seconds: u64) -> Output {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !self.is_over() {
            if Instant::now() >= deadline {
                self.kill();
                let output = self.child.wait_with_output().unwrap();
                panic!(
                    "pando {:?} did not end within {seconds} s: {}\n{}",
                    self.words,
                    told(&output),
                    bed.logs()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.wait_with_output().unwrap()
    }

    /// Insists on exit code 0; everything that it said.
    #[track_caller]
    pub(crate) fn end_well(self, bed: &Bed, seconds: u64) -> String {
        let words = self.words.clone();
        let output = self.end(bed, seconds);
        assert!(output.status.success(), "pando {words:?}: {}\n{}", told(&output), bed.logs());
        told(&output)
    }
}

impl Bed {
    /// `pando` on the first server, in the project, while the story goes on.
    pub(crate) fn begin(&self, args: &[&str]) -> Running {
        Running::start(self.command(args), args)
    }
}

//! A person at a terminal: what is on the screen, keys, another size of the window.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::pty::OpenptFlags;
use rustix::termios::{self, LocalModes, Winsize};

const PATIENCE: Duration = Duration::from_secs(30);
/// Lines that left the screen at its top are kept, as terminals do.
const HISTORY: usize = 1000;

/// The binary on a terminal of its own, which is its controlling one. Ended with the test.
pub(crate) struct Pty {
    master: File,
    child: Child,
    terminal: Arc<Mutex<vt100::Parser>>,
    shown: JoinHandle<()>,
}

impl Pty {
    /// `command` makes the command of a program and its words.
    pub(crate) fn start(
        command: impl Fn(&str, &[&str]) -> Command,
        args: &[&str],
        rows: u16,
        columns: u16,
    ) -> Self {
        let (master, slave) = open(rows, columns);
        // A session of its own, whose terminal stdin is: then Ctrl-C and changes of size are told.
        let mut words = vec!["--ctty", "--wait", env!("CARGO_BIN_EXE_pando")];
        words.extend(args);
        let mut command = command("setsid", &words);
        let [stdin, stdout] = [&slave, &slave].map(|slave| slave.try_clone().unwrap());
        command.stdin(stdin).stdout(stdout).stderr(slave).env("TERM", "xterm-256color");
        let child = command.spawn().unwrap();
        // What holds the other end of the terminal must be gone for its end to be seen.
        drop(command);
        let terminal = Arc::new(Mutex::new(vt100::Parser::new(some(rows), some(columns), HISTORY)));
        let (screen, from) = (Arc::clone(&terminal), master.try_clone().unwrap());
        let shown = std::thread::spawn(move || show(from, &screen));
        Self { master, child, terminal, shown }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        self.terminal.lock().unwrap().screen_mut().set_size(some(rows), some(columns));
        termios::tcsetwinsize(&self.master, size(rows, columns)).unwrap();
    }

    /// What is on the screen, without spaces at the ends of lines.
    pub(crate) fn screen(&self) -> String {
        let text = self.terminal.lock().unwrap().screen().contents();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// How many lines have left the screen at its top.
    pub(crate) fn scrolled(&self) -> usize {
        let mut terminal = self.terminal.lock().unwrap();
        terminal.screen_mut().set_scrollback(HISTORY);
        let lines = terminal.screen().scrollback();
        terminal.screen_mut().set_scrollback(0);
        lines
    }

    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "{what} is not on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the terminal shows what is typed, and takes it line by line, as it does for a shell.
    pub(crate) fn is_plain(&self) -> bool {
        let modes = termios::tcgetattr(&self.master).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// The exit code, once it has ended and all that it wrote is on the screen.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap().filter(|_| self.shown.is_finished()) {
                return status.code().unwrap();
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It is told that its terminal has gone; who waits for it is ended too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn open(rows: u16, columns: u16) -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
    termios::tcsetwinsize(&master, size(rows, columns)).unwrap();
    (File::from(master), slave)
}

fn some(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Until nobody has the terminal open any more.
fn show(mut from: File, terminal: &Mutex<vt100::Parser>) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        terminal.lock().unwrap().process(&buffer[..read]);
    }
}

//! The shim's side of its control socket. Nothing here ever blocks: whoever connects can't hold up the run.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::control::{self, Request, Told, to_line};

/// The daemon has one connection for as long as it lives, and one per stop for a moment.
const MOST: usize = 16;

/// A request is tens of bytes.
const LONGEST_REQUEST: usize = 4096;

#[derive(Debug)]
pub(super) struct Served {
    listener: UnixListener,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    open: bool,
}

impl Served {
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self { listener: control::listen(directory)?, connections: Vec::new() })
    }

    /// Whatever is to be waited on.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        // When it is full, who waits to connect waits on.
        let listener = (self.connections.len() < MOST).then(|| self.listener.as_fd());
        listener.into_iter().chain(self.connections.iter().map(|connection| connection.stream.as_fd()))
    }

    /// Every request that has come since the last call; each is acknowledged.
    pub(super) fn requests(&mut self) -> Vec<Request> {
        while self.connections.len() < MOST
            && let Ok((stream, _)) = self.listener.accept()
        {
            if stream.set_nonblocking(true).is_ok() {
                self.connections.push(Connection { stream, input: Vec::new(), open: true });
            }
        }
        let mut requests = Vec::new();
        for connection in &mut self.connections {
            connection.read(&mut requests);
        }
        self.connections.retain(|connection| connection.open);
        requests
    }

    /// Tells everybody, also who connected just now.
    pub(super) fn tell_all(&mut self, told: &Told) {
        self.requests();
        for connection in &mut self.connections {
            connection.tell(told);
        }
    }
}

impl Connection {
    fn read(&mut self, requests: &mut Vec<Request>) {
        let mut bytes = [0; 512];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.open = false,
                Ok(got) => {
                    self.input.extend_from_slice(&bytes[..got]);
                    self.take_lines(requests);
                    if self.open {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.open = false,
            }
            return;
        }
    }

    /// Who sends anything but requests is hung up on.
    fn take_lines(&mut self, requests: &mut Vec<Request>) {
        while let Some(end) = self.input.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(request) => {
                    requests.push(request);
                    self.tell(&Told::Stopping);
                }
                Err(_) => self.open = false,
            }
        }
        self.open = self.open && self.input.len() <= LONGEST_REQUEST;
    }

    fn tell(&mut self, told: &Told) {
        // A connection takes far more than it is ever told; one that doesn't is not read, and goes.
        let sent = to_line(told).and_then(|line| self.stream.write_all(&line));
        self.open = self.open && sent.is_ok();
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use pando_model::time::Millis;

    use super::*;

    fn connect(directory: &Path) -> UnixStream {
        let address = control::Address::of(directory).unwrap();
        UnixStream::connect(address.path()).unwrap()
    }

    #[test]
    fn requests_are_taken_in_pieces_and_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let mut served = Served::new(directory.path()).unwrap();
        let mut stream = connect(directory.path());
        let request = Request::Stop { timeout: Millis(5) };
        let line = to_line(&request).unwrap();
        stream.write_all(&line[..7]).unwrap();
        assert!(served.requests().is_empty());
        stream.write_all(&line[7..]).unwrap();
        assert_eq!(served.requests(), [request]);
        served.tell_all(&Told::Stopping);
        let mut lines = io::BufReader::new(stream).lines();
        for _ in 0..2 {
            assert_eq!(lines.next().unwrap().unwrap(), "\"stopping\"");
        }
    }

    #[test]
    fn nonsense_and_endless_lines_are_hung_up_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut served = Served::new(directory.path()).unwrap();
        for input in [b"nonsense\n".to_vec(), vec![b'x'; LONGEST_REQUEST + 1]] {
            let mut stream = connect(directory.path());
            stream.write_all(&input).unwrap();
            assert!(served.requests().is_empty());
            assert!(served.connections.is_empty());
            drop(stream);
        }
    }

    #[test]
    fn a_socket_deep_in_the_tree_can_be_reached() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let mut served = Served::new(&deep).unwrap();
        let mut stream = connect(&deep);
        stream.write_all(&to_line(&Request::Stop { timeout: Millis(1) }).unwrap()).unwrap();
        assert_eq!(served.requests().len(), 1);
    }
}

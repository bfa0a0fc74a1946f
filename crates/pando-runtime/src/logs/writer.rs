//! Appends lines to a replica's log. Whatever the disk answers, the run goes on.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pando_model::time::Timestamp;

use super::files::{LogFiles, LogSettings, LogStore};
use super::line::{Stream, encode};

/// One writer of a replica's log; another process may have one for the same replica.
///
/// A disk that is full, or fails otherwise, costs lines and never an error: they are counted, and a remark in the log says
/// how many were lost and why, once writing works again.
#[derive(Debug)]
pub struct LogWriter {
    files: LogFiles,
    settings: LogSettings,
    current: Option<Current>,
    lost: u64,
    why: String,
    /// The last write ended within a line.
    torn: bool,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Current {
    file: File,
    inode: u64,
}

impl LogWriter {
    /// Opens nothing yet: the first write does.
    #[must_use]
    pub fn new(store: &LogStore, app: &str, name: &str) -> Self {
        Self::in_directory(&store.root.join(app), name, store.settings)
    }

    /// The same for `DIRECTORY/NAME.log`, which is no app's.
    #[must_use]
    pub fn in_directory(directory: &Path, name: &str, settings: LogSettings) -> Self {
        Self {
            files: LogFiles::new(directory.to_owned(), name),
            settings,
            current: None,
            lost: 0,
            why: String::new(),
            torn: false,
            buffer: Vec::new(),
        }
    }

    /// Appends one line of Pando's own.
    pub fn remark(&mut self, now: Timestamp, text: &str) {
        self.write(now, &[(Stream::Pando, text.as_bytes())]);
    }

    /// Appends lines (none longer than 64 KiB, none with a line end) in one piece, so that no other writer's lines come between.
    pub fn write(&mut self, now: Timestamp, lines: &[(Stream, &[u8])]) {
        let dated: Vec<_> = lines.iter().map(|(stream, text)| (now, *stream, *text)).collect();
        self.write_dated(&dated);
    }

    /// The same for lines that were printed at different times, oldest first.
    pub(crate) fn write_dated(&mut self, lines: &[(Timestamp, Stream, &[u8])]) {
        let Some((first, ..)) = lines.first() else { return };
        self.begin_buffer(*first);
        for (time, stream, text) in lines {
            encode(&mut self.buffer, *time, *stream, text);
        }
        let buffer = std::mem::take(&mut self.buffer);
        match self.append(&buffer) {
            Ok(written) => self.account(&buffer, written),
            Err(error) => {
                self.current = None;
                self.lost += lines.len() as u64;
                self.why = error.to_string();
            }
        }
        self.buffer = buffer;
    }

    /// What must come before the next line: the end of a torn one, and the account of what was lost.
    fn begin_buffer(&mut self, now: Timestamp) {
        self.buffer.clear();
        if self.torn {
            self.buffer.push(b'\n');
        }
        if self.lost > 0 {
            let remark = format!("{} lines were lost here: {}", self.lost, self.why);
            encode(&mut self.buffer, now, Stream::Pando, remark.as_bytes());
        }
    }

    /// A write that was cut short: what did not get onto the disk is lost; the rest stands.
    fn account(&mut self, buffer: &[u8], written: usize) {
        let rest = &buffer[written..];
        if rest.is_empty() {
            (self.lost, self.torn) = (0, false);
            return;
        }
        self.torn = written > 0 && buffer[written - 1] != b'\n';
        self.lost = bytes_of(rest, b'\n');
        "the disk took only a part".clone_into(&mut self.why);
    }

    fn append(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let room = self.settings.file_bytes.saturating_sub(buffer.len() as u64);
        if let Some(current) = &self.current
            && current.file.metadata()?.len() > room
        {
            self.files.rotate(current.inode, self.settings)?;
        }
        // Opening first makes the directory, in which the lock lies.
        self.open_current()?;
        let _not_rotated_meanwhile = self.files.lock_shared();
        let mut file = &self.open_current()?.file;
        loop {
            match file.write(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    /// The file that the path names now: another writer may have rotated, an operator removed it.
    fn open_current(&mut self) -> io::Result<&Current> {
        let named = self.files.current_inode();
        match self.current.take() {
            Some(current) if named == Some(current.inode) => Ok(self.current.insert(current)),
            _ => {
                let file = self.files.append()?;
                let inode = file.metadata()?.ino();
                Ok(self.current.insert(Current { file, inode }))
            }
        }
    }
}

fn bytes_of(text: &[u8], byte: u8) -> u64 {
    text.iter().filter(|b| **b == byte).count() as u64
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn written(store: &LogStore, number: u32) -> Vec<String> {
        let files = LogFiles::new(store.root.join("shop"), "web-1");
        let text = fs::read_to_string(files.path(number)).unwrap_or_default();
        text.lines().map(|line| line.get(25..).unwrap_or(line).to_owned()).collect()
    }

    fn store(root: &std::path::Path, file_bytes: u64, files: u32) -> LogStore {
        LogStore::new(root.to_owned(), LogSettings { file_bytes, files })
    }

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn rotates_when_a_file_is_full_and_keeps_as_many_as_wanted() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), 100, 3);
        let mut writer = LogWriter::new(&store, "shop", "web-1");
        for n in 0..12 {
            // 36 bytes each: two fit.
            writer.write(NOW, &[(Stream::Stdout, format!("line {n:03}").as_bytes())]);
        }
        assert_eq!(written(&store, 0), ["o line 010", "o line 011"]);
        assert_eq!(written(&store, 1), ["o line 008", "o line 009"]);
        assert_eq!(written(&store, 2), ["o line 006", "o line 007"]);
        assert!(written(&store, 3).is_empty());
    }

    #[test]
    fn one_file_alone_begins_anew() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), 100, 1);
        let mut writer = LogWriter::new(&store, "shop", "web-1");
        for n in 0..3 {
            writer.write(NOW, &[(Stream::Stdout, format!("line {n:03}").as_bytes())]);
        }
        assert_eq!(written(&store, 0), ["o line 002"]);
        assert!(written(&store, 1).is_empty());
    }

    #[test]
    fn a_full_disk_costs_lines_and_says_how_many() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), 1000, 2);
        let mut writer = LogWriter::new(&store, "shop", "web-1");
        let path = root.path().join("shop/web-1.log");
        fs::create_dir(root.path().join("shop")).unwrap();
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        writer.write(NOW, &[(Stream::Stdout, b"one"), (Stream::Stderr, b"two")]);
        writer.write(NOW, &[(Stream::Stdout, b"three")]);
        fs::remove_file(&path).unwrap();
        writer.write(NOW, &[(Stream::Stdout, b"four")]);
        writer.write(NOW, &[(Stream::Stdout, b"five")]);
        let lines = written(&store, 0);
        assert!(lines[0].starts_with("p 3 lines were lost here: No space left on device"), "{lines:?}");
        assert_eq!(lines[1..], ["o four", "o five"]);
    }

    #[test]
    fn a_write_cut_short_is_ended_before_the_next_line() {
        let root = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::new(&store(root.path(), 1000, 2), "shop", "web-1");
        writer.account(b"first\nsecond\nthird\n", 8);
        assert_eq!((writer.torn, writer.lost), (true, 2));
        writer.begin_buffer(NOW);
        assert!(writer.buffer.starts_with(b"\n2023-11-14T22:13:20.000Z p 2 lines were lost here"));
        writer.account(b"whole\n", 6);
        assert_eq!((writer.torn, writer.lost), (false, 0));
    }
}

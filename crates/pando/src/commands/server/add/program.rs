//! The program that is installed, and what kind of machine it is for.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pando_model::resources::Bytes;
use sha2::{Digest as _, Sha256};

/// As much of a program as tells what it is for.
const HEAD: usize = 20;

/// A file, read once.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) length: u64,
    /// SHA-256, in hexadecimal digits.
    pub(super) digest: String,
    pub(super) kind: Kind,
}

/// What kind of machine a program is for, as far as it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    X86_64,
    Aarch64,
    /// Another one; trying it there tells.
    Other,
}

impl Program {
    /// The named one, or this very program.
    pub(super) fn open(named: Option<&Path>) -> anyhow::Result<Self> {
        let path = match named {
            Some(path) => path.to_owned(),
            // It stays readable when the file was replaced since.
            None => PathBuf::from("/proc/self/exe"),
        };
        let failed = || format!("can't read the program `{}`", path.display());
        let mut file = File::open(&path).with_context(failed)?;
        let (mut hash, mut length, mut head) = (Sha256::new(), 0, Vec::new());
        let mut piece = vec![0; 64 * 1024];
        loop {
            let read = file.read(&mut piece).with_context(failed)?;
            if read == 0 {
                break;
            }
            if length == 0 {
                head = piece[..read.min(HEAD)].to_vec();
            }
            hash.update(&piece[..read]);
            length += read as u64;
        }
        Ok(Self { length, digest: hex::encode(hash.finalize()), kind: kind_of(&head), path })
    }

    /// `15.2 MB`.
    pub(super) fn size(&self) -> String {
        Bytes(self.length).to_string()
    }
}

/// Reads the machine of an ELF header: 16 bits at offset 18, little-endian on both.
fn kind_of(head: &[u8]) -> Kind {
    match head {
        [0x7f, b'E', b'L', b'F', _, 1, ..] if head.len() >= HEAD => {
            match u16::from_le_bytes([head[18], head[19]]) {
                62 => Kind::X86_64,
                183 => Kind::Aarch64,
                _ => Kind::Other,
            }
        }
        _ => Kind::Other,
    }
}

impl Kind {
    /// Whether a machine that calls itself so (`uname -m`) runs it.
    pub(super) fn runs_on(self, machine: &str) -> bool {
        match self {
            Self::X86_64 => matches!(machine, "x86_64" | "amd64"),
            Self::Aarch64 => matches!(machine, "aarch64" | "arm64"),
            Self::Other => true,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Other => "another machine",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_tells_what_it_is_for() {
        let own = Program::open(None).unwrap();
        assert!(own.kind.runs_on(std::env::consts::ARCH), "{own:?}");
        assert_eq!(own.length, std::fs::metadata("/proc/self/exe").unwrap().len());
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(own.digest, hex::encode(Sha256::digest(bytes)));
        assert!(!Kind::X86_64.runs_on("aarch64") && !Kind::Aarch64.runs_on("x86_64"));
        assert!(kind_of(b"#!/bin/sh\necho and so on").runs_on("riscv64"));
        assert_eq!(kind_of(b"\x7fELF"), Kind::Other);
    }
}

//! Writes the archive that an engine loads, from packed layers on disk.
//!
//! Layers that the engine has already may be left out: it looks for what it has
//! before it opens the file. Each layer is checked while it is written; a damaged
//! one ends the archive in the middle, so nothing is loaded from it, and is named.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tar::{Builder, Header};

use crate::frames;
use crate::hash::Hashing;
use crate::image::{Image, Layer};

#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// What lies on this disk is not the layer any more.
    #[error("the packed layer {} is damaged", layer.diff_id)]
    Damaged { layer: Box<Layer> },
    #[error("can't read the packed layer `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// Whoever takes the archive has stopped.
    #[error("can't go on writing the image")]
    Write(#[source] io::Error),
}

/// What is to be written.
#[derive(Debug)]
pub struct Assembly<'a> {
    pub image: &'a Image,
    /// Such as `pando/hits:v7`. `None`: the image is known by its id alone.
    pub tag: Option<&'a str>,
    /// How many layers, from the lowest on, the engine has.
    pub left_out: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'a> {
    config: String,
    repo_tags: Vec<&'a str>,
    layers: Vec<String>,
}

impl Assembly<'_> {
    /// Writes it whole. `place` tells where a packed layer lies. Blocking.
    ///
    /// # Errors
    /// See [`AssembleError`].
    pub fn write(&self, out: impl Write, place: impl Fn(&Layer) -> PathBuf) -> Result<(), AssembleError> {
        let mut tar = Builder::new(out);
        let config = format!("{}.json", self.image.id());
        add(&mut tar, &config, self.image.config().as_bytes())?;
        let listed = Listed {
            config,
            repo_tags: self.tag.into_iter().collect(),
            layers: self.image.layers().iter().map(name).collect(),
        };
        let listed = serde_json::to_vec(&[listed]).map_err(|error| AssembleError::Write(error.into()))?;
        add(&mut tar, "manifest.json", &listed)?;
        let (below, above) = self.image.layers().split_at(self.left_out.min(self.image.layers().len()));
        let mut written: Vec<&Layer> = below.iter().collect();
        for layer in above {
            if !written.contains(&layer) {
                append(&mut tar, layer, &place(layer))?;
                written.push(layer);
            }
        }
        let mut out = tar.into_inner().map_err(AssembleError::Write)?;
        out.flush().map_err(AssembleError::Write)
    }
}

fn name(layer: &Layer) -> String {
    format!("{}.tar", layer.diff_id)
}

fn header(bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o644);
    header
}

fn add(tar: &mut Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<(), AssembleError> {
    tar.append_data(&mut header(bytes.len() as u64), name, bytes).map_err(AssembleError::Write)
}

fn append(tar: &mut Builder<impl Write>, layer: &Layer, path: &Path) -> Result<(), AssembleError> {
    let unreadable = |source| AssembleError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        // It was removed by somebody, which is damage, too.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged(layer)),
        file => file.map_err(unreadable)?,
    };
    let packed = BufReader::with_capacity(256 * 1024, file);
    let mut checked = Checked::new(frames::unpacked(packed).map_err(unreadable)?, layer);
    let appended = tar.append_data(&mut header(layer.bytes), name(layer), &mut checked);
    match (checked.wrong, appended) {
        (true, _) => Err(damaged(layer)),
        (false, Err(error)) => Err(AssembleError::Write(error)),
        (false, Ok(())) => Ok(()),
    }
}

fn damaged(layer: &Layer) -> AssembleError {
    AssembleError::Damaged { layer: Box::new(layer.clone()) }
}

/// Reads as much as the layer has, and fails at its end when it was another.
struct Checked<'a, R> {
    inner: Hashing<R>,
    layer: &'a Layer,
    read: u64,
    wrong: bool,
}

impl<'a, R: Read> Checked<'a, R> {
    fn new(inner: R, layer: &'a Layer) -> Self {
        Self { inner: Hashing::new(inner), layer, read: 0, wrong: false }
    }

    fn fail(&mut self) -> io::Error {
        self.wrong = true;
        io::Error::new(io::ErrorKind::InvalidData, "the layer is not what its digest says")
    }
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.inner.read(buffer) {
            // The decoder's own words for damage; the disk's are told apart by nobody who could act on it.
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(self.fail()),
            count => count?,
        };
        self.read += count as u64;
        let (digest, _) = if count == 0 { self.inner.so_far() } else { return self.within(count) };
        if digest != self.layer.diff_id || self.read != self.layer.bytes {
            return Err(self.fail());
        }
        Ok(0)
    }
}

impl<R: Read> Checked<'_, R> {
    /// What is too long would run into the next entry.
    fn within(&mut self, count: usize) -> io::Result<usize> {
        if self.read > self.layer.bytes { Err(self.fail()) } else { Ok(count) }
    }
}

#[cfg(test)]
mod tests;

//! Entries that speak of the entry after them: names that are too long for its own header.
//!
//! Read here rather than by the tar library, which would hold a name of any length in memory.

use std::io::{self, Read};

use tar::{Entry, EntryType, PaxExtensions};

use super::{UnpackError, lossy};

/// Longer than any path that a kernel takes, with room for what else a header says.
const MOST: u64 = 64 * 1024;

/// What was said of the next entry.
#[derive(Debug, Default)]
pub(super) struct Extension {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extension {
    /// Takes in an entry that speaks of the next. False: it is an entry of its own.
    pub(super) fn take<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<bool, UnpackError> {
        match entry.header().entry_type() {
            EntryType::GNULongName => self.path = Some(name(read(entry)?)),
            EntryType::GNULongLink => self.target = Some(name(read(entry)?)),
            EntryType::XHeader => self.take_pax(&read(entry)?)?,
            // Of the archive as a whole, such as the commit that it was made from.
            EntryType::XGlobalHeader => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_pax(&mut self, content: &[u8]) -> Result<(), UnpackError> {
        for pair in PaxExtensions::new(content) {
            let pair = pair.map_err(UnpackError::Damaged)?;
            match pair.key_bytes() {
                b"path" => self.path = Some(pair.value_bytes().to_owned()),
                b"linkpath" => self.target = Some(pair.value_bytes().to_owned()),
                b"size" => {
                    self.size = Some(pair.value().ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX))
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where this entry lies and, for a link, where it leads.
    pub(super) fn names<R: Read>(
        &mut self,
        entry: &Entry<'_, R>,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), UnpackError> {
        let said = std::mem::take(self);
        let path = said.path.unwrap_or_else(|| entry.path_bytes().into_owned());
        // Two sizes for one entry is how archives are made that two readers read differently.
        if said.size.is_some_and(|size| entry.header().entry_size().ok() != Some(size)) {
            let why = format!("`{}` has two sizes", lossy(&path));
            return Err(UnpackError::Damaged(io::Error::other(why)));
        }
        let target = said.target.or_else(|| entry.link_name_bytes().map(|name| name.into_owned()));
        Ok((path, target))
    }
}

fn read<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    let mut content = Vec::new();
    entry.take(MOST + 1).read_to_end(&mut content).map_err(UnpackError::Damaged)?;
    if content.len() as u64 > MOST {
        let why = "it holds a name of more than 64 KiB";
        return Err(UnpackError::Damaged(io::Error::other(why)));
    }
    Ok(content)
}

/// GNU's names end with a zero byte.
fn name(mut content: Vec<u8>) -> Vec<u8> {
    if content.last() == Some(&0) {
        content.pop();
    }
    content
}

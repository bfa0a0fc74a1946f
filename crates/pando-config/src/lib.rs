//! The user's file, parsed, checked and lowered to a specification; every problem at once, pointed at.
//!
//! [`load`] is the way in: YAML, JSON or TOML are read into one tree with places
//! (`read`, `tree`), that is decoded into the file as typed (`decode`, `raw`),
//! and this, with a target's keys over the root's, is lowered to the
//! specification that the rest of Pando knows (`lower`). [`schema_json`] and
//! [`reference_markdown`] come from the same declarations; [`import`] writes a
//! first file from what others have.
//!
//! What reads a file does so through [`Files`]; nothing here prints.

mod decode;
pub mod diagnostic;
mod doctor;
pub mod env;
mod files;
pub mod import;
mod load;
mod lower;
mod procfile;
mod raw;
mod read;
mod reference;
mod schema;
pub mod source;
mod tree;
mod value;

pub use diagnostic::{Problem, Problems, Severity};
pub use files::{Disk, Files, LARGEST_FILE, MemoryFiles};
pub use load::{Build, Loaded, Target, load};
pub use reference::reference_markdown;
pub use schema::{schema, schema_json};

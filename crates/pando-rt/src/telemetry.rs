//! What the program says about itself on stderr.

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Sends log lines of `level` and above to stderr. Call it once; a second call changes nothing.
pub fn start(level: Level, format: Format) {
    let filter = Targets::new().with_default(Level::WARN.min(level)).with_target("pando", level);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match format {
        Format::Text => registry.with(layer.with_ansi(false)).try_init(),
        Format::Json => registry.with(layer.json()).try_init(),
    };
    // Already started: the first settings stay.
    drop(started);
}

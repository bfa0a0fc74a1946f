//! Single values as people type them: durations, sizes, ports, names, paths.
//!
//! Each type is checked when it is read; what it is for is left to `raw`.

mod address;
mod amount;
mod duration;
mod image;
mod label;
mod name;
mod path;
mod schedule;
mod size;
mod template;
mod text;
mod traffic;

pub(crate) use address::{Host, ServerAddress, ServerName};
pub(crate) use amount::{Amount, Count, Decimal, Percent, Port};
pub(crate) use duration::{Duration, typed as typed_duration};
pub(crate) use image::{ImageReference, Tag};
pub(crate) use label::{LabelKey, LabelValue};
pub(crate) use name::{EnvName, Label, to_label};
pub(crate) use path::{Assets, UrlPath, Volume};
pub(crate) use schedule::{Cron, TimeZone};
pub(crate) use size::{Cpu, Memory};
pub(crate) use template::UrlTemplate;
pub(crate) use text::{Command, ContainerUser, EnvText, Flag, Text};
pub(crate) use traffic::{
    Bytes, CookieName, CountedBy, ErrorStatuses, Filled, HashBound, HashOn, HeaderName, MediaType, Method,
    Network, Origin, PasswordHash, PathPattern, Rate, RedirectTo, StatusRange, Word,
};

#[cfg(test)]
mod tests;

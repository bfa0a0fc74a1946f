//! Maps by name that each request asks.

use std::collections::HashMap;

/// Values by the bytes of a name. Only a table's own names are put in, so that requests can't make it slow, whatever they
/// ask for; therefore its hash is a quick one.
pub type NameMap<T> = HashMap<Box<[u8]>, T, foldhash::fast::RandomState>;

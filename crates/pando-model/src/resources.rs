//! What a replica is allowed and what a server has.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What one replica may use. `None`: no limit, and nothing is set aside for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Thousandths of a core; at least 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Bytes; at least 4 MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processes and threads at a time; at least 1. `None`: what is usual where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

/// What a server has in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    pub memory_bytes: u64,
}

/// Bytes as people write them: `512 MB`, `2.5 GB` (powers of ten), `640 B`.
#[derive(Clone, Copy)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in
            [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")]
        {
            if self.0 >= unit {
                let tenths = self.0 / (unit / 10);
                return match tenths % 10 {
                    0 => write!(f, "{} {name}", tenths / 10),
                    rest => write!(f, "{}.{rest} {name}", tenths / 10),
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Cores as people write them: `0.5`, `2`, `1.25`.
#[derive(Clone, Copy)]
pub struct Cores(pub u64);

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:03}", self.0 % 1000);
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{}", self.0 / 1000),
            rest => write!(f, "{}.{rest}", self.0 / 1000),
        }
    }
}

impl fmt::Debug for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!(Bytes(512_000_000).to_string(), "512 MB");
        assert_eq!(Bytes(2_560_000_000).to_string(), "2.5 GB");
        assert_eq!(Bytes(640).to_string(), "640 B");
        assert_eq!(Cores(500).to_string(), "0.5");
        assert_eq!(Cores(2000).to_string(), "2");
        assert_eq!(Cores(1250).to_string(), "1.25");
    }
}

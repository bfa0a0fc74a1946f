//! In which order the processes of an app start, by what each depends on.

use std::collections::BTreeSet;

use super::AppSpec;
use crate::name::ProcessName;

/// Why there is no such order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("`{process}` depends on `{unknown}`, and there is no such process")]
    Unknown { process: ProcessName, unknown: ProcessName },
    /// Each depends on the next, and the last on the first.
    #[error("{}", in_a_ring(.0))]
    Ring(Vec<ProcessName>),
}

impl OrderError {
    /// The process whose `depends_on` is to blame.
    #[must_use]
    pub fn process(&self) -> Option<&ProcessName> {
        match self {
            Self::Unknown { process, .. } => Some(process),
            Self::Ring(ring) => ring.first(),
        }
    }
}

fn in_a_ring(ring: &[ProcessName]) -> String {
    let names: Vec<String> = ring.iter().chain(ring.first()).map(|name| format!("`{name}`")).collect();
    format!("none of these could start first: {}", names.join(" depends on "))
}

impl AppSpec {
    /// Every process after those that it depends on; otherwise by name.
    ///
    /// # Errors
    /// A process depends on one that there is not, or, be it through others, on itself.
    pub fn start_order(&self) -> Result<Vec<&ProcessName>, OrderError> {
        let mut order = Vec::with_capacity(self.processes.len());
        let mut left: BTreeSet<&ProcessName> = self.processes.keys().collect();
        self.check_known()?;
        while !left.is_empty() {
            let is_free = |name: &&ProcessName| self.depends_on(name).all(|other| !left.contains(other));
            let Some(next) = left.iter().copied().find(|name| is_free(name)) else {
                return Err(OrderError::Ring(self.ring_in(&left)));
            };
            left.remove(next);
            order.push(next);
        }
        Ok(order)
    }

    fn depends_on(&self, process: &ProcessName) -> impl Iterator<Item = &ProcessName> {
        self.processes.get(process).into_iter().flat_map(|spec| &spec.depends_on)
    }

    fn check_known(&self) -> Result<(), OrderError> {
        for (process, spec) in &self.processes {
            if let Some(unknown) = spec.depends_on.iter().find(|name| !self.processes.contains_key(*name)) {
                return Err(OrderError::Unknown { process: process.clone(), unknown: unknown.clone() });
            }
        }
        Ok(())
    }

    /// Each of `left` depends on another of them, so following that comes round.
    fn ring_in(&self, left: &BTreeSet<&ProcessName>) -> Vec<ProcessName> {
        let mut path: Vec<&ProcessName> = Vec::new();
        let mut next = left.first().copied();
        while let Some(name) = next {
            if let Some(start) = path.iter().position(|seen| *seen == name) {
                return path.iter().skip(start).map(|name| (*name).clone()).collect();
            }
            path.push(name);
            next = self.depends_on(name).find(|other| left.contains(other));
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::ProcessSpec;
    use crate::traffic::tests::{process, spec};

    /// `a: b c` is a process `a` that depends on `b` and `c`.
    fn order(lines: &[&str]) -> Result<String, String> {
        let mut app = spec(&[], "[]");
        app.processes.clear();
        for line in lines {
            let (name, others) = line.split_once(':').unwrap();
            let depends_on =
                others.split_whitespace().map(|other| ProcessName::new(other).unwrap()).collect();
            app.processes.insert(ProcessName::new(name).unwrap(), ProcessSpec { depends_on, ..process() });
        }
        let order = app.start_order().map_err(|error| error.to_string())?;
        Ok(order.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_depended_on_comes_first_and_names_decide_the_rest() {
        assert_eq!(order(&["web:", "api:"]).unwrap(), "api web");
        assert_eq!(order(&["a: c", "b:", "c: d", "d:"]).unwrap(), "b d c a");
    }

    #[test]
    fn what_can_not_be_is_named() {
        assert_eq!(order(&["a: x"]).unwrap_err(), "`a` depends on `x`, and there is no such process");
        let ring = "none of these could start first: `b` depends on `c` depends on `b`";
        assert_eq!(order(&["a: b", "b: c", "c: b"]).unwrap_err(), ring);
        assert_eq!(order(&["a: a"]).unwrap_err(), "none of these could start first: `a` depends on `a`");
    }
}

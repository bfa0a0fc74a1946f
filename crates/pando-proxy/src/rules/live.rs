//! What a rule keeps from table to table: its figures.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::copy::Count;
use crate::live::Line;
use crate::stats::counters::RouteCounters;

/// The live state behind one rule's label.
#[derive(Debug)]
pub(crate) struct RouteLive {
    pub(crate) label: Arc<str>,
    /// What the newest rule of that label is for.
    path: Mutex<Arc<str>>,
    pub(crate) figures: RouteCounters,
    refused: [AtomicU64; Reason::ALL.len()],
    /// Requests that are held by a pause.
    pub(crate) held: Line,
    /// Copies that are under way.
    pub(super) copies: Count,
    copied: AtomicU64,
    not_copied: AtomicU64,
}

/// What a rule did to a request instead of letting it pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its address may not.
    Denied,
    Limited,
    /// No password, or a wrong one.
    Unauthorised,
    /// Another service said no, or nothing.
    Forbidden,
    Maintenance,
    /// It waited for too long, or too many did.
    Paused,
    /// A preflight was answered.
    Preflight,
    Redirected,
    Responded,
}

impl Reason {
    pub(crate) const ALL: [Self; 9] = [
        Self::Denied,
        Self::Limited,
        Self::Unauthorised,
        Self::Forbidden,
        Self::Maintenance,
        Self::Paused,
        Self::Preflight,
        Self::Redirected,
        Self::Responded,
    ];

    /// As metrics call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Limited => "rate_limited",
            Self::Unauthorised => "unauthorised",
            Self::Forbidden => "forward_auth",
            Self::Maintenance => "maintenance",
            Self::Paused => "paused",
            Self::Preflight => "preflight",
            Self::Redirected => "redirected",
            Self::Responded => "responded",
        }
    }
}

impl RouteLive {
    pub(crate) fn new(label: Arc<str>) -> Self {
        Self {
            label,
            path: Mutex::new("/".into()),
            figures: RouteCounters::default(),
            refused: Default::default(),
            held: Line::default(),
            copies: Count::default(),
            copied: AtomicU64::new(0),
            not_copied: AtomicU64::new(0),
        }
    }

    /// The path of its rule, as the table has it.
    pub(crate) fn path(&self) -> Arc<str> {
        Arc::clone(&self.path.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_path(&self, path: &str) {
        let mut known = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        if **known != *path {
            *known = path.into();
        }
    }

    pub(crate) fn kept(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn copied(&self) {
        self.copied.fetch_add(1, Relaxed);
    }

    pub(super) fn not_copied(&self) {
        self.not_copied.fetch_add(1, Relaxed);
    }

    /// Requests that were copied, and such as should have been.
    pub(crate) fn copies(&self) -> (u64, u64) {
        (self.copied.load(Relaxed), self.not_copied.load(Relaxed))
    }

    pub(crate) fn count(&self, reason: Reason) -> u64 {
        self.refused[reason as usize].load(Relaxed)
    }
}

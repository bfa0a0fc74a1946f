//! The append-only log of decisions, kept to the newest [`KEPT`].
//!
//! An event is put in the same transaction as what it tells of, so the log never
//! says what did not happen. Its place in the log is the revision of that
//! transaction; a reader goes on from a revision and misses nothing.

use pando_api::v1::events::{Event, EventLevel, EventPage};
use pando_model::id::{DeploymentId, Entropy};
use pando_model::name::AppName;
use pando_model::time::Timestamp;
use uuid::Uuid;

use crate::store::value::decode;
use crate::store::{Entry, Key, Op, Range, Revision, Store, StoreError, Txn, keys};

/// How many events are kept.
pub const KEPT: usize = 10_000;

/// How many more than [`KEPT`] there may be before the oldest are deleted.
const SLACK: usize = 500;

/// The longest text of an event in bytes; the rest is cut off.
const MAX_TEXT: usize = 4096;

/// What happened, before it has an id and a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    pub level: EventLevel,
    pub app: Option<AppName>,
    pub deployment: Option<DeploymentId>,
    pub text: String,
}

impl Draft {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    #[must_use]
    pub fn level(mut self, level: EventLevel) -> Self {
        self.level = level;
        self
    }

    #[must_use]
    pub fn app(mut self, app: &AppName) -> Self {
        self.app = Some(app.clone());
        self
    }

    #[must_use]
    pub fn deployment(mut self, deployment: DeploymentId) -> Self {
        self.deployment = Some(deployment);
        self
    }
}

/// The operations that append events, in their order, as part of the transaction that they tell of.
///
/// # Errors
/// Never for events as they are; an event is plain JSON.
pub fn put_ops(
    drafts: impl IntoIterator<Item = Draft>,
    now: Timestamp,
    entropy: &mut Entropy,
) -> Result<Vec<Op>, StoreError> {
    let drafts = drafts.into_iter().enumerate();
    let ops = drafts.map(|(place, draft)| {
        let id = event_id(now, place, entropy);
        let text = cut(one_line(&draft.text));
        let Draft { level, app, deployment, .. } = draft;
        let event = Event { id, time: now, level, app, deployment, text };
        let txn = Txn::new().put(Key::Event(id), &event)?;
        Ok(txn.ops)
    });
    Ok(ops.collect::<Result<Vec<_>, StoreError>>()?.concat())
}

/// A UUIDv7 whose twelve bits after the time hold the place in its transaction (RFC 9562, method 1), so that ids of one
/// transaction sort in its order.
fn event_id(now: Timestamp, place: usize, entropy: &mut Entropy) -> Uuid {
    let place = u16::try_from(place.min(0xfff)).unwrap_or(0xfff).to_be_bytes();
    let mut random = entropy.ten_bytes();
    random[..2].copy_from_slice(&place);
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join(" ⏎ ")
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = text.floor_char_boundary(MAX_TEXT);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Which events to read.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub app: Option<AppName>,
    pub deployment: Option<DeploymentId>,
    /// Only those after this revision, oldest first. `None`: the newest.
    pub after: Option<Revision>,
    /// At most so many; with `after`, and the rest of the last one's transaction.
    pub limit: usize,
}

/// Reads a page of the log, oldest first.
///
/// # Errors
/// When the store fails, or holds what can't be read.
pub async fn read(store: &dyn Store, wanted: &Wanted) -> Result<EventPage, StoreError> {
    let range = Range::prefix(keys::EVENTS);
    let (revision, entries) = match wanted.after {
        Some(after) => store.list(range.after(after)).await?,
        None if wanted.app.is_none() && wanted.deployment.is_none() => {
            store.list(range.descending().limit(wanted.limit)).await?
        }
        None => store.list(range).await?,
    };
    page(entries, wanted, revision)
}

/// The page that `wanted` is of entries of the log, which were read at `revision`.
///
/// # Errors
/// When an entry can't be read.
pub fn page(mut entries: Vec<Entry>, wanted: &Wanted, revision: Revision) -> Result<EventPage, StoreError> {
    entries.sort_by(|a, b| (a.modified, &a.key).cmp(&(b.modified, &b.key)));
    let mut found: Vec<(Revision, Event)> = Vec::new();
    for entry in &entries {
        found.extend(matching(entry, wanted)?);
    }
    Ok(cut_page(found, wanted, revision))
}

fn matching(entry: &Entry, wanted: &Wanted) -> Result<Option<(Revision, Event)>, StoreError> {
    let event: Event = decode(entry)?;
    let of_app = wanted.app.is_none() || event.app == wanted.app;
    let of_deployment = wanted.deployment.is_none() || event.deployment == wanted.deployment;
    Ok((of_app && of_deployment).then_some((entry.modified, event)))
}

fn cut_page(mut found: Vec<(Revision, Event)>, wanted: &Wanted, revision: Revision) -> EventPage {
    let mut next = revision;
    if wanted.after.is_none() {
        let surplus = found.len().saturating_sub(wanted.limit);
        found.drain(..surplus);
    } else if found.len() > wanted.limit {
        // Whole transactions, or the next page would begin in the middle of one.
        let last = found[wanted.limit.saturating_sub(1)].0;
        found.retain(|(modified, _)| *modified <= last);
        next = last;
    }
    EventPage { events: found.into_iter().map(|(_, event)| event).collect(), next }
}

/// Deletes the oldest events beyond [`KEPT`]; how many.
///
/// # Errors
/// When the store fails.
pub async fn trim(store: &dyn Store) -> Result<usize, StoreError> {
    let (_, entries) = store.list(Range::prefix(keys::EVENTS).descending()).await?;
    if entries.len() <= KEPT + SLACK {
        return Ok(0);
    }
    let old: Vec<Op> = entries[KEPT..].iter().map(|entry| Op::Delete { key: entry.key.clone() }).collect();
    let count = old.len();
    for part in old.chunks(crate::store::MAX_OPS) {
        store.txn(Txn::new().ops(part.to_vec())).await?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn app(name: &str) -> AppName {
        AppName::new(name).unwrap()
    }

    async fn append(store: &dyn Store, seed: u64, drafts: Vec<Draft>) {
        let ops = put_ops(drafts, at(1000), &mut Entropy::from_seed(seed)).unwrap();
        store.txn(Txn::new().ops(ops)).await.unwrap();
    }

    async fn texts(store: &dyn Store, wanted: Wanted) -> (Vec<String>, u64) {
        let page = read(store, &wanted).await.unwrap();
        (page.events.into_iter().map(|event| event.text).collect(), page.next)
    }

    #[tokio::test]
    async fn events_of_one_moment_keep_their_order() {
        let store = memory::open().unwrap();
        for seed in 0..20 {
            let drafts = (0..5).map(|n| Draft::new(format!("{seed}.{n}"))).collect();
            append(&store, seed, drafts).await;
        }
        let expected: Vec<String> =
            (0..20).flat_map(|seed| (0..5).map(move |n| format!("{seed}.{n}"))).collect();
        let after = Wanted { after: Some(0), limit: 1000, ..Wanted::default() };
        assert_eq!(texts(&store, after).await.0, expected);
    }

    #[tokio::test]
    async fn pages_follow_each_other_without_gap_or_overlap() {
        let store = memory::open().unwrap();
        for seed in 0..10 {
            let name = if seed % 2 == 0 { "even" } else { "odd" };
            let drafts = (0..3).map(|n| Draft::new(format!("{seed}.{n}")).app(&app(name))).collect();
            append(&store, seed, drafts).await;
        }
        let (mut seen, mut after) = (Vec::new(), 0);
        loop {
            let wanted = Wanted { app: Some(app("odd")), after: Some(after), limit: 4, ..Wanted::default() };
            let (texts, next) = texts(&store, wanted).await;
            if texts.is_empty() {
                break;
            }
            assert_eq!(texts.len() % 3, 0, "whole transactions");
            seen.extend(texts);
            after = next;
        }
        let expected: Vec<String> =
            [1, 3, 5, 7, 9].iter().flat_map(|s| (0..3).map(move |n| format!("{s}.{n}"))).collect();
        assert_eq!(seen, expected);
        let newest = Wanted { app: Some(app("odd")), limit: 2, ..Wanted::default() };
        assert_eq!(texts(&store, newest).await, (vec!["9.1".to_owned(), "9.2".to_owned()], 10));
    }

    #[tokio::test]
    async fn only_the_newest_are_kept() {
        let store = memory::open().unwrap();
        let mut entropy = Entropy::from_seed(1);
        for batch in 0..11 {
            let drafts = (0..1000).map(|n| Draft::new(format!("{}", batch * 1000 + n)));
            let ops = put_ops(drafts, at(batch), &mut entropy).unwrap();
            store.txn(Txn::new().ops(ops)).await.unwrap();
        }
        assert_eq!(trim(&store).await.unwrap(), 1000);
        assert_eq!(trim(&store).await.unwrap(), 0);
        let (texts, _) = texts(&store, Wanted { after: Some(0), limit: 20_000, ..Wanted::default() }).await;
        assert_eq!((texts.len(), texts[0].as_str()), (KEPT, "1000"));
    }

    #[test]
    fn texts_are_one_line_of_bounded_length() {
        let ops = put_ops(
            [Draft::new("one\ntwo"), Draft::new("ä".repeat(5000))],
            at(0),
            &mut Entropy::from_seed(0),
        )
        .unwrap();
        let text = |op: &Op| match op {
            Op::Put { value, .. } => String::from_utf8(value.to_vec()).unwrap(),
            Op::Delete { .. } => String::new(),
        };
        assert!(text(&ops[0]).contains("one ⏎ two"));
        assert!(text(&ops[1]).len() < MAX_TEXT + 300);
    }
}

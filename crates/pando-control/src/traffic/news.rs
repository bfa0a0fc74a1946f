//! What a load balancer's word tells beyond its counts: who was ejected, who came back, and where nobody was in rotation.

use std::collections::BTreeMap;

use pando_api::v1::events::EventLevel;
use pando_model::name::{AppName, ServerName};
use pando_routing::{Ejected, EndpointId, Table};

use super::Run;
use crate::events::Draft;

/// So many are told of at once; a load balancer that ejects more is told of by what is left to serve.
const MOST: usize = 16;

/// Two words of one ejection differ by less: its start is told by the wall clock, which is read anew each time.
const SAME_MILLIS: u64 = 1_000;

/// Something worth an event.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    Ejected(Ejected),
    Back(EndpointId),
    /// Requests for the pool went to whoever might serve, since nobody was in rotation.
    FailedOpen(String),
}

/// What has changed from one word of a server's load balancer to the next. The first word ever tells nothing: what it says may be
/// old.
pub(super) fn news(before: Option<&Run>, now: &Run) -> Vec<News> {
    let Some(before) = before else { return Vec::new() };
    let same = |a: &Ejected, b: &Ejected| {
        a.endpoint == b.endpoint && a.since_millis.abs_diff(b.since_millis) < SAME_MILLIS
    };
    let new = now.ejected.iter().filter(|one| !before.ejected.iter().any(|old| same(old, one)));
    let back = before.ejected.iter().filter(|old| {
        let still = now.ejected.iter().any(|one| one.endpoint == old.endpoint);
        !still && now.endpoints.contains_key(&old.endpoint)
    });
    let opened = now.pools.iter().filter(|(id, pool)| {
        let known = before.pools.get(*id).filter(|_| before.boot == now.boot);
        known.is_some_and(|known| known.failed_open == 0) && pool.failed_open > 0
    });
    let ejected = new.map(|one| News::Ejected(one.clone()));
    let all = ejected.chain(back.map(|old| News::Back(old.endpoint)));
    all.chain(opened.map(|(id, _)| News::FailedOpen(id.clone()))).take(MOST).collect()
}

/// In words. Endpoints that have left the table meanwhile are left out.
pub fn told(news: &[News], server: &ServerName, table: &Table) -> Vec<Draft> {
    let endpoints: BTreeMap<_, _> =
        table.endpoints().map(|(pool, endpoint)| (endpoint.id, (&pool.0, &endpoint.name))).collect();
    let one = |news: &News| {
        let (pool, text, level) = match news {
            News::Ejected(ejected) => {
                let (pool, name) = endpoints.get(&ejected.endpoint)?;
                let seconds = ejected.until_millis.saturating_sub(ejected.since_millis) / 1000;
                let why = &ejected.text;
                let text = format!(
                    "{name} is ejected: it gets no requests from the load balancer on {server} for {seconds} s; {why}"
                );
                ((*pool).clone(), text, EventLevel::Warning)
            }
            News::Back(endpoint) => {
                let (pool, name) = endpoints.get(endpoint)?;
                let text = format!("{name} gets requests from the load balancer on {server} again");
                ((*pool).clone(), text, EventLevel::Info)
            }
            News::FailedOpen(pool) => {
                let text = format!(
                    "nobody of {pool} is in rotation at the load balancer on {server}: requests go to who might serve all the same"
                );
                (pool.clone(), text, EventLevel::Warning)
            }
        };
        let app = pool.split('/').next().and_then(|app| AppName::new(app).ok());
        let draft = Draft::new(text).level(level);
        Some(app.iter().fold(draft, |draft, app| draft.app(app)))
    };
    news.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use pando_model::time::Timestamp;
    use pando_routing::balance::outlier::{Failure, Reason};
    use pando_routing::{EndpointStats, PoolStats};
    use uuid::Uuid;

    use super::*;

    const WEB: EndpointId = EndpointId(Uuid::from_u128(7));

    fn ejected(since_millis: i64) -> Ejected {
        let reason = Reason::Consecutive { failures: 5, last: Failure::Reset };
        let text = reason.to_string();
        Ejected { endpoint: WEB, reason, text, times: 1, since_millis, until_millis: since_millis + 10_000 }
    }

    fn run(boot: u128, ejected: Vec<Ejected>, failed_open: u64) -> Run {
        let pool = PoolStats { failed_open, ..PoolStats::default() };
        Run {
            boot: Uuid::from_u128(boot),
            sequence: 1,
            heard_at: Timestamp::default(),
            pools: [("hits/web".to_owned(), pool)].into(),
            unmatched: 0,
            endpoints: [(WEB, EndpointStats::default())].into(),
            in_flight: BTreeMap::new(),
            not_in_rotation: Default::default(),
            ejected,
            why_out: BTreeMap::new(),
        }
    }

    #[test]
    fn an_ejection_is_told_once_and_its_end_too() {
        let (well, out) = (run(1, vec![], 0), run(1, vec![ejected(50_000)], 0));
        assert_eq!(news(None, &out), []);
        assert_eq!(news(Some(&well), &out), [News::Ejected(ejected(50_000))]);
        assert_eq!(news(Some(&out), &run(1, vec![ejected(50_002)], 0)), [], "the same one");
        assert_eq!(news(Some(&out), &run(2, vec![ejected(49_999)], 0)), [], "handed over to a successor");
        assert_eq!(news(Some(&out), &run(1, vec![ejected(70_000)], 0)), [News::Ejected(ejected(70_000))]);
        assert_eq!(news(Some(&out), &well), [News::Back(WEB)]);
        let gone = Run { endpoints: BTreeMap::new(), ..run(1, vec![], 0) };
        assert_eq!(news(Some(&out), &gone), [], "it has left the table");
    }

    #[test]
    fn failing_open_is_told_when_it_begins() {
        let opened = News::FailedOpen("hits/web".to_owned());
        assert_eq!(news(Some(&run(1, vec![], 0)), &run(1, vec![], 4)), [opened]);
        assert_eq!(news(Some(&run(1, vec![], 4)), &run(1, vec![], 9)), []);
        assert_eq!(news(Some(&run(1, vec![], 4)), &run(2, vec![], 4)), [], "another run's count");
    }

    #[test]
    fn events_name_the_replica_the_load_balancer_and_the_reason() {
        let table: Table = serde_json::from_str(&format!(
            r#"{{"version":{{"epoch":1,"revision":1}},"pools":{{"hits/web":{{"endpoints":[
                {{"id":"{}","address":"10.0.0.1:80","name":"web-2"}}]}}}}}}"#,
            WEB.0
        ))
        .unwrap();
        let server = ServerName::new("lb-1").unwrap();
        let all = [News::Ejected(ejected(0)), News::Back(WEB), News::FailedOpen("hits/web".to_owned())];
        let drafts = told(&all, &server, &table);
        let texts: Vec<_> = drafts.iter().map(|draft| draft.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                format!(
                    "web-2 is ejected: it gets no requests from the load balancer on lb-1 for 10 s; {}",
                    ejected(0).text
                )
                .as_str(),
                "web-2 gets requests from the load balancer on lb-1 again",
                "nobody of hits/web is in rotation at the load balancer on lb-1: requests go to who might serve all the same",
            ]
        );
        assert!(drafts.iter().all(|draft| draft.app.as_ref().is_some_and(|app| app.as_str() == "hits")));
        assert_eq!(told(&all[..2], &server, &Table::default()), [], "gone from the table meanwhile");
    }
}

//! Random histories: all stores answer alike, step by step, whatever is asked of them.

use std::time::Duration;

use bytes::Bytes;
use pando_control::store::{Expect, Guard, LeaseId, Op, Range, Store, Txn};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Txn(Txn),
    Read(Vec<Range>),
    Grant,
    Revoke(LeaseId),
    KeepAlive(LeaseId),
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["/a", "/a/1", "/a/2", "/b", "/b/1"]).prop_map(str::to_owned)
}

fn lease() -> impl Strategy<Value = LeaseId> {
    (1..4u64).prop_map(LeaseId)
}

fn op() -> impl Strategy<Value = Op> {
    let put = (key(), any::<u8>(), prop::option::weighted(0.3, lease()))
        .prop_map(|(key, byte, lease)| Op::Put { key, value: Bytes::from(vec![byte]), lease });
    let delete = key().prop_map(|key| Op::Delete { key });
    prop_oneof![3 => put, 1 => delete]
}

fn guard() -> impl Strategy<Value = Guard> {
    let expect =
        prop_oneof![Just(Expect::Exists), Just(Expect::Absent), (0..12u64).prop_map(Expect::Modified),];
    (key(), expect).prop_map(|(key, expect)| Guard { key, expect })
}

fn range() -> impl Strategy<Value = Range> {
    let ends = prop_oneof![key().prop_map(Range::prefix), key().prop_map(Range::key)];
    (ends, 0..8u64, prop::option::of(0..4usize), any::<bool>())
        .prop_map(|(range, after, limit, descending)| Range { after, limit, descending, ..range })
}

fn step() -> impl Strategy<Value = Step> {
    let guards = prop::collection::vec(guard(), 0..2);
    let txn = (guards, prop::collection::vec(op(), 0..4)).prop_map(|(guards, ops)| Txn { guards, ops });
    prop_oneof![
        6 => txn.prop_map(Step::Txn),
        3 => prop::collection::vec(range(), 0..3).prop_map(Step::Read),
        1 => Just(Step::Grant),
        1 => lease().prop_map(Step::Revoke),
        1 => lease().prop_map(Step::KeepAlive),
    ]
}

/// The answer as text, errors too: the words must be the same.
async fn answer(store: &dyn Store, step: Step) -> String {
    match step {
        Step::Txn(txn) => said(store.txn(txn).await),
        Step::Read(ranges) => said(store.read(ranges).await),
        // Long enough that none ends by itself here.
        Step::Grant => said(store.grant(Duration::from_secs(3600)).await),
        Step::Revoke(lease) => said(store.revoke(lease).await),
        Step::KeepAlive(lease) => said(store.keep_alive(lease).await),
    }
}

fn said<T: std::fmt::Debug, E: std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("error: {error}"),
    }
}

proptest! {
    // Each case makes a file and syncs it at every step.
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn all_stores_answer_alike(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let stores = [super::in_memory(), super::in_local_memory(), super::on_disk()];
        for step in steps {
            let answers = stores.each_ref().map(|fresh| runtime.block_on(answer(&*fresh.store, step.clone())));
            prop_assert!(answers.iter().all(|other| *other == answers[0]), "{:?}: {:#?}", step, answers);
        }
    }
}

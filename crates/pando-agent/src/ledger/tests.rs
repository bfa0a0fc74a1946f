use pando_model::id::Version;
use pando_trust::Authority;
use uuid::Uuid;

use super::*;

fn server() -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(1))
}

#[test]
fn what_is_saved_is_loaded_and_is_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(load(directory.path(), server()).unwrap(), Ledger::empty(server()));
    let mut ledger = Ledger::empty(server());
    ledger.assignment.version = Version::new(2, 9);
    let id = TaskId::from_uuid(Uuid::from_u128(5));
    let record = TaskRecord { started_at: Timestamp::from_millis(1), timed_out: true, failed: None };
    ledger.tasks.insert(id, record);
    save(directory.path(), &ledger).unwrap();
    assert_eq!(load(directory.path(), server()).unwrap(), ledger);
    let mode = std::fs::metadata(file(directory.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_can_not_be_used_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let check = |text: &str, words: &str| {
        std::fs::write(file(directory.path()), text).unwrap();
        let error = load(directory.path(), server()).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("ledger.json"), "{error}");
        assert_eq!(std::fs::read_to_string(file(directory.path())).unwrap(), text, "left as it was");
    };
    check("", "damaged");
    check("{\"schema\": 1}", "damaged");
    check("{\"schema\": 2, \"other\": true}", "schema 2");
    let foreign = Ledger::empty(ServerId::from_uuid(Uuid::from_u128(2)));
    check(&serde_json::to_string(&foreign).unwrap(), "is of server");
}

#[test]
fn what_another_cluster_signed_or_another_server_was_is_set_aside() {
    let now = Timestamp::from_millis(1_790_000_000_000);
    let [ours, other] = ["ours", "other"].map(|name| Authority::make(name, now).unwrap());
    let check = |signed: Option<SignedBytes>, expected: bool| {
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), &Ledger::empty(server())).unwrap();
        if let Some(signed) = signed {
            keep_signed(directory.path(), &signed).unwrap();
        }
        let key = ours.anchor().signing_key();
        assert_eq!(set_aside_if_foreign(directory.path(), server(), key).unwrap(), expected);
        assert_eq!(file(directory.path()).exists(), !expected);
        assert_eq!(directory.path().join("ledger.json.foreign").exists(), expected);
        assert!(!set_aside_if_foreign(directory.path(), server(), key).unwrap(), "once is enough");
    };
    let of = |server| Assignment::empty(server);
    let signed = |authority: &Authority, server| authority.sign(Kind::Assignment, of(server)).unwrap().bytes;
    check(None, false);
    check(Some(signed(&ours, server())), false);
    check(Some(signed(&other, server())), true);
    check(Some(signed(&ours, ServerId::from_uuid(Uuid::from_u128(2)))), true);
}

#[test]
fn begun_tasks_are_remembered_for_long_but_not_forever() {
    let mut ledger = Ledger::empty(server());
    let record = TaskRecord { started_at: Timestamp::default(), timed_out: false, failed: None };
    for n in 0..1500u128 {
        ledger.tasks.insert(TaskId::from_uuid(Uuid::from_u128(n)), record.clone());
    }
    ledger.accept(Assignment::empty(server()));
    assert_eq!(ledger.tasks.len(), TASKS_KEPT);
    assert!(ledger.tasks.contains_key(&TaskId::from_uuid(Uuid::from_u128(1499))));
}

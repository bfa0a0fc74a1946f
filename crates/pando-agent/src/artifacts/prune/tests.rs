use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use pando_model::release::{Digest, ReleaseNumber};
use pando_rt::shutdown::Shutdown;

use super::*;
use crate::artifacts::claims::Claims;

struct Bench {
    root: tempfile::TempDir,
    pruner: Pruner,
}

fn key(app: &str, release: u64) -> ReleaseKey {
    (app.parse().unwrap(), ReleaseNumber(release))
}

fn digest(letter: char) -> Digest {
    Digest::new(letter.to_string().repeat(64)).unwrap()
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (places, tasks) = (Places::new(root.path().to_owned()), Tasks::new(&Shutdown::new()));
        super::super::disk::scan(&places).unwrap();
        Self { pruner: Pruner::new(&places, None, Arc::new(Claims::default()), &tasks), root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), vec![7; 10_000]).unwrap();
    }

    fn packed(&self, name: &str) {
        self.write(&format!(".fetched/{name}"));
    }

    fn claims(&self) -> &Claims {
        &self.pruner.inner.claims
    }

    fn need(&self, releases: &[ReleaseKey], artifacts: &[Digest]) {
        let needs = Needs {
            releases: releases.iter().cloned().collect(),
            artifacts: artifacts.iter().cloned().collect(),
        };
        self.claims().set(Some(needs));
    }

    fn left(&self) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        for directory in [".fetched", "shop", "gone"] {
            let entries = fs::read_dir(self.path(directory)).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| format!("{directory}/{}", entry.file_name().to_string_lossy())));
        }
        left
    }
}

fn names(pruning: &Pruning) -> BTreeSet<&str> {
    pruning.things.iter().map(|thing| thing.name.as_str()).collect()
}

/// A release that is kept, one of an app that is gone, a packed release that is needed, and others.
fn furnished() -> Bench {
    let bench = Bench::new();
    bench.write("shop/v7/bin/web");
    bench.write("gone/v3/bin/web");
    bench.write("gone/v4.tmp/half");
    for name in [digest('a').as_str(), digest('b').as_str(), &format!("{}.part", digest('c'))] {
        bench.packed(name);
    }
    bench.need(&[key("shop", 7)], &[digest('a')]);
    bench
}

#[tokio::test]
async fn what_is_shown_is_what_goes_with_as_many_bytes() {
    let bench = furnished();
    let before = bench.left();
    let shown = bench.pruner.look().await;
    assert_eq!(bench.left(), before, "looking changes nothing");
    let part = format!("{}.part", digest('c'));
    let wanted = BTreeSet::from(["gone v3", "gone v4", digest('b').as_str(), &part].map(str::to_owned));
    assert_eq!(names(&shown), wanted.iter().map(String::as_str).collect());
    assert!(shown.bytes >= 40_000 && shown.trouble.is_empty(), "{shown:?}");
    let gone = bench.pruner.prune().await;
    assert_eq!((names(&gone), gone.bytes), (names(&shown), shown.bytes));
    assert_eq!(bench.left(), BTreeSet::from(["shop/v7".to_owned(), format!(".fetched/{}", digest('a'))]));
    assert_eq!(bench.pruner.prune().await, Pruning::default(), "there is nothing left");
}

#[tokio::test]
async fn nothing_goes_before_it_is_known_what_is_kept() {
    let bench = furnished();
    bench.claims().set(None);
    let before = bench.left();
    let pruned = bench.pruner.prune().await;
    assert!(pruned.count == 0 && pruned.trouble[0].contains("has not heard yet"), "{pruned:?}");
    assert_eq!(bench.left(), before);
}

#[tokio::test]
async fn what_somebody_works_on_stays() {
    let bench = furnished();
    let (working, _) = bench.claims().begin(key("gone", 3), Shutdown::new());
    let pruned = bench.pruner.prune().await;
    assert!(!names(&pruned).contains("gone v3") && pruned.trouble.is_empty(), "{pruned:?}");
    assert!(bench.path("gone/v3/bin/web").exists());
    drop(working);
    assert!(names(&bench.pruner.prune().await).contains("gone v3"));
}

#[tokio::test]
async fn while_something_is_fetched_packed_releases_stay_and_that_is_said() {
    let bench = furnished();
    let fetching = bench.claims().fetching.lock().await;
    let pruned = bench.pruner.prune().await;
    assert_eq!(names(&pruned), BTreeSet::from(["gone v3", "gone v4"]));
    assert!(pruned.trouble[0].contains("is being fetched"), "{pruned:?}");
    drop(fetching);
    assert_eq!(bench.pruner.prune().await.count, 2);
}

#[tokio::test]
async fn a_part_goes_when_the_whole_is_there() {
    let bench = Bench::new();
    for name in [digest('a').as_str(), &format!("{}.part", digest('a')), &format!("{}.part", digest('b'))] {
        bench.packed(name);
    }
    bench.packed("nothing-of-ours");
    bench.need(&[], &[digest('a'), digest('b')]);
    let gone = bench.pruner.prune().await;
    assert_eq!(names(&gone), BTreeSet::from([format!("{}.part", digest('a')).as_str()]));
    assert_eq!(bench.left().len(), 3);
}

#[tokio::test]
async fn ten_thousand_files_go_in_one_go_and_the_answer_stays_small() {
    let bench = Bench::new();
    bench.need(&[], &[]);
    (0..10_000).for_each(|number| fs::write(bench.path(&format!(".fetched/{number:064x}")), b"x").unwrap());
    let gone = bench.pruner.prune().await;
    assert_eq!((gone.count, gone.things.len(), bench.left().len()), (10_000, 200, 0));
}

/// A deployment comes in the middle: what it wants is there afterwards, whole.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_deployment_wants_from_now_on_is_not_taken_from_it() {
    for _ in 0..50 {
        let bench = Bench::new();
        (0..200).for_each(|number| bench.packed(&format!("{number:064x}")));
        bench.need(&[], &[]);
        let pruner = bench.pruner.clone();
        let pruning = tokio::spawn(async move { pruner.prune().await });
        let wanted: Vec<Digest> = (0..200).map(|n| Digest::new(format!("{n:064x}")).unwrap()).collect();
        bench.need(&[], &wanted);
        let here: Vec<&Digest> =
            wanted.iter().filter(|one| bench.path(&format!(".fetched/{one}")).exists()).collect();
        let gone = pruning.await.unwrap();
        assert!(here.iter().all(|one| bench.path(&format!(".fetched/{one}")).exists()), "{gone:?}");
    }
}

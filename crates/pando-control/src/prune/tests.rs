use std::fs::File;
use std::path::Path;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn digest(letter: char) -> Digest {
    Digest::new(letter.to_string().repeat(64)).unwrap()
}

/// A file that was used so long ago.
fn file(directory: &Path, name: &str, idle: Duration) {
    std::fs::write(directory.join(name), vec![1; 5000]).unwrap();
    let file = File::options().append(true).open(directory.join(name)).unwrap();
    file.set_modified(SystemTime::now() - idle).unwrap();
}

fn work(directory: &Path, deed: Deed) -> Vec<String> {
    let needed = BTreeSet::from([digest('a')]);
    let pruning = unneeded(&Artifacts::new(directory), &needed, SystemTime::now(), deed).unwrap();
    assert_eq!((pruning.things.len() as u64, &pruning.trouble), (pruning.count, &Vec::new()));
    assert!(pruning.things.iter().all(|thing| thing.bytes >= 5000), "{pruning:?}");
    let mut names: Vec<String> = pruning.things.into_iter().map(|thing| thing.name[..1].to_owned()).collect();
    names.sort();
    names
}

fn left(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[test]
fn what_no_release_needs_goes_when_nobody_sends_anything() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path();
    file(directory, &format!("{}.tar.gz", digest('a')), HOUR * 1000);
    file(directory, &format!("{}.tar.gz", digest('b')), HOUR * 2);
    file(directory, &format!("{}.layer.part", digest('c')), HOUR * 3);
    file(directory, "README", HOUR * 1000);
    assert_eq!(work(directory, Deed::Look), ["b", "c"]);
    assert_eq!(left(directory), 4, "looking changes nothing");
    assert_eq!(work(directory, Deed::Remove), ["b", "c"]);
    assert_eq!((left(directory), work(directory, Deed::Remove).len()), (2, 0));
}

#[test]
fn what_a_deploy_may_be_sending_stays_for_a_day() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path();
    // A deploy that began three hours ago: its first layer came then, and its last is coming.
    file(directory, &format!("{}.layer.zst", digest('b')), HOUR * 3);
    file(directory, &format!("{}.layer.part", digest('c')), MINUTE);
    file(directory, &format!("{}.layer.zst", digest('d')), HOUR * 25);
    assert_eq!(work(directory, Deed::Remove), ["d"]);
    assert_eq!(left(directory), 2);
}

#[test]
fn what_is_used_between_the_look_and_the_deed_stays() {
    let root = tempfile::tempdir().unwrap();
    let (directory, name) = (root.path(), format!("{}.tar.gz", digest('b')));
    file(directory, &name, HOUR * 2);
    let found = Artifacts::new(directory).unneeded(&BTreeSet::new()).unwrap();
    file(directory, &name, MINUTE);
    assert!(!found[0].remove(HOUR, SystemTime::now()).unwrap());
    std::fs::remove_file(directory.join(&name)).unwrap();
    assert!(!found[0].remove(HOUR, SystemTime::now()).unwrap(), "gone is gone");
}

#[test]
fn ten_thousand_leftovers_are_removed_in_one_go() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..10_000 {
        file(root.path(), &format!("{number:064x}.layer.zst"), HOUR * 30);
    }
    let pruning =
        unneeded(&Artifacts::new(root.path()), &BTreeSet::new(), SystemTime::now(), Deed::Remove).unwrap();
    assert_eq!((pruning.count, left(root.path())), (10_000, 0));
}

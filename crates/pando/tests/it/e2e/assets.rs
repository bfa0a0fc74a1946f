//! The same for plain processes: assets that `prepare` made, as a build of an app does.

use std::fs;

use super::bed::{Bed, Settings};
use super::visitor::Visitors;
use crate::answer::told;

const PREPARE: &str =
    "asset_path: assets\nprepare: \"mkdir -p assets && cp name assets/app-$(cat name).css\"";

#[test]
fn assets_of_the_old_and_the_new_release_are_served_while_processes_roll() {
    let mut bed = Bed::prepare(Settings { extra: PREPARE.to_owned(), ..Settings::default() });
    fs::write(bed.path("name"), "v1").unwrap();
    bed.start();
    let visitors = Visitors::start(&bed.address(), &bed.address(), 3);
    visitors.wait_for_assets(20);
    for release in ["v2", "v3"] {
        fs::write(bed.path("name"), release).unwrap();
        bed.change(|_| {});
        let deployed = bed.pando(&["deploy"]);
        assert!(deployed.status.success(), "{}\n{}", told(&deployed), bed.daemon_log());
        visitors.wait_for_assets(50);
    }
    bed.ok(&["rollback"]);
    visitors.wait_for_assets(50);
    visitors.stop_content(&["v1", "v2", "v3"]);

    bed.change(|settings| settings.extra = "asset_path: public/assets".to_owned());
    let failed = bed.pando(&["deploy"]);
    let said = told(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no directory `public/assets` in the release"), "{said}");
    bed.wait_until_settled(3);
}

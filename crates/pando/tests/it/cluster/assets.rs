//! Assets of releases on several servers, where each app has a user of its own.

use std::fs;

use crate::bed::Bed;
use crate::bed::app::{App, HOST};
use crate::e2e::visitor::Visitors;

fn write_asset(bed: &Bed, release: &str) {
    let assets = bed.project().join("assets");
    let _ = fs::remove_dir_all(&assets);
    fs::create_dir(&assets).unwrap();
    fs::write(assets.join(format!("app-{release}.css")), release).unwrap();
}

#[test]
fn cluster_pages_find_their_assets_on_every_server_while_releases_roll() {
    let bed = Bed::of(&["main", "app-2"]);
    let mut app =
        App { extra: "asset_path: assets".to_owned(), web: "per_server: 2".to_owned(), ..App::default() };
    write_asset(&bed, "v1");
    bed.found_with(&app, 2);
    let entries = ["main", "app-2"].map(|name| format!("{}:80", bed.server(name).address()));
    let visitors = entries.map(|entry| Visitors::start(HOST, &entry, 2));
    visitors.iter().for_each(|visitors| visitors.wait_for_assets(20));
    for release in ["v2", "v3"] {
        write_asset(&bed, release);
        bed.deploy(app.next());
        visitors.iter().for_each(|visitors| visitors.wait_for_assets(50));
    }
    visitors.into_iter().for_each(|visitors| visitors.stop_content(&["v1", "v2", "v3"]));
    // They are the app's own, as everything in its directory is.
    let owners = bed.server("app-2").sh("stat -c %U /var/lib/pando/releases/hits/v3/assets/*");
    assert_eq!(owners.lines().collect::<Vec<_>>(), ["pando-hits"; 3]);
}

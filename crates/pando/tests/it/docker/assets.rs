//! Pages of the old release and of the new find their assets at replicas of both.

use std::fs;

use super::image;
use crate::answer::told;
use crate::e2e::bed::{Bed, Settings};
use crate::e2e::visitor::Visitors;

/// The app with the assets of one release.
fn image_of(release: &str) -> image::Own {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("assets")).unwrap();
    fs::write(directory.path().join("assets").join(format!("app-{release}.css")), release).unwrap();
    let lines = ["COPY assets /app/assets", "ENV HITS_ASSETS=/app/assets"];
    image::build(&format!("assets-{release}"), directory.path(), &lines)
}

#[test]
fn assets_of_the_old_and_the_new_release_are_served_while_images_roll() {
    let images = ["v1", "v2", "v3"].map(image_of);
    let settings = |image: &image::Own| Settings {
        image: Some(image.name().to_owned()),
        extra: "asset_path: /app/assets".to_owned(),
        ..Settings::default()
    };
    let mut bed = Bed::up(settings(&images[0]));
    let visitors = Visitors::start(&bed.address(), &bed.address(), 3);
    visitors.wait_for_assets(20);
    for image in &images[1..] {
        bed.change(|settings| settings.image = Some(image.name().to_owned()));
        let deployed = bed.pando(&["deploy"]);
        assert!(deployed.status.success(), "{}\n{}", told(&deployed), bed.daemon_log());
        visitors.wait_for_assets(50);
    }
    // Nobody writes there.
    let written = bed.pando(&["exec", "web-1", "--", "echo x > /app/assets/app-v1.css"]);
    assert!(told(&written).contains("Read-only file system"), "{}", told(&written));
    bed.ok(&["rollback"]);
    visitors.wait_for_assets(50);
    visitors.stop_content(&["v1", "v2", "v3"]);

    // A path that the image lacks is told, and what serves goes on.
    bed.change(|settings| settings.extra = "asset_path: /app/elsewhere".to_owned());
    let failed = bed.pando(&["deploy"]);
    let said = told(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(
        said.contains("there is no directory `/app/elsewhere` in the image"),
        "{said}\n{}",
        bed.daemon_log()
    );
    bed.wait_until_settled(3);
}

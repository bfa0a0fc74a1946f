//! Images and containers of the engine that are ours and nobody's: known by the owner's mark, never by anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pando_api::v1::prune::VolumeLeft;
use pando_runtime::docker::{ContainerSeen, Containers, EngineError, ImageSeen, Survey, VolumeSeen};

use tokio::time::timeout;

use super::{Found, Thing, What};
use crate::artifacts::disk::Places;
use crate::artifacts::notes::{self, Note};
use crate::artifacts::{ArtifactError, blocking};
use crate::reconcile::{ReleaseKey, image_name};

/// An engine that hangs must not keep anybody from pruning the rest.
const SURVEY_WITHIN: Duration = Duration::from_secs(15);

/// Adds what the engine has of it. An engine that can't be asked is said where this server has anything to do with one.
pub(super) async fn find(
    containers: &Containers,
    places: &Places,
    held: &BTreeSet<ReleaseKey>,
    found: &mut Found,
) {
    let of = places.clone();
    let left = blocking(move || notes::nameless(&of)).await.unwrap_or_default();
    let survey = match timeout(SURVEY_WITHIN, containers.survey()).await {
        Ok(survey) => survey.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the container engine did not tell them within {} s", SURVEY_WITHIN.as_secs())),
    };
    match survey {
        Ok(survey) => {
            forget_gone(places, &survey, &left).await;
            judge(containers.mark(), survey, held, &left, found);
            volumes(containers, held, found).await;
        }
        Err(_) if !containers.is_in_use() => {}
        Err(error) => found.trouble.push(format!("images and containers were not looked at: {error}")),
    }
}

/// Adds the volumes of apps of which nothing is kept here.
async fn volumes(containers: &Containers, held: &BTreeSet<ReleaseKey>, found: &mut Found) {
    match timeout(SURVEY_WITHIN, containers.unused_volumes()).await {
        Ok(Ok(unused)) => {
            let is_held = |app: &str| held.iter().any(|(of, _)| of.as_str() == app);
            let left = unused.into_iter().filter(|volume| !is_held(&volume.app));
            found.volumes.extend(left.map(|VolumeSeen { name, app }| VolumeLeft { name, app }));
        }
        Ok(Err(error)) => found.trouble.push(format!("volumes were not looked at: {error}")),
        Err(_) => {
            let seconds = SURVEY_WITHIN.as_secs();
            found.trouble.push(format!("the container engine did not tell its volumes within {seconds} s"));
        }
    }
}

/// Images that the engine has no more, or that are called something again, need not be remembered.
async fn forget_gone(places: &Places, survey: &Survey, nameless: &BTreeSet<String>) {
    let is_nameless = |id: &String| survey.images.iter().any(|one| one.id == *id && one.names.is_empty());
    let gone: Vec<String> = nameless.iter().filter(|id| !is_nameless(id)).cloned().collect();
    let places = places.clone();
    let forgotten = blocking(move || gone.iter().try_for_each(|id| notes::forget_nameless(&places, id)));
    if let Err(error) = forgotten.await {
        tracing::warn!("{}", pando_rt::error_chain::error_chain(&error));
    }
}

/// What of the survey can go.
fn judge(
    mark: &str,
    survey: Survey,
    held: &BTreeSet<ReleaseKey>,
    nameless: &BTreeSet<String>,
    found: &mut Found,
) {
    let used: BTreeSet<&str> =
        survey.containers.iter().filter(|one| !one.left).map(|one| one.image.as_str()).collect();
    for container in survey.containers.iter().filter(|one| one.left) {
        found.things.push(Thing {
            name: container.name.clone(),
            bytes: container.bytes,
            why: "it has ended, and nothing is known of its run any more",
            what: What::Container(container.clone()),
        });
    }
    for image in survey.images.iter().filter(|image| !used.contains(image.id.as_str())) {
        for (key, name) in ours(mark, image).into_iter().filter(|(key, _)| !held.contains(key)) {
            let why = "it was made for a release that this server does not keep";
            found.things.push(Thing { what: What::Image(key, image.clone()), name, bytes: 0, why });
        }
        if image.names.is_empty() && image.digests.is_empty() && nameless.contains(&image.id) {
            let why = "its release is gone, and it lost its name while a container was made of it";
            let (what, name) = (What::Nameless(image.clone()), image.id.clone());
            found.things.push(Thing { what, name, bytes: 0, why });
        }
    }
    found.images = survey.images;
}

/// The names of an image that are of this state directory, with the releases that they are of.
fn ours(mark: &str, image: &ImageSeen) -> BTreeMap<ReleaseKey, String> {
    let of = |name: &String| Some((release_of(mark, name)?, name.clone()));
    image.names.iter().filter_map(of).collect()
}

/// See [`image_name`].
fn release_of(mark: &str, name: &str) -> Option<ReleaseKey> {
    if mark.is_empty() {
        return None;
    }
    let (app, tag) = name.strip_prefix("pando/")?.split_once(':')?;
    let number = tag.strip_suffix(mark)?.strip_suffix('-')?.strip_prefix('v')?;
    let key = (app.parse().ok()?, pando_model::release::ReleaseNumber(number.parse().ok()?));
    // Only what is exactly as we would write it.
    (image_name(mark, &key) == name).then_some(key)
}

/// Takes away a release's name. False: it has another, and stays.
pub(super) async fn remove_name(
    containers: &Containers,
    places: &Places,
    key: &ReleaseKey,
    name: &str,
) -> Result<bool, ArtifactError> {
    containers.unname(name).await.map_err(|source| failed(name, source))?;
    let (of, named) = (places.clone(), key.clone());
    if let Some(Note { reference: Some(reference), ours: true, .. }) =
        blocking(move || Ok(notes::read(&of, &named))).await?
    {
        containers.unname(&reference).await.map_err(|source| failed(&reference, source))?;
    }
    let (of, key) = (places.clone(), key.clone());
    blocking(move || notes::remove(&of, &key)).await.map(|()| true)
}

pub(super) async fn remove_nameless(
    containers: &Containers,
    places: &Places,
    image: &ImageSeen,
) -> Result<bool, ArtifactError> {
    containers.remove_nameless(&image.id).await.map_err(|source| failed(&image.id, source))?;
    let (places, id) = (places.clone(), image.id.clone());
    blocking(move || notes::forget_nameless(&places, &id)).await.map(|()| true)
}

pub(super) async fn remove_container(
    containers: &Containers,
    container: &ContainerSeen,
) -> Result<bool, ArtifactError> {
    containers.remove_left(container).await.map_err(|source| failed(&container.name, source))?;
    Ok(true)
}

fn failed(name: &str, source: EngineError) -> ArtifactError {
    ArtifactError::Engine { what: format!("remove `{name}`"), source }
}

#[cfg(test)]
mod tests {
    use pando_model::release::ReleaseNumber;

    use super::*;

    const MARK: &str = "1a2b3c4d";

    fn image(id: &str, names: &[&str]) -> ImageSeen {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        ImageSeen { id: id.to_owned(), names, digests: Vec::new(), layers: Vec::new() }
    }

    fn container(name: &str, image: &str, left: bool) -> ContainerSeen {
        let [id, name, image] = [name, name, image].map(str::to_owned);
        ContainerSeen { id, name, image, left, bytes: 7 }
    }

    fn going(images: Vec<ImageSeen>, containers: Vec<ContainerSeen>, nameless: &[&str]) -> Vec<String> {
        let held = BTreeSet::from([("shop".parse().unwrap(), ReleaseNumber(7))]);
        let nameless = nameless.iter().map(|id| (*id).to_owned()).collect();
        let mut found = Found::default();
        judge(MARK, Survey { images, containers }, &held, &nameless, &mut found);
        found.things.into_iter().map(|thing| thing.name).collect()
    }

    #[test]
    fn only_names_with_our_mark_go_and_none_of_a_release_that_is_held() {
        let stays = [
            "pando/shop:v7-1a2b3c4d",
            "pando/shop:v3-ffffffff",
            "pando/shop:v3",
            "pando/shop:3-1a2b3c4d",
            "pando/shop:v03-1a2b3c4d",
            "pando/a/b:v3-1a2b3c4d",
            "other/shop:v3-1a2b3c4d",
            "shop:v3-1a2b3c4d",
            "localhost:5000/pando/shop:v3-1a2b3c4d",
        ];
        assert_eq!(going(vec![image("a", &stays)], vec![], &[]), [""; 0]);
        let mixed = image("a", &["pando/shop:v3-1a2b3c4d", "pando/shop:v7-1a2b3c4d", "shop:3"]);
        assert_eq!(going(vec![mixed], vec![], &[]), ["pando/shop:v3-1a2b3c4d"]);
        assert_eq!(release_of("", "pando/shop:v3-"), None, "no mark is nobody's");
    }

    #[test]
    fn what_a_container_is_made_of_stays_unless_that_goes_too() {
        let old = || vec![image("a", &["pando/shop:v3-1a2b3c4d"])];
        assert_eq!(going(old(), vec![container("theirs", "a", false)], &[]), [""; 0]);
        let left = vec![container("ours", "a", true)];
        assert_eq!(going(old(), left, &[]), ["ours", "pando/shop:v3-1a2b3c4d"]);
        let both = vec![container("ours", "a", true), container("theirs", "a", false)];
        assert_eq!(going(old(), both, &[]), ["ours"]);
    }

    #[test]
    fn of_images_without_a_name_only_those_that_we_brought_go() {
        let images = || vec![image("a", &[]), image("b", &[]), image("c", &["c:1"])];
        assert_eq!(going(images(), vec![], &["b", "c"]), ["b"]);
        let by_digest = ImageSeen { digests: vec!["b@sha256:1".to_owned()], ..image("b", &[]) };
        assert_eq!(going(vec![by_digest], vec![], &["b"]), [""; 0]);
        assert_eq!(going(images(), vec![container("theirs", "b", false)], &["b"]), [""; 0]);
    }
}

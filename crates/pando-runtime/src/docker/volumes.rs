//! Named volumes: they hold data, so nothing here removes one, and none is used that is another cluster's.
//!
//! A volume is `pando.APP.NAME` on every engine, whoever makes it, and carries the cluster's label. One without the label was made by a
//! person or an earlier version, and is the app's.

use std::collections::HashMap;

use bollard::models::Volume;
use bollard::query_parameters::ListVolumesOptions;
use pando_model::app::VolumeSpec;
use pando_model::name::AppName;

use super::containers::Containers;
use super::engine::EngineError;
use super::name;
use super::shared::Shared;

/// A volume of this cluster that no container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSeen {
    pub name: String,
    pub app: String,
}

impl Containers {
    /// This cluster's volumes that no container uses, by name. Those without its label are not among them.
    ///
    /// # Errors
    /// When the engine can't be asked.
    pub async fn unused_volumes(&self) -> Result<Vec<VolumeSeen>, EngineError> {
        let label = format!("{}={}", name::CLUSTER, self.shared.settings.cluster);
        let filter = |name: &str, value: String| (name.to_owned(), vec![value]);
        let filters = HashMap::from([filter("label", label), filter("dangling", "true".to_owned())]);
        let options = ListVolumesOptions { filters: Some(filters) };
        let listed =
            self.shared.engine.call(|docker| async move { docker.list_volumes(Some(options)).await });
        let mut seen: Vec<VolumeSeen> =
            listed.await?.volumes.unwrap_or_default().into_iter().filter_map(seen).collect();
        seen.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(seen)
    }
}

fn seen(mut volume: Volume) -> Option<VolumeSeen> {
    Some(VolumeSeen { app: volume.labels.remove(name::APP)?, name: volume.name })
}

/// Refuses those of `volumes` that another cluster has made on this engine.
pub(super) async fn are_ours(
    shared: &Shared,
    app: &AppName,
    volumes: &[VolumeSpec],
) -> Result<(), EngineError> {
    for volume in volumes.iter().filter(|volume| !volume.source.starts_with('/')) {
        let name = name::volume(app.as_str(), &volume.source);
        let found = shared.engine.call(|docker| async move { docker.inspect_volume(&name).await }).await;
        match found {
            Ok(found) => is_ours(&shared.settings.cluster, &found, volume)?,
            // It is made with the container.
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_ours(cluster: &str, found: &Volume, volume: &VolumeSpec) -> Result<(), EngineError> {
    let Some(other) = found.labels.get(name::CLUSTER).filter(|label| *label != cluster) else {
        return Ok(());
    };
    let (name, place) = (&found.name, &found.mountpoint);
    let message = format!(
        "the volume `{name}` on this server was made by another cluster (its label `{}` is `{other}`, and this one's is `{cluster}`). \
         If what it holds is not needed, remove it there: `docker volume rm {name}`. To go on with what it holds, once the other \
         cluster is gone, name its directory: `volumes: [\"{place}:{}\"]`",
        name::CLUSTER,
        volume.target
    );
    Err(EngineError::Refused { status: 409, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_of_other_clusters_are_refused_and_ones_that_say_nothing_are_taken() {
        let volume = VolumeSpec { source: "up".to_owned(), target: "/up".to_owned(), read_only: false };
        let judged = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let found = Volume {
                name: "pando.shop.up".to_owned(),
                mountpoint: "/var/lib/docker/volumes/pando.shop.up/_data".to_owned(),
                labels: labels.collect(),
                ..Volume::default()
            };
            is_ours("ours", &found, &volume).map_err(|error| error.to_string())
        };
        assert_eq!(judged(&[]), Ok(()));
        assert_eq!(judged(&[("pando.cluster", "ours")]), Ok(()));
        let said = judged(&[("pando.cluster", "theirs")]).unwrap_err();
        assert!(said.contains("`docker volume rm pando.shop.up`") && said.contains("_data:/up\"]"), "{said}");
    }
}

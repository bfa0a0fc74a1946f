//! Images, taken layer by layer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State as Held;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Limited};
use pando_api::v1::images::{
    HostFacts, ImageAnswer, ImageQuery, ImageServer, ImageStored, LayerQuery, LayerState, LocalImage,
};
use pando_api::{ErrorBody, ErrorCode};
use pando_image::image::{Layer, MOST_DESCRIPTION, MOST_LAYERS};
use pando_image::space::Disk;
use pando_model::app::AppSpec;
use pando_model::name::AppName;
use pando_model::release::Digest;
use pando_model::server::Server;
use pando_rt::error_chain::error_chain;

use super::artifacts::linger;
use super::extract::{Asked, Place, Sent};
use super::reply::{Answer, Refused};
use crate::layers::{LayerError, Layers, blocking};
use crate::prune;
use crate::room::{self, Host};
use crate::shared::Shared;
use crate::state::State;

/// How long a server may take to tell about itself. One that is away is no reason to send nothing to the others.
const WORD: Duration = Duration::from_secs(3);

/// Which servers would run an image, and what of it is not here.
///
/// Refused before anything is sent when it would not fit on the disk of one of them, with the arithmetic, or not run there.
#[utoipa::path(
    post, operation_id = "ask_image", path = "/v1/apps/{app}/image", tag = "artifacts", params(("app" = AppName, Path)),
    request_body = ImageQuery,
    responses(
        (status = 200, body = ImageAnswer), (status = 400, description = "It is for another platform.", body = ErrorBody),
        (status = 422, description = "A disk has no room for it.", body = ErrorBody)
    )
)]
pub(crate) async fn ask(
    Held(shared): Held<Arc<Shared>>,
    Place(app): Place<AppName>,
    Sent(query): Sent<ImageQuery>,
) -> Answer<ImageAnswer> {
    if query.spec.name != app {
        let text = format!("the settings are of the app `{}`, not of `{app}`", query.spec.name);
        return Err(Refused::new(ErrorCode::Invalid, text));
    }
    let hosts = hosts(&shared, &query.spec).await?;
    let servers = hosts.iter().map(shown).collect();
    let Some(image) = query.image else {
        return Ok(Json(ImageAnswer { servers, known: None, layers: BTreeMap::new() }));
    };
    if image.layers.len() > MOST_LAYERS {
        let text = format!("{} layers; {MOST_LAYERS} are the most", image.layers.len());
        return Err(Refused::new(ErrorCode::Invalid, text));
    }
    let directory = shared.settings.artifact_dir.clone();
    let (known, layers) = {
        let (layers, image) = (Layers::new(&directory), image.clone());
        blocking(move || Ok((layers.known(&image.id), states(&layers, &image)?))).await?
    };
    room::check_platform(&hosts, &image.platform)?;
    // What servers lack of what is here they find out for themselves.
    if known.is_none() {
        find_room(&shared, &query.spec, &hosts, missing(&image, &layers)).await?;
    }
    Ok(Json(ImageAnswer { servers, known, layers }))
}

/// Where there is no room, what nothing needs goes first.
async fn find_room(shared: &Shared, spec: &AppSpec, before: &[Host], new_bytes: u64) -> Result<(), Refused> {
    let directory = &shared.settings.artifact_dir;
    let here = || Disk::of(directory).ok().map(|disk| (directory.as_path(), disk));
    if room::check(before, here(), new_bytes).is_ok() {
        return Ok(());
    }
    let state = State::load(&*shared.store).await?;
    prune::make_room(shared, &state, &room::without_room(before, new_bytes)).await;
    Ok(room::check(&hosts(shared, spec).await?, here(), new_bytes)?)
}

fn states(layers: &Layers, image: &LocalImage) -> Result<BTreeMap<Digest, LayerState>, LayerError> {
    image.layers.iter().map(|diff_id| Ok((diff_id.clone(), layers.state(diff_id)?))).collect()
}

/// The bytes of the layers that are not here, unpacked.
fn missing(image: &LocalImage, layers: &BTreeMap<Digest, LayerState>) -> u64 {
    let here = layers.values().map(|state| match state {
        LayerState::Here(layer) => layer.bytes,
        LayerState::Part { .. } => 0,
    });
    image.bytes.saturating_sub(here.sum())
}

/// What the servers tell that would run the app.
async fn hosts(shared: &Shared, spec: &AppSpec) -> Result<Vec<Host>, Refused> {
    let state = State::load_app(&*shared.store, &spec.name).await?;
    let takes =
        |server: &&Server| spec.processes.values().any(|process| pando_plan::accepts(server, process));
    let mut servers: Vec<Server> = state.world.servers.values().filter(takes).cloned().collect();
    servers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(join_all(servers.into_iter().map(|server| host(shared, server))).await)
}

async fn host(shared: &Shared, server: Server) -> Host {
    let name = server.name.clone();
    let facts = match shared.agent(&server) {
        Err(error) => Err(error_chain(&error)),
        Ok(agent) => match tokio::time::timeout(WORD, agent.host()).await {
            Ok(facts) => facts.map_err(|error| error_chain(&error)),
            Err(_) => Err(format!("it did not answer within {} s", WORD.as_secs())),
        },
    };
    Host { name, facts }
}

fn shown(host: &Host) -> ImageServer {
    let name = host.name.clone();
    match &host.facts {
        Ok(HostFacts { platform, trouble, .. }) => {
            ImageServer { name, platform: Some(platform.clone()), trouble: trouble.clone() }
        }
        Err(why) => ImageServer { name, platform: None, trouble: Some(why.clone()) },
    }
}

/// How much of a layer is here.
#[utoipa::path(
    get, operation_id = "layer", path = "/v1/layers/{layer}", tag = "artifacts", params(("layer" = Digest, Path)),
    responses((status = 200, body = LayerState))
)]
pub(crate) async fn layer(
    Held(shared): Held<Arc<Shared>>,
    Place(diff_id): Place<Digest>,
) -> Answer<LayerState> {
    let layers = Layers::new(&shared.settings.artifact_dir);
    Ok(Json(blocking(move || layers.state(&diff_id)).await?))
}

/// Takes a layer: Zstandard frames of its tar, whose SHA-256 is the digest in the path.
///
/// What came in whole frames is kept when it breaks off, and goes on from there.
#[utoipa::path(
    put, operation_id = "send_layer", path = "/v1/layers/{layer}", tag = "artifacts",
    params(("layer" = Digest, Path), LayerQuery),
    request_body(content_type = "application/zstd", description = "Frames of at most 8 MiB of the tar each."),
    responses(
        (status = 200, body = Layer), (status = 400, description = "It is not what the digest says.", body = ErrorBody),
        (status = 409, description = "Somebody else sends it, or more or less of it is here than `from` says.", body = ErrorBody),
        (status = 507, description = "The disk is full.", body = ErrorBody)
    )
)]
pub(crate) async fn receive(
    Held(shared): Held<Arc<Shared>>,
    Place(diff_id): Place<Digest>,
    Asked(query): Asked<LayerQuery>,
    body: Body,
) -> Answer<Layer> {
    let busy = |what: &str| Refused::new(ErrorCode::Busy, format!("{what}; try again in a moment"));
    let _place = shared.layers.try_acquire().map_err(|_| busy("too many layers are being sent at once"))?;
    let turn = shared.layer_turns.take(&diff_id).ok_or_else(|| busy("somebody else sends this layer"))?;
    let layers = Layers::new(&shared.settings.artifact_dir);
    let mut pieces = body.into_data_stream();
    match layers.receive(&turn, query.from, &mut pieces).await {
        Ok(layer) => Ok(Json(layer)),
        // The sender waits for the word to begin, and need not send anything.
        Err(error @ LayerError::Elsewhere { .. }) => Err(error.into()),
        Err(error) => {
            // Somebody else may go on with it meanwhile.
            drop(turn);
            linger(pieces).await;
            Err(error.into())
        }
    }
}

/// Takes the description of an image, which a release can name as its artifact then.
#[utoipa::path(
    put, operation_id = "send_image", path = "/v1/images/{digest}", tag = "artifacts", params(("digest" = Digest, Path)),
    request_body(content_type = "application/json", description = "The description, whose SHA-256 is the digest in the path."),
    responses((status = 200, body = ImageStored), (status = 400, description = "It is not valid, or a layer is not here.", body = ErrorBody))
)]
pub(crate) async fn describe(
    Held(shared): Held<Arc<Shared>>,
    Place(digest): Place<Digest>,
    body: Body,
) -> Answer<ImageStored> {
    let body = Limited::new(body, MOST_DESCRIPTION).collect().await;
    let description: Bytes = body
        .map_err(|error| {
            Refused::new(ErrorCode::TooLarge, format!("the description can't be read: {error}"))
        })?
        .to_bytes();
    let (layers, named) = (Layers::new(&shared.settings.artifact_dir), digest.clone());
    let image = blocking(move || layers.describe(&named, &description)).await?;
    let bytes = image.distinct_layers().iter().map(|layer| layer.bytes).sum();
    Ok(Json(ImageStored { digest, bytes }))
}

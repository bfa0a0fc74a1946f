//! Brings an image from this machine's engine to a cluster, without a registry.
//!
//! The cluster is asked first what it has, and whether its servers could hold and run
//! the image. Then the engine saves the image once, from beginning to end; each
//! layer that the cluster lacks lies in a temporary file until it is there, and
//! several are sent at once. A layer whose upload breaks off goes on where it was,
//! in this run or the next. When nothing is missing, the engine is asked for nothing.

mod board;
mod build;
mod context;
mod layer;
mod local;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use pando_api::client::Client;
use pando_api::v1::images::{ImageAnswer, ImageQuery, LayerState, LocalImage};
use pando_image::archive::{Spooled, Wanted};
use pando_image::engine::{Engine, Inspected, save};
use pando_image::hash::digest_of;
use pando_image::image::{Image, Layer};
use pando_model::app::{AppSpec, VolumeSpec};
use pando_model::release::Digest;
use pando_model::resources::Bytes;
use tokio::sync::mpsc;

use crate::printer::Printer;
use crate::progress::Progress;
use crate::words::{counted, harmless, took};
use board::Board;
pub(crate) use build::Building;
pub(crate) use local::local_socket;
pub(crate) use trouble::ImageTrouble;

/// Layers that are sent at once. Each packs on a thread of its own; more would wait for the same line.
const AT_ONCE: usize = 3;

/// How often the lines are drawn anew.
const DRAWN: Duration = Duration::from_millis(200);

/// An image of this machine on its way to one cluster.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    pub(crate) printer: Printer,
    pub(crate) client: &'a Client,
    pub(crate) engine: &'a Engine,
    pub(crate) spec: &'a AppSpec,
    /// As people call the image.
    pub(crate) reference: &'a str,
}

impl Sending<'_> {
    /// Sends what the cluster lacks; the description that a release names. A dry run sends nothing, and answers only what the
    /// cluster has whole.
    ///
    /// # Errors
    /// [`ImageTrouble`], or what the cluster refused. What came whole stays there for a day.
    pub(crate) async fn send(&self, dry_run: bool) -> anyhow::Result<Option<Digest>> {
        let found = self.engine.inspect(self.reference).await.map_err(ImageTrouble::from)?;
        let found = found.ok_or_else(|| ImageTrouble::Missing(self.reference.to_owned()))?;
        for path in unmounted(&found.volumes, &self.spec.volumes) {
            self.printer.warn(harmless(&VolumeSpec::missing(path)));
        }
        let image = LocalImage {
            id: found.id.clone(),
            platform: found.platform.clone(),
            layers: found.diff_ids.clone(),
            bytes: found.bytes,
        };
        let query = ImageQuery { spec: Box::new(self.spec.clone()), image: Some(image) };
        let answer = self.client.image(&self.spec.name, &query).await?;
        if let Some(known) = answer.known {
            self.printer.talk(format_args!("the cluster has all of `{}` already", self.reference));
            return Ok(Some(known));
        }
        let missing = missing(&answer);
        if dry_run {
            let count = counted(missing.len() as u64, "layer");
            self.printer.talk(format_args!("a deploy would send {count} of `{}`", self.reference));
            return Ok(None);
        }
        self.send_missing(&found, answer, missing).await.map(Some)
    }

    async fn send_missing(
        &self,
        found: &Inspected,
        answer: ImageAnswer,
        missing: BTreeSet<Digest>,
    ) -> anyhow::Result<Digest> {
        let start = Instant::now();
        let board = Arc::new(Board::new(&missing));
        let (sender, spooled) = mpsc::channel(1);
        let wanted = Wanted {
            id: found.id.clone(),
            diff_ids: found.diff_ids.clone(),
            missing,
            directory: std::env::temp_dir(),
        };
        let work = async {
            tokio::try_join!(
                async {
                    save(self.engine, wanted, sender)
                        .await
                        .map_err(ImageTrouble::from)
                        .map_err(anyhow::Error::from)
                },
                self.send_layers(spooled, &board),
            )
        };
        let (config, sent) = self.shown(&board, work).await?;
        let digest = self.describe(config, found, answer, sent).await?;
        let what = format!("{} of {}", Bytes(board.sent()), Bytes(found.bytes));
        let length = took(start.elapsed().into());
        self.printer.talk(format_args!("sent {}, {what}, in {length}", counted(board.len() as u64, "layer")));
        Ok(digest)
    }

    /// Draws the board while the work goes on.
    async fn shown<T>(
        &self,
        board: &Board,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let mut progress = Progress::new(self.printer);
        let mut tick = tokio::time::interval(DRAWN);
        tokio::pin!(work);
        loop {
            tokio::select! {
                // The work goes on where it was; only the lines are drawn anew.
                done = &mut work => {
                    board.done().iter().for_each(|line| progress.keep(line));
                    return done;
                }
                _ = tick.tick() => {
                    board.done().iter().for_each(|line| progress.keep(line));
                    progress.show(&board.lines());
                }
            }
        }
    }

    async fn send_layers(
        &self,
        spooled: mpsc::Receiver<Spooled>,
        board: &Arc<Board>,
    ) -> anyhow::Result<Vec<Layer>> {
        let spooled = stream::unfold(spooled, async |mut spooled| Some((spooled.recv().await?, spooled)));
        let sent = spooled.map(|spooled| layer::send(self.client, spooled, Arc::clone(board)));
        Ok(sent.buffer_unordered(AT_ONCE).try_collect().await?)
    }

    /// Puts the description together and sends it; its digest.
    async fn describe(
        &self,
        config: String,
        found: &Inspected,
        answer: ImageAnswer,
        sent: Vec<Layer>,
    ) -> anyhow::Result<Digest> {
        let here = answer.layers.into_values().filter_map(|state| match state {
            LayerState::Here(layer) => Some(layer),
            LayerState::Part { .. } => None,
        });
        let known: BTreeMap<Digest, Layer> =
            here.chain(sent).map(|layer| (layer.diff_id.clone(), layer)).collect();
        let layers = found.diff_ids.iter().filter_map(|diff_id| known.get(diff_id).cloned()).collect();
        let description = Image::new(config, layers).map_err(ImageTrouble::from)?.encode();
        let digest = digest_of(&description);
        self.client.put_image(&digest, description).await?;
        Ok(digest)
    }
}

/// What the image declares by `VOLUME` and the file has no volume for, in order.
fn unmounted<'a>(declared: &'a [String], mounted: &[VolumeSpec]) -> Vec<&'a str> {
    let mut left: Vec<&str> = declared.iter().map(|path| path.trim_end_matches('/')).collect();
    left.retain(|path| mounted.iter().all(|volume| volume.target.trim_end_matches('/') != *path));
    left.sort_unstable();
    left
}

fn missing(answer: &ImageAnswer) -> BTreeSet<Digest> {
    let part = |state: &LayerState| matches!(state, LayerState::Part { .. });
    answer.layers.iter().filter(|(_, state)| part(state)).map(|(diff_id, _)| diff_id.clone()).collect()
}

#[cfg(test)]
mod tests;

//! What is deployed, packed and brought to a cluster. Ctrl-C ends either, and nothing was deployed then.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pando_api::client::Client;
use pando_api::v1::images::ImageQuery;
use pando_config::Target;
use pando_image::engine::Engine;
use pando_model::app::{PullPolicy, RunSource};
use pando_model::release::Digest;
use pando_model::resources::Bytes;
use tokio::signal::unix::Signal;

use crate::exit::{FAILED, INTERRUPTED, Trouble};
use crate::image::{Building, ImageTrouble, Sending, local_socket};
use crate::pack::{Limits, PackError, Packed, pack};
use crate::printer::Printer;
use crate::progress::Progress;
use crate::words::{counted, took};

/// Sends the packed release, unless the cluster has it. A dry run sends nothing, and names what the cluster has only.
pub(super) async fn bring(
    printer: Printer,
    client: &Client,
    packed: &Packed,
    dry_run: bool,
    interrupts: &mut Signal,
) -> anyhow::Result<Option<Digest>> {
    tokio::select! {
        // What was sent of it is of no use to anybody and is forgotten there.
        sent = send(printer, client, packed, dry_run) => sent,
        _ = interrupts.recv() => Err(stopped().into()),
    }
}

/// Builds the image, if it is to be built, and sends one that this machine's engine has and the servers are not to pull, or need
/// not. `None`: they pull it; or a dry run that would build.
pub(super) async fn bring_image(
    printer: Printer,
    client: &Client,
    target: &Target,
    dry_run: bool,
    interrupts: &mut Signal,
) -> anyhow::Result<Option<Digest>> {
    tokio::select! {
        // A builder ends with it. What came whole, and frames of the rest, stay in the cluster for a day.
        brought = build_or_find(printer, client, target, dry_run) => brought,
        _ = interrupts.recv() => Err(stopped().into()),
    }
}

async fn build_or_find(
    printer: Printer,
    client: &Client,
    target: &Target,
    dry_run: bool,
) -> anyhow::Result<Option<Digest>> {
    let RunSource::Image { reference, pull_policy } = &target.spec.run else { return Ok(None) };
    if *pull_policy == PullPolicy::Always {
        return Ok(None);
    }
    let must = target.build.is_some();
    let (socket, engine) = match engine().await {
        Ok(found) => found,
        Err(error) if !must => {
            if *pull_policy == PullPolicy::Never {
                printer.warn(&error);
            }
            return Ok(not_here(printer, reference, *pull_policy));
        }
        Err(error) => return Err(error.into()),
    };
    let mut sending = Sending { printer, client, engine: &engine, spec: &target.spec, reference };
    let built;
    if let Some(build) = &target.build {
        if dry_run {
            printer.talk("a deploy would build the image, and send what the cluster lacks of it");
            return Ok(None);
        }
        let query = ImageQuery { spec: Box::new(target.spec.clone()), image: None };
        let servers = client.image(&target.spec.name, &query).await?.servers;
        let building = Building { build, engine: &engine, socket: &socket, tag: reference };
        built = building.run(&servers).await?;
        sending.reference = &built;
    } else if !must && engine.inspect(reference).await.map_err(ImageTrouble::from)?.is_none() {
        return Ok(not_here(printer, reference, *pull_policy));
    }
    sending.send(dry_run).await
}

async fn engine() -> Result<(PathBuf, Engine), ImageTrouble> {
    let socket = local_socket()?;
    let engine = Engine::connect(&socket).await?;
    Ok((socket, engine))
}

/// Servers pull it, or have it by other ways.
fn not_here(printer: Printer, reference: &str, policy: PullPolicy) -> Option<Digest> {
    if policy == PullPolicy::Never {
        printer.talk(format_args!(
            "`{reference}` is not in this machine's engine: each server's has to have it"
        ));
    }
    None
}

/// Packs on another thread, and says what; Ctrl-C ends that, and removes what was written.
pub(super) async fn pack_or_stop(directory: &Path, printer: Printer) -> anyhow::Result<Packed> {
    let stop = Arc::new(AtomicBool::new(false));
    let (directory, stopping) = (directory.to_owned(), Arc::clone(&stop));
    let mut packing = tokio::task::spawn_blocking(move || pack(&directory, Limits::default(), &stopping));
    let packed = tokio::select! {
        packed = &mut packing => packed?.map_err(|error| cannot_pack(&error))?,
        told = tokio::signal::ctrl_c() => {
            told?;
            stop.store(true, Ordering::Relaxed);
            // Whatever it came to, its file is gone with it.
            drop(packing.await);
            return Err(stopped().into());
        }
    };
    for note in &packed.notes {
        printer.warn(note);
    }
    printer.talk(format_args!("packed {}, {}", counted(packed.files, "file"), Bytes(packed.bytes)));
    Ok(packed)
}

fn stopped() -> Trouble {
    Trouble::new(INTERRUPTED, "interrupted", "interrupted: nothing was deployed")
}

fn cannot_pack(error: &PackError) -> Trouble {
    let message = pando_rt::error_chain::error_chain(error);
    Trouble::new(FAILED, "pack", message).hint(error.hint())
}

async fn send(
    printer: Printer,
    client: &Client,
    packed: &Packed,
    dry_run: bool,
) -> anyhow::Result<Option<Digest>> {
    if client.has_artifact(&packed.digest).await? {
        printer.talk("the cluster has it already");
        return Ok(Some(packed.digest.clone()));
    }
    if dry_run {
        printer.talk("a deploy would send it");
        return Ok(None);
    }
    let start = Instant::now();
    let mut progress = Progress::new(printer);
    let sent = Arc::new(AtomicU64::new(0));
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let sending = client.put_artifact(&packed.digest, packed.path(), Arc::clone(&sent));
    tokio::pin!(sending);
    loop {
        tokio::select! {
            // The upload goes on where it was; only the line is drawn anew.
            stored = &mut sending => {
                stored?;
                break;
            }
            _ = tick.tick() => progress.show(&[upload_line(&sent, packed.bytes)]),
        }
    }
    progress.keep(&format!("sent in {}", took(start.elapsed().into())));
    Ok(Some(packed.digest.clone()))
}

fn upload_line(sent: &AtomicU64, all: u64) -> String {
    let sent = sent.load(Ordering::Relaxed).min(all);
    let percent = (sent * 100).checked_div(all).unwrap_or(100);
    format!("  sending {} of {} ({percent} %)", Bytes(sent), Bytes(all))
}

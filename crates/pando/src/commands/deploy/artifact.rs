//! What is deployed, packed and brought to a cluster. Ctrl-C ends either, and nothing was deployed then.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pando_api::client::Client;
use pando_model::release::Digest;
use pando_model::resources::Bytes;
use tokio::signal::unix::Signal;

use crate::exit::{FAILED, INTERRUPTED, Trouble};
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

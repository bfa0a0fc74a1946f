//! `pando prune`: what nothing needs any more, shown first, then removed.

use std::process::ExitCode;

use pando_api::v1::prune::{PruneAnswer, PruneQuery, Pruning, VolumeLeft};
use pando_model::resources::Bytes;

use crate::cli::PruneArgs;
use crate::context::Context;
use crate::exit::FAILED;
use crate::printer::{Printer, Style};
use crate::table::{Cell, Table};
use crate::words::{counted, harmless, thousands};

/// What is not on a server is in the store that the control plane has of its own.
const STORE: &str = "control plane";

pub(crate) async fn run(args: &PruneArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let (client, query) = (context.client()?, PruneQuery { server: args.server.clone() });
    let answer = if args.yes { client.prune(&query).await? } else { client.prunable(&query).await? };
    let printer = context.printer();
    if printer.is_json() {
        printer.json(&answer)?;
    } else {
        show(&answer, printer)?;
    }
    Ok(if is_whole(&answer) { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Each place that answered, by name.
fn places(answer: &PruneAnswer) -> impl Iterator<Item = (&str, &Pruning)> {
    let servers = answer.servers.iter();
    let servers = servers.filter_map(|server| Some((server.name.as_str(), server.pruning.as_ref()?)));
    servers.chain(answer.control.as_ref().map(|pruning| (STORE, pruning)))
}

fn is_whole(answer: &PruneAnswer) -> bool {
    answer.servers.iter().all(|server| server.unreachable.is_none())
        && places(answer).all(|(_, pruning)| pruning.trouble.is_empty())
}

fn show(answer: &PruneAnswer, printer: Printer) -> anyhow::Result<()> {
    if places(answer).any(|(_, pruning)| pruning.count > 0) {
        printer.lines(&table(answer).lines(printer.paint()))?;
        printer.line("")?;
    }
    for (name, pruning) in places(answer) {
        let untold = pruning.count.saturating_sub(pruning.things.len() as u64);
        if untold > 0 {
            printer.line(format_args!("{name}: and {} smaller ones", thousands(untold)))?;
        }
    }
    printer.line(summary(answer))?;
    for server in answer.servers.iter().filter(|server| server.unreachable.is_some()) {
        let why = server.unreachable.as_deref().unwrap_or_default();
        printer.warn(format_args!("{} could not be asked: {}", server.name, harmless(why)));
    }
    for line in volumes(answer) {
        printer.line(line)?;
    }
    for (name, pruning) in places(answer) {
        for trouble in &pruning.trouble {
            printer.warn(format_args!("{name}: {}", harmless(trouble)));
        }
    }
    Ok(())
}

/// What stays, though the app that it was of is not there any more, and how it goes.
fn volumes(answer: &PruneAnswer) -> Vec<String> {
    let of = |(place, pruning): (&str, &Pruning)| {
        let line = |volume: &VolumeLeft| {
            let (name, app) = (harmless(&volume.name), harmless(&volume.app));
            format!(
                "{place}: the volume {name} of {app}, which has no release there, stays with its data; `docker volume rm {name}` \
                 on {place} removes it"
            )
        };
        pruning.volumes.iter().map(line).collect::<Vec<_>>()
    };
    places(answer).flat_map(of).collect()
}

fn table(answer: &PruneAnswer) -> Table {
    let mut table = Table::new(&["WHERE", "KIND", "NAME", "SIZE", "WHY"]);
    for (name, pruning) in places(answer) {
        for thing in &pruning.things {
            table.row(vec![
                name.into(),
                thing.kind.word().into(),
                short(&harmless(&thing.name)).into(),
                Bytes(thing.bytes).into(),
                Cell::styled(harmless(&thing.why), Style::Dim),
            ]);
        }
    }
    table
}

/// Digests are known by their beginning.
fn short(name: &str) -> String {
    let bare = name.strip_prefix("sha256:").unwrap_or(name);
    let digits = bare.bytes().take_while(u8::is_ascii_hexdigit).count();
    if digits == 64 { format!("{}{}", &bare[..12], &bare[64..]) } else { name.to_owned() }
}

/// `1.2 GB in 3 things on 2 servers would go: pando prune --yes`
fn summary(answer: &PruneAnswer) -> String {
    let count: u64 = places(answer).map(|(_, pruning)| pruning.count).sum();
    let places = places(answer).filter(|(_, pruning)| pruning.count > 0).count() as u64;
    if count == 0 {
        let what = if answer.removed { "removed" } else { "to remove" };
        return format!("nothing {what}: all that there is is needed");
    }
    let what =
        format!("{} in {} at {}", Bytes(answer.bytes), counted(count, "thing"), counted(places, "place"));
    if answer.removed {
        format!("removed {what}")
    } else {
        format!("{what} would go; `pando prune --yes` removes what nothing needs then")
    }
}

#[cfg(test)]
mod tests {
    use pando_api::v1::prune::{PruneKind, PruneThing, ServerPruning};

    use super::*;

    fn pruning(sizes: &[u64], trouble: &[&str]) -> Pruning {
        let thing = |bytes: &u64| PruneThing {
            kind: PruneKind::Packed,
            name: format!("{bytes:064x}.part"),
            bytes: *bytes,
            why: "no kept release needs it".to_owned(),
        };
        let trouble = trouble.iter().map(|text| (*text).to_owned()).collect();
        Pruning::of(sizes.iter().map(thing).collect(), trouble)
    }

    fn answer(removed: bool, main: Pruning, other: Result<Pruning, &str>) -> PruneAnswer {
        let server = |name: &str, pruning: Result<Pruning, &str>| ServerPruning {
            name: name.parse().unwrap(),
            unreachable: pruning.as_ref().err().map(|why| (*why).to_owned()),
            pruning: pruning.ok(),
        };
        let bytes = main.bytes;
        PruneAnswer {
            removed,
            servers: vec![server("main", Ok(main)), server("web-2", other)],
            control: None,
            bytes,
        }
    }

    #[test]
    fn what_would_go_and_what_went_is_summed_up() {
        let look = answer(false, pruning(&[3_000_000, 1_000_000], &[]), Ok(pruning(&[], &[])));
        assert!(is_whole(&look));
        assert_eq!(
            summary(&look),
            "4 MB in 2 things at 1 place would go; `pando prune --yes` removes what nothing needs then"
        );
        let gone = answer(true, pruning(&[1_000_000], &[]), Err("it is lost"));
        assert_eq!(summary(&gone), "removed 1 MB in 1 thing at 1 place");
        assert!(!is_whole(&gone), "a server is missing");
        let nothing = answer(false, pruning(&[], &["the engine is away"]), Ok(pruning(&[], &[])));
        assert_eq!(summary(&nothing), "nothing to remove: all that there is is needed");
        assert!(!is_whole(&nothing));
    }

    #[test]
    fn volumes_stay_and_how_they_go_is_told() {
        let left = VolumeLeft { name: "pando.shop.up".to_owned(), app: "shop".to_owned() };
        let main = Pruning { volumes: vec![left], ..pruning(&[], &[]) };
        let told = volumes(&answer(false, main, Ok(pruning(&[], &[]))));
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("main: the volume pando.shop.up of shop"), "{told:?}");
        assert!(told[0].contains("`docker volume rm pando.shop.up` on main"), "{told:?}");
    }

    #[test]
    fn digests_are_short_and_names_whole() {
        let digest = "ab".repeat(32);
        assert_eq!(short(&format!("{digest}.part")), "abababababab.part");
        assert_eq!(short(&format!("sha256:{digest}")), "abababababab");
        assert_eq!(short("pando/shop:v3-1a2b3c4d"), "pando/shop:v3-1a2b3c4d");
    }
}

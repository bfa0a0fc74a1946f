//! Which of the file's targets are meant, and whether they can be deployed at all.

use pando_config::{Problems, Target};

use crate::cli::DeployArgs;
use crate::context::{Context, choose_target};

/// At least one, none twice; of several, in the order given or the file's. In `pando dev` the file without its targets'
/// keys.
pub(super) fn targets(args: &DeployArgs, context: &Context) -> anyhow::Result<Vec<Target>> {
    let loaded = context.load(None)?;
    if !loaded.warnings.is_empty() {
        context.printer().talk(loaded.warnings.render(context.printer().talk_paint().is_coloured()));
    }
    if args.all {
        return Ok(if loaded.targets.is_empty() {
            loaded.base.into_iter().collect()
        } else {
            loaded.targets
        });
    }
    if !args.target.is_empty() {
        return named(&args.target, &loaded.targets, context);
    }
    match (&loaded.targets[..], loaded.base) {
        ([], Some(base)) => Ok(vec![base]),
        ([target], None) => Ok(vec![target.clone()]),
        (_, Some(base)) if context.is_cluster_given()? => Ok(vec![base]),
        ([target], _) => Ok(vec![target.clone()]),
        (targets, _) => Err(choose_target(targets, "; `--all` means every one").into()),
    }
}

fn named(names: &[String], targets: &[Target], context: &Context) -> anyhow::Result<Vec<Target>> {
    let mut found: Vec<Target> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let target = targets.iter().find(|target| target.name.as_deref() == Some(name));
        match target {
            Some(_) if names[..index].contains(name) => {}
            Some(target) => found.push(target.clone()),
            // The file's own words for it, with the nearest name.
            None => found.extend(context.load(Some(name))?.targets),
        }
    }
    Ok(found)
}

/// What this version can't run is said before anything changes, of every target at once.
pub(super) fn check(targets: &[Target]) -> Result<(), Problems> {
    let all = targets
        .iter()
        .filter(|target| target.unsupported.has_errors())
        .fold(Problems::default(), |all, target| all.and(target.unsupported.clone()));
    if all.has_errors() { Err(all) } else { Ok(()) }
}

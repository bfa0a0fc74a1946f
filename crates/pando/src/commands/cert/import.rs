//! Bringing a certificate: judged here first, where the files are and somebody can mend them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use pando_api::v1::certificates::{CertificateImport, CertificateImported};
use pando_routing::SecretText;
use pando_trust::Served;
use pando_trust::served::{MOST_CHAIN_BYTES, MOST_KEY_BYTES, Part, ServedFault};
use serde_json::json;

use super::show::day;
use crate::cli::CertImportArgs;
use crate::context::Context;
use crate::exit::Trouble;
use crate::printer::Style;
use crate::words::{listed, now};

pub(super) async fn run(args: &CertImportArgs, context: &Context) -> anyhow::Result<()> {
    let chain_pem = read(&args.cert, MOST_CHAIN_BYTES)?;
    let key_pem = SecretText(read(&args.key, MOST_KEY_BYTES)?);
    let served = Served::inspect(&chain_pem, &key_pem.0, now()).map_err(|faults| unfit(&faults, args))?;
    check_domains(args, &served)?;
    if args.dry_run {
        return judged(args, &served, context);
    }
    let domains = args.domains.iter().map(ToString::to_string).collect();
    let import = CertificateImport { chain_pem, key_pem, domains, force: args.force };
    let imported = context.client()?.import_certificate(&import).await?;
    told(&imported, context)
}

/// No more than could be right: somebody may have named a disk.
fn read(path: &Path, most: usize) -> Result<String, Trouble> {
    let failed = |error: std::io::Error| {
        Trouble::wrong(format!("can't read `{}`: {error}", path.display()))
            .hint("name the files: `--cert FILE --key FILE`")
    };
    let mut bytes = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).and_then(|file| file.take(bound).read_to_end(&mut bytes)).map_err(failed)?;
    // What is no text is no PEM either, and is said to be none.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unfit(faults: &[ServedFault], args: &CertImportArgs) -> Trouble {
    let file = |fault: &ServedFault| match fault.part() {
        Part::Chain => args.cert.display(),
        Part::Key => args.key.display(),
    };
    let lines =
        |fault: &ServedFault| [format!("`{}`: {fault}", file(fault)), format!("    {}", fault.remedy())];
    let trouble = Trouble::wrong("the certificate can't be served");
    trouble.details(faults.iter().flat_map(lines).collect())
}

fn check_domains(args: &CertImportArgs, served: &Served) -> Result<(), Trouble> {
    let covers =
        |name: &String, domain| name.parse().is_ok_and(|name: pando_routing::Host| name.covers(domain));
    let foreign = args.domains.iter().find(|domain| !served.names.iter().any(|name| covers(name, *domain)));
    match foreign {
        None => Ok(()),
        Some(domain) => {
            let message = format!("`{}` is not for `{domain}`", args.cert.display());
            Err(Trouble::wrong(message).hint(format!("it is for {}", listed(&served.names))))
        }
    }
}

fn judged(args: &CertImportArgs, served: &Served, context: &Context) -> anyhow::Result<()> {
    let printer = context.printer();
    let remarks: Vec<String> = served.remarks.iter().map(ToString::to_string).collect();
    if printer.is_json() {
        return printer.json(&json!({
            "names": served.names, "issuer": served.issuer, "not_before": served.not_before, "not_after": served.not_after,
            "key": served.key, "fingerprint": served.fingerprint, "remarks": remarks,
        }));
    }
    warn(&remarks, context);
    let (names, until) = (listed(&served.names), day(served.not_after));
    printer.line(format_args!(
        "`{}` can be served: for {names}, by {}, until {until}, {}; nothing was changed",
        args.cert.display(),
        served.issuer,
        served.key
    ))
}

fn told(imported: &CertificateImported, context: &Context) -> anyhow::Result<()> {
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(imported);
    }
    warn(&imported.remarks, context);
    let one = &imported.certificate;
    printer.line(format_args!(
        "imported {} for {}, by {}, until {}",
        one.name,
        listed(&one.domains),
        one.issuer,
        day(one.not_after)
    ))?;
    for name in &imported.replaced {
        printer.line(format_args!("{name} is gone: its domains are this one's now"))?;
    }
    Ok(())
}

fn warn(remarks: &[String], context: &Context) {
    let printer = context.printer();
    for remark in remarks {
        printer.talk(format_args!("{} {remark}", printer.talk_paint().with(Style::Warn, "warning:")));
    }
}

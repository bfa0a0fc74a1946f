//! `pando version`

use std::process::ExitCode;

use serde_json::json;

use crate::context::Context;

/// This program's version, and the control plane's where one can be asked.
pub(crate) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let own = env!("CARGO_PKG_VERSION");
    let control = match context.client() {
        Ok(client) => client.version().await.ok(),
        Err(_) => None,
    };
    let printer = context.printer();
    if printer.is_json() {
        printer.json(&json!({ "version": own, "control": control }))?;
        return Ok(ExitCode::SUCCESS);
    }
    printer.line(format_args!("pando {own}"))?;
    if let Some(control) = control.filter(|control| control.version != own) {
        printer.warn(format_args!("the control plane has version {}", control.version));
    }
    Ok(ExitCode::SUCCESS)
}

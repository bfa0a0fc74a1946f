//! The OpenAPI document, made from the handlers and types themselves.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{
    agents, apps, artifacts, balancers, certificates, deployments, events, exec, firewall, images, join,
    logs, meta, prune, registries, servers,
};
use super::{interludes, settings, tokens, wishes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pando control plane",
        description = "Deploys apps over servers. Every refusal has an `ErrorBody`. Additions stay in v1; a change of meaning would be v2.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        meta::health, meta::version, meta::openapi, meta::status,
        apps::list, apps::show, apps::releases,
        deployments::create, deployments::list, deployments::show,
        wishes::scale, wishes::stop, wishes::start, wishes::forget,
        interludes::begin_maintenance, interludes::end_maintenance, interludes::pause, interludes::resume,
        logs::show, exec::open,
        events::list, events::traffic, events::endpoints,
        servers::list, servers::show, servers::roles, servers::labels, servers::drain, servers::undrain, servers::remove,
        settings::show, settings::change,
        balancers::list, balancers::lockdown, balancers::unlock,
        certificates::list, certificates::import, certificates::remove,
        registries::list, registries::set, registries::remove, registries::reveal,
        firewall::show, prune::show, prune::remove,
        artifacts::probe, artifacts::receive, artifacts::fetch,
        images::ask, images::layer, images::receive, images::describe,
        tokens::list, tokens::create, tokens::remove,
        join::create_token, join::join, join::renew,
        agents::target, agents::report,
    ),
    components(schemas(pando_api::v1::agents::LogLine)),
    security(("token" = [])),
    modifiers(&Token)
)]
struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The document as it is checked in at `docs/reference/openapi.json`: JSON, ending with a new line.
#[must_use]
pub fn openapi_json() -> String {
    // The document is plain data; there is nothing in it that JSON can't say.
    let text = Document::openapi().to_pretty_json().unwrap_or_default();
    text + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::routes;

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let documented: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(move |method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let routed = routes().iter().map(|r| (r.method.to_string(), r.path.to_owned())).collect();
        assert_eq!(documented, routed);
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
        let items = document["paths"].as_object().unwrap().values();
        let operations = items.flat_map(|item| item.as_object().unwrap().values());
        let names: Vec<&str> = operations.map(|one| one["operationId"].as_str().unwrap()).collect();
        let different: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }
}

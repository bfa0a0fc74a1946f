//! Bringing, listing and removing certificates for visitors. Keys come in and never go out.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State as Held;
use axum::{Extension, Json};
use http::StatusCode;
use pando_api::v1::certificates::{
    CertificateImport, CertificateImported, CertificateList, CertificateRemoveQuery, CertificateSource,
};
use pando_api::{ErrorBody, ErrorCode};
use pando_routing::{Certificate, Host};
use pando_trust::{Served, ServedFault};

use super::extract::{Asked, Place, Sent};
use super::meta::view_of;
use super::reply::{Answer, Refused};
use crate::certificates::{self, Certificates, Imported, New, Secret, StoredCertificate};
use crate::events::{self, Draft};
use crate::shared::Shared;
use crate::state::State;
use crate::store::{Key, Op, Outcome, StoreError, Txn};
use crate::tokens::Caller;

const TRIES: usize = 5;

/// What a table carries without strain.
const MAX_CERTIFICATES: usize = 1000;

/// Every certificate but for its key, and the domains that have none.
#[utoipa::path(get, operation_id = "list_certificates", path = "/v1/certificates", tag = "certificates", responses((status = 200, body = CertificateList)))]
pub(crate) async fn list(Held(shared): Held<Arc<Shared>>) -> Answer<CertificateList> {
    let state = State::load(&*shared.store).await?;
    Ok(Json(view_of(&shared, &state, |view| view.certificates())))
}

/// Brings a certificate with its key. Load balancers use it within a second, and close no connection for it.
#[utoipa::path(
    post, operation_id = "import_certificate", path = "/v1/certificates", tag = "certificates", request_body = CertificateImport,
    responses(
        (status = 200, body = CertificateImported),
        (status = 400, description = "It can't be served: `details` say why, and what to do.", body = ErrorBody),
        (status = 409, description = "A domain would be left without a certificate.", body = ErrorBody)
    )
)]
pub(crate) async fn import(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Sent(request): Sent<CertificateImport>,
) -> Answer<CertificateImported> {
    let served = Served::inspect(&request.chain_pem, &request.key_pem.0, shared.wall_now());
    let served = served.map_err(|faults| cannot_be_served(&faults))?;
    let remarks = served.remarks.iter().map(ToString::to_string).collect();
    let new = new(&shared, &caller, request.clone(), served)?;
    let name = new.name.clone();
    let replaced = keep(&shared, &caller, new, request.force).await?;
    let list = list(Held(shared)).await?.0;
    let certificate = list.certificates.into_iter().find(|one| one.name == name.to_string());
    let certificate = certificate.ok_or_else(|| {
        Refused::new(
            ErrorCode::Conflict,
            format!("the certificate `{name}` was removed by somebody meanwhile"),
        )
    })?;
    let replaced = replaced.iter().map(ToString::to_string).collect();
    Ok(Json(CertificateImported { certificate, replaced, remarks }))
}

fn cannot_be_served(faults: &[ServedFault]) -> Refused {
    let lines = faults.iter().map(|fault| format!("{}: {fault}; {}", fault.part(), fault.remedy()));
    ErrorBody::new(ErrorCode::Invalid, "the certificate can't be served").details(lines.collect()).into()
}

/// Sealed, and judged as load balancers will judge it.
fn new(shared: &Shared, caller: &Caller, request: CertificateImport, served: Served) -> Result<New, Refused> {
    let wrong = |why: Vec<certificates::NotImported>| {
        let lines = why.iter().map(ToString::to_string).collect();
        let error =
            ErrorBody::new(ErrorCode::Invalid, "the certificate can't be used for that").details(lines);
        Refused::from(error.hint(format!("it is for {}", served.names.join(", "))))
    };
    let hosts = certificates::hosts_of(&request.domains, &served.names).map_err(wrong)?;
    let CertificateImport { chain_pem, key_pem, .. } = request;
    let certificate = Certificate { hosts, chain_pem, key_pem };
    certificates::check(&certificate).map_err(wrong)?;
    let Certificate { hosts, chain_pem, key_pem } = certificate;
    // A certificate for no host was refused above.
    let name = hosts.first().cloned().unwrap_or(Host::Any);
    let place = Key::Certificate(name.clone()).to_string();
    let sealed = shared.trust.vault().seal(&place, &Secret { chain_pem, key_pem });
    let secret = sealed.map_err(|error| Refused::new(ErrorCode::Internal, error.to_string()))?;
    let stored = StoredCertificate {
        source: CertificateSource::Imported,
        hosts,
        names: served.names,
        issuer: served.issuer,
        not_before: served.not_before,
        not_after: served.not_after,
        key: served.key,
        fingerprint: served.fingerprint.to_string(),
        added_at: shared.now(),
        added_by: caller.name.clone(),
        warned: None,
        secret,
    };
    Ok(New { name, stored })
}

/// Puts it among the others; those that are gone for it.
async fn keep(shared: &Shared, caller: &Caller, new: New, force: bool) -> Result<Vec<Host>, Refused> {
    let _alone = shared.certificates.lock().await;
    let text = import_words(&new, caller);
    for _ in 0..TRIES {
        let state = State::load(&*shared.store).await?;
        let after = certificates::import(&state.certificates, new.clone());
        if after.certificates.len() > MAX_CERTIFICATES {
            let text = format!("there are {MAX_CERTIFICATES} certificates already; remove some");
            return Err(Refused::new(ErrorCode::Conflict, text));
        }
        unless_bare(shared, &state, &after.certificates, force)?;
        let txn = changed(&state, &new.name, &after)?.ops(told(shared, &text, &after.replaced)?);
        if matches!(shared.store.txn(txn).await?, Outcome::Committed(_)) {
            return Ok(after.replaced);
        }
    }
    Err(busy())
}

fn changed(state: &State, name: &Host, after: &Imported) -> Result<Txn, StoreError> {
    let mut txn = Txn::new();
    for name in after.shortened.iter().chain([name]) {
        let key = Key::Certificate(name.clone());
        txn = txn.unchanged(&key, state.modified(&key));
        if let Some(stored) = after.certificates.get(name) {
            txn = txn.put(&key, stored)?;
        }
    }
    Ok(after.replaced.iter().fold(txn, |txn, name| {
        let key = Key::Certificate(name.clone());
        txn.unchanged(&key, state.modified(&key)).delete(&key)
    }))
}

fn told(shared: &Shared, text: &str, replaced: &[Host]) -> Result<Vec<Op>, StoreError> {
    let gone = replaced
        .iter()
        .map(|name| Draft::new(format!("the certificate `{name}` is gone: another took its domains")));
    events::put_ops([Draft::new(text)].into_iter().chain(gone), shared.now(), &mut shared.entropy()?)
}

fn import_words(new: &New, caller: &Caller) -> String {
    let New { name, stored } = new;
    let hosts: Vec<String> = stored.hosts.iter().map(ToString::to_string).collect();
    let until: String = stored.not_after.to_string().chars().take(10).collect();
    format!(
        "the certificate `{name}` for {} was imported (by {}, until {until}), says {}",
        hosts.join(", "),
        stored.issuer,
        caller.name
    )
}

/// Refuses what would leave a domain of an app without a certificate that has one.
fn unless_bare(shared: &Shared, state: &State, after: &Certificates, force: bool) -> Result<(), Refused> {
    if force {
        return Ok(());
    }
    let wanted: BTreeSet<Host> = view_of(shared, state, |view| view.hosts());
    let bare = certificates::left_bare(&state.certificates, after, &wanted);
    if bare.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = bare.iter().map(ToString::to_string).collect();
    let text =
        format!("{} would be left without a certificate: visitors would be warned off", names.join(", "));
    let error = ErrorBody::new(ErrorCode::Harmful, text);
    Err(error.hint("import one for it first, or say `--force`").into())
}

/// Removes a certificate. Its domains are answered with another that is for them, if there is one.
#[utoipa::path(
    delete, operation_id = "remove_certificate", path = "/v1/certificates/{certificate}", tag = "certificates",
    params(("certificate" = String, Path, description = "Its name, as `GET /v1/certificates` has it."), CertificateRemoveQuery),
    responses(
        (status = 204, description = "It is removed."), (status = 404, body = ErrorBody),
        (status = 409, description = "A domain would be left without a certificate.", body = ErrorBody)
    )
)]
pub(crate) async fn remove(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(name): Place<String>,
    Asked(query): Asked<CertificateRemoveQuery>,
) -> Result<StatusCode, Refused> {
    let _alone = shared.certificates.lock().await;
    let unknown = || {
        let error = ErrorBody::new(ErrorCode::NotFound, format!("there is no certificate `{name}`"));
        Refused::from(error.hint("`pando cert ls` shows those that there are"))
    };
    let host: Host = name.parse().map_err(|_| unknown())?;
    for _ in 0..TRIES {
        let state = State::load(&*shared.store).await?;
        let mut after = state.certificates.clone();
        after.remove(&host).ok_or_else(unknown)?;
        unless_bare(&shared, &state, &after, query.force)?;
        let key = Key::Certificate(host.clone());
        let text = format!("the certificate `{host}` was removed, says {}", caller.name);
        let event = events::put_ops([Draft::new(text)], shared.now(), &mut shared.entropy()?)?;
        let txn = Txn::new().unchanged(&key, state.modified(&key)).delete(&key).ops(event);
        if matches!(shared.store.txn(txn).await?, Outcome::Committed(_)) {
            return Ok(StatusCode::NO_CONTENT);
        }
    }
    Err(busy())
}

fn busy() -> Refused {
    Refused::new(ErrorCode::Conflict, "the certificates are being changed by many at once; try again")
}

//! What a request says of its connection.

use super::{RequestHead, Version};
use crate::field::{Fields, Known, tokens};
use crate::refusal::Refusal;

/// Fields that end at this connection whatever anybody says.
const OF_CONNECTION: u64 = Known::bits([
    Known::Connection,
    Known::Http2Settings,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::TransferEncoding,
    Known::Upgrade,
]);

/// What the tokens of `Connection` come to.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// Some token names a field.
    pub(crate) nominates: bool,
}

impl Wishes {
    pub(crate) fn of(fields: &Fields, head: &[u8]) -> Self {
        let mut wishes = Self::default();
        if !fields.has(Known::Connection) {
            return wishes;
        }
        for token in fields.all(Known::Connection).flat_map(|field| tokens(field.value.bytes(head))) {
            match token {
                b"keep-alive" => wishes.keep_alive = true,
                b"close" => wishes.close = true,
                close if close.eq_ignore_ascii_case(b"close") => wishes.close = true,
                keep if keep.eq_ignore_ascii_case(b"keep-alive") => wishes.keep_alive = true,
                upgrade if upgrade.eq_ignore_ascii_case(b"upgrade") => wishes.upgrade = true,
                te if te.eq_ignore_ascii_case(b"te") => {}
                _ => wishes.nominates = true,
            }
        }
        wishes
    }
}

/// Whether `Connection` names the field of that name.
pub(crate) fn nominates(fields: &Fields, head: &[u8], name: &[u8]) -> bool {
    let mut all = fields.all(Known::Connection).flat_map(|field| tokens(field.value.bytes(head)));
    all.any(|token| token.eq_ignore_ascii_case(name))
}

impl RequestHead {
    pub(super) fn read_connection(&mut self, head: &[u8]) -> Result<(), Refusal> {
        let wishes = Wishes::of(&self.fields, head);
        self.persistent = match self.version {
            Version::Http10 => wishes.keep_alive && !wishes.close,
            Version::Http11 | Version::Http2 => !wishes.close,
        };
        if wishes.nominates {
            self.drop_nominated(head)?;
        }
        self.takes_trailers = self.has_token(Known::Te, b"trailers", head);
        let asked = wishes.upgrade && self.version == Version::Http11;
        self.upgrade = self.fields.only(Known::Upgrade).filter(|_| asked).map(|field| field.value);
        self.expects_continue =
            self.version == Version::Http11 && self.has_token(Known::Expect, b"100-continue", head);
        if self.fields.has_any(OF_CONNECTION) {
            self.fields.drop_if(|field| OF_CONNECTION & field.known.bit() != 0);
        }
        if self.version == Version::Http10 {
            // An old client's expectation means nothing (RFC 9110, 10.1.1).
            self.fields.drop_if(|field| field.known == Known::Expect);
        }
        Ok(())
    }

    fn has_token(&self, known: Known, wanted: &[u8], head: &[u8]) -> bool {
        let mut all = self.fields.all(known).flat_map(|field| tokens(field.value.bytes(head)));
        all.any(|token| token.eq_ignore_ascii_case(wanted))
    }

    fn drop_nominated(&mut self, head: &[u8]) -> Result<(), Refusal> {
        for n in 0..self.fields.all.len() {
            let field = self.fields.all[n];
            if nominates(&self.fields, head, field.name.bytes(head)) {
                if is_needed_all_the_way(field.known) {
                    return Err(Refusal::Nomination);
                }
                // Announcing trailers is for whoever reads them.
                self.fields.all[n].dropped |= field.known != Known::Trailer;
            }
        }
        Ok(())
    }
}

/// To let these vanish on the way is an attack, not a wish.
fn is_needed_all_the_way(known: Known) -> bool {
    use Known::{Authorization, ContentLength, Cookie, Host, XRequestId};
    known.is_about_client() || matches!(known, Authorization | ContentLength | Cookie | Host | XRequestId)
}

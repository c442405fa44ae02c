//! What the tests of descriptions share: an account for any dialect, and a written request as a backend's.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sms_sidecar::dialect::recognise;
use sms_sidecar::dialect::{
    Account, Catalog, Dialect, LoginToken, ProviderRequest, RecognisedRequest, Recognition, Reply,
    Request, RequestTarget,
};
use sms_sidecar::secret::{Credential, Version};

/// Everything an `Account` borrows.
pub(crate) struct Owned {
    pub(crate) credential: Credential,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) token: Option<LoginToken>,
    pub(crate) base_url: String,
}

impl Owned {
    /// An account whose every field holds `mark`.
    pub(crate) fn of(dialect: &Dialect, mark: &str) -> Self {
        let fields = dialect
            .credential_fields()
            .iter()
            .map(|spec| (spec.name.clone(), format!("{}{mark}", spec.name).into()));
        let params = dialect.params().iter().map(|spec| {
            (
                spec.name.clone(),
                spec.default.clone().unwrap_or_else(|| "7".into()),
            )
        });
        let token = dialect.requires_login().then(|| {
            let body = format!(r#"{{"data":{{"token":"token-{mark}"}}}}"#);
            let reply = Reply {
                status: http::StatusCode::OK,
                headers: http::HeaderMap::new(),
                body: body.into(),
            };
            dialect
                .read_login(&reply, now())
                .expect("every token here is read from data.token")
        });
        let credential = Credential::new(Version(1), fields.collect());
        Self {
            credential,
            params: params.collect(),
            token,
            base_url: dialect.base_url().to_owned(),
        }
    }

    pub(crate) fn account(&self) -> Account<'_> {
        Account {
            base_url: &self.base_url,
            credential: &self.credential,
            params: &self.params,
            sender: None,
            token: self.token.as_ref(),
        }
    }
}

/// 2 January 2026, 03:04:05.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_767_323_045).expect("in range")
}

pub(crate) fn dialects() -> Vec<Arc<Dialect>> {
    Catalog::built_in().iter().cloned().collect()
}

/// A written request as it arrives from a backend.
pub(crate) fn as_request(written: &ProviderRequest) -> Request {
    Request {
        method: written.method.clone(),
        path: written.url.path().to_owned(),
        query: written.url.query().map(str::to_owned),
        headers: written.headers.clone(),
        body: written.body.clone(),
    }
}

/// Recognised at the host it was written for.
pub(crate) fn recognised(
    dialect: &Arc<Dialect>,
    written: &ProviderRequest,
) -> (RecognisedRequest, Request) {
    let request = as_request(written);
    let host = written.url.host().expect("absolute");
    match recognise(
        std::slice::from_ref(dialect),
        RequestTarget::Host(host),
        &request,
        &[],
    ) {
        Recognition::Operation(seen) => (seen, request),
        other @ (Recognition::UnlistedOperation(_) | Recognition::Unrecognised) => {
            panic!("{}: {other:?}", dialect.name)
        }
    }
}

/// Headers and body as one text, to look for canaries in.
pub(crate) fn visible(written: &ProviderRequest) -> String {
    let mut headers: Vec<String> = written
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    headers.sort();
    let headers = headers.concat();
    format!(
        "{} {}\n{headers}\n{}",
        written.method,
        written.url,
        String::from_utf8_lossy(&written.body)
    )
}

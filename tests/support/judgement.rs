//! One message through the decisions (recognise, read, decide, patch or write, classify, answer), without sockets: what
//! the benchmark times and the tests count. Descriptions are compiled before, as in the sidecar.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use secrecy::SecretString;
use sms_sidecar::dialect::recognise;
use sms_sidecar::dialect::{
    Account, Catalog, Dialect, MessageResult, ProviderRequest, RecognisedRequest, Recognition,
    Reply, Request, RequestTarget,
};
use sms_sidecar::policy::{
    AccountSnapshot, Attempt, CredentialRevision, CredentialStatus, DeliveryPlan, NextStep,
    OnUnknown, PlannedAccount, SendAdmission, next,
};
use sms_sidecar::secret::{Credential, Version};
use sms_sidecar::sms::AttemptKind;

const NOW: i64 = 1_790_000_000;

/// A request, every dialect, and an account at two services with their replies.
pub(crate) struct Fixture {
    pub(crate) request: Request,
    pub(crate) created: Reply,
    pub(crate) suspended: Reply,
    accepted: Reply,
    catalog: Catalog,
    dialects: Vec<Arc<Dialect>>,
    accounts: BTreeMap<&'static str, (&'static str, Credential)>,
    params: BTreeMap<String, String>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let catalog = Catalog::built_in();
        let dialects: Vec<Arc<Dialect>> = catalog.iter().cloned().collect();
        let accounts = [
            (
                "playmobile",
                (
                    "https://send.smsxabar.uz/broker-api",
                    credential(&[("username", "backend"), ("password", "a password")]),
                ),
            ),
            (
                "twilio",
                (
                    "https://api.twilio.com",
                    credential(&[
                        ("account_sid", "AC0123456789abcdef0123456789abcdef"),
                        ("auth_token", "0123456789abcdef0123456789abcdef"),
                    ]),
                ),
            ),
        ];
        Self {
            request: playmobile_request(),
            created: reply(
                201,
                "application/json",
                r#"{"sid":"SM0123456789abcdef0123456789abcdef","status":"queued","error_code":null,"error_message":null}"#,
            ),
            accepted: reply(200, "text/plain", "Request is received"),
            suspended: reply(
                400,
                "application/json",
                r#"{"error-code":102,"error-description":"Account is blocked"}"#,
            ),
            catalog,
            dialects,
            accounts: accounts.into(),
            params: BTreeMap::new(),
        }
    }

    /// Playmobile's API, Playmobile's account. These three are found by name in what callgrind writes.
    #[inline(never)]
    pub(crate) fn native(&self) {
        self.send(&[("playmobile", &self.accepted)]);
    }

    /// Playmobile's API, Twilio's account.
    #[inline(never)]
    pub(crate) fn translated(&self) {
        self.send(&[("twilio", &self.created)]);
    }

    /// Playmobile rejects it, Twilio accepts it.
    #[inline(never)]
    pub(crate) fn failover(&self) {
        self.send(&[("playmobile", &self.suspended), ("twilio", &self.created)]);
    }

    /// One message from request to answer; each provider returns its reply.
    fn send(&self, providers: &[(&'static str, &Reply)]) {
        let request = &self.request;
        let seen = self.seen();
        let reading = seen
            .dialect
            .read(&seen, request, "abcdefghij0123456789")
            .unwrap();
        let message = reading.message.as_ref().unwrap();
        let plan = plan(providers.len());
        let mut tried = Vec::new();
        while let NextStep::Send { account, .. } =
            next(&plan, &tried, |_| healthy(), Duration::ZERO, 0.5)
        {
            let (name, reply) = providers.get(account).unwrap();
            let dialect = self.dialect(name);
            let account_at = self.account(name);
            let outgoing = if dialect.name == seen.dialect.name {
                dialect.patch(&seen, request, &account_at, now())
            } else {
                dialect
                    .check_message(message)
                    .and_then(|()| dialect.write(message, &account_at, now()))
            };
            black_box::<ProviderRequest>(outgoing.unwrap());
            let outcome = dialect
                .classify_for(AttemptKind::Send, reply, Some(message), None)
                .outcome;
            tried.push(Attempt {
                account,
                credential: CredentialRevision::from(Version(1)),
                outcome,
                retry_after: None,
                ended: Duration::ZERO,
                inherited: false,
            });
        }
        let id = &message.reference;
        black_box(seen.dialect.render_result(
            &reading.fields,
            Some(message),
            &MessageResult::Accepted { id },
            now(),
        ));
    }

    pub(crate) fn seen(&self) -> RecognisedRequest {
        match recognise(
            &self.dialects,
            RequestTarget::Host("send.smsxabar.uz"),
            &self.request,
            &[],
        ) {
            Recognition::Operation(seen) => seen,
            other @ (Recognition::UnlistedOperation(_) | Recognition::Unrecognised) => {
                panic!("{other:?}")
            }
        }
    }

    pub(crate) fn dialect(&self, name: &str) -> &Arc<Dialect> {
        self.catalog.get(name).unwrap()
    }

    pub(crate) fn account(&self, name: &str) -> Account<'_> {
        let (base_url, credential) = self.accounts.get(name).unwrap();
        Account {
            base_url,
            credential,
            params: &self.params,
            sender: (name == "twilio").then_some("+12025550123"),
            token: None,
        }
    }
}

pub(crate) fn plan(accounts: usize) -> DeliveryPlan {
    let terms = PlannedAccount {
        timeout: Duration::from_secs(3),
        has_idempotency_key: false,
        skip_cause: None,
    };
    DeliveryPlan {
        accounts: vec![terms; accounts],
        max_attempts_per_account: 2,
        max_sends: 6,
        deadline: Duration::from_secs(8),
        retry_delay: Duration::from_millis(200),
        on_unknown: OnUnknown::Failover,
    }
}

pub(crate) fn healthy() -> AccountSnapshot {
    AccountSnapshot {
        is_silent: false,
        admission: SendAdmission::Allowed,
        credential: CredentialRevision::from(Version(1)),
        can_retry: true,
        credential_status: CredentialStatus::Usable,
    }
}

fn credential(fields: &[(&str, &str)]) -> Credential {
    Credential::new(
        Version(1),
        fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value)))
            .collect(),
    )
}

fn playmobile_request() -> Request {
    let body = r#"{"messages":[{"recipient":"998901234567","message-id":"otp0001","sms":{"originator":"3700","content":{"text":"1port: kodingiz 123456. Uni hech kimga bermang, hatto xodimlarimizga ham"}}}]}"#;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert(
        "authorization",
        HeaderValue::from_static("Basic c21zLXNpZGVjYXI6c21zLXNpZGVjYXI="),
    );
    headers.insert("user-agent", HeaderValue::from_static("axios/1.7.9"));
    headers.insert(
        "accept",
        HeaderValue::from_static("application/json, text/plain, */*"),
    );
    Request {
        method: Method::POST,
        path: "/broker-api/send".into(),
        query: None,
        headers,
        body: Bytes::from(body),
    }
}

fn reply(status: u16, kind: &'static str, body: &'static str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(kind));
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: Bytes::from_static(body.as_bytes()),
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

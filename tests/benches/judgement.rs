//! The cost of the decisions: time and allocations of one message through the pure functions
//! (recognise, read, decide, patch or write, classify, answer), without sockets. Run with
//! `cargo bench --bench judgement`; descriptions are compiled before, as in the sidecar.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure ends the benchmark"
)]

use std::alloc::System;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use secrecy::SecretString;
use sms_sidecar::clock::{Clock, SystemClock};
use sms_sidecar::dialect::recognise;
use sms_sidecar::dialect::{
    Account, Catalog, Dialect, MessageResult, ProviderRequest, RecognisedRequest, Recognition,
    Reply, Request, RequestTarget,
};
use sms_sidecar::policy::{
    AccountSnapshot, Attempt, CredentialRevision, CredentialStatus, DeliveryPlan, NextStep,
    OnUnknown, PlannedAccount, SendAdmission, next,
};
use sms_sidecar::secret::redact::Redactor;
use sms_sidecar::secret::{Credential, Version};
use sms_sidecar::sms::AttemptKind;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 5;
const MESSAGES: u32 = 10_000;
const NOW: i64 = 1_790_000_000;

fn main() {
    let fixture = Fixture::new();
    let request = playmobile_request();
    let accepted = reply(200, "text/plain", "Request is received");
    let suspended = reply(
        400,
        "application/json",
        r#"{"error-code":102,"error-description":"Account is blocked"}"#,
    );
    let created = reply(
        201,
        "application/json",
        r#"{"sid":"SM0123456789abcdef0123456789abcdef","status":"queued","error_code":null,"error_message":null}"#,
    );

    println!("one message, median of {ROUNDS} rounds of {MESSAGES}");
    println!(
        "{:<58} {:>8} {:>12} {:>10}",
        "", "µs", "allocations", "bytes"
    );
    let clock = SystemClock::start();
    let row = |name: &str, run: &dyn Fn()| show(name, &measure(&clock, run));

    row("native: Playmobile's API, Playmobile's account", &|| {
        fixture.send(&request, &[("playmobile", &accepted)]);
    });
    row("translated: Playmobile's API, Twilio's account", &|| {
        fixture.send(&request, &[("twilio", &created)]);
    });
    row(
        "failover: Playmobile rejects it, Twilio accepts it",
        &|| {
            fixture.send(
                &request,
                &[("playmobile", &suspended), ("twilio", &created)],
            );
        },
    );

    let seen = fixture.seen(&request);
    let message = seen
        .dialect
        .read(&seen, &request, "abcdefghij0123456789")
        .unwrap()
        .message
        .unwrap();
    let twilio = fixture.dialect("twilio");
    row("  recognise", &|| drop(black_box(fixture.seen(&request))));
    row("  read", &|| {
        drop(black_box(seen.dialect.read(
            &seen,
            &request,
            "abcdefghij0123456789",
        )));
    });
    row("  decide", &|| {
        black_box(next(&plan(2), &[], |_| healthy(), Duration::ZERO, 0.5));
    });
    row("  patch", &|| {
        drop(black_box(seen.dialect.patch(
            &seen,
            &request,
            &fixture.account("playmobile"),
            now(),
        )));
    });
    row("  write", &|| {
        drop(black_box(twilio.write(
            &message,
            &fixture.account("twilio"),
            now(),
        )));
    });
    row("  classify", &|| {
        drop(black_box(twilio.classify(
            AttemptKind::Send,
            &created,
            &message.reference,
        )));
    });
    row(
        "  classify a rejection, its words without the text",
        &|| {
            drop(black_box(seen.dialect.classify_for(
                AttemptKind::Send,
                &suspended,
                Some(&message),
            )));
        },
    );
    show_redaction();
}

/// What it costs to take the secrets out of replies of one mebibyte.
fn show_redaction() {
    const BYTES: usize = 1 << 20;
    let redactor = Redactor::new(["Zq7Rw2Xk9LmT4vBn", "0123456789abcdef0123456789abcdef"]);
    let clock = SystemClock::start();
    println!("\na reply of 1 MiB without its secrets, median of {ROUNDS}");
    for (name, piece) in [
        (
            "JSON",
            r#"{"id":"1a2b3c","status":"delivered","price":"0.05"},"#,
        ),
        (
            "HTML",
            "<p class=\"a\">Your balance is 5&nbsp;000 sum, 20% off</p>\n",
        ),
        (
            "base64",
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        ),
        ("percent signs", "%D0%BF%D0%B0%20"),
        ("beginnings of comments", "<!-- >"),
        ("beginnings of secrets and tags", "Zq7R<a "),
        ("its secrets", "Zq7Rw2Xk9LmT4vBn "),
    ] {
        let text = piece.repeat(BYTES / piece.len());
        let mut rounds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let text = text.clone();
                let began = clock.now();
                black_box(redactor.redact_text(text));
                clock.now().since(began).as_secs_f64() * 1e3
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        let median = rounds.get(ROUNDS / 2).copied().unwrap_or_default();
        println!("{name:<58} {median:>8.1} ms");
    }
}

/// Every dialect and an account at two services.
struct Fixture {
    catalog: Catalog,
    dialects: Vec<Arc<Dialect>>,
    accounts: BTreeMap<&'static str, (&'static str, Credential)>,
    params: BTreeMap<String, String>,
}

impl Fixture {
    fn new() -> Self {
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
            catalog,
            dialects,
            accounts: accounts.into(),
            params: BTreeMap::new(),
        }
    }

    /// One message from request to answer, without sockets; each provider returns its reply.
    fn send(&self, request: &Request, providers: &[(&'static str, &Reply)]) {
        let seen = self.seen(request);
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
                .classify_for(AttemptKind::Send, reply, Some(message))
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

    fn seen(&self, request: &Request) -> RecognisedRequest {
        match recognise(
            &self.dialects,
            RequestTarget::Host("send.smsxabar.uz"),
            request,
            &[],
        ) {
            Recognition::Operation(seen) => seen,
            other @ (Recognition::UnlistedOperation(_) | Recognition::Unrecognised) => {
                panic!("{other:?}")
            }
        }
    }

    fn dialect(&self, name: &str) -> &Arc<Dialect> {
        self.catalog.get(name).unwrap()
    }

    fn account(&self, name: &str) -> Account<'_> {
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

/// Time, allocations and bytes of one `run`.
struct Cost {
    micros: f64,
    allocations: f64,
    bytes: f64,
}

fn measure(clock: &SystemClock, run: &dyn Fn()) -> Cost {
    let each = f64::from(MESSAGES);
    run();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = clock.now();
            (0..MESSAGES).for_each(|_| run());
            clock.now().since(began).as_secs_f64() * 1e6 / each
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let region = Region::new(MEMORY);
    (0..MESSAGES).for_each(|_| run());
    let change = region.change();
    let per = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / each;
    Cost {
        micros: rounds.get(ROUNDS / 2).copied().unwrap_or_default(),
        allocations: per(change.allocations + change.reallocations),
        bytes: per(change.bytes_allocated),
    }
}

fn show(name: &str, cost: &Cost) {
    println!(
        "{name:<58} {:>8.2} {:>12.1} {:>10.0}",
        cost.micros, cost.allocations, cost.bytes
    );
}

fn plan(accounts: usize) -> DeliveryPlan {
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

fn healthy() -> AccountSnapshot {
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

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

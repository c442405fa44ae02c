//! Invariants for any bytes at the three places that parse untrusted bytes: a backend's
//! request, a provider's reply, an operator's file. The fuzz targets generate inputs for these
//! functions; `tests/fuzz_corpus.rs` replays the committed ones on every `cargo test`.
//!
//! To fuzz for a minute each, with a nightly toolchain (or a stable one with `RUSTC_BOOTSTRAP=1`, as below):
//!
//! ```sh
//! cargo install cargo-fuzz --locked
//! RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none read -- -max_total_time=60
//! ```
//!
//! and likewise `classify` and `config`. Add each finding to the corpus under a name that states
//! what it shows, together with its fix. The corpora were built by hand and by plain mutation. libFuzzer ran ten
//! minutes on each target; its one finding is in the corpus.

#[path = "../support/dialects.rs"]
mod support;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use sms_sidecar::config::check_text;
use sms_sidecar::dialect::recognise;
use sms_sidecar::dialect::{
    Catalog, Classification, DecodedRequest, Dialect, MessageResult, RecognisedRequest,
    Recognition, Reply, Request, RequestTarget, SourceFile,
};
use sms_sidecar::problem::{Problem, ProblemReport, Severity, SourceText};
use sms_sidecar::sms::{AttemptKind, Cause, Message, Operation, Outcome};
use support::{Owned, dialects, now, recognised, visible};

const OWN_REFERENCE: &str = "own0reference0000001";

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::built_in);
static ALL: LazyLock<Vec<Arc<Dialect>>> = LazyLock::new(dialects);

/// `POST https://host/path?query` (without a host: as at the unix socket), headers, a blank line, the body.
pub(crate) fn read(input: &[u8]) {
    let Some((line, headers, body)) = parts(input) else {
        return;
    };
    let Some((method, url)) = line.split_once(' ') else {
        return;
    };
    let (Ok(method), Ok(url)) = (method.parse::<Method>(), url.parse::<Uri>()) else {
        return;
    };
    let request = Request {
        method,
        path: url.path().to_owned(),
        query: url.query().map(str::to_owned),
        headers,
        body,
    };
    let place = url
        .host()
        .map_or(RequestTarget::Unspecified, RequestTarget::Host);
    let Recognition::Operation(seen) = recognise(&ALL, place, &request, &[]) else {
        return;
    };
    drop(seen.dialect.extract_credential(&seen, &request));
    let owned = Owned::of(&seen.dialect, "-ours");
    let patch = || seen.dialect.patch(&seen, &request, &owned.account(), now());
    if let Ok(patched) = patch() {
        assert_eq!(
            patch().map(|again| visible(&again)),
            Ok(visible(&patched)),
            "a second patch gives the same request"
        );
        let host = patched.url.host().expect("the patched request has a host");
        assert!(
            seen.dialect.serves_host(host),
            "credentials go only to hosts of their own service, not to {host}"
        );
    }
    if seen.operation != Operation::Send {
        return;
    }
    let reading = seen.dialect.read(&seen, &request, OWN_REFERENCE);
    assert_eq!(
        format!("{reading:?}"),
        format!("{:?}", seen.dialect.read(&seen, &request, OWN_REFERENCE)),
        "a second reading gives the same result"
    );
    if let Ok(reading) = reading {
        answers_are_understood(&seen, &reading);
        if let Some(message) = &reading.message {
            assert!(
                !message.reference.is_empty(),
                "a message always has a reference"
            );
            ALL.iter()
                .for_each(|dialect| says_the_same(dialect, message));
        }
    }
}

/// For any request, a rendered success is classified as accepted and a failure is not.
fn answers_are_understood(seen: &RecognisedRequest, reading: &DecodedRequest) {
    let (dialect, message) = (&seen.dialect, reading.message.as_ref());
    let judged = |answer: &MessageResult<'_>| {
        let reply = dialect.render_result(&reading.fields, message, answer, now());
        dialect
            .classify(AttemptKind::Send, &reply, OWN_REFERENCE)
            .outcome
    };
    let success = judged(&MessageResult::Accepted {
        id: "0123456789abcdef",
    });
    assert!(
        message.is_none() || matches!(success, Outcome::Accepted { .. }),
        "{}: our success reads as {success:?}",
        dialect.name
    );
    for (cause, doubt) in [
        (Cause::BalanceEmpty, false),
        (Cause::Timeout, true),
        (Cause::RecipientInvalid, false),
    ] {
        let failure = judged(&MessageResult::Failed {
            in_doubt: doubt,
            cause,
            reason: "no provider took it",
        });
        assert!(
            !matches!(failure, Outcome::Accepted { .. }),
            "{}: our {cause} reads as a success",
            dialect.name
        );
    }
}

/// A message written for another service has the same text and the same recipient.
fn says_the_same(dialect: &Arc<Dialect>, message: &Message) {
    let owned = Owned::of(dialect, "-ours");
    if dialect.check_message(message).is_err() {
        return;
    }
    let Ok(written) = dialect.write(message, &owned.account(), now()) else {
        return;
    };
    let (seen, request) = recognised(dialect, &written);
    let again = dialect
        .read(&seen, &request, OWN_REFERENCE)
        .expect("a written request is readable");
    let again = again.message.expect("a written request has one message");
    assert_eq!(
        again.recipient, message.recipient,
        "{}: another person",
        dialect.name
    );
    assert_eq!(
        again.text.expose(),
        message.text.expose(),
        "{}: another text",
        dialect.name
    );
}

/// `NAME STATUS`, headers, a blank line, the body.
pub(crate) fn classify(input: &[u8]) {
    let Some((line, headers, body)) = parts(input) else {
        return;
    };
    let Some((name, status)) = line.split_once(' ') else {
        return;
    };
    let (Some(dialect), Ok(status)) = (CATALOG.get(name), status.parse::<StatusCode>()) else {
        return;
    };
    let reply = Reply {
        status,
        headers,
        body,
    };
    for kind in [
        AttemptKind::Send,
        AttemptKind::Login,
        AttemptKind::Probe,
        AttemptKind::Passthrough,
    ] {
        let classification = dialect.classify(kind, &reply, OWN_REFERENCE);
        assert_eq!(
            classification,
            dialect.classify(kind, &reply, OWN_REFERENCE),
            "a second classification gives the same result"
        );
        is_clean(&classification);
        if kind == AttemptKind::Send
            && let Outcome::Accepted { id } = &classification.outcome
        {
            assert!(!id.is_empty(), "an accepted message has an id");
        }
    }
    if let Err(classification) = dialect.read_login(&reply, now()) {
        assert!(
            !matches!(classification.outcome, Outcome::Accepted { .. }),
            "a login without a token is not a success"
        );
        is_clean(&classification);
    }
    for probe in dialect.probes() {
        dialect.read_probe(probe, &reply);
    }
}

/// A value in a log line cannot break or flood it.
fn is_clean(classification: &Classification) {
    for words in [&classification.provider_message, &classification.code]
        .into_iter()
        .flatten()
    {
        assert!(
            words.chars().count() <= 300 && !words.chars().any(char::is_control),
            "{words:?}"
        );
    }
    assert!(
        !classification
            .outcome
            .cause()
            .is_some_and(|cause| classification.alternatives.contains(&cause)),
        "{classification:?}"
    );
}

/// Any text, as a config and as a description.
pub(crate) fn config(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    let (loaded, problems) = check_text("config.toml", &text, &CATALOG);
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    assert_eq!(
        loaded.is_some(),
        errors == 0,
        "a config is used if it has no errors"
    );
    is_shown(problems, "config.toml", &text, false);
    let file = SourceFile {
        name: "own.toml".into(),
        text: text.clone(),
        built_in: false,
    };
    let (_, problems) = Catalog::load(&[file]);
    is_shown(problems, "own.toml", &text, true);
}

/// Every problem points into the file and can be rendered.
fn is_shown(problems: Vec<Problem>, file: &str, text: &str, description: bool) {
    for problem in &problems {
        assert!(!problem.message.is_empty());
        if let Some(span) = &problem.span {
            assert!(
                span.start <= span.end && span.end <= text.len() + 1,
                "{problem:?} in {} bytes",
                text.len()
            );
        }
    }
    let complaints = problems.len();
    let report = ProblemReport {
        problems,
        texts: vec![SourceText {
            file: file.into(),
            text: text.to_owned(),
            is_dialect: description,
        }],
    };
    assert_eq!(report.to_json().as_array().map(Vec::len), Some(complaints));
    assert_eq!(report.render(false).is_empty(), complaints == 0);
}

/// First line, headers, body; invalid headers are left out.
fn parts(input: &[u8]) -> Option<(&str, HeaderMap, Bytes)> {
    let end = input
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .unwrap_or(input.len());
    let (head, body) = input.split_at(end);
    let mut lines = std::str::from_utf8(head).ok()?.lines();
    let first = lines.next()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((
            HeaderName::try_from(name).ok()?,
            HeaderValue::try_from(value.trim()).ok()?,
        ))
    };
    Some((
        first,
        lines.filter_map(header).collect(),
        Bytes::copy_from_slice(body.get(2..).unwrap_or_default()),
    ))
}

//! Checks the descriptions against recorded cases: the backend's request, the request to a
//! provider, the meaning of its replies, and the reply to the backend. Round trips do not
//! find an error that is the same in both directions; these files do.
//!
//! `tests/dialects/NAME/` holds four TOML files for each description:
//!
//! - `reads.toml`: `[[case]]` with a backend's `request` (request line, headers, blank line,
//!   body), its `operation` (default: `send`), the values that must be read from it (`to` `text`
//!   `sender` `reference` `validity` in seconds, `callback`), `recipients`, the
//!   `untranslatable_fields`, or the `error`; and `native`, the request as it goes on to the provider
//!   with only the account's own replaced.
//! - `writes.toml`: an `[account]`, and `[[case]]` with a message and the `wire` request it
//!   becomes; `fails` instead where it cannot be written. `login` is the token's request.
//! - `replies.toml`: `[[case]]` with `status`, `body` (`kind = "login"` or `"probe"`: of a login, of any account request) and what it means (`expect`, as
//!   `rejected credential-rejected, certain`; alternatives in brackets), and `[[table]]`
//!   where only the code in the body differs. `[[list]]`: the subject (`of`: `sender` `template`) that is
//!   looked up in the reply's `status` and `body` (`expect`: `listed` `not listed` `not told`, or the state of the
//!   text), and once the probe as a `wire` request.
//! - `answers.toml`: `[[case]]` with the read case it replies to (`asked`), what to `say`
//!   (`accepted ID`, a cause, `doubt CAUSE`; `login`, `status` and `local` for those operations) and
//!   the `wire` reply.
//!
//! A `wire` has every header except those that any client adds; JSON is compared as JSON and
//! forms as their pairs. `<hex N>`, `<uuid>`, `"<number>"` (a bare one) and `<jwt>` stand for
//! an id of ours.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use regex::Regex;
use serde::Deserialize;
use sms_sidecar::dialect::recognise;
use sms_sidecar::dialect::{
    Account, Approval, Catalog, CauseTableRow, Classification, DecodedRequest, Dialect, LoginToken,
    MessageResult, ProviderRequest, RecognisedRequest, Recognition, Reply, Request, RequestTarget,
    SourceFile,
};
use sms_sidecar::secret::{Credential, SecretString, Version};
use sms_sidecar::sms::{
    ApprovedTemplate, AttemptKind, Certainty, Message, MessageText, Msisdn, Operation, Outcome,
};

/// 2 January 2026, 03:04:05: the current time of every attempt here.
const NOW: i64 = 1_767_323_045;
/// Used as the reference if the backend sends none.
const OWN_REFERENCE: &str = "own0reference0000001";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reads {
    case: Vec<ReadCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadCase {
    name: String,
    #[serde(default, rename = "source")]
    _source: Option<String>,
    host: Option<String>,
    request: String,
    operation: Option<String>,
    error: Option<String>,
    to: Option<String>,
    text: Option<String>,
    sender: Option<String>,
    reference: Option<String>,
    validity: Option<u64>,
    callback: Option<String>,
    recipients: Option<usize>,
    #[serde(default)]
    untranslatable_fields: Vec<String>,
    native: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Writes {
    account: AccountCase,
    login: Option<String>,
    case: Vec<WriteCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountCase {
    #[serde(default)]
    credential: BTreeMap<String, String>,
    #[serde(default)]
    params: BTreeMap<String, String>,
    sender: Option<String>,
    /// The body of the login's reply.
    token: Option<String>,
    /// Set if the description has no base URL.
    base_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteCase {
    name: String,
    to: String,
    text: String,
    sender: Option<String>,
    reference: Option<String>,
    validity: Option<u64>,
    callback: Option<String>,
    /// The id of the approved text at this service.
    template: Option<String>,
    /// The values of its holes, each as `[name, value]`.
    #[serde(default)]
    fields: Vec<(String, String)>,
    wire: Option<String>,
    fails: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replies {
    #[serde(default)]
    case: Vec<ReplyCase>,
    #[serde(default)]
    table: Vec<ReplyTable>,
    #[serde(default)]
    list: Vec<ListCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListCase {
    name: String,
    #[serde(default, rename = "source")]
    _source: Option<String>,
    of: String,
    look_for: String,
    status: u16,
    body: String,
    expect: String,
    wire: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyCase {
    name: String,
    #[serde(default, rename = "source")]
    _source: Option<String>,
    kind: Option<String>,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    expect: String,
    provider_message: Option<String>,
    code: Option<String>,
    retry_after: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyTable {
    name: String,
    #[serde(default, rename = "source")]
    _source: Option<String>,
    status: u16,
    body: String,
    expect: BTreeMap<String, Vec<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers {
    case: Vec<AnswerCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerCase {
    asked: String,
    say: String,
    wire: String,
}

#[test]
fn built_in_descriptions_pass_their_cases() {
    let problems = Catalog::check(&Catalog::built_in_sources());
    assert!(problems.is_empty(), "{problems:#?}");
    let catalog = Catalog::built_in();
    let failed: Vec<String> = catalog.iter().flat_map(failures).collect();
    assert!(
        failed.is_empty(),
        "{} cases fail:\n\n{}",
        failed.len(),
        failed.join("\n\n")
    );
}

#[test]
fn every_description_has_cases_and_every_file_is_built_in() {
    let folder = |path: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        entries
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    };
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let built_in: BTreeSet<String> = catalog.iter().map(|dialect| dialect.name.clone()).collect();
    assert_eq!(
        built_in,
        folder("config/dialects"),
        "config/dialects against the table of built-in descriptions"
    );
    assert_eq!(
        built_in,
        folder("tests/dialects"),
        "a description without cases, or cases without a description"
    );
}

/// What `dialects show NAME --causes` lists, line by line.
#[test]
fn every_row_of_the_cause_table_has_a_case() {
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let bare: Vec<String> = catalog.iter().flat_map(without_case).collect();
    assert!(
        bare.is_empty(),
        "{} lines have no case in tests/dialects/NAME/replies.toml:\n{}",
        bare.len(),
        bare.join("\n")
    );
}

fn without_case(dialect: &Arc<Dialect>) -> Vec<String> {
    let replies = Cases::open(dialect).replies;
    let cases = replies.case.iter().map(|case| (case.kind(), case.reply()));
    let codes = |table: &ReplyTable| {
        table
            .expect
            .values()
            .flatten()
            .map(|code| (AttemptKind::Send, table.reply(code).1))
            .collect::<Vec<_>>()
    };
    let shown: Vec<CauseTableRow> = cases
        .chain(replies.table.iter().flat_map(codes))
        .flat_map(|(kind, reply)| dialect.matching_rows(kind, &reply))
        .collect();
    let told = dialect
        .cause_table()
        .into_iter()
        .filter(|row| !shown.contains(row));
    told.map(|row| {
        format!(
            "{}: {} {} → {}",
            dialect.name, row.kind, row.condition, row.cause
        )
    })
    .collect()
}

/// A service with several endpoints for a send has a description for each: the account and the replies are the same.
#[test]
fn the_endpoints_of_one_service_agree_on_its_causes() {
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let causes = |name: &str| catalog.get(name).map(|dialect| dialect.cause_table());
    for (name, others) in [("infobip", ["infobip-v2", "infobip-single"])] {
        for other in others {
            assert_eq!(causes(name), causes(other), "{name} and {other}");
        }
    }
}

/// Every list has a case for its request and one for each possible result.
#[test]
fn every_list_has_a_case_for_its_request_and_each_result() {
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let mut lists = 0;
    for dialect in catalog.iter() {
        let cases = Cases::open(dialect).replies.list;
        for (of, probe, answers) in [
            (
                "sender",
                dialect.sender_probe(),
                &["listed", "not listed", "not told"][..],
            ),
            (
                "template",
                dialect.template_probe(),
                &[
                    "approved",
                    "pending",
                    "rejected",
                    "similar",
                    "unknown-status",
                    "unlisted",
                    "not told",
                ],
            ),
        ] {
            let about: Vec<&ListCase> = cases.iter().filter(|case| case.of == of).collect();
            let bare: Vec<&&str> = answers
                .iter()
                .filter(|answer| !about.iter().any(|case| case.expect == **answer))
                .collect();
            let expected = if probe.is_some() { 0 } else { answers.len() };
            assert_eq!(
                bare.len(),
                expected,
                "{} {of}: {bare:?} has no case, or the list has no request",
                dialect.name
            );
            assert_eq!(
                about.iter().any(|case| case.wire.is_some()),
                probe.is_some(),
                "{} {of}: the request has no `wire`",
                dialect.name
            );
            lists += usize::from(probe.is_some());
        }
    }
    assert!(lists >= 4, "only {lists} lists were checked");
}

/// A cause without a source, or one that was never observed, is marked as a guess in the file: it is shown as likely or ambiguous.
#[test]
fn an_inferred_cause_is_never_shown_as_certain() {
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let mut guesses = 0;
    for file in Catalog::built_in_sources() {
        let text: toml::Table = toml::from_str(&file.text).unwrap();
        let dialect = catalog.get(text["dialect"].as_str().unwrap()).unwrap();
        let rules = text["send"]["rules"].as_array().unwrap().iter();
        let named: Vec<_> = rules
            .filter(|rule| rule.get("rejected").or(rule.get("unknown")).is_some())
            .collect();
        let rows: Vec<CauseTableRow> = dialect
            .cause_table()
            .into_iter()
            .filter(|row| row.kind == AttemptKind::Send)
            .collect();
        for (rule, row) in named.iter().zip(&rows) {
            let said = rule.get("rejected").or(rule.get("unknown")).unwrap();
            assert_eq!(
                row.cause.as_str(),
                said.as_str().unwrap(),
                "the rows are in the file's order"
            );
            let guess = rule
                .get("inferred")
                .is_some_and(|guess| guess.as_bool() == Some(true));
            assert!(
                !guess || row.certainty != Certainty::Certain,
                "{}: {row:?}",
                dialect.name
            );
            guesses += usize::from(guess);
        }
    }
    assert!(guesses > 10, "only {guesses} guesses were checked");
}

/// Each of these errors is the same in both directions, or in a place that no round trip reaches.
#[test]
fn planted_errors_are_found() {
    let planted = [
        (
            "playmobile",
            r#""messages[].recipient"        = "{to | digits}""#,
            r#""messages[].recipient"        = "{to | plus}""#,
        ),
        (
            "twilio",
            "{validity | seconds | between 1 36000}",
            "{validity | minutes | between 1 36000}",
        ),
        ("vonage", "gsm7=text ucs2=unicode", "gsm7=unicode ucs2=text"),
        (
            "sayqal",
            "TransmitSMS {credential.username} {credential.secret}",
            "TransmitSMS {credential.secret} {credential.username}",
        ),
        (
            "infobip",
            r#""messages[].sender" "#,
            r#""messages[].from"   "#,
        ),
        ("smsc", "balance-empty     = [3]", "balance-empty     = [4]"),
        ("eskiz", r#"encoding  = "multipart""#, ""),
        ("aws-sns", r#"service    = "sns""#, r#"service    = "sms""#),
        (
            "plain",
            r#"json   = { id = "{id}", status = "accepted" }"#,
            r#"json   = { id = "{id}", state = "accepted" }"#,
        ),
    ];
    let (sound, _) = Catalog::load(&Catalog::built_in_sources());
    for (name, right, wrong) in planted {
        let (catalog, problems) = Catalog::load(&altered(name, right, wrong));
        assert!(
            problems.is_empty(),
            "{name}: `{wrong}` does not load: {problems:#?}"
        );
        let before = sound.get(name).map(failures).unwrap();
        let found = catalog.get(name).map(failures).unwrap();
        assert!(
            found.iter().any(|case| !before.contains(case)),
            "{name}: no case fails when `{wrong}` replaces `{right}`"
        );
    }
}

/// The built-in descriptions with one change in one of them; SMSC's neighbouring code makes room for it.
fn altered(name: &str, right: &str, wrong: &str) -> Vec<SourceFile> {
    let mut sources = Catalog::built_in_sources();
    let file = sources
        .iter_mut()
        .find(|file| file.name.ends_with(&format!("/{name}.toml")))
        .unwrap();
    assert!(
        file.text.contains(right),
        "{name} does not contain `{right}`"
    );
    file.text = file.text.replace(right, wrong);
    if name == "smsc" {
        file.text = file
            .text
            .replace("throttled         = [4]", "throttled         = [3]");
    }
    sources
}

/// Every case of one description whose result differs from its file.
fn failures(dialect: &Arc<Dialect>) -> Vec<String> {
    let cases = Cases::open(dialect);
    let mut failed = Vec::new();
    let mut check = |what: String, outcome: Result<(), String>| {
        if let Err(why) = outcome {
            failed.push(format!("{} {what}: {why}", dialect.name));
        }
    };
    for case in &cases.reads.case {
        check(format!("reads \"{}\"", case.name), cases.read(case));
    }
    if let Some(wire) = &cases.writes.login {
        check("login".into(), cases.login(wire));
    }
    for case in &cases.writes.case {
        check(format!("writes \"{}\"", case.name), cases.write(case));
    }
    for case in &cases.replies.case {
        check(format!("reply \"{}\"", case.name), cases.reply(case));
    }
    for table in &cases.replies.table {
        for (expect, codes) in &table.expect {
            for code in codes {
                check(
                    format!("reply \"{}\" {code}", table.name),
                    cases.coded(table, expect, code),
                );
            }
        }
    }
    for case in &cases.replies.list {
        check(format!("list \"{}\"", case.name), cases.listed(case));
    }
    for case in &cases.answers.case {
        check(
            format!("answers \"{}\" to \"{}\"", case.say, case.asked),
            cases.answer(case),
        );
    }
    failed
}

/// One folder of cases, and the account they run with.
struct Cases {
    dialect: Arc<Dialect>,
    reads: Reads,
    writes: Writes,
    replies: Replies,
    answers: Answers,
    credential: Credential,
    base_url: String,
    token: Option<LoginToken>,
}

impl Cases {
    fn open(dialect: &Arc<Dialect>) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/dialects")
            .join(&dialect.name);
        let writes: Writes = parse(&folder, "writes.toml");
        let fields = writes
            .account
            .credential
            .iter()
            .map(|(name, value)| (name.clone(), SecretString::from(value.clone())));
        let token = writes.account.token.as_ref().and_then(|body| {
            let reply = Reply {
                status: StatusCode::OK,
                headers: json_headers(),
                body: Bytes::from(body.clone()),
            };
            dialect.read_login(&reply, now()).ok()
        });
        Self {
            reads: parse(&folder, "reads.toml"),
            replies: parse(&folder, "replies.toml"),
            answers: parse(&folder, "answers.toml"),
            credential: Credential::new(Version(1), fields.collect()),
            base_url: writes
                .account
                .base_url
                .clone()
                .unwrap_or_else(|| dialect.base_url().to_owned()),
            token,
            writes,
            dialect: Arc::clone(dialect),
        }
    }

    fn account(&self) -> Account<'_> {
        Account {
            base_url: &self.base_url,
            credential: &self.credential,
            params: &self.writes.account.params,
            sender: self.writes.account.sender.as_deref(),
            token: self.token.as_ref(),
        }
    }

    fn recognised(&self, case: &ReadCase) -> Result<(RecognisedRequest, Request), String> {
        let request = request(&case.request);
        let among = [Arc::clone(&self.dialect)];
        let uri: http::Uri = self.dialect.base_url().parse().unwrap();
        let named = uri.host().is_some_and(|host| host.ends_with(".invalid"));
        let place = match &case.host {
            Some(host) => RequestTarget::Host(host),
            None if named => RequestTarget::Named(&self.dialect),
            None => RequestTarget::Host(uri.host().unwrap()),
        };
        match recognise(&among, place, &request, &[]) {
            Recognition::Operation(seen) => Ok((seen, request)),
            Recognition::UnlistedOperation(denied) => Err(match denied.fault {
                Some(fault) if case.error.is_some() => fault.to_string(),
                Some(_) | None => "not-named".into(),
            }),
            Recognition::Unrecognised => Err("foreign".into()),
        }
    }

    fn read(&self, case: &ReadCase) -> Result<(), String> {
        let wanted = case.operation.as_deref().unwrap_or("send");
        let (seen, request) = match self.recognised(case) {
            Ok(found) => found,
            Err(word) => return same(case.error.as_deref().unwrap_or(wanted), &word),
        };
        same(wanted, seen.operation.as_str())?;
        if seen.operation == Operation::Send {
            self.read_send(case, &seen, &request)?;
        }
        let Some(native) = &case.native else {
            return Ok(());
        };
        let went = self
            .dialect
            .patch(&seen, &request, &self.account(), now())
            .map_err(|why| why.to_string())?;
        same_wire(&normal_golden(native), &normal_outgoing(&went))
    }

    fn read_send(
        &self,
        case: &ReadCase,
        seen: &RecognisedRequest,
        request: &Request,
    ) -> Result<(), String> {
        let reading = match self.dialect.read(seen, request, OWN_REFERENCE) {
            Ok(reading) => reading,
            Err(why) => {
                return same(
                    case.error.as_deref().unwrap_or("no error"),
                    &why.to_string(),
                );
            }
        };
        if let Some(error) = &case.error {
            return same(error, "no error");
        }
        let binds: BTreeSet<&String> = reading.untranslatable_fields.iter().collect();
        same(
            &format!(
                "{:?}",
                case.untranslatable_fields.iter().collect::<BTreeSet<_>>()
            ),
            &format!("{binds:?}"),
        )?;
        same(
            &case.recipients.unwrap_or(1).to_string(),
            &reading.recipient_count.to_string(),
        )?;
        same(&case.expected(), &said(&reading))
    }

    fn login(&self, wire: &str) -> Result<(), String> {
        let went = self
            .dialect
            .login_request(&self.account(), now())
            .ok_or("has no login")?
            .map_err(|why| why.to_string())?;
        same_wire(&normal_golden(wire), &normal_outgoing(&went))
    }

    fn write(&self, case: &WriteCase) -> Result<(), String> {
        let message = case.message();
        let written = self
            .dialect
            .check_message(&message)
            .and_then(|()| self.dialect.write(&message, &self.account(), now()))
            .map_err(|why| why.cause.to_string());
        match (written, &case.fails, &case.wire) {
            (Err(why), Some(fails), _) => same(fails, &why),
            (Err(why), None, _) => Err(why),
            (Ok(_), Some(fails), _) => same(fails, "no failure"),
            (Ok(went), None, Some(wire)) => {
                same_wire(&normal_golden(wire), &normal_outgoing(&went))
            }
            (Ok(_), None, None) => Err("the case says neither `wire` nor `fails`".into()),
        }
    }

    fn reply(&self, case: &ReplyCase) -> Result<(), String> {
        let reply = case.reply();
        let finding = match case.kind.as_deref() {
            Some("login") => match self.dialect.read_login(&reply, now()) {
                Ok(_) => return same(&case.expect, "a token"),
                Err(finding) => finding,
            },
            Some("probe") => match self.dialect.classify_account_reply(&reply) {
                Classification {
                    outcome: Outcome::Accepted { .. },
                    ..
                } => return same(&case.expect, "answered"),
                finding => finding,
            },
            Some(other) => return Err(format!("no such kind: {other}")),
            None => self.dialect.classify(AttemptKind::Send, &reply, "otp0001"),
        };
        same(&case.expect, &meaning(&finding))?;
        if case.provider_message.is_some() && case.provider_message != finding.provider_message {
            return Err(format!("says {:?}", finding.provider_message));
        }
        if case.code.is_some() && case.code != finding.code {
            return Err(format!("code {:?}", finding.code));
        }
        let wait = case.retry_after.map(Duration::from_secs);
        if wait.is_some() && wait != finding.retry_after {
            return Err(format!("retry after {:?}", finding.retry_after));
        }
        Ok(())
    }

    fn listed(&self, case: &ListCase) -> Result<(), String> {
        let body = Bytes::from(case.body.clone());
        let reply = Reply {
            status: StatusCode::from_u16(case.status).unwrap(),
            headers: json_headers(),
            body,
        };
        let sender = case.of == "sender";
        let probe = if sender {
            self.dialect.sender_probe()
        } else {
            self.dialect.template_probe()
        }
        .ok_or("no such list")?;
        if let Some(wire) = &case.wire {
            let account = Account {
                sender: Some(&case.look_for).filter(|_| sender).map(String::as_str),
                ..self.account()
            };
            let went = self
                .dialect
                .probe_request(probe, &account, now())
                .map_err(|why| why.to_string())?;
            same_wire(&normal_golden(wire), &normal_outgoing(&went))?;
        }
        let told = if sender {
            let told = |listed| if listed { "listed" } else { "not listed" };
            self.dialect
                .lists_sender(probe, &reply, &case.look_for)
                .map(told)
        } else {
            self.dialect
                .approval(probe, &reply, &case.look_for)
                .map(Approval::as_str)
        };
        same(&case.expect, told.unwrap_or("not told"))
    }

    fn coded(&self, table: &ReplyTable, expect: &str, code: &toml::Value) -> Result<(), String> {
        let (word, reply) = table.reply(code);
        let finding = self.dialect.classify(AttemptKind::Send, &reply, "otp0001");
        same(expect, &meaning(&finding))?;
        same(&word, finding.code.as_deref().unwrap_or("no code"))
    }

    fn answer(&self, case: &AnswerCase) -> Result<(), String> {
        let asked = self
            .reads
            .case
            .iter()
            .find(|read| read.name == case.asked)
            .ok_or("no such read case")?;
        let (seen, request) = self.recognised(asked)?;
        let reading = self
            .dialect
            .read(&seen, &request, OWN_REFERENCE)
            .map_err(|why| why.to_string())?;
        if case.say == "login" {
            let reply = self.dialect.render_login(&seen, &reading.fields, now());
            return same_wire(&normal_golden(&case.wire), &normal_reply(&reply));
        }
        if case.say == "local" {
            let reply = self.dialect.render_local(&seen, &reading.fields, now());
            let reply = reply.ok_or("no words for it")?;
            return same_wire(&normal_golden(&case.wire), &normal_reply(&reply));
        }
        if case.say == "status" {
            let id = self
                .dialect
                .queried_id(&seen, &reading.fields)
                .ok_or("no id is found in it")?;
            let reply = self
                .dialect
                .render_status(&seen, &reading.fields, &id, now())
                .ok_or("no words for it")?;
            return same_wire(&normal_golden(&case.wire), &normal_reply(&reply));
        }
        let reply = self.said(&reading, &case.say);
        if reply.status == StatusCode::SERVICE_UNAVAILABLE
            && !reply.headers.contains_key("retry-after")
        {
            return Err("a 503 without Retry-After".into());
        }
        same_wire(&normal_golden(&case.wire), &normal_reply(&reply))
    }

    fn said(&self, reading: &DecodedRequest, say: &str) -> Reply {
        let reason = "No provider took the message.";
        let answer = match say.split_once(' ') {
            Some(("accepted", id)) => MessageResult::Accepted { id },
            Some((_, cause)) => MessageResult::Failed {
                in_doubt: true,
                cause: cause.parse().unwrap(),
                reason,
            },
            None => MessageResult::Failed {
                in_doubt: false,
                cause: say.parse().unwrap(),
                reason,
            },
        };
        self.dialect
            .render_result(&reading.fields, reading.message.as_ref(), &answer, now())
    }
}

impl ReplyCase {
    fn reply(&self) -> Reply {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(
                HeaderName::try_from(name).unwrap(),
                HeaderValue::try_from(value).unwrap(),
            );
        }
        Reply {
            status: StatusCode::from_u16(self.status).unwrap(),
            headers,
            body: Bytes::from(self.body.clone()),
        }
    }

    fn kind(&self) -> AttemptKind {
        match self.kind.as_deref() {
            Some("login") => AttemptKind::Login,
            Some("probe") => AttemptKind::Probe,
            _ => AttemptKind::Send,
        }
    }
}

impl ReplyTable {
    fn reply(&self, code: &toml::Value) -> (String, Reply) {
        let word = code
            .as_str()
            .map_or_else(|| code.to_string(), str::to_owned);
        let body = Bytes::from(self.body.replace("{code}", &word));
        (
            word,
            Reply {
                status: StatusCode::from_u16(self.status).unwrap(),
                headers: HeaderMap::new(),
                body,
            },
        )
    }
}

impl ReadCase {
    fn expected(&self) -> String {
        let Some(to) = &self.to else {
            return "no message".into();
        };
        words(
            to,
            self.text.as_deref().unwrap_or_default(),
            [
                ("sender", self.sender.clone()),
                (
                    "reference",
                    Some(
                        self.reference
                            .clone()
                            .unwrap_or_else(|| OWN_REFERENCE.into()),
                    ),
                ),
                ("validity", self.validity.map(|seconds| seconds.to_string())),
                ("callback", self.callback.clone()),
            ],
        )
    }
}

impl WriteCase {
    fn message(&self) -> Message {
        Message {
            recipient: Msisdn::parse(&self.to).unwrap(),
            text: MessageText::new(self.text.clone()),
            sender: self.sender.clone(),
            reference: self
                .reference
                .clone()
                .unwrap_or_else(|| OWN_REFERENCE.into()),
            validity: self.validity.map(Duration::from_secs),
            callback: self.callback.clone(),
            template: self.template.as_ref().map(|id| ApprovedTemplate {
                name: "login".into(),
                id: Some(id.clone()),
                fields: self.fields.clone(),
            }),
        }
    }
}

fn said(reading: &DecodedRequest) -> String {
    let Some(message) = &reading.message else {
        return "no message".into();
    };
    words(
        message.recipient.digits(),
        message.text.expose(),
        [
            ("sender", message.sender.clone()),
            ("reference", Some(message.reference.clone())),
            (
                "validity",
                message
                    .validity
                    .map(|validity| validity.as_secs().to_string()),
            ),
            ("callback", message.callback.clone()),
        ],
    )
}

fn words(to: &str, text: &str, rest: [(&str, Option<String>); 4]) -> String {
    let rest: Vec<String> = rest
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name}={value}")))
        .collect();
    format!("to={to} text={text} {}", rest.join(" "))
}

fn meaning(finding: &Classification) -> String {
    if let Outcome::Accepted { id } = &finding.outcome {
        return format!("accepted {id}");
    }
    let cause = finding.outcome.cause().unwrap();
    let others: Vec<&str> = finding
        .alternatives
        .iter()
        .map(|other| other.as_str())
        .collect();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!(" ({})", others.join(", "))
    };
    format!(
        "{} {cause}, {}{others}",
        finding.outcome.as_str(),
        finding.certainty.as_str()
    )
}

fn same(expected: &str, found: &str) -> Result<(), String> {
    if expected == found {
        Ok(())
    } else {
        Err(format!("\n  expected {expected}\n  found    {found}"))
    }
}

/// Compares line by line; `<…>` matches any id of that kind.
fn same_wire(expected: &str, found: &str) -> Result<(), String> {
    let kinds = [
        (r"<hex (\d+)>", "[0-9a-fA-F]{$1}"),
        ("<uuid>", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        (r#""<number>""#, "[1-9][0-9]*"),
        ("<jwt>", r"[\w-]+\.[\w-]+\.[\w-]+"),
    ];
    let mut pattern = regex::escape(expected);
    for (mark, any) in kinds {
        pattern = Regex::new(mark)
            .unwrap()
            .replace_all(&pattern, any)
            .into_owned();
    }
    let fits = Regex::new(&format!("^{pattern}$")).unwrap().is_match(found);
    if fits {
        Ok(())
    } else {
        Err(format!(
            "\n--- expected\n{expected}\n--- found\n{found}\n---"
        ))
    }
}

/// First line, headers, blank line, body.
fn parts(wire: &str) -> (&str, HeaderMap, String) {
    let (head, body) = wire
        .trim_start()
        .split_once("\n\n")
        .unwrap_or((wire.trim(), ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("no header: {line}"));
        headers.append(
            HeaderName::try_from(name).unwrap(),
            HeaderValue::try_from(value).unwrap(),
        );
    }
    let body = body.strip_suffix('\n').unwrap_or(body);
    let multipart = kind_of(&headers).starts_with("multipart/");
    (
        first,
        headers,
        if multipart {
            body.replace('\n', "\r\n")
        } else {
            body.to_owned()
        },
    )
}

fn request(wire: &str) -> Request {
    let (first, headers, body) = parts(wire);
    let (method, target) = first.split_once(' ').unwrap();
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| {
            (path, Some(query.to_owned()))
        });
    Request {
        method: method.parse().unwrap(),
        path: path.into(),
        query,
        headers,
        body: Bytes::from(body),
    }
}

fn normal_golden(wire: &str) -> String {
    let (first, headers, body) = parts(wire);
    normal(first, &headers, body.as_bytes())
}

fn normal_outgoing(went: &ProviderRequest) -> String {
    normal(
        &format!("{} {}", went.method, went.url),
        &went.headers,
        &went.body,
    )
}

fn normal_reply(reply: &Reply) -> String {
    normal(
        &reply.status.as_u16().to_string(),
        &reply.headers,
        &reply.body,
    )
}

/// Normalises header order, JSON whitespace, form escapes and boundaries.
fn normal(first: &str, headers: &HeaderMap, body: &[u8]) -> String {
    let kind = kind_of(headers);
    let mut lines: Vec<String> = headers
        .iter()
        .filter(|(name, _)| {
            ![
                "accept",
                "accept-encoding",
                "user-agent",
                "retry-after",
                "content-length",
            ]
            .contains(&name.as_str())
        })
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .map(|line| {
            if kind.starts_with("multipart/") && line.starts_with("content-type") {
                "content-type: multipart/form-data".into()
            } else {
                line
            }
        })
        .collect();
    lines.sort();
    format!(
        "{first}\n{}\n\n{}",
        lines.join("\n"),
        normal_body(&kind, body)
    )
}

fn normal_body(kind: &str, body: &[u8]) -> String {
    if kind.starts_with("application/x-www-form-urlencoded") {
        let mut pairs: Vec<String> = form_urlencoded::parse(body)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.sort();
        return pairs.join("\n");
    }
    let text = String::from_utf8(body.to_vec()).unwrap();
    if kind.starts_with("multipart/") {
        return fields_of_multipart(&text);
    }
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(mut value) => {
            value.sort_all_objects();
            serde_json::to_string_pretty(&value).unwrap()
        }
        Err(_) => text,
    }
}

fn fields_of_multipart(text: &str) -> String {
    let boundary = text.lines().next().unwrap_or_default().trim();
    let part = Regex::new(
        r#"(?is)^\r\ncontent-disposition: form-data; name="([^"]+)".*?\r\n\r\n(.*)\r\n$"#,
    )
    .unwrap();
    let mut fields: Vec<String> = text
        .split(boundary)
        .filter_map(|chunk| {
            part.captures(chunk)
                .map(|found| format!("{}={}", &found[1], &found[2]))
        })
        .collect();
    fields.sort();
    fields.join("\n")
}

fn kind_of(headers: &HeaderMap) -> String {
    headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase()
}

fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )])
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn parse<T: for<'a> Deserialize<'a>>(folder: &Path, file: &str) -> T {
    let path: PathBuf = folder.join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

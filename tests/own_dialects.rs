//! A custom provider from one file: a folder of descriptions beside the built-in
//! ones, either the differences from another or a whole new service. No rebuild, and a
//! mistake is reported at its location.

#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use sms_sidecar::dialect::recognise;
use sms_sidecar::dialect::{
    Account, Catalog, Dialect, ProviderRequest, Recognition, Reply, Request, RequestTarget,
    SourceFile,
};
use sms_sidecar::problem::{Problem, ProblemReport, SourceText};
use sms_sidecar::secret::{Credential, SecretString, Version};
use sms_sidecar::sms::{AttemptKind, Cause, Message, MessageText as Words, Msisdn, Outcome};

/// Another API of a known service: differences only.
const LIKE: &str = r#"
dialect  = "twilio-key"
extends  = "twilio"
sources  = ["https://www.twilio.com/docs/iam/api-keys"]
evidence = "vendor"
base_url = "https://api.dublin.ie1.twilio.com/2010-04-01"
hosts    = []

[credential]
account_sid = { public = true, pattern = "^AC[0-9a-f]{32}$" }
api_key     = { public = true, pattern = "^SK[0-9a-f]{32}$" }
api_secret  = {}

[sign.basic]
user     = "{credential.api_key}"
password = "{credential.api_secret}"

[send.codes]
permission-denied = [21408]
"#;

/// A service without a built-in description.
const NEW: &str = r#"
dialect  = "kabutar"
sources  = ["https://kabutar.example/docs"]
evidence = "vendor"
base_url = "https://api.kabutar.example/v2"
hosts    = ["api.kabutar.example"]

[credential]
key = { placeholder = "sms-sidecar", env = ["KABUTAR_KEY"] }

[send]
endpoint = "POST /sms"

[send.header]
X-Key = "{credential.key}"

[send.json]
"message.phone" = "{to | digits}"
"message.body"  = "{text}"
"message.from"  = "{sender}"

[[send.rules]]
status   = "200"
accepted = "result.id"

[[send.rules]]
path  = ["error"]
codes = true

[send.codes]
credential-rejected = ["bad_key"]
balance-empty       = ["no_money"]

[[send.success]]
json = { result = { id = "{id}" } }

[send.failure]
json = { error = "{code}", text = "{reason}" }

[send.failure.codes]
recipient-invalid = { status = 422, code = "bad_phone" }
default           = { status = 503, code = "later" }
"#;

#[test]
fn a_service_is_added_with_one_new_file() {
    let catalog = sound(&folder(&[("kabutar.toml", NEW)]));
    let kabutar = catalog.get("kabutar").unwrap();

    let written = write(kabutar, &[("key", "k-1")]);
    assert_eq!(written.url, "https://api.kabutar.example/v2/sms");
    assert_eq!(written.headers.get("x-key").unwrap(), "k-1");
    let body: serde_json::Value = serde_json::from_slice(&written.body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"message": {"phone": "998901234567", "body": "Kod: 1", "from": "Acme"}})
    );

    let accepted = kabutar.classify(
        AttemptKind::Send,
        &reply(200, r#"{"result":{"id":"m1"}}"#),
        "r",
    );
    assert_eq!(accepted.outcome, Outcome::Accepted { id: "m1".into() });
    let refused = kabutar.classify(
        AttemptKind::Send,
        &reply(200, r#"{"error":"no_money"}"#),
        "r",
    );
    assert_eq!(refused.outcome, Outcome::Rejected(Cause::BalanceEmpty));
}

#[test]
fn a_request_in_the_new_dialect_is_read() {
    let catalog = sound(&folder(&[("kabutar.toml", NEW)]));
    let among: Vec<Arc<Dialect>> = catalog.iter().cloned().collect();
    let request = Request {
        method: http::Method::POST,
        path: "/v2/sms".into(),
        query: None,
        headers: json(),
        body: Bytes::from_static(br#"{"message":{"phone":"998901234567","body":"Kod: 1"}}"#),
    };
    let Recognition::Operation(seen) = recognise(
        &among,
        RequestTarget::Host("api.kabutar.example"),
        &request,
        &[],
    ) else {
        panic!("not recognised")
    };
    let reading = seen
        .dialect
        .read(&seen, &request, "own0reference0000001")
        .unwrap();
    assert_eq!(reading.message.unwrap().recipient.digits(), "998901234567");
    assert!(reading.untranslatable_fields.is_empty());
}

#[test]
fn differences_are_merged_over_a_built_in_description() {
    let catalog = sound(&folder(&[("twilio-key.toml", LIKE)]));
    let (own, theirs) = (
        catalog.get("twilio-key").unwrap(),
        catalog.get("twilio").unwrap(),
    );

    let sid = "AC11111111111111111111111111111111";
    let written = write(
        own,
        &[
            ("account_sid", sid),
            ("api_key", "SK22222222222222222222222222222222"),
            ("api_secret", "s"),
        ],
    );
    assert_eq!(
        written.url.to_string(),
        format!("https://api.dublin.ie1.twilio.com/2010-04-01/Accounts/{sid}/Messages.json")
    );
    assert_eq!(
        written.headers.get("authorization").unwrap(),
        "Basic U0syMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjpz"
    );

    let abroad = reply(400, r#"{"code":21408,"message":"x"}"#);
    assert_eq!(
        own.classify(AttemptKind::Send, &abroad, "r").outcome,
        Outcome::Rejected(Cause::PermissionDenied),
        "the file's own code"
    );
    assert_eq!(
        theirs.classify(AttemptKind::Send, &abroad, "r").outcome,
        Outcome::Rejected(Cause::SenderNotAllowed),
        "the built-in description is unchanged"
    );
    let stopped = reply(400, r#"{"code":21610,"message":"x"}"#);
    assert_eq!(
        own.classify(AttemptKind::Send, &stopped, "r").outcome,
        Outcome::Rejected(Cause::RecipientBlocked),
        "the codes that the file does not set are inherited"
    );
}

/// It uses another signature: none of the inherited signature or credential is left.
#[test]
fn another_signature_replaces_the_inherited_one() {
    let text = LIKE
        .replace(
            "account_sid = { public = true, pattern = \"^AC[0-9a-f]{32}$\" }\n",
            "",
        )
        .replace("[sign.basic]", "[sign.header]");
    let text = text
        .replace("user     = \"{credential.api_key}\"", "name = \"X-Key\"")
        .replace("password =", "value =")
        .replace("api_key     = ", "#");
    let catalog = sound(&folder(&[("twilio-key.toml", &text)]));
    let own = catalog.get("twilio-key").unwrap();
    let fields: Vec<&str> = own
        .credential_fields()
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(
        fields,
        ["api_secret", "account_sid"],
        "the account is still in the path"
    );
    let written = write(
        own,
        &[
            ("account_sid", "AC11111111111111111111111111111111"),
            ("api_secret", "s"),
        ],
    );
    assert_eq!(written.headers.get("x-key").unwrap(), "s");
    assert!(!written.headers.contains_key("authorization"));
}

#[test]
fn a_mistake_is_shown_with_file_line_and_caret() {
    let wrong = NEW
        .replace("{to | digits}", "{to | digit}")
        .replace("balance-empty       =", "balance-emty        =");
    let sources = folder(&[("kabutar.toml", &wrong)]);
    let (catalog, problems) = Catalog::load(&sources);
    assert!(
        catalog.get("kabutar").is_none(),
        "a file with an error is left out"
    );
    assert!(
        catalog.get("playmobile").is_some(),
        "the other descriptions still load"
    );

    let shown = shown(&sources, problems);
    let filter = line_of(&wrong, "digit}");
    let cause = line_of(&wrong, "balance-emty");
    assert!(
        shown.contains(&format!("kabutar.toml:{filter}:"))
            && shown.contains(&format!("kabutar.toml:{cause}:")),
        "both at once:\n{shown}"
    );
    assert!(
        shown.contains("`digit` is not a filter")
            && shown.contains("did you mean `balance-empty`?"),
        "{shown}"
    );
    let caret = shown
        .lines()
        .skip_while(|line| !line.contains("{to | digit}"))
        .nth(1)
        .unwrap();
    assert!(caret.contains('^'), "{shown}");
}

#[test]
fn the_guide_shows_the_error_as_it_is_printed() {
    let page = std::fs::read_to_string("deploy/guide/write-a-dialect.md").unwrap();
    let code_block = |start: &str| {
        let (_, after) = page.split_once(start).unwrap();
        format!("{start}{}", after.split("```").next().unwrap())
    };
    let description = code_block("# /etc/sms-sidecar/dialects/kabutar.toml\n");
    let wrong = description.replace(
        "\"{to | digits}\"                     # 998901234567; `plus` writes +998901234567",
        "\"{to | digit}\"",
    );
    assert_ne!(wrong, description);
    let sources = folder(&[("kabutar.toml", &wrong)]);
    let (_, problems) = Catalog::load(&sources);
    let printed = shown(&sources, problems);
    let documented = code_block("error: `digit` is not a filter\n")
        .replace("/etc/sms-sidecar/dialects/kabutar.toml", "kabutar.toml");
    let documented = documented.split('…').next().unwrap();
    assert!(
        printed.starts_with(documented),
        "printed:\n{printed}\nin the guide:\n{documented}"
    );
}

#[test]
fn a_file_with_an_unknown_key_is_not_loaded() {
    let sources = folder(&[("kabutar.toml", &NEW.replace("base_url =", "base_ulr ="))]);
    let (catalog, problems) = Catalog::load(&sources);
    assert!(catalog.get("kabutar").is_none());
    let shown = shown(&sources, problems);
    assert!(
        shown.contains("base_ulr") && shown.contains("base_url"),
        "{shown}"
    );
}

/// The built-in descriptions and a folder of custom ones, read from disk as the sidecar reads it.
fn folder(files: &[(&str, &str)]) -> Vec<SourceFile> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut sources = Catalog::built_in_sources();
    for (name, _) in files {
        let text = std::fs::read_to_string(folder.path().join(Path::new(name))).unwrap();
        sources.push(SourceFile {
            name: (*name).into(),
            text,
            built_in: false,
        });
    }
    sources
}

fn sound(sources: &[SourceFile]) -> Catalog {
    let (catalog, problems) = Catalog::load(sources);
    assert!(problems.is_empty(), "{}", shown(sources, problems));
    catalog
}

fn shown(sources: &[SourceFile], problems: Vec<Problem>) -> String {
    let texts = sources
        .iter()
        .map(|file| SourceText {
            file: file.name.clone(),
            text: file.text.clone(),
            is_dialect: true,
        })
        .collect();
    ProblemReport { problems, texts }.render(false)
}

fn line_of(text: &str, words: &str) -> usize {
    text.lines().position(|line| line.contains(words)).unwrap() + 1
}

fn write(dialect: &Dialect, fields: &[(&str, &str)]) -> ProviderRequest {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value)));
    let credential = Credential::new(Version(1), fields.collect());
    let account = Account {
        base_url: dialect.base_url(),
        credential: &credential,
        params: &BTreeMap::new(),
        sender: None,
        token: None,
    };
    let message = Message {
        recipient: Msisdn::parse("998901234567").unwrap(),
        text: Words::new("Kod: 1"),
        sender: Some("Acme".into()),
        reference: "r1".into(),
        validity: None,
        callback: None,
        template: None,
    };
    dialect
        .write(&message, &account, Timestamp::UNIX_EPOCH)
        .unwrap()
}

fn reply(status: u16, body: &'static str) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: json(),
        body: Bytes::from_static(body.as_bytes()),
    }
}

fn json() -> HeaderMap {
    HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )])
}

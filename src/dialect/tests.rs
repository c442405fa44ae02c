//! The loader's errors, each at the words it underlines, and what no case file
//! shows: `extends`, hosts, a provider's own operations, credentials of the wrong shape.

use http::{HeaderMap, Method};

use super::*;
use crate::secret::{Credential, SecretFields, Version};
use crate::sms::{AttemptKind, Cause};

/// The smallest whole description; each test breaks one thing in it.
const SMALL: &str = r#"
dialect  = "small"
base_url = "https://api.small.example/v1"
hosts    = ["api.small.example"]
evidence = "vendor"

[credential]
key = { pattern = "^k[0-9]+$", placeholder = "k0" }

[sign]
bearer = "{credential.key}"

[send]
endpoint = "POST /send"

[send.json]
"to.number" = "{to | digits}"
text        = "{text}"

[[send.rules]]
status   = "200"
accepted = "id"

[[send.rules]]
path  = ["code"]
codes = true

[send.codes]
balance-empty     = [3]
recipient-invalid = [7, "20..29"]

[[send.success]]
json = { id = "{id}" }

[send.failure]
json = { code = "{code}", message = "{reason}" }

[send.failure.codes]
recipient-invalid = { status = 400, code = 7 }
default           = { status = 503, code = 1 }
"#;

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile {
        name: name.into(),
        text: text.into(),
        built_in: false,
    }
}

/// The problems that the loader reports, with the text that each underlines.
fn problems_of(text: &str) -> Vec<(String, String)> {
    let (_, problems) = Catalog::load(&[file("small.toml", text)]);
    let under = |problem: &crate::problem::Problem| {
        problem
            .span
            .clone()
            .and_then(|span| text.get(span))
            .unwrap_or_default()
            .to_owned()
    };
    problems
        .iter()
        .map(|problem| (problem.message.clone(), under(problem)))
        .collect()
}

#[test]
fn every_built_in_description_loads_without_a_problem() {
    let (catalog, problems) = Catalog::load(&Catalog::built_in_sources());
    assert_eq!(problems, []);
    assert_eq!(catalog.iter().count(), Catalog::built_in_sources().len());
    assert_eq!(problems_of(SMALL), []);
}

#[test]
fn each_error_is_named_and_underlined() {
    for (old, new, what, under) in [
        ("{text}", "{texd}", "`texd` is not a source", "texd}"),
        (
            "{to | digits}",
            "{to | digit}",
            "`digit` is not a filter",
            "digit}",
        ),
        ("\"{text}\"", "\"{text\"", "hole not closed", "{text"),
        (
            "\"to.number\"",
            "\"to..number\"",
            "empty name between its dots",
            ".number",
        ),
        (
            "\"to.number\" = \"{to | digits}\"",
            "to.number = \"{to | digits}\"",
            "a bare path makes a table",
            "to",
        ),
        (
            "text        = \"{text}\"",
            "text = \"x\"",
            "no field holds the text",
            "\"POST /send\"",
        ),
        (
            "\"{to | digits}\"",
            "\"{sender}\"",
            "no field holds the recipient",
            "\"POST /send\"",
        ),
        (
            "text        = \"{text}\"",
            "text = \"{text}\"\nk = \"{credential.kay}\"",
            "`credential.kay` is used and not declared",
            "\"{credential.kay}\"",
        ),
        (
            "[sign]\nbearer = \"{credential.key}\"",
            "",
            "`key` is declared and not used",
            "",
        ),
        (
            "[7, \"20..29\"]",
            "[7, \"20..29\", 3]",
            "a code is listed under two causes",
            "3",
        ),
        (
            "[7, \"20..29\"]",
            "[7, \"20..29\", 25]",
            "a code is listed twice",
            "25",
        ),
        (
            "accepted = \"id\"",
            "rejected = \"throttled\"",
            "no rule proves success",
            "\"POST /send\"",
        ),
        (
            "accepted = \"id\"",
            "accepted = \"id\"\nrejected = \"throttled\"",
            "a rule has exactly one result",
            "[[send.rules]]",
        ),
        (
            "default           = { status = 503, code = 1 }",
            "",
            "`default` is missing",
            "[send.failure]",
        ),
        (
            "{ status = 400, code = 7 }",
            "{ status = 401, code = 7 }",
            "a reply may not have this status",
            "401",
        ),
        (
            "{ status = 503, code = 1 }",
            "{ status = 500, code = 1 }",
            "`default` must have the status 503",
            "[send.failure]",
        ),
        (
            "status   = \"200\"\naccepted = \"id\"",
            "accepted = \"{reference}\"",
            "no reply reaches this rule",
            "[[send.rules]]",
        ),
        (
            "^k[0-9]+$",
            "^k[0-9+$",
            "invalid regular expression",
            "\"^k[0-9+$\"",
        ),
        (
            "json = { id = \"{id}\" }",
            "queried = { a = \"1\" }\njson = { id = \"{id}\" }",
            "the last [[send.success]] must not have `queried`",
            "[[send.success]]",
        ),
        (
            "balance-empty ",
            "balance-emty ",
            "`balance-emty` is not a cause",
            "balance-emty",
        ),
        (
            "recipient-invalid = { status",
            "balance-empty = { status",
            "`balance-empty` may not be in [send.failure.codes]",
            "\"POST /send\"",
        ),
        ("POST /send", "POST send", "a path begins with `/`", "send"),
        ("POST /send", "SEND /send", "unknown method", "SEND /send"),
        (
            "https://api.small.example/v1",
            "api.small.example",
            "not a base URL",
            "\"api.small.example\"",
        ),
        (
            "[\"api.small.example\"]",
            "[\"*.example\"]",
            "not a host pattern",
            "\"*.example\"",
        ),
        (
            "status   = \"200\"",
            "status   = \"2x\"",
            "not an HTTP status",
            "\"2x\"",
        ),
        (
            "evidence = \"vendor\"",
            "evidense = \"vendor\"",
            "unknown key `evidense`",
            "evidense",
        ),
        (
            "codes = true",
            "codes = true\nrefuse = \"throttled\"",
            "unknown key `refuse`",
            "refuse",
        ),
        (
            "dialect  = \"small\"",
            "dialect  = \"Small\"",
            "not a valid name for a dialect",
            "\"Small\"",
        ),
        (
            "path  = [\"code\"]\ncodes",
            "codes",
            "`codes` needs a `path`",
            "[[send.rules]]",
        ),
        ("dialect  = \"small\"", "dialect  = ", "", ""),
    ] {
        is_named(&SMALL.replacen(old, new, 1), what, under);
    }
}

/// A field with an error is left out; that its source is unmapped is then not an error of its own.
#[test]
fn consequences_of_a_broken_field_are_not_reported() {
    for (old, new) in [
        ("{to | digits}", "{to | digit}"),
        ("\"{text}\"", "\"{text\""),
    ] {
        let found = problems_of(&SMALL.replacen(old, new, 1));
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

/// Checks that the loader reports the broken text with this message, at that place.
fn is_named(text: &str, what: &str, under: &str) {
    assert_ne!(text, SMALL, "{what}");
    let found = problems_of(text);
    assert!(
        found
            .iter()
            .any(|(message, at)| message.contains(what) && at == under || what.is_empty()),
        "{text}: {found:?}"
    );
    assert!(!found.is_empty(), "{text}");
}

#[test]
fn each_error_of_a_listing_probe_is_named_and_underlined() {
    for (probe, what, under) in [
        (
            "about = \"sender\"\nendpoint = \"GET /names\"",
            "`about = \"sender\"` and `senders`",
            "[[probes]]",
        ),
        (
            "about = \"template\"\nendpoint = \"GET /texts\"",
            "`about = \"template\"` and `templates`",
            "[[probes]]",
        ),
        (
            "about = \"balance\"\nendpoint = \"GET /b\"\nbalance = \"b\"\nonly = \"numbers\"",
            "`shared` and `only` belong to a list",
            "[[probes]]",
        ),
        (
            "about = \"sender\"\nendpoint = \"GET /names\"\nsenders = \"names\"",
            "not the path of a list",
            "\"names\"",
        ),
        (
            "about = \"sender\"\nendpoint = \"GET /names\"\nsenders = \"[]\"\nonly = \"names\"",
            "unknown value",
            "\"names\"",
        ),
    ] {
        is_named(
            &SMALL.replacen(
                "[send.json]",
                &format!("[[probes]]\n{probe}\n[send.json]"),
                1,
            ),
            what,
            under,
        );
    }
}

#[test]
fn all_errors_are_reported_at_once_and_the_file_is_left_out() {
    let text = SMALL
        .replace("{text}", "{texd}")
        .replace("balance-empty ", "balance ")
        .replace("default ", "else ");
    let found = problems_of(&text);
    for what in [
        "`texd` is not a source",
        "`balance` is not a cause",
        "`else` is not a cause",
        "`default` is missing",
    ] {
        assert!(
            found.iter().any(|(message, _)| message.contains(what)),
            "{what}: {found:?}"
        );
    }
    let (catalog, _) = Catalog::load(&[file("small.toml", &text)]);
    assert!(catalog.get("small").is_none());
}

#[test]
fn extends_inherits_everything_that_the_file_does_not_set() {
    let mut sources = Catalog::built_in_sources();
    sources.push(file(
        "mine.toml",
        "dialect = \"mine\"\nextends = \"twilio\"\nhosts = [\"sms.mine.example\"]\nbase_url = \"https://sms.mine.example/2010-04-01\"\n\
         [[send.rules]]\npath = [\"code\"]\nequals = [777]\nrejected = \"throttled\"\n[send.codes]\nrecipient-invalid = [30018]\n",
    ));
    let (catalog, problems) = Catalog::load(&sources);
    assert_eq!(problems, []);
    let (mine, twilio) = (catalog.get("mine").unwrap(), catalog.get("twilio").unwrap());
    let cause = |dialect: &Dialect, code: u32| {
        let reply = Reply {
            status: http::StatusCode::BAD_REQUEST,
            headers: HeaderMap::new(),
            body: format!("{{\"code\":{code}}}").into(),
        };
        dialect
            .classify(AttemptKind::Send, &reply, "r")
            .outcome
            .cause()
            .unwrap()
    };
    assert_eq!(
        (cause(mine, 777), cause(twilio, 777)),
        (Cause::Throttled, Cause::Unexplained)
    );
    assert_eq!(
        (cause(mine, 30018), cause(twilio, 30018)),
        (Cause::RecipientInvalid, Cause::SenderNotAllowed)
    );
    assert_eq!(
        cause(mine, 21211),
        Cause::RecipientInvalid,
        "twilio's codes are still there"
    );
    assert!(mine.serves_host("sms.mine.example") && !mine.serves_host("api.twilio.com"));
    assert_eq!((mine.extends(), mine.overrides()), (Some("twilio"), None));
    assert!(mine.base.strip_base_path("/2010-04-01/x").is_some());
}

#[test]
fn an_override_of_a_built_in_description_names_what_it_replaces() {
    let mut sources = Catalog::built_in_sources();
    sources.push(file(
        "/etc/mine/twilio.toml",
        "dialect = \"twilio\"\nextends = \"twilio\"\n[send.codes]\nthrottled = [21211]\n",
    ));
    let (catalog, problems) = Catalog::load(&sources);
    assert_eq!(problems, []);
    let twilio = catalog.get("twilio").unwrap();
    assert_eq!(twilio.overrides(), Some("config/dialects/twilio.toml"));
    assert_eq!(
        (twilio.origin(), twilio.is_built_in()),
        ("/etc/mine/twilio.toml", false)
    );
    let (_, problems) = Catalog::load(&[
        file("a.toml", "dialect = \"a\"\nextends = \"b\"\n"),
        file("b.toml", "dialect = \"b\"\nextends = \"a\"\n"),
    ]);
    assert!(!problems.is_empty(), "a circular `extends` is an error");
    let (_, problems) = Catalog::load(&[file("a.toml", "dialect = \"a\"\nextends = \"nobody\"\n")]);
    assert!(
        problems.iter().any(
            |problem| problem.message.contains("unknown dialect `nobody`")
                && problem.span == Some(24..32)
        ),
        "{problems:?}"
    );
}

#[test]
fn an_error_in_an_extended_file_is_shown_in_that_file() {
    let broken = SMALL.replace("{text}", "{texd}");
    let (_, problems) = Catalog::load(&[
        file("small.toml", &broken),
        file("over.toml", "dialect = \"over\"\nextends = \"small\"\n"),
    ]);
    assert!(
        problems.iter().all(|problem| problem.file == "small.toml"),
        "{problems:?}"
    );
    let span = problems[0].span.clone().unwrap();
    assert!(broken.get(span).unwrap().starts_with("texd"));
}

#[test]
fn an_old_key_names_the_new_one() {
    let with = |probe: &str| {
        SMALL.replacen(
            "[send.json]",
            &format!("[[probes]]\n{probe}\n[send.json]"),
            1,
        )
    };
    let balance = "about = \"balance\"\nendpoint = \"GET /b\"\n";
    for (text, under, help) in [
        (
            SMALL.replacen("dialect ", "like = \"x\"\ndialect ", 1),
            "like",
            "`like` is now `extends`",
        ),
        (
            SMALL.replacen("endpoint", "call", 1),
            "call",
            "`call` is now `endpoint`",
        ),
        (
            SMALL.replacen("accepted", "says = [\"a\"]\naccepted", 1),
            "says",
            "`says` is now `message_path`",
        ),
        (
            SMALL.replacen("accepted", "like = \"a\"\naccepted", 1),
            "like",
            "`like` is now `matches`",
        ),
        (
            SMALL.replacen("default ", "otherwise ", 1),
            "otherwise",
            "`otherwise` is now `default`",
        ),
        (
            SMALL.replacen("{reason}", "{asked.a}", 1),
            "asked.a}",
            "`asked` is now `queried`",
        ),
        (
            with(&format!("{balance}alive = {{}}")),
            "alive",
            "`alive` is now `healthy_when`",
        ),
        (
            with(&balance.replace("about", "asks")),
            "asks",
            "`asks` is now `about`",
        ),
    ] {
        assert_ne!(text, SMALL, "{help}");
        let (_, problems) = Catalog::load(&[file("small.toml", &text)]);
        let found = problems.iter().any(|problem| {
            let at = problem.span.clone().and_then(|span| text.get(span));
            problem.help.as_deref() == Some(help) && at == Some(under)
        });
        assert!(found, "{help}: {problems:?}");
    }
}

fn request(method: Method, path: &str) -> Request {
    Request {
        method,
        path: path.into(),
        query: None,
        headers: HeaderMap::new(),
        body: bytes::Bytes::new(),
    }
}

#[test]
fn only_listed_operations_pass_and_other_hosts_are_unrecognised() {
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let all: Vec<_> = catalog.iter().cloned().collect();
    let at =
        |host: &str, method: Method, path: &str, extra: &[(String, Vec<String>)]| match recognise(
            &all,
            RequestTarget::Host(host),
            &request(method, path),
            extra,
        ) {
            Recognition::Operation(seen) => format!("{} {}", seen.dialect.name, seen.operation),
            Recognition::UnlistedOperation(unlisted) => {
                format!("{} unlisted", unlisted.dialect.name)
            }
            Recognition::Unrecognised => "unrecognised".into(),
        };
    let none = &[];
    assert_eq!(
        at("send.smsxabar.uz", Method::POST, "/broker-api/send/", none),
        "playmobile send"
    );
    assert_eq!(
        at("SEND.smsxabar.uz.", Method::POST, "/broker-api/send", none),
        "playmobile send"
    );
    assert_eq!(
        at("send.smsxabar.uz", Method::POST, "/send", none),
        "playmobile unlisted"
    );
    assert_eq!(
        at(
            "api.twilio.com",
            Method::GET,
            "/2010-04-01/Accounts/AC1.json",
            none
        ),
        "twilio unlisted"
    );
    assert_eq!(
        at(
            "api.twilio.com",
            Method::GET,
            "/2010-04-01/Accounts/AC1/Balance.json",
            none
        ),
        "twilio passthrough"
    );
    assert_eq!(
        at(
            "verify.twilio.com",
            Method::POST,
            "/v2/Services/VA1/Verifications",
            none
        ),
        "twilio passthrough"
    );
    assert_eq!(
        at(
            "verify.twilio.com",
            Method::POST,
            "/2010-04-01/Accounts/AC1/Messages.json",
            none
        ),
        "twilio unlisted"
    );
    assert_eq!(
        at("notify.eskiz.uz", Method::POST, "/api/auth/login", none),
        "eskiz login"
    );
    assert_eq!(
        at("sns.eu-west-1.amazonaws.com", Method::POST, "/", none),
        "aws-sns unlisted"
    );
    assert_eq!(at("example.com", Method::POST, "/", none), "unrecognised");
    let extra = [(
        "twilio".to_owned(),
        vec!["GET /Accounts/{any}/Usage/Records.json".to_owned()],
    )];
    assert_eq!(
        at(
            "api.twilio.com",
            Method::GET,
            "/2010-04-01/Accounts/AC1/Usage/Records.json",
            &extra
        ),
        "twilio passthrough"
    );
    assert_eq!(
        at(
            "api.twilio.com",
            Method::GET,
            "/2010-04-01/Accounts/AC1/Usage/../x.json",
            &extra
        ),
        "twilio unlisted"
    );
}

#[test]
fn a_malformed_credential_is_reported_without_its_value() {
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let twilio = catalog.get("twilio").unwrap();
    let problems_of = |sid: Option<&str>, token: &str| {
        let fields = [("account_sid", sid), ("auth_token", Some(token))];
        let fields: SecretFields = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
            .collect();
        let problems = twilio.check_credential(&Credential::new(Version(1), fields));
        problems
            .iter()
            .map(|problem| format!("{} {}", problem.field, problem.problem))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let (sid, token) = (
        "AC0123456789abcdef0123456789abcdef",
        "0123456789abcdef0123456789abcdef",
    );
    let short = "0123456789abcdef0123456789abcde";
    assert_eq!(problems_of(Some(sid), token), "");
    assert!(problems_of(None, token).contains("account_sid is missing"));
    assert!(
        problems_of(Some(token), sid).contains("looks swapped"),
        "{}",
        problems_of(Some(token), sid)
    );
    assert!(
        problems_of(Some(sid), &format!("{token}\n")).contains("auth_token contains a line break")
    );
    assert!(problems_of(Some(sid), &format!("\"{token}\"")).contains("auth_token is in quotes"));
    assert!(problems_of(Some(sid), &format!(" {token}")).contains("auth_token has a blank"));
    assert!(problems_of(Some(sid), " ").contains("auth_token is empty"));
    assert!(problems_of(Some(sid), short).contains("auth_token does not look like one"));
    assert!(
        problems_of(Some(sid), "00000000000000000000000000000000")
            .contains("auth_token is the placeholder")
    );
    for text in [problems_of(Some(token), sid), problems_of(Some(sid), short)] {
        assert!(!text.contains("0123456789"), "{text}");
    }
}

#[test]
fn a_pattern_is_a_suspicion_and_only_blanks_placeholders_and_swaps_are_held_back() {
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let mut checked = 0;
    for dialect in catalog.iter() {
        for spec in dialect.credential_fields() {
            let problem_with = |value: &str| {
                let others = dialect.credential_fields().iter();
                let fields: SecretFields = others
                    .filter(|other| other.name != spec.name)
                    .map(|other| (other.name.clone(), "a-value-of-another-field".into()))
                    .chain([(spec.name.clone(), value.into())])
                    .collect();
                let found = dialect.check_credential(&Credential::new(Version(1), fields));
                found.into_iter().find(|problem| problem.field == spec.name)
            };
            let name = format!("{} {}", dialect.name, spec.name);
            // The shape that the service may have tomorrow.
            let found = problem_with("sk_live_v2.~a-shape-of-tomorrow~");
            assert_eq!(found.is_some(), spec.pattern.is_some(), "{name}");
            assert!(found.is_none_or(|problem| !problem.is_unusable), "{name}");
            let quoted = problem_with("\"a-quoted-value\"");
            assert!(quoted.is_some_and(|problem| !problem.is_unusable), "{name}");
            let placeholder = spec.placeholder.as_deref().unwrap_or_default();
            for held_back in [
                "",
                " ",
                "undefined",
                "null",
                "${TOKEN}",
                "a\nb",
                " a",
                placeholder,
            ] {
                let found = problem_with(held_back);
                assert!(
                    found.is_some_and(|problem| problem.is_unusable),
                    "{name}: {held_back:?}"
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 12, "{checked}");
}

#[test]
fn a_value_is_swapped_if_it_fits_only_another_fields_pattern() {
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let twilio = catalog.get("twilio").unwrap();
    let unusable = |sid: &str, token: &str| {
        let fields = [("account_sid", sid), ("auth_token", token)];
        let fields: SecretFields = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let problems = twilio.check_credential(&Credential::new(Version(1), fields));
        let unusable = problems.into_iter().filter(|problem| problem.is_unusable);
        unusable
            .map(|problem| problem.to_string())
            .collect::<Vec<_>>()
    };
    let sid = "AC0123456789abcdef0123456789abcdef";
    let token = "0123456789abcdef0123456789abcdef";
    assert_eq!(unusable(token, sid).len(), 2);
    assert_eq!(
        unusable(token, "another-shape"),
        ["`account_sid` looks swapped with `auth_token`"]
    );
    assert!(unusable(sid, "another-shape").is_empty());
    assert!(unusable("another-shape", token).is_empty());
}

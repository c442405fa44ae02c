//! Checks the guide's page of the description language against the loader: the page has every key that
//! the loader accepts and no other, every word of a closed list, every source and filter, and
//! every load error, each of which a case here produces.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a page or description that cannot be read fails the test"
)]

use std::collections::BTreeSet;

use regex::Regex;
use sms_sidecar::dialect::{Catalog, SourceFile};
use sms_sidecar::problem::{Problem, Severity};
use sms_sidecar::sms::Cause;
use toml::{Table, Value};

const PAGE: &str = include_str!("../deploy/guide/dialect-language.md");

/// A description with at least one entry of every table.
const FULL: &str = r#"
dialect       = "full"
facts         = "notes"
sources       = ["https://full.example/docs"]
evidence      = "vendor"
base_url      = "https://api.full.example/v1"
hosts         = ["api.full.example"]
retired_hosts = ["old.full.example"]
test_senders  = ["+15005550006"]

[console]
default = "https://console.full.example"

[credential.key]
public      = false
pattern     = "^k[0-9]+$"
placeholder = "k0"
env         = ["FULL_KEY"]
optional    = false

[param.region]
default = "eu"
integer = false

[sign.basic]
user     = "{param.region}"
password = "{credential.key}"

[token]
endpoint = "POST /login"
form     = { key = "{credential.key}" }
reads    = { token = "data.token" }
expires  = { after = "12h" }
answer   = { json = { token = "{placeholder}" } }

[[token.rules]]
status   = "401"
rejected = "credential-rejected"

[[token.claims]]
name   = "role"
equals = ["test"]
cause  = "sandbox-mismatch"

[send]
endpoint  = "POST /send"
where     = { type = "sms" }
needs     = ["to"]
encoding  = "urlencoded"
accepts   = ["json"]
droppable = ["class"]
other_recipients = ["group"]
dropped   = ["password"]

[send.limits]
text       = 1000
recipients = ["+998"]
batch      = 10

[send.header]
X-Signature = "{digest.signature}"
X-Token     = "{token.token}"

[send.form]
"to.number" = "{to | digits}"
text        = "{text}"
type        = "sms"
ref         = "{reference}"

[send.also_reads]
phone = "{to}"

[send.digest.signature]
of   = "{now | unix}"
with = "hmac-sha256"
key  = "{credential.key}"
out  = "hex"

[[send.rules]]
status   = "200"
path     = ["status"]
equals   = ["ok"]
accepted = "id"

[[send.rules]]
path         = ["code"]
codes        = true
message_path = ["message"]
inferred     = true
retry_after  = "wait | seconds"

[send.codes]
credential-rejected = [3]
duplicate           = [9]

[send.idempotency]
field           = "ref"
duplicate_codes = [9]

[[send.success]]
queried = { v = "2" }
status  = 201
json    = { number = "{id}" }

[[send.success]]
json = { id = "{id}" }

[send.failure]
json = { code = "{code}", message = "{reason}" }

[send.failure.codes]
recipient-invalid = { status = 400, code = 7 }
default           = { status = 503, code = 1 }

[[operations]]
endpoint = "GET /status/{id}"
kind     = "status"
where    = { v = "1" }
fields   = ["fmt"]
accepts  = ["form"]
id       = "id"
answer   = { json = { id = "{id}" } }

[[probes]]
about        = "balance"
endpoint     = "GET /balance"
balance      = "sum"
unit         = "UZS"
healthy_when = { status = "200", path = ["state"], equals = ["on"], matches = "on" }
cause_when   = [{ status = "403", path = ["code"], cause = "ip-not-allowed" }]

[[probes]]
about    = "sender"
endpoint = "GET /senders"
senders  = "list[]"
shared   = ["INFO"]
only     = "numbers"

[[probes]]
about    = "template"
endpoint = "GET /texts"

[probes.templates]
path     = "list[]"
text     = ["text"]
holes    = "%d"
status   = "state"
approved = ["ok"]
pending  = ["new"]
rejected = ["no"]
"#;

/// Each table's heading on the page, and where `FULL` has the table.
const TABLES: &[(&str, &str)] = &[
    ("Top level", ""),
    ("`[console]`", "console"),
    ("`[credential.NAME]`", "credential/key"),
    ("`[param.NAME]`", "param/region"),
    ("`[sign]`", "sign"),
    ("`[sign.basic]`", "sign/basic"),
    ("`[sign.header]`", "sign/header"),
    ("`[sign.sigv4]`", "sign/sigv4"),
    ("`[token]`", "token"),
    ("`[token.expires]`", "token/expires"),
    ("`[[token.claims]]`", "token/claims/0"),
    ("`[send]`", "send"),
    ("`[send.limits]`", "send/limits"),
    ("`[send.digest.NAME]`", "send/digest/signature"),
    ("`[send.idempotency]`", "send/idempotency"),
    ("`[[send.rules]]`", "send/rules/0"),
    ("`[send.codes]`", "send/codes"),
    ("`[[send.success]]`", "send/success/0"),
    ("`[send.failure]`", "send/failure"),
    ("`[send.failure.codes]`", "send/failure/codes"),
    ("`[send.failure.codes.CAUSE]`", "send/failure/codes/default"),
    ("`[[operations]]`", "operations/0"),
    ("`[[probes]]`", "probes/0"),
    ("`healthy_when`", "probes/0/healthy_when"),
    ("`cause_when`", "probes/0/cause_when/0"),
    ("`[probes.templates]`", "probes/2/templates"),
];

/// Tables with exactly one key: the kinds of a closed list.
const KINDS: &[&str] = &["sign", "token/expires"];

#[test]
fn the_full_description_loads() {
    assert_eq!(load(FULL), []);
}

#[test]
fn every_table_of_the_page_is_checked() {
    let page: BTreeSet<&str> = headings()
        .filter(|heading| !key_rows(heading).is_empty())
        .collect();
    let checked: BTreeSet<&str> = TABLES.iter().map(|(heading, _)| *heading).collect();
    assert_eq!(page, checked);
}

#[test]
fn the_page_has_every_key_that_the_loader_accepts_and_no_other() {
    for (heading, path) in TABLES {
        let page: BTreeSet<String> = key_rows(heading).into_iter().map(|row| row.key).collect();
        let mut known = known_keys(path);
        let causes: BTreeSet<String> = Cause::ALL
            .iter()
            .map(std::string::ToString::to_string)
            .collect();
        if causes.is_subset(&known) {
            known.retain(|key| !causes.contains(key));
            known.insert("CAUSE".into());
        }
        assert_eq!(page, known, "{heading}");
    }
}

#[test]
fn a_required_key_is_required_and_another_is_not() {
    for (heading, path) in TABLES {
        for row in key_rows(heading) {
            let mut root = base_of(path);
            let Some(Value::Table(table)) = at(&mut root, path) else {
                panic!("no table at {path}");
            };
            if table.remove(&row.key).is_none() {
                continue;
            }
            let problems = load(&toml::to_string(&root).unwrap());
            let missing = problems
                .iter()
                .any(|problem| problem.message.contains("is missing"));
            if row.default == "required" {
                assert!(!problems.is_empty(), "{heading} {} is optional", row.key);
            } else {
                assert!(!missing, "{heading} {} is required: {problems:?}", row.key);
            }
        }
    }
}

#[test]
fn the_page_has_every_word_of_the_closed_lists() {
    let quoted = Regex::new(r#""([a-z0-9-]+)""#).unwrap();
    let mut lists = 0;
    for (heading, path) in TABLES {
        for row in key_rows(heading) {
            let words: BTreeSet<String> = quoted
                .captures_iter(&row.kind)
                .map(|found| found[1].to_owned())
                .collect();
            if words.is_empty() {
                continue;
            }
            lists += 1;
            let mut root = base_of(path);
            let wrong = Value::from("zzz");
            let wrong = if row.kind.starts_with("list") {
                Value::Array(vec![wrong])
            } else {
                wrong
            };
            insert(&mut root, path, &row.key, wrong);
            assert_eq!(words, known_words(&root), "{heading} {}", row.key);
        }
    }
    assert_eq!(lists, 9);
}

#[test]
fn the_page_has_every_source_and_filter() {
    let named = |hole: &str, list: &str| -> BTreeSet<String> {
        let problems = load(&FULL.replace("{text}", hole));
        let help = problems
            .iter()
            .find_map(|problem| problem.help.as_deref()?.strip_prefix(list));
        let help = help.unwrap_or_else(|| panic!("no {list} in {problems:?}"));
        let spans = Regex::new("`([a-z0-9]+)[^`]*`").unwrap();
        let plain = spans.replace_all(help, "$1");
        plain.split_whitespace().map(str::to_owned).collect()
    };
    let first_words = |heading: &str| -> BTreeSet<String> {
        rows(heading)
            .iter()
            .flat_map(|cells| code_spans(&cells[0]))
            .map(|span| span.split(' ').next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(named("{zzz}", "sources are: "), first_words("Sources"));
    let filters = first_words("Filters");
    assert_eq!(named("{text | zzz}", "filters are: "), filters);
    assert!(PAGE.contains(&format!("The {} filters.", filters.len())));
}

#[test]
fn the_page_has_every_load_error() {
    let patterns = error_patterns();
    let mut produced = BTreeSet::new();
    for (old, new, message) in ERRORS {
        let text = FULL.replacen(old, new, 1);
        assert_ne!(text, FULL, "{message}");
        let problems = load(&text);
        let found = problems
            .iter()
            .find(|problem| problem.message.contains(message));
        let found = found.unwrap_or_else(|| panic!("`{message}` is not among {problems:?}"));
        let is_located = found.span.is_some() || found.message.contains("is missing");
        assert!(
            is_located || found.message.contains("declared and not used"),
            "{found:?} has no place"
        );
        assert_eq!(found.severity, Severity::Error);
        let rows: Vec<&String> = patterns
            .iter()
            .filter(|(_, pattern)| pattern.is_match(&found.message))
            .map(|(row, _)| row)
            .collect();
        assert!(!rows.is_empty(), "not on the page: {}", found.message);
        produced.extend(rows.into_iter().cloned());
    }
    let rows: BTreeSet<String> = patterns.into_iter().map(|(row, _)| row).collect();
    assert_eq!(rows, produced, "errors of the page that no case produces");
}

/// The text replaced in `FULL`, its replacement, and the resulting error.
const ERRORS: &[(&str, &str, &str)] = &[
    (FULL, "dialect = \"full\"", "`[send]` is missing"),
    (
        "endpoint  = \"POST /send\"",
        "",
        "`send.endpoint` is missing",
    ),
    (
        "[send.failure]\njson = { code = \"{code}\", message = \"{reason}\" }\n\n[send.failure.codes]\nrecipient-invalid = { status = 400, code = 7 }\ndefault           = { status = 503, code = 1 }",
        "",
        "`[send.failure]` is missing",
    ),
    (
        "user     = \"{param.region}\"",
        "",
        "`user` is missing here",
    ),
    ("facts ", "fact ", "unknown key `fact`"),
    (
        "evidence      = \"vendor\"",
        "evidence = \"seller\"",
        "unknown value",
    ),
    (
        "= [\"FULL_KEY\"]",
        "= \"FULL_KEY\"",
        "a string where a list is expected",
    ),
    (
        "[[operations]]",
        "[operations]",
        "`operations` is a table where a list is expected",
    ),
    (
        "[console]\ndefault =",
        "console =",
        "`console` is a string where a table is expected",
    ),
    ("dialect       = \"full\"", "", "`dialect` is missing"),
    ("= \"full\"", "= \"Full\"", "not a valid name for a dialect"),
    (
        "base_url      = \"https://api.full.example/v1\"",
        "",
        "`base_url` is missing",
    ),
    (
        "\"https://api.full.example/v1\"",
        "\"api.full.example\"",
        "not a base URL",
    ),
    (
        "facts         = \"notes\"",
        "extends = \"nobody\"",
        "`extends` refers to an unknown dialect `nobody`",
    ),
    (
        "[\"api.full.example\"]",
        "[\"*.example\"]",
        "not a host pattern",
    ),
    (
        "\"https://console.full.example\"",
        "\"console\"",
        "not a page",
    ),
    (
        "duplicate           =",
        "dublicate =",
        "`dublicate` is not a cause",
    ),
    (
        "status   = \"200\"",
        "status = \"2x\"",
        "not an HTTP status",
    ),
    ("^k[0-9]+$", "^k[0-9+$", "invalid regular expression"),
    ("{text}", "{text", "hole not closed"),
    ("{text}", "{texd}", "`texd` is not a source"),
    ("{text}", "{text | digit}", "`digit` is not a filter"),
    (
        "{text}",
        "{text | xml 3}",
        "the filter `xml` takes no argument",
    ),
    (
        "{text}",
        "{text | national}",
        "the filter `national` has the wrong number of arguments",
    ),
    (
        "{text}",
        "{text | between 9 1}",
        "`between` takes two whole numbers, the smaller first",
    ),
    ("{text}", "{text | first x}", "`first` takes a whole number"),
    (
        "{text}",
        "{text | hex 65}",
        "`hex` takes a number from 1 to 64",
    ),
    ("{text}", "{text | map a}", "`map` takes pairs like `a=b`"),
    ("accepted = \"id\"", "accepted = \"\"", "a path is empty"),
    (
        "accepted = \"id\"",
        "accepted = \"a..b\"",
        "a path has an empty name between its dots",
    ),
    (
        "\"to.number\" =",
        "to.number =",
        "a bare path makes a table",
    ),
    (
        "\"POST /send\"",
        "\"/send\"",
        "an endpoint is a method, a blank and a path",
    ),
    ("\"POST /send\"", "\"SEND /send\"", "unknown method"),
    ("\"POST /send\"", "\"POST send\"", "a path begins with `/`"),
    (
        "[send.also_reads]",
        "[send.json]\na = \"b\"\n[send.also_reads]",
        "a body is a form or JSON, not both",
    ),
    ("[send.form]", "[send.json]", "`encoding` is for forms"),
    (
        "\"hmac-sha256\"",
        "\"md5\"",
        "`key` goes with hmac-sha256, and only with it",
    ),
    ("\"12h\"", "\"12 parsecs\"", "not a duration"),
    ("\"wait | seconds\"", "\"wait | weeks\"", "not a wait"),
    ("= [3]", "= [3.5]", "a code is a number or a string"),
    ("accepted = \"id\"", "", "a rule has exactly one result"),
    (
        "path     = [\"status\"]\n",
        "",
        "`equals` and `matches` need a `path`",
    ),
    (
        "path         = [\"code\"]\n",
        "",
        "`codes` needs a `path`, or a `body_matches` with a group `code`",
    ),
    (
        ", cause = \"ip-not-allowed\"",
        "",
        "an entry of `cause_when` needs a `cause`",
    ),
    (
        "senders  = \"list[]\"",
        "",
        "`about = \"sender\"` and `senders` go together",
    ),
    (
        "about    = \"template\"",
        "about = \"account\"",
        "`about = \"template\"` and `templates` go together",
    ),
    (
        "unit         = \"UZS\"",
        "only = \"numbers\"",
        "`shared` and `only` belong to a list of `senders`",
    ),
    (
        "senders  = \"list[]\"",
        "senders = \"list\"",
        "not the path of a list",
    ),
    (
        "duplicate_codes = [9]",
        "duplicate_codes = [8]",
        "this code is not a `duplicate` in [send.codes]",
    ),
    ("{to | digits}", "{sender}", "no field holds the recipient"),
    ("\"{text}\"", "\"x\"", "no field holds the text"),
    (
        "{reference}",
        "{credential.kay}",
        "`credential.kay` is used and not declared",
    ),
    (
        "[param.region]",
        "[credential.pin]\n[param.region]",
        "the credential field `pin` is declared and not used",
    ),
    (
        "accepted = \"id\"",
        "rejected = \"throttled\"",
        "no rule proves success",
    ),
    (
        "status   = \"200\"\npath     = [\"status\"]\nequals   = [\"ok\"]\naccepted = \"id\"",
        "accepted = \"{reference}\"",
        "no reply reaches this rule",
    ),
    (
        "status   = \"200\"\npath     = [\"status\"]\nequals   = [\"ok\"]\naccepted = \"id\"",
        "status = \"200\"\nbody_matches = \"id (?<id>.+)\"\naccepted = \"{matched.idd}\"",
        "no pattern of this rule has a group `idd`",
    ),
    (
        "status   = \"200\"\npath     = [\"status\"]\nequals   = [\"ok\"]\naccepted = \"id\"",
        "status = \"200\"\naccepted = \"{id}\"",
        "an id cannot be read from this",
    ),
    (
        "text        = \"{text}\"",
        "text        = \"{text}{id}\"",
        "nothing can fill `{id}` in a field of [send]",
    ),
    (
        "phone = \"{to}\"",
        "phone = \"{queried.phone}\"",
        "nothing can fill `{queried.phone}` in a field of [send]",
    ),
    (
        "endpoint  = \"POST /send\"",
        "endpoint  = \"POST /send/{account}\"",
        "nothing can fill `{account}` in the endpoint of [send]",
    ),
    (
        "of   = \"{now | unix}\"",
        "of   = \"{digest.signature}\"",
        "nothing can fill `{digest.signature}` in [send.digest.NAME]",
    ),
    (
        "user     = \"{param.region}\"",
        "user     = \"{to}\"",
        "nothing can fill `{to}` in [sign]",
    ),
    (
        "form     = { key = \"{credential.key}\" }",
        "form     = { key = \"{credential.key}\", t = \"{token.token}\" }",
        "nothing can fill `{token.token}` in a field of [token]",
    ),
    (
        "endpoint = \"POST /login\"",
        "endpoint = \"POST /login/{user}\"",
        "nothing can fill `{user}` in the endpoint of [token]",
    ),
    (
        "token = \"{placeholder}\"",
        "token = \"{token.token}\"",
        "nothing can fill `{token.token}` in the answer of [token]",
    ),
    (
        "endpoint     = \"GET /balance\"",
        "endpoint     = \"GET /balance\"\nquery = { to = \"{to}\" }",
        "nothing can fill `{to}` in a field of [[probes]]",
    ),
    (
        "endpoint = \"GET /senders\"",
        "endpoint = \"GET /senders/{account}\"",
        "nothing can fill `{account}` in the endpoint of [[probes]]",
    ),
    (
        "GET /status/{id}",
        "GET /status/{credentials.key}",
        "nothing can fill `{credentials.key}` in the endpoint of [[operations]]",
    ),
    (
        "answer   = { json = { id = \"{id}\" } }",
        "answer   = { json = { id = \"{id}\", to = \"{to}\" } }",
        "nothing can fill `{to}` in the answer of [[operations]]",
    ),
    (
        "[[send.success]]\njson = { id = \"{id}\" }",
        "[[send.success]]\njson = { id = \"{id}\", key = \"{credential.key}\" }",
        "nothing can fill `{credential.key}` in [[send.success]]",
    ),
    (
        "message = \"{reason}\"",
        "message = \"{matched.reason}\"",
        "nothing can fill `{matched.reason}` in [send.failure]",
    ),
    (
        "credential-rejected = [3]\nduplicate           = [9]",
        "",
        "a rule uses `codes`, and [send.codes] is empty",
    ),
    (
        "status   = \"401\"\nrejected = \"credential-rejected\"",
        "status   = \"401\"\npath = [\"code\"]\ncodes = true",
        "a rule of a login needs `rejected` or `unknown`",
    ),
    (
        "status   = \"401\"\nrejected = \"credential-rejected\"",
        "status   = \"401\"\naccepted = \"id\"",
        "a rule of a login needs `rejected` or `unknown`",
    ),
    (
        "answer   = { json = { token = \"{placeholder}\" } }",
        "answer   = { queried = { v = \"3\" }, json = { token = \"{placeholder}\" } }",
        "`queried` has no effect here",
    ),
    ("fields   = [\"fmt\"]", "", "this operation needs `fields`"),
    (
        "accepts   = [\"json\"]",
        "keyed = [\"entry.Name\"]",
        "not a list of a form",
    ),
    (
        "accepts   = [\"json\"]",
        "secondary = [\"tex\"]",
        "no such field in [send]",
    ),
    (
        "kind     = \"status\"\nwhere    = { v = \"1\" }\nfields   = [\"fmt\"]\naccepts  = [\"form\"]\nid       = \"id\"\nanswer   = { json = { id = \"{id}\" } }",
        "kind     = \"local\"",
        "a local operation needs `answer`",
    ),
    (
        "kind     = \"status\"",
        "kind     = \"passthrough\"",
        "this kind of operation has no `answer`",
    ),
    ("= [3]", "= [3, 3]", "a code is listed twice"),
    ("= [3]", "= [3, 9]", "a code is listed under two causes"),
    (
        "json = { id = \"{id}\" }",
        "queried = { v = \"3\" }\njson = { id = \"{id}\" }",
        "the last [[send.success]] must not have `queried`",
    ),
    (
        "[[send.success]]\njson = { id = \"{id}\" }",
        "[[send.success]]\nstatus = 200",
        "a reply has neither `json` nor `text`",
    ),
    (
        "status  = 201",
        "status = 401",
        "a reply may not have the status 401",
    ),
    (
        "{ status = 400, code = 7 }",
        "{ status = 401 }",
        "a reply may not have this status",
    ),
    (
        "default           = { status = 503, code = 1 }",
        "",
        "`default` is missing in [send.failure.codes]",
    ),
    (
        "{ status = 503, code = 1 }",
        "{ status = 500 }",
        "`default` must have the status 503",
    ),
    (
        "recipient-invalid = { status",
        "balance-empty = { status",
        "`balance-empty` may not be in [send.failure.codes]",
    ),
];

fn load(text: &str) -> Vec<Problem> {
    let source = SourceFile {
        name: "full.toml".into(),
        text: text.into(),
        built_in: false,
    };
    Catalog::load(&[source]).1
}

/// The full description, with the kind of signature that the path belongs to.
fn base_of(path: &str) -> Value {
    let mut root: Table = FULL.parse().unwrap();
    let sign = match path {
        "sign/header" => "header = { name = \"X-Key\", value = \"{credential.key}\" }",
        "sign/sigv4" => {
            "sigv4 = { service = \"sns\", region = \"{param.region}\", access_key = \"a\", secret_key = \"{credential.key}\" }"
        }
        _ => return Value::Table(root),
    };
    root.insert("sign".into(), Value::Table(sign.parse().unwrap()));
    Value::Table(root)
}

fn at<'v>(root: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    path.split('/')
        .filter(|key| !key.is_empty())
        .try_fold(root, |value, key| match key.parse::<usize>() {
            Ok(index) => value.get_mut(index),
            Err(_) => value.get_mut(key),
        })
}

fn insert(root: &mut Value, path: &str, key: &str, value: Value) {
    let Some(Value::Table(table)) = at(root, path) else {
        panic!("no table at {path}");
    };
    if KINDS.contains(&path) {
        table.clear();
    }
    table.insert(key.into(), value);
}

/// The keys that the loader lists when it finds an unknown one.
fn known_keys(path: &str) -> BTreeSet<String> {
    let mut root = base_of(path);
    let value = match path {
        "console" => Value::from("https://page.example"),
        "send/codes" => Value::Array(Vec::new()),
        "send/failure/codes" => Value::Table("status = 400".parse().unwrap()),
        _ => Value::from(1),
    };
    insert(&mut root, path, "zzz", value);
    known_words(&root)
}

/// The words in the help line of the error about `zzz`.
fn known_words(root: &Value) -> BTreeSet<String> {
    let problems = load(&toml::to_string(root).unwrap());
    let help = problems
        .iter()
        .filter(|problem| problem.message.contains("`zzz`") || problem.message == "unknown value")
        .find_map(|problem| problem.help.clone());
    let help = help.unwrap_or_else(|| panic!("no error about `zzz`: {problems:?}"));
    code_spans(&help).collect()
}

/// A line of a table of keys.
struct KeyRow {
    key: String,
    kind: String,
    default: String,
}

fn key_rows(heading: &str) -> Vec<KeyRow> {
    let of_keys = |cells: &Vec<String>| cells.len() == 4 && cells[0].starts_with('`');
    rows(heading)
        .into_iter()
        .filter(of_keys)
        .map(|cells| KeyRow {
            key: cells[0].trim_matches('`').to_owned(),
            kind: cells[1].clone(),
            default: cells[2].clone(),
        })
        .collect()
}

/// The errors on the page, and the messages that each one matches.
fn error_patterns() -> Vec<(String, Regex)> {
    let placeholders =
        Regex::new(r"\b(KEY|TYPE|NAME|WORD|REASON|FILTER|SOURCE|FIELD|CAUSE|PLACE)\b").unwrap();
    rows("Load errors")
        .into_iter()
        .skip(1)
        .map(|cells| {
            let escaped = regex::escape(&cells[0]);
            let pattern = placeholders.replace_all(&escaped, ".+");
            let pattern = Regex::new(&format!("^{pattern}$")).unwrap();
            (cells[0].clone(), pattern)
        })
        .collect()
}

fn headings() -> impl Iterator<Item = &'static str> {
    PAGE.lines()
        .filter(|line| line.starts_with("##"))
        .map(|line| line.trim_start_matches('#').trim())
}

/// The cells of the tables below a heading, up to the next heading, without the rulers.
fn rows(heading: &str) -> Vec<Vec<String>> {
    PAGE.lines()
        .skip_while(|line| {
            !line.starts_with("##") || line.trim_start_matches('#').trim() != heading
        })
        .skip(1)
        .take_while(|line| !line.starts_with("##"))
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"))
        .map(|line| {
            let line = line.replace("\\|", "\u{0}");
            let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
            inner
                .split('|')
                .map(|cell| cell.trim().replace('\u{0}', "|"))
                .collect()
        })
        .collect()
}

fn code_spans(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

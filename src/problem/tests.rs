//! All problems are reported, at their place, without any value.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TestFile {
    mode: Option<TestMode>,
    timeout: Option<u64>,
    things: BTreeMap<toml::Spanned<String>, Thing>,
    routes: Vec<Thing>,
    talkative: Option<Talkative>,
}

/// A type whose error message quotes its input.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Talkative;

impl TryFrom<String> for Talkative {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            Ok(Self)
        } else {
            Err(format!("cannot make sense of {text}"))
        }
    }
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum TestMode {
    Act,
    Observe,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Thing {
    dialect: Option<String>,
    sender: Option<String>,
    providers: Vec<String>,
}

fn report(text: &str) -> (Option<TestFile>, ProblemReport) {
    let (file, problems) = parse_toml::<TestFile>("c.toml", text);
    (
        file,
        ProblemReport {
            problems,
            texts: vec![SourceText {
                file: "c.toml".into(),
                text: text.into(),
                is_dialect: false,
            }],
        },
    )
}

#[test]
fn every_mistake_is_reported_and_the_rest_is_still_read() {
    let text = "mode = \"obsrve\"\ntimeout = \"CANARY\"\n[things.a]\ndialct = \"x\"\npassword = 'CANARY'\nsender = 12\n[things.b]\ndialect = \"good\"\n[[routes]]\nproviders = \"CANARY\"\n[[routes]]\nprovider = [\"x\"]\nproviders = [\"y\"]\n";
    let (file, report) = report(text);
    let file = file.unwrap();
    assert_eq!(
        file.things
            .values()
            .filter_map(|thing| thing.dialect.as_deref())
            .collect::<Vec<_>>(),
        ["good"]
    );
    assert_eq!(
        file.routes
            .iter()
            .map(|route| route.providers.clone())
            .collect::<Vec<_>>(),
        [vec![], vec!["y".to_owned()]]
    );
    let rendered = report.render(false);
    assert_eq!(report.error_count(), 7, "{rendered}");
    assert!(
        !rendered.contains("CANARY") && !report.to_json().to_string().contains("CANARY"),
        "{rendered}"
    );
    for part in [
        "did you mean `observe`?",
        "a string where a whole number is expected",
        "unknown key `dialct`",
        "did you mean `dialect`?",
        "c.toml:4:1",
        "c.toml:12:1",
        "did you mean `providers`?",
    ] {
        assert!(rendered.contains(part), "{part} is not in\n{rendered}");
    }
}

#[test]
fn the_caret_points_to_the_masked_value() {
    let text = "[things.a]\nx = { password = \"CANARY\", dialect = 7 }\n";
    let at = text.find('7').unwrap();
    let texts = vec![SourceText {
        file: "c.toml".into(),
        text: text.into(),
        is_dialect: false,
    }];
    let report = ProblemReport {
        problems: vec![Problem::error("c.toml", at..at + 1, "wrong").with_help("do this")],
        texts,
    };
    let rendered = report.render(false);
    let lines: Vec<&str> = rendered.lines().collect();
    let source = lines
        .iter()
        .position(|line| line.contains("password"))
        .unwrap();
    assert_eq!(
        lines[source].find('7'),
        lines[source + 1].find('^'),
        "{rendered}"
    );
    assert!(
        rendered.contains("c.toml:2:38")
            && rendered.contains("password = ***,")
            && rendered.contains("help: do this"),
        "{rendered}"
    );
    assert!(!rendered.contains("CANARY"), "{rendered}");
}

#[test]
fn a_value_is_masked_in_every_spelling() {
    for text in [
        "password = \"CANARY\"",
        "password = 'CANARY'",
        "password = CANARY",
        "password: CANARY",
        "password = \"\"\"\nCANARY\nCANARY\"\"\"",
        "password = \"CANARY",
        "password = [\"a\", { token = \"CANARY\" }]",
        "password = ab,CANARY=1",
        "password = ab{CANARY=1",
        "password CANARY = 1",
        "CANARY",
        "dialect = 1 # password = CANARY",
        "# CANARY",
        "a.b.'password' = \"x\\\"CANARY\"",
        "\"password\" . key = \"CANARY\"",
        "proxy = \"http://user:CANARY@host\"",
        "dialect = \"CANARYab12cd34ef56gh78\"",
        "talkative = \"CANARY\"",
        "[things]\npassword=\"CANARY\"\n[[x]]\n",
    ] {
        for (at, _) in text.char_indices() {
            let texts = vec![SourceText {
                file: "c.toml".into(),
                text: text.into(),
                is_dialect: false,
            }];
            let rendered = ProblemReport {
                problems: vec![Problem::error("c.toml", at..text.len(), "wrong")],
                texts,
            }
            .render(true);
            assert!(!rendered.contains("CANARY"), "{text} at {at}:\n{rendered}");
        }
        let (_, report) = report(text);
        assert!(
            !report.render(false).contains("CANARY"),
            "{text}:\n{report}"
        );
    }
}

#[test]
fn names_and_descriptions_stay_readable() {
    let shown = |text: &str, description| mask::mask_line(text, &(0..text.len()), description).text;
    assert_eq!(
        shown("providers = [\"a\", \"b\"] # c", false),
        "providers = [\"a\", \"b\"]"
    );
    assert_eq!(
        shown("[providers.play-mobile]", false),
        "[providers.play-mobile]"
    );
    assert_eq!(
        shown("x = { vault = \"local\", on = true, key = 5 }", false),
        "x = { vault = \"local\", on = true, key = *** }"
    );
    assert_eq!(shown("x = 1 # old: CANARY", true), "x = 1");
    assert_eq!(
        shown("\"to.x\" = \"{to | digits}\"", true),
        "\"to.x\" = \"{to | digits}\""
    );
}

#[test]
fn a_syntax_error_is_one_problem_with_its_place() {
    let (file, report) = report("mode = \n[things.a]\ndialect = \"x\"\n");
    assert!(file.is_some());
    assert_eq!(
        (
            report.error_count(),
            report.problems[0].span.clone().map(|span| span.start >= 6)
        ),
        (1, Some(true)),
        "{report}"
    );
}

#[test]
fn a_suggestion_is_made_only_if_it_is_close() {
    assert_eq!(
        closest_match("playmobil", ["twilio", "playmobile"]),
        Some("playmobile")
    );
    assert_eq!(closest_match("zzz", ["twilio", "playmobile"]), None);
    assert_eq!(suggest("x", &[]), "no value is allowed here");
    assert_eq!(suggest("zzz", &["a", "b"]), "known: `a`, `b`");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]
    #[test]
    fn no_input_makes_it_panic(text in "[a-c=\"'#\\[\\]{},.\\n é]{0,40}", start in 0usize..50, end in 0usize..50) {
        let (_, mut problems) = parse_toml::<TestFile>("c.toml", &text);
        problems.push(Problem::error("c.toml", start..end.max(start), "x"));
        let report = ProblemReport { problems, texts: vec![SourceText { file: "c.toml".into(), text: text.clone(), is_dialect: false }] };
        let _ = (report.render(true), report.to_json());
    }
}

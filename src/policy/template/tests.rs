//! Texts must match as a whole, and each provider gets its approved form.

use super::*;
use crate::sms::Msisdn;

fn template(name: &str, text: &str, texts: &[(&str, &str)], ids: &[(&str, &str)]) -> TextTemplate {
    let owned = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    TextTemplate {
        name: name.to_owned(),
        text: text.to_owned(),
        texts: owned(texts),
        ids: owned(ids),
    }
}

fn message(text: &str) -> Message {
    Message {
        recipient: Msisdn::parse("998901234567").unwrap(),
        text: MessageText::new(text),
        sender: None,
        reference: "r".to_owned(),
        validity: None,
        callback: None,
        template: None,
    }
}

fn login() -> Templates {
    let texts = [
        ("eskiz", "ilovasiga kirish kodi: {code}"),
        ("own", "{code}!"),
    ];
    Templates::new(&[template(
        "login",
        "1port: kod {code}",
        &texts,
        &[("tencent", "1877")],
    )])
    .unwrap()
}

#[test]
fn each_provider_gets_its_approved_text() {
    let templates = login();
    let message = message("1port: kod 123456");
    let found = templates.match_text(&message.text).unwrap();
    assert_eq!(found.name(), "login");
    let at = |provider, dialect| found.message_for(&message, provider, dialect);
    assert_eq!(
        at("backup", "eskiz").text.expose(),
        "ilovasiga kirish kodi: 123456",
        "the dialect's text"
    );
    assert_eq!(
        at("own", "eskiz").text.expose(),
        "123456!",
        "the provider's text before its dialect's"
    );
    assert_eq!(
        at("other", "other").text.expose(),
        "1port: kod 123456",
        "the backend's text"
    );
    let by_number = at("other", "tencent").template.unwrap();
    assert_eq!(by_number.id.as_deref(), Some("1877"));
    assert_eq!(by_number.fields, [("code".to_owned(), "123456".to_owned())]);
    assert_eq!(at("other", "other").template.unwrap().id, None);
    assert_eq!(
        format!("{found:?}"),
        "TemplateMatch(login, 1 fields)",
        "the value of a hole is a code"
    );
}

#[test]
fn the_whole_text_must_match() {
    let templates = login();
    let matches = |text: &str| templates.match_text(&MessageText::new(text)).is_some();
    assert!(matches("1port: kod 1") && matches("1port: kod 12 34"));
    let others = [
        "1port: kod ",
        "1port: kod",
        "x1port: kod 1",
        "1Port: kod 1",
        "1port:  kod 1",
        "1port: kod 1\n",
        "1port: kod 1\nhttps://x",
        "",
    ];
    for text in others {
        assert!(!matches(text), "{text:?}");
    }
    let dotted = Templates::new(&[template("a", "a.b* {x}", &[], &[])]).unwrap();
    assert!(
        dotted.match_text(&MessageText::new("a.b* 1")).is_some()
            && dotted.match_text(&MessageText::new("aXbb 1")).is_none(),
        "words are not a pattern"
    );
}

#[test]
fn several_holes_and_the_same_hole_twice() {
    let fields = |text: &str, message: &str| {
        let templates = Templates::new(&[template("a", text, &[], &[])]).unwrap();
        templates
            .match_text(&MessageText::new(message))
            .map(|found| {
                found
                    .fields
                    .iter()
                    .map(|(hole, value)| format!("{hole}={value}"))
                    .collect::<Vec<_>>()
            })
    };
    assert_eq!(
        fields("{name}, kod {code}. {name}", "Ali, kod 12. Ali").unwrap(),
        ["name=Ali", "code=12"]
    );
    assert_eq!(
        fields("{name}, kod {code}. {name}", "Ali, kod 12. Vali"),
        None,
        "a hole has one value"
    );
    assert_eq!(fields("Салом {code} 😀", "Салом 1 😀").unwrap(), ["code=1"]);
}

#[test]
fn the_first_match_wins() {
    let both = Templates::new(&[
        template("code", "kod {code}", &[], &[]),
        template("any", "kod {a}{b_2}x", &[], &[]),
    ]);
    assert_eq!(both.unwrap_err().len(), 1);
    let both = Templates::new(&[
        template("code", "kod {code}", &[], &[]),
        template("any", "{a} 1", &[], &[]),
    ])
    .unwrap();
    assert_eq!(
        both.match_text(&MessageText::new("kod 1")).unwrap().name(),
        "code"
    );
    assert_eq!(
        both.match_text(&MessageText::new("cod 1")).unwrap().name(),
        "any"
    );
}

#[test]
fn every_error_is_reported_with_its_remedy() {
    let templates = [
        template("a", "kod {code", &[], &[]),
        template("b", "kod }code", &[], &[]),
        template("c", "kod {co de}", &[], &[]),
        template("d", "kod {}", &[], &[]),
        template("e", "kod {x}{y}", &[("p", "{z}"), ("q", "{")], &[]),
        template("f", "{x} ", &[], &[]),
        template("g", "kod {x} y}", &[], &[]),
        template("h", "", &[], &[]),
        template("i", "{x} {y}", &[], &[]),
    ];
    let reported: Vec<_> = Templates::new(&templates)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    let brace = |place| format!("template {place}: a brace in this text does not belong to a hole");
    let only = |name| {
        format!(
            "template {name}, `text`: this text consists of holes only and would match every message"
        )
    };
    let expected = [
        brace("a, `text`"),
        brace("b, `text`"),
        brace("c, `text`"),
        brace("d, `text`"),
        "template e, `text`: no text between the holes `{x}` and `{y}`".to_owned(),
        "template e, the text for p: nothing fills the hole `{z}`".to_owned(),
        brace("e, the text for q"),
        only("f"),
        brace("g, `text`"),
        only("h"),
        only("i"),
    ];
    assert_eq!(reported, expected);
    let long = Templates::new(&[template("l", &"x".repeat(1 << 20), &[], &[])]).unwrap_err();
    assert_eq!(
        long,
        [TemplateError {
            template: "l".into(),
            owner: None,
            fault: TemplateFault::TooLong,
        }]
    );
}

#[test]
fn an_approved_text_may_have_adjacent_holes() {
    let templates = Templates::new(&[template("a", "{a}-{b}.", &[("p", "{b}{a}")], &[])]).unwrap();
    let message = message("1-2.");
    let found = templates.match_text(&message.text).unwrap();
    assert_eq!(found.message_for(&message, "p", "d").text.expose(), "21");
}

#[test]
fn a_parsed_text_gives_its_holes_and_the_length_of_its_words() {
    let text = ParsedTemplate::parse("код {code} for {app_2}, {code}").unwrap();
    assert_eq!(text.holes().collect::<Vec<_>>(), ["code", "app_2", "code"]);
    assert_eq!(text.literal_len(), "код  for , ".chars().count());
    assert_eq!(
        text.fill(|hole| if hole == "code" { "1" } else { "x" }),
        "код 1 for x, 1"
    );
}

//! The table of Node's dotenv rules, read and written back.

use super::*;

type DotenvPairs = &'static [(&'static str, &'static str)];

/// The result of npm's dotenv for each text (16.6.1 and 18.0.10 agree on all of them).
#[rustfmt::skip]
const TABLE: &[(&str, DotenvPairs)] = &[
    ("A=1", &[("A", "1")]),
    ("A = 1 ", &[("A", "1")]),
    ("  A=  spaced value  ", &[("A", "spaced value")]),
    ("export A=1", &[("A", "1")]),
    ("export   A = x", &[("A", "x")]),
    ("A: yaml", &[("A", "yaml")]),
    ("A:x", &[]),
    ("A=", &[("A", "")]),
    ("A", &[]),
    ("=x", &[]),
    ("A=b=c==", &[("A", "b=c==")]),
    ("A=\"two words\"", &[("A", "two words")]),
    ("A='two words'", &[("A", "two words")]),
    ("A=`two words`", &[("A", "two words")]),
    ("A=\"it's\"", &[("A", "it's")]),
    ("A='say \"hi\"'", &[("A", "say \"hi\"")]),
    ("A=`it's \"hi\"`", &[("A", "it's \"hi\"")]),
    ("A=\"a\\nb\"", &[("A", "a\nb")]),
    ("A='a\\nb'", &[("A", "a\\nb")]),
    ("A=`a\\nb`", &[("A", "a\\nb")]),
    ("A=a\\nb", &[("A", "a\\nb")]),
    ("A=\"a\\rb\\tc\"", &[("A", "a\rb\\tc")]),
    ("A=\"a\\\"b\"", &[("A", "a\\\"b")]),
    ("A='a\\'b'", &[("A", "a\\'b")]),
    ("A=\"line one\nline two\"\nB=2", &[("A", "line one\nline two"), ("B", "2")]),
    ("A='line one\nline two'\nB=2", &[("A", "line one\nline two"), ("B", "2")]),
    ("A=`line one\nline two`\nB=2", &[("A", "line one\nline two"), ("B", "2")]),
    ("A=1 # comment", &[("A", "1")]),
    ("A=1# comment", &[("A", "1")]),
    ("A=#hash", &[("A", "")]),
    ("A=\"#hash\" # comment", &[("A", "#hash")]),
    ("A=a#b", &[("A", "a")]),
    ("A='a#b'", &[("A", "a#b")]),
    ("# A=1", &[]),
    ("#A=1\nB=2", &[("B", "2")]),
    ("A=1\n\n\nB=2", &[("A", "1"), ("B", "2")]),
    ("A=\"unclosed", &[("A", "\"unclosed")]),
    ("A=unclosed\"", &[("A", "unclosed\"")]),
    ("A=\"a\" b", &[("A", "\"a\" b")]),
    ("A=\"a\" \"b\"", &[("A", "a\" \"b")]),
    ("A='a' # 'b'", &[("A", "a")]),
    ("A=\"\"", &[("A", "")]),
    ("A=''", &[("A", "")]),
    ("A=\" padded \"", &[("A", " padded ")]),
    ("A= \" padded \" ", &[("A", " padded ")]),
    ("\u{feff}A=1", &[("A", "1")]),
    ("A=1\r\nB=2\r\n", &[("A", "1"), ("B", "2")]),
    ("A=1\rB=2", &[("A", "1"), ("B", "2")]),
    ("A=\"x\r\ny\"\r\nB=2", &[("A", "x\ny"), ("B", "2")]),
    ("A=\nB=2", &[("A", ""), ("B", "2")]),
    ("A=\n\"x\"", &[("A", "x")]),
    ("A=1\nA=2", &[("A", "2")]),
    ("A.B-C_1=x", &[("A.B-C_1", "x")]),
    ("1A=x", &[("1A", "x")]),
    ("Ä=x", &[]),
    ("A=$B ${C}", &[("A", "$B ${C}")]),
    ("A=пароль", &[("A", "пароль")]),
    ("A=\"emoji 🙂\"", &[("A", "emoji 🙂")]),
    ("A=x\u{a0}", &[("A", "x")]),
    ("A={\"json\": \"in\", \"a\": 1}", &[("A", "{\"json\": \"in\", \"a\": 1}")]),
    ("A=x y z", &[("A", "x y z")]),
    ("A=pa$$w0rd!%&*()", &[("A", "pa$$w0rd!%&*()")]),
    ("A=\"\\\\n\"", &[("A", "\\\n")]),
    ("not a line\nB=2", &[("B", "2")]),
    ("A B=1", &[]),
    ("A==", &[("A", "=")]),
    ("A='\nB=2", &[("A", "'"), ("B", "2")]),
    ("A=\"-----BEGIN KEY-----\nabc\n-----END KEY-----\"\nB=2", &[("A", "-----BEGIN KEY-----\nabc\n-----END KEY-----"), ("B", "2")]),
    ("A=https://u:p@h/x?y=1#z", &[("A", "https://u:p@h/x?y=1")]),
    ("A\t=\t1", &[("A", "1")]),
    ("export\tA=1", &[("A", "1")]),
    ("A=x;B=y", &[("A", "x;B=y")]),
];

fn last_of_each(text: &str) -> BTreeMap<String, String> {
    parse(text)
        .into_iter()
        .map(|variable| (variable.name, variable.value.to_string()))
        .collect()
}

#[test]
fn values_are_read_as_dotenv_reads_them() {
    for (text, expected) in TABLE {
        let expected = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(last_of_each(text), expected, "{text:?}");
    }
}

fn placeholders(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn replaces_values_and_nothing_else() {
    let text = "# keep\r\nexport A = \"a\\nb\" # why\r\n\r\nB=two\nC='three\nlines'\rD=\nA: again\n\u{FEFF}E=пять # ж\n";
    let expected =
        "# keep\r\nexport A = \"one\" # why\r\n\r\nB=two\nC='x'\rD=y\nA: one\n\u{FEFF}E=z # ж\n";
    let with = placeholders(&[
        ("A", "one"),
        ("C", "x"),
        ("D", "y"),
        ("E", "z"),
        ("NOT_THERE", "?"),
    ]);
    let replaced = replace_values(text, &with).unwrap();
    assert_eq!(*replaced, expected);
}

#[test]
fn every_value_of_the_table_can_be_replaced() {
    for (text, expected) in TABLE {
        let with: BTreeMap<_, _> = expected
            .iter()
            .map(|(name, _)| ((*name).to_owned(), "AC00".to_owned()))
            .collect();
        let replaced = replace_values(text, &with).unwrap_or_else(|| panic!("{text:?}"));
        assert_eq!(last_of_each(&replaced), with, "{text:?}");
    }
}

#[test]
fn a_placeholder_that_would_not_read_back_is_rejected() {
    assert!(replace_values("A=1\n", &placeholders(&[("A", "x # y")])).is_none());
    assert!(replace_values("A=1\n", &placeholders(&[("A", "x\nB=2")])).is_none());
    assert!(replace_values("A='1'\n", &placeholders(&[("A", "x # y")])).is_some());
}

#[test]
fn shows_no_value() {
    assert_eq!(format!("{:?}", parse("A=canary")), "[Variable(A)]");
}

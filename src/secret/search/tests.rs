//! How much work a search takes, and how a text is read.

use super::*;

fn finder() -> Finder {
    let needles = ["0123456789", "Zq7Rw2Xk9LmT4vBn", "a-secret-of-letters"];
    let needles = needles.map(|text| Needle {
        text: Compared::LettersAndDigits.text(text),
        rule: MatchRule::Anywhere,
    });
    Finder::new(needles.to_vec(), Compared::LettersAndDigits).unwrap()
}

/// The steps that a text of this length takes.
fn steps(piece: &str, length: usize) -> usize {
    let text = piece.repeat(length.div_ceil(piece.len()));
    let work = Work::new(usize::MAX);
    let mut marks = SourceMarks::new(text.as_bytes());
    finder().search(
        &Layer::of_source(text.as_bytes()),
        MAX_DEPTH,
        &mut marks,
        &work,
    );
    usize::MAX - work.left()
}

/// Beginnings of escapes, of markup, of secrets and of texts in other alphabets, in each order.
const PIECES: &[&str] = &[
    "<!-- >",
    "<!--",
    "<a",
    "<a<a<a<a>",
    "<!-- -->",
    "<![CDATA[",
    "</",
    "<a title=\"",
    "]]",
    "\\",
    "\\\\u",
    "\\u00",
    "\\u0041",
    "\\x",
    "%",
    "%2",
    "%25",
    "%u00",
    "%u0041",
    "&",
    "&amp;",
    "&amp",
    "&#",
    "&#0",
    "&#x41;",
    "&#38;",
    "=",
    "=3D",
    "=\r\n",
    "=3",
    "0",
    "0x",
    "0x5a,",
    "12,",
    "VVVV",
    "UUUU",
    "AAAA",
    "0012",
    "Zq7Rw2Xk",
    "Zq7Rw2Xk<",
    "0123<a ",
    "0123<!--",
    "0123%",
    "0123\\",
    "0123&#0",
    "0123&amp;",
    "ab ",
    "\u{0}a",
    "\u{4}\u{0}",
    "ў",
    "\u{200b}",
    "0123456789",
    "Wm1GdWMyVnk=",
    "3031323334",
    "{\"a\":\"b\"},",
    "<br/>",
    "&nbsp;",
    "%20",
];

/// Twice as long a text takes at most twice the work, however it begins; the searched part of it stays small.
#[test]
fn the_work_grows_with_the_text_alone() {
    for first in PIECES {
        for second in ["", "<%41"] {
            let piece = format!("{first}{second}");
            let short = steps(&piece, 2 << 10);
            let long = steps(&piece, 8 << 10);
            assert!(
                long <= short * 5,
                "{piece:?}: {short} steps for 2 KiB, {long} for 8 KiB"
            );
        }
    }
}

#[test]
fn a_text_that_takes_too_much_work_is_not_shown() {
    let text = PIECES.concat().repeat(200);
    let finder = finder();
    let work = Work::new(1000);
    let mut marks = SourceMarks::new(text.as_bytes());
    finder.search(
        &Layer::of_source(text.as_bytes()),
        MAX_DEPTH,
        &mut marks,
        &work,
    );
    assert!(work.is_spent());
}

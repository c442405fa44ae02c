//! How much work a search takes, and how a text is read.

use proptest::prelude::*;

use super::*;

fn finder() -> Finder {
    let needles = ["0123456789", "Zq7Rw2Xk9LmT4vBn", "a-secret-of-letters"];
    let mut looked_for = Needles::default();
    for text in needles {
        looked_for.push(Compared::LettersAndDigits.chars(text), MatchRule::Anywhere);
    }
    Finder::new(looked_for, Compared::LettersAndDigits).unwrap()
}

/// The steps that a text of this length takes.
fn steps(piece: &str, length: usize) -> usize {
    let text = piece.repeat(length.div_ceil(piece.len()));
    let work = Work::new(usize::MAX);
    Search::new(&[finder()], text.as_bytes(), &work)
        .run(&Layer::of_source(text.as_bytes()), MAX_DEPTH);
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
    let work = Work::new(1000);
    Search::new(&[finder()], text.as_bytes(), &work)
        .run(&Layer::of_source(text.as_bytes()), MAX_DEPTH);
    assert!(work.is_spent());
}

/// A needle as the property makes it.
type Wanted = (String, MatchRule);

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let rule = prop_oneof![
        Just(MatchRule::Anywhere),
        Just(MatchRule::WholeWord),
        Just(MatchRule::Together)
    ];
    proptest::collection::vec(("[abx]{1,7}", rule), 1..8)
}

/// Marks each place where the text has the needle, by comparing it with every part of the text.
fn mark_naively(text: &[char], (needle, rule): &Wanted, marked: &mut [bool]) {
    let is_letter = |at: Option<usize>| {
        let char = at.and_then(|at| text.get(at));
        char.is_some_and(|char| char.is_alphabetic())
    };
    let letters: Vec<usize> = (0..text.len()).filter(|at| is_letter(Some(*at))).collect();
    for places in letters.windows(needle.len()) {
        let (first, last) = (places[0], places[needle.len() - 1]);
        let found: String = places.iter().map(|at| text[*at]).collect();
        let counts = match rule {
            MatchRule::Anywhere => true,
            MatchRule::WholeWord => !is_letter(first.checked_sub(1)) && !is_letter(Some(last + 1)),
            MatchRule::Together => places.windows(2).all(|pair| pair[1] - pair[0] <= 4),
        };
        if counts && found == *needle {
            marked[first..=last].fill(true);
        }
    }
}

proptest! {
    /// The sorted list finds what comparing every needle with every part of the text finds.
    #[test]
    fn what_is_found_is_what_a_naive_search_finds(
        wanted in wanted(),
        text in "[abx. -]{0,40}",
    ) {
        let chars: Vec<char> = text.chars().collect();
        let mut marked = vec![false; chars.len()];
        let mut needles = Needles::default();
        for (needle, rule) in &wanted {
            needles.push(needle.chars(), *rule);
            mark_naively(&chars, &(needle.clone(), *rule), &mut marked);
        }
        let mut expected = String::new();
        for (at, char) in chars.iter().enumerate() {
            match marked[at] {
                true if at > 0 && marked[at - 1] => {}
                true => expected.push_str("***"),
                false => expected.push(*char),
            }
        }
        let finder = Finder::new(needles, Compared::LettersAndDigits).unwrap();
        let found = Finder::conceal(&[finder], text.as_bytes()).unwrap();
        let found = found.map_or(text.clone(), |found| String::from_utf8(found).unwrap());
        prop_assert_eq!(found, expected);
    }

    /// The same needles, written as the windows of one text.
    #[test]
    fn windows_are_needles(text in "[abx]{0,20}", length in 1usize..9, words in "[abx .]{0,30}") {
        let mut windows = Needles::default();
        windows.push_windows(text.chars(), length, MatchRule::Anywhere);
        let mut each = Needles::default();
        for part in text.as_bytes().windows(length) {
            each.push(part.iter().copied().map(char::from), MatchRule::Anywhere);
        }
        let conceal = |needles| {
            let finder = Finder::new(needles, Compared::LettersAndDigits);
            Finder::conceal(finder.as_slice(), words.as_bytes()).unwrap()
        };
        prop_assert_eq!(conceal(windows), conceal(each));
    }
}

/// What nobody looks for is not found, however long the text is.
#[test]
fn nothing_is_found_without_needles() {
    assert!(Finder::new(Needles::default(), Compared::Digits).is_none());
    assert_eq!(Finder::conceal(&[], &[b'a'; 9000]), Ok(None));
}

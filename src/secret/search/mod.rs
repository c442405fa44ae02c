//! Finds known texts in foreign text, however a service may have written them. What is looked for is
//! compared by letters and digits alone, so that blanks, punctuation and invisible characters split
//! nothing; escapes and markup are read on the way, each in every way that it can be read; and texts in
//! other alphabets (base64, hexadecimal, lists of codes, UTF-16) are decoded, on top of each other too.
//!
//! All that is looked for is found in one pass of each text. The work is limited: a text whose encodings
//! need more of it is not searched to its end, and must not be shown.

mod census;
mod layer;
mod needles;
mod packed;
mod pass;
mod reader;

use zeroize::Zeroizing;

use crate::secret::characters::{fold, is_invisible, is_letter_or_digit};
use crate::secret::search::census::Census;
use crate::secret::search::layer::{Layer, SourceMarks};
use crate::secret::search::needles::SortedNeedles;
pub(crate) use crate::secret::search::needles::{MatchRule, Needles};
use crate::secret::search::pass::{Pass, Threads};
use crate::secret::search::reader::{MAX_LEVELS, Reader, Work, is_mark};

/// How far a text is decoded.
const MAX_DEPTH: Depth = Depth {
    levels: 6,
    unpacked: 6,
};
/// The work that one byte may need; an ordinary text needs a tenth of it.
const STEPS_PER_BYTE: usize = 64;
/// The work that a short text may need.
const MIN_STEPS: usize = 1 << 18;

/// How much is still decoded.
#[derive(Clone, Copy, Debug)]
struct Depth {
    /// Levels of escapes and markup.
    levels: u8,
    /// Texts in other alphabets inside each other.
    unpacked: u8,
}

/// The text needs more work than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its encodings take too much work to be searched")]
pub(crate) struct TooMuchWork;

/// Which characters of a text count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    LettersAndDigits,
    Digits,
}

/// Looks for its needles.
pub(crate) struct Finder {
    needles: SortedNeedles,
    compared: Compared,
    /// The other characters that some needle has, in order: for these, they count.
    literals: Zeroizing<Vec<char>>,
}

impl Compared {
    /// The character as it is compared; none: it does not count.
    pub(crate) fn character(self, character: char) -> Option<char> {
        if !character.is_ascii() && is_invisible(character) {
            return None;
        }
        let folded = fold(character);
        let counts = match self {
            Self::LettersAndDigits => is_letter_or_digit(folded),
            Self::Digits => folded.is_ascii_digit(),
        };
        counts.then_some(folded)
    }

    /// The characters of a text that count.
    pub(crate) fn chars(self, text: &str) -> impl Iterator<Item = char> {
        text.chars().filter_map(move |char| self.character(char))
    }
}

impl Finder {
    /// None: there is nothing to look for.
    pub(crate) fn new(needles: Needles, compared: Compared) -> Option<Self> {
        let needles = SortedNeedles::new(needles)?;
        let is_literal = |char: &&char| compared.character(**char).is_none();
        let count = needles.chars().iter().filter(is_literal).count();
        let mut literals = Zeroizing::new(Vec::with_capacity(count));
        literals.extend(needles.chars().iter().filter(is_literal));
        literals.sort_unstable();
        Some(Self {
            needles,
            compared,
            literals,
        })
    }

    /// The text with `***` for all that stands for a needle of one of these; none if there is nothing of that kind.
    pub(crate) fn conceal(finders: &[Self], text: &[u8]) -> Result<Option<Vec<u8>>, TooMuchWork> {
        if finders.is_empty() {
            return Ok(None);
        }
        let steps = text.len().saturating_mul(STEPS_PER_BYTE).max(MIN_STEPS);
        let work = Work::new(steps.saturating_mul(finders.len()));
        let mut search = Search::new(finders, text, &work);
        search.run(&Layer::of_source(text), MAX_DEPTH);
        if work.is_spent() {
            return Err(TooMuchWork);
        }
        Ok(search.marks.replaced())
    }

    /// Whether a text can have a needle.
    fn can_find(&self, census: Census) -> bool {
        const OTHER_DIGITS: u8 = Census::ESCAPES | Census::EQUALS | Census::NOT_ASCII;
        self.compared == Compared::LettersAndDigits
            || census.digits >= self.needles.shortest()
            || census.has(OTHER_DIGITS)
    }

    /// Whether this character counts for some needle, though not for all.
    fn is_literal(&self, character: char) -> bool {
        !self.literals.is_empty() && self.literals.binary_search(&fold(character)).is_ok()
    }
}

/// One search of a text.
struct Search<'s> {
    finders: &'s [Finder],
    shortest: usize,
    marks: SourceMarks<'s>,
    work: &'s Work,
    /// Memory that each pass uses again.
    threads: Threads,
}

impl<'s> Search<'s> {
    fn new(finders: &'s [Finder], text: &'s [u8], work: &'s Work) -> Self {
        let shortest = finders.iter().map(|finder| finder.needles.shortest()).min();
        Self {
            finders,
            shortest: shortest.unwrap_or(usize::MAX),
            marks: SourceMarks::new(text),
            work,
            threads: Threads::default(),
        }
    }

    fn run(&mut self, layer: &Layer<'_>, depth: Depth) {
        let (work, shortest) = (self.work, self.shortest);
        if work.is_spent() {
            return;
        }
        let census = Census::of(&layer.bytes);
        for finder in self.finders.iter().filter(|finder| finder.can_find(census)) {
            Pass::new(finder, layer, self).run();
        }
        let views = match depth.levels {
            0 => Vec::new(),
            _ => layer.views(census, work),
        };
        for view in &views {
            let inner = Depth {
                levels: depth.levels - 1,
                ..depth
            };
            self.run(view, inner);
        }
        if depth.unpacked == 0 {
            return;
        }
        let inner = Depth {
            unpacked: depth.unpacked - 1,
            ..depth
        };
        let mut search = |run: &Layer<'_>| self.run(run, inner);
        if census.has(Census::HALVES) {
            packed::unpack_utf16(layer, shortest, work, &mut search);
        }
        if census.has(Census::QUOTES) {
            packed::join_lists(layer, shortest, &mut search);
        }
        if views.is_empty() {
            packed::unpack(layer, census, shortest, work, &mut search);
        }
    }
}

/// `text` with each number of levels of escapes removed, itself first: some secrets read as an encoding.
pub(crate) fn decoded_forms(text: &str) -> Vec<Zeroizing<String>> {
    let mut forms = vec![Zeroizing::new(text.to_owned())];
    if !text.contains(is_mark) {
        return forms;
    }
    let work = Work::new(usize::MAX);
    let reader = Reader {
        text: text.as_bytes(),
        quoted_printable: true,
        needs_end: false,
        work: &work,
    };
    for level in 1..=MAX_LEVELS {
        let mut at = 0;
        // A reading takes less than twice the bytes that it is read from: no copy stays where a smaller buffer was.
        let mut form = Zeroizing::new(String::with_capacity(text.len() * 2));
        while let Some(reading) = reader.read(at, level) {
            at = reading.end;
            form.push(reading.char);
        }
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

/// `text` as it is compared where every character counts: without blanks, the `+` of forms, and invisible characters.
pub(crate) fn without_blanks(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|char| !char.is_whitespace() && *char != '+' && !is_invisible(*char))
        .map(fold)
}

impl std::fmt::Debug for Finder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Finder({} needles)", self.needles.len())
    }
}

#[cfg(test)]
mod tests;

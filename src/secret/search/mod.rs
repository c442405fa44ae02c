//! Finds known texts in foreign text, however a service may have written them. What is looked for is
//! compared by letters and digits alone, so that blanks, punctuation and invisible characters split
//! nothing; escapes and markup are read on the way, each in every way that it can be read; and texts in
//! other alphabets (base64, hexadecimal, lists of codes, UTF-16) are decoded, on top of each other too.
//!
//! One automaton has all that is looked for, and passes each text once. The work is limited: a text
//! whose encodings need more of it is not searched to its end, and must not be shown.

mod layer;
mod packed;
mod pass;
mod reader;

use std::collections::BTreeSet;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

use crate::secret::characters::{fold, is_invisible};
use crate::secret::search::layer::{Layer, SourceMarks};
use crate::secret::search::pass::Pass;
use crate::secret::search::reader::{MAX_LEVELS, Reader, Work};

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

/// Where a needle counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MatchRule {
    Anywhere,
    /// Not as a part of a longer word.
    WholeWord,
    /// With only a few characters that are no letters between its characters.
    Together,
}

/// What is looked for, as it is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Needle {
    pub(crate) text: String,
    pub(crate) rule: MatchRule,
}

/// Looks for its needles.
pub(crate) struct Finder {
    automaton: NFA,
    root: StateID,
    needles: Vec<Needle>,
    compared: Compared,
    /// The other characters that some needle has: for these, they count.
    literals: BTreeSet<char>,
    shortest: usize,
}

impl Compared {
    /// The character as it is compared; none: it does not count.
    pub(crate) fn character(self, character: char) -> Option<char> {
        let folded = match self {
            _ if !character.is_ascii() && is_invisible(character) => return None,
            Self::LettersAndDigits | Self::Digits => fold(character),
        };
        let counts = match self {
            Self::LettersAndDigits => folded.is_alphanumeric(),
            Self::Digits => folded.is_ascii_digit(),
        };
        counts.then_some(folded)
    }

    /// The characters of a text that count.
    pub(crate) fn text(self, text: &str) -> String {
        text.chars()
            .filter_map(|char| self.character(char))
            .collect()
    }
}

impl Finder {
    /// None: there is nothing to look for, or more than an automaton can have.
    pub(crate) fn new(mut needles: Vec<Needle>, compared: Compared) -> Option<Self> {
        needles.retain(|needle| !needle.text.is_empty());
        needles.sort_unstable();
        needles.dedup();
        let automaton = NFA::builder()
            .match_kind(MatchKind::Standard)
            // The search goes through the states itself.
            .prefilter(false)
            .build(needles.iter().map(|needle| needle.text.as_bytes()))
            .ok()?;
        let literals = needles
            .iter()
            .flat_map(|needle| needle.text.chars())
            .filter(|char| compared.character(*char).is_none())
            .collect();
        Some(Self {
            root: automaton.start_state(Anchored::No).ok()?,
            automaton,
            shortest: needles.iter().map(|needle| needle.text.len()).min()?,
            needles,
            compared,
            literals,
        })
    }

    /// The text with `***` for all that stands for a needle of one of these; none if there is nothing of that kind.
    pub(crate) fn conceal<'f>(
        finders: impl IntoIterator<Item = &'f Self>,
        text: &[u8],
    ) -> Result<Option<Vec<u8>>, TooMuchWork> {
        let mut marks = SourceMarks::new(text);
        for finder in finders {
            let work = Work::new(text.len().saturating_mul(STEPS_PER_BYTE).max(MIN_STEPS));
            finder.search(&Layer::of_source(text), MAX_DEPTH, &mut marks, &work);
            if work.is_spent() {
                return Err(TooMuchWork);
            }
        }
        Ok(marks.replaced())
    }

    /// Whether this character counts for some needle, though not for all.
    fn is_literal(&self, character: char) -> bool {
        !self.literals.is_empty() && self.literals.contains(&fold(character))
    }

    fn search(&self, layer: &Layer<'_>, depth: Depth, marks: &mut SourceMarks<'_>, work: &Work) {
        if work.is_spent() {
            return;
        }
        Pass::new(self, layer, marks, work).run();
        let views = match depth.levels {
            0 => Vec::new(),
            _ => layer.views(work),
        };
        for view in &views {
            let inner = Depth {
                levels: depth.levels - 1,
                ..depth
            };
            self.search(view, inner, marks, work);
        }
        if depth.unpacked == 0 {
            return;
        }
        let inner = Depth {
            unpacked: depth.unpacked - 1,
            ..depth
        };
        let mut search = |run: &Layer<'_>| self.search(run, inner, marks, work);
        packed::unpack_utf16(layer, self.shortest, work, &mut search);
        packed::join_lists(layer, self.shortest, &mut search);
        if views.is_empty() {
            packed::unpack(layer, self.shortest, work, &mut search);
        }
    }
}

/// `text` with each number of levels of escapes removed, itself first: some secrets read as an encoding.
pub(crate) fn decoded_forms(text: &str) -> BTreeSet<String> {
    let work = Work::new(usize::MAX);
    let reader = Reader {
        text: text.as_bytes(),
        quoted_printable: true,
        needs_end: false,
        work: &work,
    };
    let decode = |level| {
        let mut at = 0;
        std::iter::from_fn(|| {
            let reading = reader.read(at, level)?;
            at = reading.end;
            Some(reading.char)
        })
        .collect()
    };
    (0..=MAX_LEVELS).map(decode).collect()
}

/// `text` as it is compared where every character counts: without blanks, the `+` of forms, and invisible characters.
pub(crate) fn without_blanks(text: &str) -> String {
    text.chars()
        .filter(|char| !char.is_whitespace() && *char != '+' && !is_invisible(*char))
        .map(fold)
        .collect()
}

impl std::fmt::Debug for Finder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Finder({} needles)", self.needles.len())
    }
}

#[cfg(test)]
mod tests;

//! What is looked for, as one sorted list of character runs. It is made in a hundredth of the time of an
//! automaton, which counts for a message: what of it must not be shown is needed for one reply only. Its
//! characters are wiped on drop.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::secret::search::reader::Work;

/// Where a needle counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MatchRule {
    Anywhere,
    /// Not as a part of a longer word.
    WholeWord,
    /// With only a few characters that are no letters between its characters.
    Together,
}

/// Texts to look for, as they are compared. Needles can share their characters.
#[derive(Default)]
pub(crate) struct Needles {
    chars: Zeroizing<Vec<char>>,
    needles: Vec<Needle>,
}

/// A part of the characters.
#[derive(Clone, Copy)]
struct Needle {
    start: usize,
    length: usize,
    rule: MatchRule,
}

/// The needles in order, each once, with what makes looking one up fast.
pub(super) struct SortedNeedles {
    all: Needles,
    /// The first characters of the needles, in order, and the needles that begin with each.
    first_chars: Zeroizing<Vec<char>>,
    by_first_char: Vec<Range<usize>>,
    /// The lengths of the needles, in order.
    lengths: Vec<NeedleLength>,
}

/// A length that needles have.
struct NeedleLength {
    length: usize,
    /// Whether every needle of this length is a whole word.
    only_words: bool,
}

/// The last characters that were read, as many as some needle begins with. They are the first ones of the needle at
/// this place in the list and of those after it up to `end`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prefix {
    first: usize,
    end: usize,
    length: usize,
}

impl Needles {
    /// Adds a text, unless it is empty.
    pub(crate) fn push(&mut self, text: impl IntoIterator<Item = char>, rule: MatchRule) {
        let start = self.push_chars(text);
        let length = self.chars.len() - start;
        if length > 0 {
            self.needles.push(Needle {
                start,
                length,
                rule,
            });
        }
    }

    /// Adds each part of this length of a text.
    pub(crate) fn push_windows(
        &mut self,
        text: impl IntoIterator<Item = char>,
        length: usize,
        rule: MatchRule,
    ) {
        let start = self.push_chars(text);
        let starts = start..(self.chars.len() + 1).saturating_sub(length);
        self.needles.extend(starts.map(|start| Needle {
            start,
            length,
            rule,
        }));
    }

    /// Returns where they begin. No copy stays where a full buffer was.
    fn push_chars(&mut self, text: impl IntoIterator<Item = char>) -> usize {
        let start = self.chars.len();
        for char in text {
            if self.chars.len() == self.chars.capacity() {
                let mut larger = Vec::with_capacity((self.chars.len() * 2).max(64));
                larger.extend_from_slice(&self.chars);
                self.chars = Zeroizing::new(larger);
            }
            self.chars.push(char);
        }
        start
    }

    /// The needles in order. Most differ in their first characters, which are one number.
    fn sorted(&self) -> Vec<Needle> {
        let key = |needle: &Needle| {
            let first = self.text(*needle).iter().copied();
            let first = first.chain(std::iter::repeat('\0'));
            let first = first.take(3);
            first.fold(0, |key, char| key << 21 | u64::from(char))
        };
        let mut keys = Zeroizing::new(Vec::with_capacity(self.needles.len()));
        keys.extend(self.needles.iter().map(key));
        let mut order: Vec<(usize, Needle)> = self.needles.iter().copied().enumerate().collect();
        order.sort_unstable_by(|(left, a), (right, b)| {
            keys.get(*left)
                .cmp(&keys.get(*right))
                .then_with(|| self.text(*a).cmp(self.text(*b)))
                .then_with(|| a.rule.cmp(&b.rule))
        });
        order.into_iter().map(|(_, needle)| needle).collect()
    }

    fn text(&self, needle: Needle) -> &[char] {
        let end = needle.start + needle.length;
        self.chars.get(needle.start..end).unwrap_or_default()
    }
}

impl SortedNeedles {
    /// None: there is nothing to look for.
    pub(super) fn new(mut all: Needles) -> Option<Self> {
        let mut needles = all.sorted();
        needles.dedup_by(|a, b| a.rule == b.rule && all.text(*a) == all.text(*b));
        let mut first_chars = Zeroizing::new(Vec::with_capacity(needles.len()));
        let mut by_first_char: Vec<Range<usize>> = Vec::new();
        let mut lengths: Vec<NeedleLength> = Vec::new();
        for (at, needle) in needles.iter().enumerate() {
            let first = *all.text(*needle).first()?;
            if first_chars.last() != Some(&first) {
                first_chars.push(first);
                by_first_char.push(at..at);
            }
            if let Some(range) = by_first_char.last_mut() {
                range.end = at + 1;
            }
            add_length(&mut lengths, *needle);
        }
        lengths.sort_unstable_by_key(|known| known.length);
        all.needles = needles;
        (!lengths.is_empty()).then_some(Self {
            all,
            first_chars,
            by_first_char,
            lengths,
        })
    }

    /// The length of the shortest needle.
    pub(super) fn shortest(&self) -> usize {
        self.lengths.first().map_or(0, |shortest| shortest.length)
    }

    pub(super) fn len(&self) -> usize {
        self.all.needles.len()
    }

    /// Every character of the needles.
    pub(super) fn chars(&self) -> &[char] {
        &self.all.chars
    }

    /// What is read after `before` and one more character.
    pub(super) fn after(&self, before: Prefix, char: char, work: &Work) -> Prefix {
        let mut before = before;
        loop {
            if before.is_empty() {
                return self.beginning_with(char);
            }
            if let Some(longer) = self.longer(before, char) {
                return longer;
            }
            before = self.shorter(before, work);
        }
    }

    /// Calls `found` with the length of each needle that ends what was read. A word is one only where a word ends.
    pub(super) fn ends(
        &self,
        read: Prefix,
        ends_word: bool,
        mut found: impl FnMut(usize, MatchRule),
    ) {
        let text = self.read(read);
        let is_read = |known: &&NeedleLength| known.length <= read.length;
        let known = self.lengths.iter().take_while(is_read);
        for NeedleLength { length, .. } in known.filter(|known| ends_word || !known.only_words) {
            let same = if *length == read.length {
                read
            } else {
                self.find(text.get(read.length - length..).unwrap_or_default())
            };
            // Those that are longer come after those that are the same.
            self.needles(same)
                .iter()
                .take_while(|needle| needle.length == *length)
                .filter(|needle| ends_word || needle.rule != MatchRule::WholeWord)
                .for_each(|needle| found(*length, needle.rule));
        }
    }

    fn beginning_with(&self, char: char) -> Prefix {
        let range = self.first_chars.binary_search(&char).ok();
        let range = range.and_then(|place| self.by_first_char.get(place));
        range.map_or(Prefix::default(), |range| Prefix {
            first: range.start,
            end: range.end,
            length: 1,
        })
    }

    fn longer(&self, before: Prefix, char: char) -> Option<Prefix> {
        let next = |needle: &Needle| {
            let next = self.all.chars.get(needle.start + before.length);
            next.filter(|_| needle.length > before.length)
        };
        let needles = self.needles(before);
        let start = match needles {
            [only] => usize::from(next(only) != Some(&char)),
            _ => needles.partition_point(|needle| next(needle) < Some(&char)),
        };
        let rest = needles.get(start..)?;
        let length = match rest {
            [] => 0,
            [first, ..] if next(first) != Some(&char) => 0,
            _ => rest.partition_point(|needle| next(needle) == Some(&char)),
        };
        (length > 0).then_some(Prefix {
            first: before.first + start,
            end: before.first + start + length,
            length: before.length + 1,
        })
    }

    /// What was read without its first characters, as few as possible.
    fn shorter(&self, read: Prefix, work: &Work) -> Prefix {
        let mut text = self.read(read);
        while let Some(([_], rest)) = text.split_first_chunk() {
            work.spend(1);
            let found = self.find(rest);
            if !found.is_empty() {
                return found;
            }
            text = rest;
        }
        Prefix::default()
    }

    /// The needles that begin with this text; empty: none does.
    fn find(&self, text: &[char]) -> Prefix {
        let Some(first) = text.first() else {
            return Prefix::default();
        };
        let candidates = self.beginning_with(*first);
        if text.len() == 1 {
            return candidates;
        }
        let needles = self.needles(candidates);
        let beginning = |needle: &Needle| {
            let whole = self.all.text(*needle);
            whole.get(..text.len()).unwrap_or(whole)
        };
        let start = needles.partition_point(|needle| beginning(needle) < text);
        let rest = needles.get(start..).unwrap_or_default();
        match rest.partition_point(|needle| beginning(needle) == text) {
            0 => Prefix::default(),
            length => Prefix {
                first: candidates.first + start,
                end: candidates.first + start + length,
                length: text.len(),
            },
        }
    }

    fn needles(&self, prefix: Prefix) -> &[Needle] {
        let range = prefix.first..prefix.end;
        self.all.needles.get(range).unwrap_or_default()
    }

    fn read(&self, prefix: Prefix) -> &[char] {
        let first = self.needles(prefix).first();
        let text = first.map_or(&[][..], |needle| self.all.text(*needle));
        text.get(..prefix.length).unwrap_or_default()
    }
}

fn add_length(lengths: &mut Vec<NeedleLength>, needle: Needle) {
    let only_words = needle.rule == MatchRule::WholeWord;
    match lengths
        .iter_mut()
        .find(|known| known.length == needle.length)
    {
        Some(known) => known.only_words &= only_words,
        None => lengths.push(NeedleLength {
            length: needle.length,
            only_words,
        }),
    }
}

impl Prefix {
    /// Whether no needle begins with what was read.
    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }

    pub(super) fn length(self) -> usize {
        self.length
    }
}

/// The place and the length say what the rest is.
impl PartialEq for Prefix {
    fn eq(&self, other: &Self) -> bool {
        self.first == other.first && self.length == other.length
    }
}

impl Eq for Prefix {}

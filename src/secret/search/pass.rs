//! One pass of the automaton over one text. Where a text can be read in several ways (a `%41` is three
//! characters, or an `A`), the pass follows all of them at once.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};

use crate::secret::characters::{fold, is_invisible};
use crate::secret::search::layer::{Layer, SourceMarks};
use crate::secret::search::reader::{MAX_LEVELS, Reader, Reading, Work, is_mark};
use crate::secret::search::{Finder, MatchRule, Needle};

/// The number of characters between two digits that belong together.
const MAX_GAP: usize = 3;

/// One way to read the text up to one place.
#[derive(Clone, Copy, Debug)]
struct Thread {
    state: StateID,
    /// The last character that counted.
    last: Option<usize>,
    /// Whether it stands directly before this place.
    after_word: bool,
}

/// A character that counted, on the way of some thread.
#[derive(Clone, Debug)]
struct CountedChar {
    before: Option<usize>,
    range: Range<usize>,
    bytes: usize,
    after_word: bool,
    /// The number of bytes, this character's included, that are marked up to here.
    marked: usize,
}

/// One way to read what begins at a place.
#[derive(Clone, Copy, Debug)]
struct Edge {
    /// None: what is read does not count.
    char: Option<char>,
    end: usize,
    is_raw: bool,
}

impl Edge {
    /// Over something that does not count.
    fn over(end: usize) -> Self {
        Self {
            char: None,
            end,
            is_raw: false,
        }
    }
}

pub(super) struct Pass<'p, 's> {
    finder: &'p Finder,
    layer: &'p Layer<'p>,
    marks: &'p mut SourceMarks<'s>,
    reader: Reader<'p>,
    work: &'p Work,
    steps: Vec<CountedChar>,
    /// The threads at the current place.
    live: Vec<Thread>,
    /// Those at later places.
    ahead: BTreeMap<usize, Vec<Thread>>,
}

impl<'p, 's> Pass<'p, 's> {
    pub(super) fn new(
        finder: &'p Finder,
        layer: &'p Layer<'p>,
        marks: &'p mut SourceMarks<'s>,
        work: &'p Work,
    ) -> Self {
        let root = Thread {
            state: finder.root,
            last: None,
            after_word: false,
        };
        Self {
            finder,
            layer,
            marks,
            reader: Reader {
                text: &layer.bytes,
                quoted_printable: true,
                needs_end: false,
                work,
            },
            work,
            steps: Vec::new(),
            live: vec![root],
            ahead: BTreeMap::new(),
        }
    }

    pub(super) fn run(mut self) {
        let mut at = 0;
        while !self.work.is_spent() {
            at = self.pass_plain(at);
            let Some(raw) = self.reader.raw(at) else {
                return;
            };
            self.branch(at, raw);
            let Some((next, threads)) = self.ahead.pop_first() else {
                return;
            };
            at = next;
            self.live = threads;
        }
    }

    /// Follows the only thread as long as the text can be read in one way only. Returns the place after that.
    fn pass_plain(&mut self, start: usize) -> usize {
        let (true, [thread]) = (self.ahead.is_empty(), self.live.as_slice()) else {
            return start;
        };
        let mut thread = *thread;
        let mut at = start;
        while let Some(byte) = self.layer.bytes.get(at)
            && byte.is_ascii()
            && !is_special(*byte)
            && !self.finder.is_literal(char::from(*byte))
        {
            match self.finder.compared.character(char::from(*byte)) {
                Some(char) => thread = self.step(thread, char, at..at + 1),
                None => thread.after_word = false,
            }
            if thread.state == self.finder.root {
                self.steps.clear();
                thread.last = None;
            }
            at += 1;
        }
        self.work.spend(at - start);
        self.live = vec![thread];
        at
    }

    /// Follows each thread through each way to read what begins here.
    fn branch(&mut self, at: usize, raw: Reading) {
        let live = std::mem::take(&mut self.live);
        let root = self.finder.root;
        let edges = self.edges(at, raw, live.iter().any(|thread| thread.state != root));
        self.work.spend(live.len() * edges.len());
        for thread in live {
            for edge in &edges {
                self.follow(thread, at, *edge);
            }
        }
    }

    fn follow(&mut self, thread: Thread, at: usize, edge: Edge) {
        let char = edge.char;
        let counted = char.and_then(|char| self.finder.compared.character(char));
        let literal = char.filter(|char| counted.is_none() && self.finder.is_literal(*char));
        if let Some(char) = counted.or(literal.map(fold)) {
            let next = self.step(thread, char, at..edge.end);
            self.arrive(next, edge);
        }
        if counted.is_none() {
            let is_seen = !char.is_some_and(is_invisible);
            let next = Thread {
                after_word: thread.after_word && !is_seen,
                ..thread
            };
            self.arrive(next, edge);
        }
    }

    /// A thread that has found nothing yet adds nothing, except the one that reads the text as it is.
    fn arrive(&mut self, thread: Thread, edge: Edge) {
        let root = self.finder.root;
        if thread.state == root && !edge.is_raw {
            return;
        }
        let there = self.ahead.entry(edge.end).or_default();
        if there.iter().any(|other| other.state == thread.state) {
            return;
        }
        there.push(thread);
        if there.len() > 1 {
            there.retain(|thread| thread.state != root);
        }
    }

    /// The thread after a character that counts; marks what ends with it.
    fn step(&mut self, thread: Thread, char: char, range: Range<usize>) -> Thread {
        let automaton = &self.finder.automaton;
        let mut buffer = [0; 4];
        let bytes = char.encode_utf8(&mut buffer).as_bytes();
        let state = bytes.iter().fold(thread.state, |state, byte| {
            automaton.next_state(Anchored::No, state, *byte)
        });
        let is_word = char.is_alphanumeric();
        if state == self.finder.root {
            return Thread {
                state,
                last: None,
                after_word: is_word,
            };
        }
        let end = range.end;
        self.steps.push(CountedChar {
            before: thread.last,
            range,
            bytes: bytes.len(),
            after_word: thread.after_word,
            marked: 0,
        });
        let last = self.steps.len() - 1;
        if automaton.is_match(state) {
            self.matched(state, last, end);
        }
        Thread {
            state,
            last: Some(last),
            after_word: is_word,
        }
    }

    /// Marks the needles that end with this step.
    fn matched(&mut self, state: StateID, last: usize, end: usize) {
        let finder = self.finder;
        for index in 0..finder.automaton.match_len(state) {
            let pattern = finder.automaton.match_pattern(state, index);
            let needle = finder.needles.get(pattern.as_usize());
            if let Some(needle) = needle.filter(|needle| self.counts(needle, last, end)) {
                self.mark(needle.text.len(), last);
            }
        }
    }

    fn counts(&self, needle: &Needle, last: usize, end: usize) -> bool {
        let steps = || self.steps_back(last, needle.text.len());
        match needle.rule {
            MatchRule::Anywhere => true,
            MatchRule::WholeWord => {
                let begins = steps().last().is_some_and(|first| !first.after_word);
                let next = self.reader.raw(end);
                begins && !next.is_some_and(|next| next.char.is_alphanumeric())
            }
            MatchRule::Together => steps().zip(steps().skip(1)).all(|(after, before)| {
                let gap = before.range.end..after.range.start;
                self.layer.bytes.get(gap).is_some_and(is_small_gap)
            }),
        }
    }

    /// The steps of the last `bytes` bytes, the last one first.
    fn steps_back(&self, last: usize, bytes: usize) -> impl Iterator<Item = &CountedChar> {
        let mut left = bytes;
        let mut at = Some(last);
        std::iter::from_fn(move || {
            let step = self.steps.get(at.filter(|_| left > 0)?)?;
            left = left.saturating_sub(step.bytes);
            at = step.before;
            Some(step)
        })
    }

    fn mark(&mut self, bytes: usize, last: usize) {
        let mut left = bytes;
        let mut at = Some(last);
        let mut after = None;
        while left > 0
            && let Some(step) = at.and_then(|at| self.steps.get_mut(at))
        {
            let span = self.layer.span(step.range.clone());
            self.marks.mark(span, after);
            self.work.spend(1);
            if step.marked >= left {
                return;
            }
            step.marked = left;
            left = left.saturating_sub(step.bytes);
            at = step.before;
            after = Some(span);
        }
    }

    /// The ways to read what begins here; what only splits words is left out if no thread is inside of one.
    fn edges(&self, at: usize, raw: Reading, is_inside: bool) -> Vec<Edge> {
        let mut edges = vec![Edge {
            char: Some(raw.char),
            end: raw.end,
            is_raw: true,
        }];
        // The escapes of a run of backslashes begin with its first one.
        if raw.char == '\\' && at > 0 && self.layer.bytes.get(at - 1) == Some(&b'\\') {
            return edges;
        }
        let mut best = raw;
        for level in 0..=MAX_LEVELS {
            if is_inside && matches!(best.char, '<' | ']') {
                self.reader
                    .markup(best, level, &mut |end| edges.push(Edge::over(end)));
            }
            if !is_mark(best.char) || level == MAX_LEVELS {
                break;
            }
            self.reader.escapes(best, level, &mut |reading| {
                best = reading;
                edges.push(Edge {
                    char: Some(reading.char),
                    ..Edge::over(reading.end)
                });
            });
        }
        edges
    }
}

/// Whether more than one character can begin with this byte.
fn is_special(byte: u8) -> bool {
    matches!(byte, b'<' | b']') || is_mark(char::from(byte))
}

/// Whether this is a few characters, without letters and digits.
fn is_small_gap(gap: &[u8]) -> bool {
    let text = String::from_utf8_lossy(gap);
    text.chars().count() <= MAX_GAP && !text.contains(char::is_alphanumeric)
}

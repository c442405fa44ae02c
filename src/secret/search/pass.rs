//! One pass over one text. Where a text can be read in several ways (a `%41` is three
//! characters, or an `A`), the pass follows all of them at once.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::secret::characters::{fold, is_invisible, is_letter_or_digit};
use crate::secret::search::layer::{Layer, SourceMarks};
use crate::secret::search::needles::{MatchRule, Prefix};
use crate::secret::search::reader::{MAX_LEVELS, Reader, Reading, Work, is_mark};
use crate::secret::search::{Finder, Search};

/// The number of characters between two digits that belong together.
const MAX_GAP: usize = 3;

/// One way to read the text up to one place.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    read: Prefix,
    /// The last character that counted.
    last: Option<usize>,
    /// The visible character directly before this place.
    before: Option<char>,
}

/// A character that counted, on the way of some thread.
#[derive(Clone, Debug)]
struct CountedChar {
    before: Option<usize>,
    range: Range<usize>,
    /// The visible character directly before it.
    previous: Option<char>,
    /// The number of characters, this one included, that are marked up to here.
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

/// The ways that are followed.
#[derive(Default)]
pub(super) struct Threads {
    steps: Vec<CountedChar>,
    /// The threads at the current place.
    live: Vec<Thread>,
    /// Those at later places.
    ahead: BTreeMap<usize, Vec<Thread>>,
}

pub(super) struct Pass<'p, 's> {
    finder: &'p Finder,
    layer: &'p Layer<'p>,
    marks: &'p mut SourceMarks<'s>,
    reader: Reader<'p>,
    work: &'p Work,
    threads: &'p mut Threads,
}

impl<'p, 's> Pass<'p, 's> {
    pub(super) fn new(
        finder: &'p Finder,
        layer: &'p Layer<'p>,
        search: &'p mut Search<'s>,
    ) -> Self {
        let threads = &mut search.threads;
        threads.steps.clear();
        threads.ahead.clear();
        threads.live.clear();
        threads.live.push(Thread::default());
        let work = search.work;
        Self {
            finder,
            layer,
            marks: &mut search.marks,
            reader: Reader {
                text: &layer.bytes,
                quoted_printable: true,
                needs_end: false,
                work,
            },
            work,
            threads,
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
            let Some((next, threads)) = self.threads.ahead.pop_first() else {
                return;
            };
            at = next;
            self.threads.live = threads;
        }
    }

    /// Follows the only thread as long as the text can be read in one way only. Returns the place after that.
    fn pass_plain(&mut self, start: usize) -> usize {
        let (true, [thread]) = (self.threads.ahead.is_empty(), self.threads.live.as_slice()) else {
            return start;
        };
        let mut thread = *thread;
        let mut at = start;
        while let Some(raw) = self.reader.raw(at)
            && !begins_something(raw.char, thread)
            && !self.finder.is_literal(raw.char)
        {
            match self.finder.compared.character(raw.char) {
                Some(char) => thread = self.step(thread, char, at..raw.end),
                None if is_invisible(raw.char) => {}
                None => thread.before = Some(raw.char),
            }
            if thread.read.is_empty() {
                self.threads.steps.clear();
                thread.last = None;
            }
            at = raw.end;
        }
        self.work.spend(at - start);
        if let Some(only) = self.threads.live.first_mut() {
            *only = thread;
        }
        at
    }

    /// Follows each thread through each way to read what begins here.
    fn branch(&mut self, at: usize, raw: Reading) {
        let live = std::mem::take(&mut self.threads.live);
        let edges = self.edges(at, raw, live.iter().any(|thread| !thread.read.is_empty()));
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
            let before = char.filter(|char| !is_invisible(*char));
            let next = Thread {
                before: before.or(thread.before.filter(|_| char.is_some())),
                ..thread
            };
            self.arrive(next, edge);
        }
    }

    /// A thread that has found nothing yet adds nothing, except the one that reads the text as it is.
    fn arrive(&mut self, thread: Thread, edge: Edge) {
        if thread.read.is_empty() && !edge.is_raw {
            return;
        }
        let there = self.threads.ahead.entry(edge.end).or_default();
        if there.iter().any(|other| other.read == thread.read) {
            return;
        }
        there.push(thread);
        if there.len() > 1 {
            there.retain(|thread| !thread.read.is_empty());
        }
    }

    /// The thread after a character that counts; marks what ends with it.
    fn step(&mut self, thread: Thread, char: char, range: Range<usize>) -> Thread {
        let read = self.finder.needles.after(thread.read, char, self.work);
        let before = Some(char);
        if read.is_empty() {
            return Thread {
                read,
                last: None,
                before,
            };
        }
        let end = range.end;
        self.threads.steps.push(CountedChar {
            before: thread.last,
            range,
            previous: thread.before,
            marked: 0,
        });
        let last = self.threads.steps.len() - 1;
        if read.length() >= self.finder.needles.shortest() {
            let next = self.reader.raw(end);
            let ends_word = !next.is_some_and(|next| is_letter_or_digit(next.char));
            self.finder.needles.ends(read, ends_word, |length, rule| {
                self.found(rule, length, last);
            });
        }
        Thread {
            read,
            last: Some(last),
            before,
        }
    }

    fn found(&mut self, rule: MatchRule, length: usize, last: usize) {
        if self.counts(rule, length, last) {
            self.mark(length, last);
        }
    }

    /// Whether the needle of this length counts that ends with this step. One that is a word ends with a word.
    fn counts(&self, rule: MatchRule, length: usize, last: usize) -> bool {
        let steps = || self.steps_back(last).take(length);
        match rule {
            MatchRule::Anywhere => true,
            MatchRule::WholeWord => {
                let before = steps().last().and_then(|first| first.previous);
                !before.is_some_and(is_letter_or_digit)
            }
            MatchRule::Together => steps().zip(steps().skip(1)).all(|(after, before)| {
                let gap = before.range.end..after.range.start;
                self.layer.bytes.get(gap).is_some_and(is_small_gap)
            }),
        }
    }

    /// This step and those before it.
    fn steps_back(&self, last: usize) -> impl Iterator<Item = &CountedChar> {
        let before = |step: &&CountedChar| self.threads.steps.get(step.before?);
        std::iter::successors(self.threads.steps.get(last), before)
    }

    fn mark(&mut self, length: usize, last: usize) {
        let mut at = Some(last);
        let mut after = None;
        for left in (1..=length).rev() {
            let Some(step) = at.and_then(|at| self.threads.steps.get_mut(at)) else {
                return;
            };
            let span = self.layer.span(step.range.clone());
            self.marks.mark(span, after);
            self.work.spend(1);
            if step.marked >= left {
                return;
            }
            step.marked = left;
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

/// Whether an escape can begin with this character, or markup that splits what the thread has found.
fn begins_something(char: char, thread: Thread) -> bool {
    is_mark(char) || matches!(char, '<' | ']') && !thread.read.is_empty()
}

/// Whether this is a few characters, without letters and digits.
fn is_small_gap(gap: &[u8]) -> bool {
    let text = String::from_utf8_lossy(gap);
    text.chars().count() <= MAX_GAP && !text.contains(char::is_alphanumeric)
}

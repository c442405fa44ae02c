//! Which message an id of ours stands for. Where a message went through a provider that
//! does not speak the backend's dialect, the backend got an id made here; a question
//! after it is answered from this memory and never forwarded. Bounded: the oldest go first.

use std::collections::{BTreeMap, VecDeque};

use crate::clock::Moment;
use crate::sms::ProviderId;

/// What an id of ours stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Real {
    /// Who delivered.
    pub provider: ProviderId,
    /// The id that provider gave.
    pub id: String,
    /// When.
    pub at: Moment,
}

/// Made-up id → the real one.
#[derive(Clone, Debug)]
pub struct Ids {
    known: BTreeMap<String, Real>,
    age: VecDeque<String>,
    most: usize,
}

impl Ids {
    /// Remembers so many.
    pub fn new(most: usize) -> Self {
        Self { known: BTreeMap::new(), age: VecDeque::new(), most }
    }

    /// `made_up` now stands for `real`. One that is known already stays what it was.
    pub fn remember(&mut self, made_up: String, real: Real) {
        if self.most == 0 || self.known.contains_key(&made_up) {
            return;
        }
        if self.age.len() >= self.most
            && let Some(oldest) = self.age.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.age.push_back(made_up.clone());
        self.known.insert(made_up, real);
    }

    /// What an id of ours stands for; none: it is not ours, or was too long ago.
    pub fn find(&self, made_up: &str) -> Option<&Real> {
        self.known.get(made_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(id: &str) -> Real {
        Real { provider: ProviderId::new("backup"), id: id.to_owned(), at: Moment::default() }
    }

    #[test]
    fn the_oldest_go_first() {
        let mut ids = Ids::new(2);
        for id in ["a", "b", "a", "c"] {
            ids.remember(id.to_owned(), real(id));
        }
        assert_eq!(ids.find("a"), None);
        assert_eq!((ids.find("b"), ids.find("c")), (Some(&real("b")), Some(&real("c"))));
        assert_eq!(ids.known.len(), 2);
    }

    #[test]
    fn an_id_never_changes_its_meaning() {
        let mut ids = Ids::new(2);
        ids.remember("a".to_owned(), real("first"));
        ids.remember("a".to_owned(), real("second"));
        assert_eq!(ids.find("a"), Some(&real("first")));
        let mut none = Ids::new(0);
        none.remember("a".to_owned(), real("first"));
        assert_eq!(none.find("a"), None);
    }
}

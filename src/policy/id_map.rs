//! Which message an id of ours stands for. Where a message went through a provider that
//! does not speak the backend's dialect, the backend got an id made here; a question
//! after it is answered from this memory and never forwarded. Bounded: the oldest go first.

use std::collections::{BTreeMap, VecDeque};

use crate::clock::Moment;
use crate::sms::ProviderId;

/// What an id of ours stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedId {
    /// Who delivered.
    pub provider: ProviderId,
    /// The id that provider gave.
    pub id: String,
    /// When.
    pub at: Moment,
}

/// Made-up id → the real one.
#[derive(Clone, Debug)]
pub struct IdMap {
    entries: BTreeMap<String, MappedId>,
    insertion_order: VecDeque<String>,
    capacity: usize,
}

impl IdMap {
    /// Remembers so many.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            insertion_order: VecDeque::new(),
            capacity,
        }
    }

    /// `made_up` now stands for `real`. One that is known already stays what it was.
    pub fn insert(&mut self, made_up: String, real: MappedId) {
        if self.capacity == 0 || self.entries.contains_key(&made_up) {
            return;
        }
        if self.insertion_order.len() >= self.capacity
            && let Some(oldest) = self.insertion_order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        self.insertion_order.push_back(made_up.clone());
        self.entries.insert(made_up, real);
    }

    /// What an id of ours stands for; none: it is not ours, or was too long ago.
    pub fn get(&self, made_up: &str) -> Option<&MappedId> {
        self.entries.get(made_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(id: &str) -> MappedId {
        MappedId {
            provider: ProviderId::new("backup"),
            id: id.to_owned(),
            at: Moment::default(),
        }
    }

    #[test]
    fn the_oldest_go_first() {
        let mut ids = IdMap::new(2);
        for id in ["a", "b", "a", "c"] {
            ids.insert(id.to_owned(), real(id));
        }
        assert_eq!(ids.get("a"), None);
        assert_eq!(
            (ids.get("b"), ids.get("c")),
            (Some(&real("b")), Some(&real("c")))
        );
        assert_eq!(ids.entries.len(), 2);
    }

    #[test]
    fn an_id_never_changes_its_meaning() {
        let mut ids = IdMap::new(2);
        ids.insert("a".to_owned(), real("first"));
        ids.insert("a".to_owned(), real("second"));
        assert_eq!(ids.get("a"), Some(&real("first")));
        let mut none = IdMap::new(0);
        none.insert("a".to_owned(), real("first"));
        assert_eq!(none.get("a"), None);
    }
}

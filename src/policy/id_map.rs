//! Maps the message ids that the sidecar issues to the provider's own. If a message went through a
//! provider of another dialect, the backend gets an id generated here; a status request for that id
//! is answered from this map and never forwarded. Bounded: the oldest entries are dropped first.

use std::collections::{BTreeMap, VecDeque};

use crate::clock::Moment;
use crate::sms::ProviderId;

/// The message behind an id that the sidecar issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedId {
    /// The provider that took the message.
    pub provider: ProviderId,
    /// The provider's id for it.
    pub id: String,
    /// When the provider took it.
    pub at: Moment,
}

/// From issued ids to the providers' ids.
#[derive(Clone, Debug)]
pub struct IdMap {
    entries: BTreeMap<String, MappedId>,
    insertion_order: VecDeque<String>,
    capacity: usize,
}

impl IdMap {
    /// A map of at most `capacity` ids.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            insertion_order: VecDeque::new(),
            capacity,
        }
    }

    /// Maps `issued` to `real`. An id that is already mapped keeps its entry.
    pub fn insert(&mut self, issued: String, real: MappedId) {
        if self.capacity == 0 || self.entries.contains_key(&issued) {
            return;
        }
        if self.insertion_order.len() >= self.capacity
            && let Some(oldest) = self.insertion_order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        self.insertion_order.push_back(issued.clone());
        self.entries.insert(issued, real);
    }

    /// The message behind `issued`; none if the sidecar did not issue it, or dropped it since.
    pub fn get(&self, issued: &str) -> Option<&MappedId> {
        self.entries.get(issued)
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

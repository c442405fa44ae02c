//! Maps the message ids that the sidecar issues to the provider's own. If a message went through a
//! provider of another dialect, the backend gets an id generated here; a status request for that id
//! is answered from this map and never forwarded. Bounded in entries and bytes: the oldest entries are
//! dropped first, and an id longer than any service issues is not remembered.

use std::collections::{BTreeMap, VecDeque};

use crate::clock::Moment;
use crate::policy::{MAX_ID_BYTES, MemoryLimit};
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
    limit: MemoryLimit,
    bytes: usize,
}

impl IdMap {
    /// An empty map.
    pub fn new(limit: MemoryLimit) -> Self {
        Self {
            entries: BTreeMap::new(),
            insertion_order: VecDeque::new(),
            limit,
            bytes: 0,
        }
    }

    /// Maps `issued` to `real`, unless one of them is longer than [`MAX_ID_BYTES`]. An id that is already mapped keeps
    /// its entry.
    pub fn insert(&mut self, issued: String, real: MappedId) {
        let is_too_long = issued.len().max(real.id.len()) > MAX_ID_BYTES;
        if is_too_long || self.entries.contains_key(&issued) {
            return;
        }
        self.bytes += entry_bytes(&issued, &real);
        self.insertion_order.push_back(issued.clone());
        self.entries.insert(issued, real);
        while self.entries.len() > self.limit.entries || self.bytes > self.limit.bytes {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.insertion_order.pop_front()
            && let Some(real) = self.entries.remove(&oldest)
        {
            self.bytes -= entry_bytes(&oldest, &real);
        }
    }

    /// The message behind `issued`; none if the sidecar did not issue it, or dropped it since.
    pub fn get(&self, issued: &str) -> Option<&MappedId> {
        self.entries.get(issued)
    }
}

/// The issued id is kept twice.
fn entry_bytes(issued: &str, real: &MappedId) -> usize {
    2 * issued.len() + real.id.len() + size_of::<MappedId>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn limit(entries: usize) -> MemoryLimit {
        MemoryLimit {
            entries,
            bytes: 1 << 20,
        }
    }

    fn real(id: &str) -> MappedId {
        MappedId {
            provider: ProviderId::new("backup"),
            id: id.to_owned(),
            at: Moment::default(),
        }
    }

    #[test]
    fn the_oldest_go_first() {
        let mut ids = IdMap::new(limit(2));
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
        let mut ids = IdMap::new(limit(2));
        ids.insert("a".to_owned(), real("first"));
        ids.insert("a".to_owned(), real("second"));
        assert_eq!(ids.get("a"), Some(&real("first")));
        let mut none = IdMap::new(limit(0));
        none.insert("a".to_owned(), real("first"));
        assert_eq!(none.get("a"), None);
    }

    #[test]
    fn a_long_id_is_not_remembered() {
        let mut ids = IdMap::new(limit(9));
        let (fits, long) = ("i".repeat(MAX_ID_BYTES), "l".repeat(MAX_ID_BYTES + 1));
        ids.insert(fits.clone(), real(&fits));
        ids.insert(long.clone(), real("a"));
        ids.insert("a".to_owned(), real(&long));
        assert_eq!(ids.get(&fits), Some(&real(&fits)));
        assert_eq!((ids.get(&long), ids.get("a")), (None, None));
    }

    #[test]
    fn the_bytes_are_bounded_whatever_the_ids() {
        let bytes = 10_000;
        let mut ids = IdMap::new(MemoryLimit {
            entries: 20_000,
            bytes,
        });
        for nth in 0..1000_usize {
            let id = format!("{nth}{}", "x".repeat(nth % MAX_ID_BYTES));
            ids.insert(id.clone(), real(&id));
            let held: usize = ids
                .entries
                .iter()
                .map(|(issued, real)| entry_bytes(issued, real))
                .sum();
            assert_eq!(held, ids.bytes);
            assert_eq!(ids.entries.len(), ids.insertion_order.len());
            assert!(held <= bytes);
        }
        assert!(!ids.entries.is_empty());
    }
}

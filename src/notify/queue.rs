//! The notifications that wait for their delivery, bounded in number and bytes. If there is no room,
//! the oldest one is dropped: the newest describes the present.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::Moment;
use crate::status::Notification;

/// More than one outage causes.
const MAX_QUEUED: usize = 100;
const MAX_QUEUED_BYTES: usize = 256 << 10;

/// Holds notifications, oldest first.
#[derive(Debug, Default)]
pub(super) struct NotificationQueue {
    content: Mutex<QueueContent>,
    pushed: Notify,
}

#[derive(Debug, Default)]
struct QueueContent {
    waiting: VecDeque<Arc<QueuedNotification>>,
    /// The bytes of those that wait.
    bytes: usize,
    /// The one that is being delivered. A reload may interrupt that.
    in_flight: Option<Arc<QueuedNotification>>,
}

/// A notification and since when it waits.
#[derive(Debug)]
pub(super) struct QueuedNotification {
    pub(super) notification: Notification,
    /// The sidecar that sends it.
    pub(super) sidecar: String,
    pub(super) queued_at: Moment,
}

impl QueuedNotification {
    fn size(&self) -> usize {
        self.notification.size() + self.sidecar.len()
    }
}

impl NotificationQueue {
    /// Adds one; returns how many were dropped for it.
    pub(super) fn push(&self, added: QueuedNotification) -> usize {
        let size = added.size();
        if size > MAX_QUEUED_BYTES {
            return 1;
        }
        let mut content = self.lock();
        let mut dropped = 0;
        while content.waiting.len() >= MAX_QUEUED || content.bytes + size > MAX_QUEUED_BYTES {
            content.take_oldest();
            dropped += 1;
        }
        content.bytes += size;
        content.waiting.push_back(Arc::new(added));
        drop(content);
        self.pushed.notify_one();
        dropped
    }

    /// The next one to deliver: the one whose delivery was interrupted, else the oldest. It stays until
    /// [`NotificationQueue::finish`].
    pub(super) async fn next(&self) -> Arc<QueuedNotification> {
        loop {
            if let Some(next) = self.begin() {
                return next;
            }
            self.pushed.notified().await;
        }
    }

    fn begin(&self) -> Option<Arc<QueuedNotification>> {
        let mut content = self.lock();
        if content.in_flight.is_none() {
            content.in_flight = content.take_oldest();
        }
        content.in_flight.clone()
    }

    /// The one in delivery was delivered or given up.
    pub(super) fn finish(&self) {
        self.lock().in_flight = None;
    }

    /// Forgets all; returns how many.
    pub(super) fn clear(&self) -> usize {
        let content = std::mem::take(&mut *self.lock());
        content.waiting.len() + usize::from(content.in_flight.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, QueueContent> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueContent {
    fn take_oldest(&mut self) -> Option<Arc<QueuedNotification>> {
        let oldest = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(oldest.size());
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(sidecar: &str) -> QueuedNotification {
        QueuedNotification {
            notification: Notification::test("2026-11-25T16:20:00Z"),
            sidecar: sidecar.to_owned(),
            queued_at: Moment::default(),
        }
    }

    #[tokio::test]
    async fn the_oldest_is_dropped_by_number_and_by_bytes_but_not_the_one_in_delivery() {
        let queue = NotificationQueue::default();
        assert_eq!(queue.push(queued("first")), 0);
        assert_eq!(queue.next().await.sidecar, "first");
        let dropped: Vec<usize> = (0..105)
            .map(|n| queue.push(queued(&n.to_string())))
            .collect();
        assert_eq!(dropped.iter().sum::<usize>(), 5);
        assert_eq!(
            queue.next().await.sidecar,
            "first",
            "it is still in delivery"
        );
        queue.finish();
        assert_eq!(queue.next().await.sidecar, "5");
        let dropped = queue.push(queued(&"x".repeat(MAX_QUEUED_BYTES - 1000)));
        let kept = queue.lock().waiting.len();
        assert!(dropped > 90 && kept == 100 - dropped, "{dropped}, {kept}");
        assert!(queue.lock().bytes <= MAX_QUEUED_BYTES);
        assert_eq!(queue.push(queued(&"x".repeat(MAX_QUEUED_BYTES))), 1);
        assert_eq!(queue.lock().waiting.len(), kept);
        assert_eq!(queue.clear(), kept + 1);
        assert_eq!((queue.clear(), queue.lock().bytes), (0, 0));
    }
}

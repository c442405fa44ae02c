//! The bytes of bodies in memory at once, whatever number of connections sends or reads them. A body
//! counts as it arrives, and until the last copy of it is dropped, so the budget is what is held, not
//! what is announced. The first bytes of a body are free: large bodies never stop an ordinary message.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of the budget, in bytes.
const BLOCK_BYTES: usize = 1 << 10;

/// The bytes of each body that do not count. The number of connections bounds them.
pub(crate) const FREE_BYTES: usize = 16 << 10;

/// How many bytes may be held. Clones share it.
#[derive(Clone, Debug)]
pub struct ByteBudget {
    free: Arc<Semaphore>,
    blocks: usize,
    /// For one waiting body that may go beyond the budget. Without it, bodies that each hold a part of the budget would
    /// wait for each other for ever.
    overdraft: Arc<Semaphore>,
}

/// A body while it is read.
#[derive(Debug)]
pub(crate) struct BodyBuffer {
    budget: ByteBudget,
    bytes: Vec<u8>,
    /// What it takes beside its own bytes.
    extra: usize,
    permit: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BudgetExhausted;

impl ByteBudget {
    /// A budget of at least one block.
    pub fn new(bytes: usize) -> Self {
        let blocks = blocks_of(bytes).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(blocks)),
            blocks,
            overdraft: Arc::new(Semaphore::new(1)),
        }
    }

    /// For clients outside of the path of requests.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// An empty body.
    pub(crate) fn buffer(&self) -> BodyBuffer {
        BodyBuffer {
            budget: self.clone(),
            bytes: Vec::new(),
            extra: 0,
            permit: None,
            overdraft: None,
        }
    }

    /// What is left, in bytes.
    #[cfg(test)]
    pub(crate) fn free_bytes(&self) -> usize {
        self.free.available_permits() * BLOCK_BYTES
    }
}

impl BodyBuffer {
    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self) {
        self.bytes = Vec::new();
        self.extra = 0;
        self.permit = None;
        self.overdraft = None;
    }

    /// Appends data if there is room for it now.
    pub(crate) fn try_append(&mut self, data: &[u8]) -> Result<(), BudgetExhausted> {
        let missing = self.missing_blocks(data.len());
        self.try_take(missing)?;
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Appends data as soon as there is room for it, or no other body goes beyond the budget.
    pub(crate) async fn append(&mut self, data: &[u8]) {
        let missing = self.missing_blocks(data.len());
        if missing > 0 {
            let room = Arc::clone(&self.budget.free).acquire_many_owned(missing);
            let overdraft = Arc::clone(&self.budget.overdraft).acquire_owned();
            // The semaphores are never closed.
            tokio::select! {
                biased;
                Ok(permit) = room => self.merge(permit),
                Ok(permit) = overdraft => self.overdraft = Some(permit),
                else => {}
            }
        }
        self.bytes.extend_from_slice(data);
    }

    /// Counts bytes that are made from the body, until the body is dropped.
    pub(crate) fn try_charge(&mut self, bytes: usize) -> Result<(), BudgetExhausted> {
        let missing = self.missing_blocks(bytes);
        self.try_take(missing)?;
        self.extra += bytes;
        Ok(())
    }

    /// The whole body; it counts until the last copy is dropped.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// The blocks that `more` bytes need. One body may take the whole budget, and no more, so that it is never
    /// rejected for ever.
    fn missing_blocks(&self, more: usize) -> u32 {
        if self.overdraft.is_some() {
            return 0;
        }
        let held = self
            .permit
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let counted = (self.bytes.len() + self.extra + more).saturating_sub(FREE_BYTES);
        let needed = blocks_of(counted).min(self.budget.blocks);
        u32::try_from(needed.saturating_sub(held)).unwrap_or(u32::MAX)
    }

    fn try_take(&mut self, blocks: u32) -> Result<(), BudgetExhausted> {
        if blocks > 0 {
            let free = Arc::clone(&self.budget.free);
            let permit = free
                .try_acquire_many_owned(blocks)
                .map_err(|_| BudgetExhausted)?;
            self.merge(permit);
        }
        Ok(())
    }

    fn merge(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
    }
}

impl AsRef<[u8]> for BodyBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn blocks_of(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const KIB: usize = 1 << 10;

    /// Bytes that count, beside those that are free.
    fn beyond_free(bytes: usize) -> Vec<u8> {
        vec![1; FREE_BYTES + bytes]
    }

    #[test]
    fn a_body_counts_as_it_arrives_and_until_its_last_copy_is_dropped() {
        let budget = ByteBudget::new(4 * KIB);
        let mut body = budget.buffer();
        assert_eq!(budget.free_bytes(), 4 * KIB, "nothing has arrived");
        body.try_append(&beyond_free(KIB + 1)).unwrap();
        body.try_append(&[2; 10]).unwrap();
        assert_eq!(body.len(), FREE_BYTES + KIB + 11);
        assert_eq!(budget.free_bytes(), 2 * KIB);
        body.try_charge(2 * KIB - 11).unwrap();
        assert_eq!(budget.free_bytes(), KIB);
        let mut other = budget.buffer();
        assert_eq!(
            other.try_append(&beyond_free(KIB + 1)),
            Err(BudgetExhausted)
        );
        assert_eq!(other.len(), 0);
        drop(other);
        let whole = body.into_bytes();
        let copy = whole.slice(FREE_BYTES + KIB..);
        assert_eq!(copy.as_ref(), [[1].as_slice(), &[2; 10]].concat());
        drop(whole);
        assert_eq!(budget.free_bytes(), KIB);
        drop(copy);
        assert_eq!(budget.free_bytes(), 4 * KIB);
    }

    #[test]
    fn a_body_larger_than_the_budget_takes_all_of_it_and_small_ones_pass() {
        let budget = ByteBudget::new(2 * KIB);
        let mut body = budget.buffer();
        body.try_append(&beyond_free(9 * KIB)).unwrap();
        assert_eq!(budget.free_bytes(), 0);
        let mut small = budget.buffer();
        small.try_append(&beyond_free(0)).unwrap();
        assert_eq!(small.try_append(&[0]), Err(BudgetExhausted));
        drop(body);
        assert_eq!(budget.free_bytes(), 2 * KIB);
        small.try_append(&[0]).unwrap();
        let mut unlimited = ByteBudget::unlimited().buffer();
        unlimited.try_append(&beyond_free(1)).unwrap();
    }

    #[test]
    fn a_reply_waits_for_room() {
        let budget = ByteBudget::new(2 * KIB);
        let mut first = budget.buffer();
        first.try_append(&beyond_free(2 * KIB)).unwrap();
        let mut beyond = budget.buffer();
        let appended = beyond.append(&beyond_free(9 * KIB)).now_or_never();
        assert!(appended.is_some(), "one body may go beyond");
        let mut second = budget.buffer();
        let data = beyond_free(KIB);
        let mut waiting = Box::pin(second.append(&data));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waiting.as_mut().now_or_never().is_some());
        drop(waiting);
        assert_eq!(second.len(), FREE_BYTES + KIB);
        assert_eq!(budget.free_bytes(), KIB);
    }

    /// Each has a part of the budget and needs more: they end one after the other.
    #[test]
    fn replies_that_wait_for_each_other_come_to_an_end() {
        let budget = ByteBudget::new(4 * KIB);
        let mut bodies: Vec<_> = (0..4).map(|_| budget.buffer()).collect();
        for body in &mut bodies {
            body.try_append(&beyond_free(KIB)).unwrap();
        }
        assert_eq!(budget.free_bytes(), 0);
        let more = [3; 3 * KIB];
        let mut waiting: Vec<_> = bodies
            .into_iter()
            .map(|mut body| {
                Box::pin(async move {
                    body.append(&more).await;
                    body.append(&more).await;
                    body.len()
                })
            })
            .collect();
        let mut rounds = 0;
        while !waiting.is_empty() {
            rounds += 1;
            assert!(rounds <= 4, "{} bodies wait for ever", waiting.len());
            waiting.retain_mut(|body| body.as_mut().now_or_never().is_none());
        }
        assert_eq!(budget.free_bytes(), 4 * KIB);
    }
}

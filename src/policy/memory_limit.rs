//! What a memory of earlier requests may hold. A count alone bounds nothing where the entries hold strings
//! from services and backends, so each memory has a limit of bytes too.

/// The most entries, and the most bytes in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The most entries.
    pub entries: usize,
    /// The most bytes of the entries that have ended.
    pub bytes: usize,
}

/// The longest id or reference that is remembered, in bytes. Real ids have at most a few hundred.
pub const MAX_ID_BYTES: usize = 512;

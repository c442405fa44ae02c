//! Which credential an attempt used: a version of the vault entry and, for services that want a
//! login, which login's token. The pair is ordered, so "newer" is one comparison.

use crate::secret::Version;

/// The credential of an attempt. A newer version, or a newer token of the same version, is
/// greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CredentialRevision {
    /// The vault entry's version.
    pub version: Version,
    /// The number of logins made with this version; 0 for services without a login.
    pub token_generation: u64,
}

impl From<Version> for CredentialRevision {
    fn from(version: Version) -> Self {
        Self {
            version,
            token_generation: 0,
        }
    }
}

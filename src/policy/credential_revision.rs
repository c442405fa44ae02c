//! Which credential an attempt used, and which ones it can use: a version of the vault entry and, for
//! services that want a login, which login's token. The pair is ordered, so "newer" is one comparison.

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

/// The credentials that an attempt at an account can present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CredentialOffer {
    /// The newest one in the vault.
    pub newest: CredentialRevision,
    /// That of the last accepted message, if it is older and still known.
    pub previous: Option<CredentialRevision>,
}

impl From<CredentialRevision> for CredentialOffer {
    fn from(newest: CredentialRevision) -> Self {
        Self {
            newest,
            previous: None,
        }
    }
}

/// Which of the offered credentials an attempt presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialChoice {
    /// The newest version.
    Newest,
    /// The version that was accepted last, because the newest was rejected or cannot be used.
    Previous,
}

//! Credentials as a type: no `Display`, `Serialize` or `Deref`, wiped on drop, and one way out
//! (`expose_secret`) that a grep finds.

pub(crate) mod characters;
pub mod redact;
pub(crate) mod search;

use std::collections::BTreeMap;
use std::fmt;

use secrecy::ExposeSecret;
pub use secrecy::SecretString;

/// The fields of one vault entry, by the vault's names for them.
pub type SecretFields = BTreeMap<String, SecretString>;

/// The version of a vault entry's content: 1 for the first content read, one more whenever it
/// differs. An ordinal, never a hash of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

/// One version of one provider's credential, under the dialect's field names.
#[derive(Clone)]
pub struct Credential {
    /// The version of the vault entry.
    pub version: Version,
    fields: SecretFields,
}

impl Credential {
    /// A credential of these fields.
    pub fn new(version: Version, fields: SecretFields) -> Self {
        Self { version, fields }
    }

    /// The value of `field`, only for writing it into a request, signing with it, or masking it.
    pub fn expose(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(ExposeSecret::expose_secret)
    }

    /// Whether it has exactly these fields.
    pub fn matches(&self, fields: &SecretFields) -> bool {
        fields_equal(&self.fields, fields)
    }

    /// The names of the fields.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Credential(version {}, {} fields)",
            self.version.0,
            self.fields.len()
        )
    }
}

/// Whether two entries have the same fields and values; the only comparison of secrets.
pub fn fields_equal(left: &SecretFields, right: &SecretFields) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|((a, x), (b, y))| a == b && x.expose_secret() == y.expose_secret())
}

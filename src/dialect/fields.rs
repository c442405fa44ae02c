//! What a description declares: credential fields, parameters, and what it rests on.

use regex::Regex;

/// What the sidecar puts in the place of a secret that a backend must not have.
pub(crate) const PLACEHOLDER: &str = "sms-sidecar";

/// A credential field of a dialect.
#[derive(Clone, Debug)]
pub struct FieldSpec {
    /// The name in a vault entry.
    pub name: String,
    /// It may be shown (a login, an account id).
    pub public: bool,
    /// What a correct value looks like.
    pub pattern: Option<Regex>,
    /// What the backend's own configuration may have in its place.
    pub placeholder: Option<String>,
    /// Names known from `.env` files.
    pub env: Vec<String>,
    /// The vault entry must have it.
    pub required: bool,
}

/// An account parameter of a dialect that is not secret.
#[derive(Clone, Debug)]
pub struct ParamSpec {
    /// The name in the provider's `param` table.
    pub name: String,
    /// Used if the provider sets none.
    pub default: Option<String>,
    /// Written as a number.
    pub integer: bool,
}

/// What a description rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EvidenceBasis {
    /// The vendor's own documentation.
    Vendor,
    /// Public clients that work.
    Clients,
    /// Memory or inference: loads only if the provider sets `experimental = true`.
    #[default]
    Memory,
}

impl EvidenceBasis {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vendor => "vendor",
            Self::Clients => "clients",
            Self::Memory => "memory",
        }
    }
}

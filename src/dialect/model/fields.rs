//! What a description declares for people and vaults: credential fields, parameters, and
//! what it rests on.

use regex::Regex;

/// A credential field of a dialect.
#[derive(Clone, Debug)]
pub struct FieldSpec {
    /// As vault entries name it.
    pub name: String,
    /// It may be shown (a login, an account id).
    pub public: bool,
    /// What a right value looks like.
    pub pattern: Option<Regex>,
    /// What the backend's own configuration may hold in its stead.
    pub placeholder: Option<String>,
    /// Names known from `.env` files.
    pub env: Vec<String>,
    /// The vault entry must have it.
    pub required: bool,
}

/// An account parameter of a dialect that is no secret.
#[derive(Clone, Debug)]
pub struct ParamSpec {
    /// As the provider's `param` table names it.
    pub name: String,
    /// Used where the provider says nothing.
    pub default: Option<String>,
    /// Written as a number.
    pub integer: bool,
}

/// What a description rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EvidenceBasis {
    /// The vendor's own words.
    Vendor,
    /// Public clients that work.
    Clients,
    /// Memory or inference: loads only where the provider says `experimental = true`.
    #[default]
    Memory,
}

impl EvidenceBasis {
    /// As the file spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vendor => "vendor",
            Self::Clients => "clients",
            Self::Memory => "memory",
        }
    }
}

//! The compiled form of `[[probes]]`: what is asked for free, what its answers mean, where lists stand in them.

use regex::Regex;

use crate::dialect::call::Call;
use crate::dialect::code::CodeTest;
use crate::dialect::place::Place;
use crate::dialect::shape::{Fields, StatusTest};
use crate::sms::Cause;

/// What a probe settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Whether the service knows the credential.
    Credential,
    /// Whether the account is in order.
    Account,
    /// How much money is left.
    Balance,
    /// What the account may send under.
    Sender,
    /// Which texts the account may send.
    Template,
}

impl Asks {
    /// All of them, in the order in which they are told.
    pub const ALL: &[Self] = &[Self::Credential, Self::Account, Self::Balance, Self::Sender, Self::Template];

    /// As the file spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Account => "account",
            Self::Balance => "balance",
            Self::Sender => "sender",
            Self::Template => "template",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) status: Option<StatusTest>,
    pub(crate) at: Vec<Place>,
    pub(crate) is: Vec<CodeTest>,
    pub(crate) like: Option<Regex>,
}

/// What a probe's reply means if it fits.
#[derive(Clone, Debug)]
pub(crate) struct Dead {
    pub(crate) test: Test,
    pub(crate) cause: Cause,
    pub(crate) or: Vec<Cause>,
    pub(crate) guess: bool,
}

/// A question that settles a cause and sends nothing.
#[derive(Clone, Debug)]
pub struct Probe {
    /// What it settles.
    pub asks: Asks,
    /// It was never seen to work: people are asked before it is used.
    pub guess: bool,
    pub(crate) call: Call,
    pub(crate) fields: Fields,
    pub(crate) alive: Option<Test>,
    pub(crate) dead: Vec<Dead>,
    pub(crate) balance: Option<Place>,
    pub(crate) unit: Option<String>,
    pub(crate) senders: Option<Place>,
    /// Senders that everybody may use, and that no list names.
    pub(crate) shared: Vec<String>,
    /// The list holds phone numbers alone.
    pub(crate) numbers: bool,
    pub(crate) texts: Option<Texts>,
}

/// A list of texts, and how each stands.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    pub(crate) at: Place,
    /// In one of these places of an entry.
    pub(crate) text: Vec<Place>,
    /// What they write for a part that changes.
    pub(crate) holes: Option<Regex>,
    pub(crate) status: Place,
    pub(crate) approved: Vec<String>,
    pub(crate) pending: Vec<String>,
    pub(crate) rejected: Vec<String>,
}

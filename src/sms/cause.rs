//! The closed list of reasons for a refusal. A cause is metric label, log field,
//! doctor's answer and runbook heading alike, so its spelling lives here only.

use std::fmt;
use std::str::FromStr;

/// Writes the enum, its list and its spelling from one table.
macro_rules! causes {
    ($($variant:ident $word:literal $family:ident $doc:literal)*) => {
        /// Why an attempt did not deliver, in one word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause { $(#[doc = $doc] $variant,)* }

        impl Cause {
            /// Every cause, in the order the documentation lists them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word used in labels, logs, dialect files and headings.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Which of the four families it belongs to.
            pub const fn family(self) -> Family {
                match self { $(Self::$variant => Family::$family,)* }
            }

            /// What it means, as a sentence for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

causes! {
    CredentialMissing   "credential-missing"    Account  "The service got no credential."
    CredentialRejected  "credential-rejected"   Account  "The service knows no such credential."
    CredentialExpired   "credential-expired"    Account  "The credential or token was right once and has run out."
    PermissionDenied    "permission-denied"     Account  "The credential is right but may not do this."
    AccountSuspended    "account-suspended"     Account  "The service has locked or closed the account."
    BalanceEmpty        "balance-empty"         Account  "No money is left on the account."
    IpNotAllowed        "ip-not-allowed"        Account  "The service does not accept calls from this server's address."
    EndpointWrong       "endpoint-wrong"        Account  "The address or API version is not the service's."
    ClockSkew           "clock-skew"            Account  "Our clock and the service's differ too much for its signature check."
    SandboxMismatch     "sandbox-mismatch"      Account  "A test credential on production, or the reverse."
    TlsUntrusted        "tls-untrusted"         Account  "The certificate of the service is not trusted."
    SenderNotAllowed    "sender-not-allowed"    Message  "The account may not send under this sender name."
    TemplateNotApproved "template-not-approved" Message  "The service has not approved this text for the account."
    RecipientInvalid    "recipient-invalid"     Message  "The recipient's number is wrong or cannot be reached."
    MessageInvalid      "message-invalid"       Message  "The message is malformed or its text is refused."
    RecipientBlocked    "recipient-blocked"     Message  "The person opted out, or is barred."
    Duplicate           "duplicate"             Message  "The service has this message already."
    Throttled           "throttled"             Provider "Too many requests."
    ProviderFault       "provider-fault"        Provider "The service failed by its own fault."
    Unreachable         "unreachable"           Provider "No connection to the service could be made."
    Timeout             "timeout"               Provider "The service did not answer in time."
    ReplyUnreadable     "reply-unreadable"      Provider "The service's answer proves neither success nor refusal."
    VaultUnavailable    "vault-unavailable"     Ours     "The credential could not be read from the vault."
    DeniedByPolicy     "denied-by-policy"      Ours     "The sidecar's own rules forbid it."
    NotTranslatable     "not-translatable"      Ours     "What the call says has no equivalent at this provider."
    NoProvider          "no-provider"           Ours     "No provider is configured that could carry it."
    Unexplained         "unexplained"           Provider "The service refused for a reason its description does not know."
}

impl Cause {
    /// What it says about whom; decides what may be tried next.
    pub const fn concern(self) -> Concern {
        match self {
            Self::CredentialMissing | Self::CredentialRejected | Self::CredentialExpired => {
                Concern::Credential
            }
            Self::PermissionDenied
            | Self::AccountSuspended
            | Self::BalanceEmpty
            | Self::IpNotAllowed
            | Self::EndpointWrong
            | Self::ClockSkew
            | Self::SandboxMismatch
            | Self::TlsUntrusted => Concern::Account,
            Self::SenderNotAllowed | Self::TemplateNotApproved => Concern::MessageAtAccount,
            Self::RecipientInvalid | Self::MessageInvalid => Concern::Message,
            Self::RecipientBlocked => Concern::Recipient,
            Self::Duplicate => Concern::Duplicate,
            Self::Throttled => Concern::Throttle,
            Self::ProviderFault
            | Self::Unreachable
            | Self::Timeout
            | Self::ReplyUnreadable
            | Self::Unexplained => Concern::Provider,
            Self::VaultUnavailable
            | Self::DeniedByPolicy
            | Self::NotTranslatable
            | Self::NoProvider => Concern::Ours,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Cause {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .copied()
            .find(|cause| cause.as_str() == word)
            .ok_or(())
    }
}

/// The coarse groups that dashboards add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// "The 401s": credential, account, address, endpoint.
    Account,
    /// The message, its sender, or the person it is for.
    Message,
    /// The service or the way to it.
    Provider,
    /// Our own vault, rules or configuration.
    Ours,
}

impl Family {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Message => "message",
            Self::Provider => "provider",
            Self::Ours => "ours",
        }
    }
}

/// Whom a refusal is about: the axis the decision core turns on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// This credential version; a newer one is another matter.
    Credential,
    /// The account, until something about it changes.
    Account,
    /// This message at this account only.
    MessageAtAccount,
    /// The message; one provider may err about it, two do not.
    Message,
    /// The person said no: nobody sends it.
    Recipient,
    /// It is there already.
    Duplicate,
    /// Usable again after a wait.
    Throttle,
    /// The service itself.
    Provider,
    /// Us.
    Ours,
}

/// How sure a classification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// A source says so.
    Certain,
    /// Inferred, or never seen on the wire.
    Likely,
    /// One code stands for several causes.
    Ambiguous,
}

impl Certainty {
    /// The word in logs and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Ambiguous => "ambiguous",
        }
    }
}

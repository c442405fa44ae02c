//! The closed list of causes. A cause is a metric label, a log field, the answer of `doctor` and a
//! runbook heading, so its spelling is defined here only.

use std::fmt;
use std::str::FromStr;

/// Defines the enum, the list of its values and their spelling from one table.
macro_rules! causes {
    ($($variant:ident $word:literal $family:ident $doc:literal)*) => {
        /// Why an attempt did not deliver.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause { $(#[doc = $doc] $variant,)* }

        impl Cause {
            /// Every cause, in the order the documentation lists them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in labels, logs, dialect files and headings.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The family that the cause belongs to.
            pub const fn family(self) -> Family {
                match self { $(Self::$variant => Family::$family,)* }
            }

            /// The meaning, as a sentence for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

causes! {
    CredentialMissing   "credential-missing"    Account  "The service got no credential."
    CredentialRejected  "credential-rejected"   Account  "The service does not accept the credential."
    CredentialExpired   "credential-expired"    Account  "The credential or token has expired."
    PermissionDenied    "permission-denied"     Account  "The credential is valid but may not do this."
    AccountSuspended    "account-suspended"     Account  "The service has locked or closed the account."
    BalanceEmpty        "balance-empty"         Account  "The account has no balance left."
    IpNotAllowed        "ip-not-allowed"        Account  "The service does not accept requests from this server's address."
    EndpointWrong       "endpoint-wrong"        Account  "The address or the API version is wrong."
    ClockSkew           "clock-skew"            Account  "This server's clock differs too much from the service's for its signature check."
    SandboxMismatch     "sandbox-mismatch"      Account  "A test credential is used on production, or the reverse."
    TlsUntrusted        "tls-untrusted"         Provider "The certificate of the service is not trusted."
    SenderNotAllowed    "sender-not-allowed"    Message  "The account may not send under this sender name."
    TemplateNotApproved "template-not-approved" Message  "The service has not approved this text for the account."
    RecipientInvalid    "recipient-invalid"     Message  "The recipient's number is wrong or cannot be reached."
    MessageInvalid      "message-invalid"       Message  "The message is malformed, or its text is rejected."
    RecipientBlocked    "recipient-blocked"     Message  "The person opted out or is blocked."
    Duplicate           "duplicate"             Message  "The service already has this message."
    Throttled           "throttled"             Provider "Too many requests."
    ProviderFault       "provider-fault"        Provider "The service failed by its own fault."
    Unreachable         "unreachable"           Provider "No connection to the service could be made."
    Timeout             "timeout"               Provider "The service did not answer in time."
    ReplyUnreadable     "reply-unreadable"      Provider "The service's reply proves neither success nor rejection."
    VaultUnavailable    "vault-unavailable"     Ours     "The credential could not be read from the vault."
    DeniedByPolicy      "denied-by-policy"      Ours     "The sidecar's own rules deny the request."
    NotTranslatable     "not-translatable"      Ours     "The request contains something that this provider cannot express."
    NoProvider          "no-provider"           Ours     "No configured provider can take the request."
    Unexplained         "unexplained"           Provider "The service rejected the request for a reason that its description does not list."
}

impl Cause {
    /// Whether the account is out until somebody, or a new credential, puts it right.
    pub const fn blocks_account(self) -> bool {
        matches!(self.concern(), Concern::Credential | Concern::Account)
    }

    /// What happened to a credential's version for this cause. One that is missing or cannot be a credential was never
    /// sent, so nobody rejected it.
    pub const fn version_fault(self) -> &'static str {
        if matches!(self, Self::CredentialMissing) {
            "cannot be used"
        } else {
            "was rejected"
        }
    }

    /// What the cause is about, which decides what may be tried next.
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

/// The groups that dashboards add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// "The 401s": credential, account, address, endpoint.
    Account,
    /// The message, its sender, or the person it is for.
    Message,
    /// The service, or the network to it, an untrusted certificate included.
    Provider,
    /// The sidecar's vault, rules or configuration.
    Ours,
}

impl Family {
    /// The value of the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Message => "message",
            Self::Provider => "provider",
            Self::Ours => "ours",
        }
    }
}

/// What a cause is about; the policy decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// This credential version, but not a newer one.
    Credential,
    /// The account, until it changes.
    Account,
    /// This message at this account only.
    MessageAtAccount,
    /// The message; confirmed when two providers agree.
    Message,
    /// The person, who opted out: no provider may send the message.
    Recipient,
    /// The service already has the message.
    Duplicate,
    /// The rate of requests: the account works again after a while.
    Throttle,
    /// The service itself.
    Provider,
    /// The sidecar.
    Ours,
}

/// How certain a classification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// A source documents it.
    Certain,
    /// Inferred, or never observed.
    Likely,
    /// The reply can have several causes.
    Ambiguous,
}

impl Certainty {
    /// The name in logs and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Ambiguous => "ambiguous",
        }
    }
}

//! What was learned beside the refused reply, as values: who says it, and what it leaves of
//! the suspects. Whoever asks, reads a clock or keeps a session hands the facts in; nothing here does.

use std::fmt;
use std::time::Duration;

use core::net::IpAddr;

use crate::diagnosis::candidates::{CauseCandidates, Implication};
use crate::diagnosis::format_duration;
use crate::secret::Version;
use crate::sms::{Cause, Certainty};

/// One thing that was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Who says it.
    pub source: EvidenceSource,
    /// What it says.
    pub implication: Implication,
}

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceSource {
    /// A free call that shows whether the credential is known.
    CredentialProbe,
    /// A free call about the account.
    AccountProbe,
    /// A free call about the money left.
    BalanceProbe,
    /// A login was accepted with this credential, and the fresh token was refused like the one before.
    FreshToken,
    /// The reply's own date: this far from our clock.
    ReplyDate(Duration),
    /// The address that the reply says we came from.
    ReportedAddress(IpAddr),
    /// What the token says of itself, which proves nothing.
    TokenClaim,
    /// How long the token says that it lasts.
    TokenLifetime(Duration),
    /// The same credential was accepted before, at the same address.
    SameVersion,
    /// An older credential was accepted, so all but the credential was in order then.
    OlderVersion(Version),
}

/// Signatures that hold a time are taken by the strictest service if the clocks differ by less than this.
const CLOCK_SKEW_THRESHOLD: Duration = Duration::from_mins(5);
/// A clock this near is not it: the date has whole seconds, and a reply takes some.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);

impl Evidence {
    /// A reply's date, this far from our clock.
    pub fn from_reply_date(apart: Duration) -> Self {
        let implication = match apart {
            apart if apart >= CLOCK_SKEW_THRESHOLD => {
                Implication::Indicates(vec![Cause::ClockSkew], Certainty::Likely)
            }
            apart if apart <= CLOCK_TOLERANCE => Implication::RulesOut(vec![Cause::ClockSkew]),
            _ => Implication::Inconclusive,
        };
        Self {
            source: EvidenceSource::ReplyDate(apart),
            implication,
        }
    }

    /// The first public address that a refusal names: services that look at it say which one they saw.
    pub fn from_reported_address(reply: &str) -> Option<Self> {
        let words = reply.split(|c: char| !(c.is_ascii_hexdigit() || matches!(c, '.' | ':')));
        let mut found =
            words.filter_map(|word| word.trim_matches(['.', ':']).parse::<IpAddr>().ok());
        let address = found.find(|address| !address.is_loopback() && !address.is_unspecified())?;
        Some(Self {
            source: EvidenceSource::ReportedAddress(address),
            implication: Implication::Indicates(vec![Cause::IpNotAllowed], Certainty::Likely),
        })
    }

    /// What a token says of itself about a cause.
    pub fn from_token_claim(cause: Cause, holds: bool) -> Self {
        let implication = if holds {
            Implication::Indicates(vec![cause], Certainty::Likely)
        } else {
            Implication::RulesOut(vec![cause])
        };
        Self {
            source: EvidenceSource::TokenClaim,
            implication,
        }
    }

    /// A token that says it lasts this long has not run out; it was withdrawn, or was never known.
    pub fn from_token_lifetime(left: Duration) -> Self {
        let implication = if left > CLOCK_TOLERANCE {
            Implication::RulesOut(vec![Cause::CredentialExpired])
        } else {
            Implication::Inconclusive
        };
        Self {
            source: EvidenceSource::TokenLifetime(left),
            implication,
        }
    }

    /// What the last message that was accepted says of a refusal of this version.
    pub fn from_last_accepted(accepted: Version, version: Version) -> Option<Self> {
        if accepted == version {
            let answer = Implication::RulesOut(vec![
                Cause::CredentialMissing,
                Cause::SandboxMismatch,
                Cause::EndpointWrong,
            ]);
            return Some(Self {
                source: EvidenceSource::SameVersion,
                implication: answer,
            });
        }
        let answer = Implication::RulesOut(vec![
            Cause::IpNotAllowed,
            Cause::EndpointWrong,
            Cause::ClockSkew,
        ]);
        (accepted < version).then_some(Self {
            source: EvidenceSource::OlderVersion(accepted),
            implication: answer,
        })
    }

    /// Whether it says anything about them.
    pub fn is_relevant_to(&self, suspects: &CauseCandidates) -> bool {
        match &self.implication {
            Implication::RulesOut(causes) | Implication::Indicates(causes, _) => {
                suspects.causes().iter().any(|cause| causes.contains(cause))
            }
            Implication::Inconclusive => false,
        }
    }
}

impl fmt::Display for EvidenceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CredentialProbe => f.write_str("a free call with the same credential"),
            Self::AccountProbe => f.write_str("its account call"),
            Self::BalanceProbe => f.write_str("its balance call"),
            Self::FreshToken => f.write_str(
                "a login with the same credential was accepted, and its fresh token refused",
            ),
            Self::ReplyDate(apart) if *apart <= CLOCK_TOLERANCE => {
                f.write_str("the reply's date agrees with our clock")
            }
            Self::ReplyDate(apart) => write!(
                f,
                "the reply's date is {} away from our clock",
                format_duration(*apart)
            ),
            Self::ReportedAddress(address) => {
                write!(f, "the reply names {address} as the address it saw")
            }
            Self::TokenClaim => f.write_str("its token"),
            Self::TokenLifetime(left) => write!(
                f,
                "its token has {} left by its own words",
                format_duration(*left)
            ),
            Self::SameVersion => f.write_str("this version was accepted at this address before"),
            Self::OlderVersion(version) => write!(
                f,
                "only the credential has changed since version {} was accepted",
                version.0
            ),
        }
    }
}

impl fmt::Display for Evidence {
    /// One clause of the evidence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let witness = self.source;
        let asked = matches!(
            witness,
            EvidenceSource::CredentialProbe
                | EvidenceSource::AccountProbe
                | EvidenceSource::BalanceProbe
        );
        match &self.implication {
            Implication::Indicates(causes, _) if asked || witness == EvidenceSource::TokenClaim => {
                let words: Vec<&str> = causes.iter().map(|cause| cause.as_str()).collect();
                write!(f, "{witness} says {}", words.join(" or "))
            }
            Implication::RulesOut(causes) if witness == EvidenceSource::TokenClaim => {
                let words: Vec<&str> = causes.iter().map(|cause| cause.as_str()).collect();
                write!(f, "{witness} says that it is not {}", words.join(" or "))
            }
            Implication::RulesOut(_) if asked => {
                write!(f, "{witness} was answered as if all were in order")
            }
            Implication::Inconclusive if asked => write!(f, "{witness} says nothing about it"),
            Implication::Indicates(..) | Implication::RulesOut(_) | Implication::Inconclusive => {
                write!(f, "{witness}")
            }
        }
    }
}

/// The suspects that are left, and of what was learned only what bears on them.
pub fn narrow_candidates(
    mut suspects: CauseCandidates,
    all: impl IntoIterator<Item = Evidence>,
) -> (CauseCandidates, Vec<Evidence>) {
    let mut kept = Vec::new();
    for learned in all {
        if !suspects.is_unambiguous() && learned.is_relevant_to(&suspects) {
            suspects = suspects.apply(&learned.implication);
            kept.push(learned);
        }
    }
    (suspects, kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(all: &[Cause], learned: &Evidence) -> (Cause, Certainty) {
        let suspects =
            CauseCandidates::new(all[0], Certainty::Certain, &all[1..]).apply(&learned.implication);
        (suspects.cause, suspects.certainty)
    }

    #[test]
    fn the_clocks_settle_what_a_signature_left_open() {
        let all = [Cause::CredentialRejected, Cause::ClockSkew];
        let apart = |seconds| {
            after(
                &all,
                &Evidence::from_reply_date(Duration::from_secs(seconds)),
            )
        };
        assert_eq!(apart(0), (Cause::CredentialRejected, Certainty::Likely));
        assert_eq!(apart(30), (Cause::CredentialRejected, Certainty::Likely));
        assert_eq!(apart(31), (Cause::CredentialRejected, Certainty::Ambiguous));
        assert_eq!(
            apart(299),
            (Cause::CredentialRejected, Certainty::Ambiguous)
        );
        assert_eq!(apart(300), (Cause::ClockSkew, Certainty::Likely));
        assert_eq!(
            Evidence::from_reply_date(Duration::from_mins(10)).to_string(),
            "the reply's date is 10 min away from our clock"
        );
    }

    #[test]
    fn an_address_in_a_refusal_is_the_one_they_saw() {
        for (reply, address) in [
            (
                r#"{"error":"IP 203.0.113.7 is not allowed"}"#,
                "203.0.113.7",
            ),
            ("your address: 2001:db8::7.", "2001:db8::7"),
            (
                "<Message>127.0.0.1 then 198.51.100.2</Message>",
                "198.51.100.2",
            ),
        ] {
            let learned =
                Evidence::from_reported_address(reply).unwrap_or_else(|| panic!("{reply}"));
            assert_eq!(
                learned.source,
                EvidenceSource::ReportedAddress(address.parse().unwrap())
            );
            assert_eq!(
                after(&[Cause::CredentialRejected, Cause::IpNotAllowed], &learned),
                (Cause::IpNotAllowed, Certainty::Likely)
            );
        }
        for reply in [
            "",
            "version 1.2.3",
            "at 12:30",
            "dead beef",
            "1.2.3.4.5",
            "::",
            "0.0.0.0",
        ] {
            assert_eq!(Evidence::from_reported_address(reply), None, "{reply}");
        }
    }

    #[test]
    fn a_token_is_believed_a_little() {
        let all = [Cause::PermissionDenied, Cause::SandboxMismatch];
        assert_eq!(
            after(
                &all,
                &Evidence::from_token_claim(Cause::SandboxMismatch, true)
            ),
            (Cause::SandboxMismatch, Certainty::Likely)
        );
        assert_eq!(
            after(
                &all,
                &Evidence::from_token_claim(Cause::SandboxMismatch, false)
            ),
            (Cause::PermissionDenied, Certainty::Likely)
        );
        assert_eq!(
            Evidence::from_token_claim(Cause::SandboxMismatch, true).to_string(),
            "its token says sandbox-mismatch"
        );
        assert_eq!(
            Evidence::from_token_claim(Cause::SandboxMismatch, false).to_string(),
            "its token says that it is not sandbox-mismatch"
        );
    }

    #[test]
    fn a_token_that_lasts_has_not_run_out() {
        let all = [Cause::CredentialExpired, Cause::CredentialRejected];
        let with = |seconds| {
            after(
                &all,
                &Evidence::from_token_lifetime(Duration::from_secs(seconds)),
            )
        };
        assert_eq!(with(31), (Cause::CredentialRejected, Certainty::Likely));
        assert_eq!(
            with(30),
            (Cause::CredentialExpired, Certainty::Ambiguous),
            "the clocks may differ by so much"
        );
        assert_eq!(
            Evidence::from_token_lifetime(Duration::from_hours(240)).to_string(),
            "its token has 10 days left by its own words"
        );
    }

    #[test]
    fn history_tells_what_changed() {
        let all = [Cause::CredentialRejected, Cause::IpNotAllowed];
        let with =
            |accepted, version| Evidence::from_last_accepted(Version(accepted), Version(version));
        assert_eq!(
            after(&all, &with(2, 3).unwrap()),
            (Cause::CredentialRejected, Certainty::Likely)
        );
        assert_eq!(
            after(&all, &with(3, 3).unwrap()),
            (Cause::CredentialRejected, Certainty::Ambiguous)
        );
        assert_eq!(
            after(
                &[Cause::EndpointWrong, Cause::CredentialRejected],
                &with(3, 3).unwrap()
            ),
            (Cause::CredentialRejected, Certainty::Likely)
        );
        assert_eq!(
            with(4, 3),
            None,
            "a newer one that works says nothing about this one"
        );
    }
}

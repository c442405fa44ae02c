//! Evidence beside a rejected reply, as values: its source, and what it means for the possible
//! causes. Callers run the probes, read the clock and keep the tokens; nothing here does.

use std::fmt;
use std::time::Duration;

use core::net::IpAddr;

use crate::diagnosis::format_duration;
use crate::diagnosis::{CauseCandidates, Implication};
use crate::secret::Version;
use crate::sms::{Cause, Certainty};

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Where it comes from.
    pub source: EvidenceSource,
    /// What it means for the candidates.
    pub implication: Implication,
}

/// Where a piece of evidence comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvidenceSource {
    /// A value in the vault does not look like a credential of this service: a suspicion, which proves nothing.
    VaultValue(String),
    /// The backend's own request has no credential: what it has instead, without a value.
    BackendRequest(String),
    /// A probe that shows whether the service knows the credential.
    CredentialProbe,
    /// A probe of the account.
    AccountProbe,
    /// A probe of the balance.
    BalanceProbe,
    /// A login with this credential was accepted, and the new token was rejected like the old one.
    FreshToken,
    /// The reply's `Date` differs from the local clock by this much.
    ReplyDate(Duration),
    /// The reply names this address as the client's.
    ReportedAddress(IpAddr),
    /// A claim in the token, which proves nothing.
    TokenClaim,
    /// A login returned the token this long ago.
    TokenAge(Duration),
    /// The remaining lifetime that the token claims.
    TokenLifetime(Duration),
    /// The same credential version was accepted before, at the same address.
    SameVersion,
    /// An older version was accepted, so everything but the credential was in order then.
    OlderVersion(Version),
}

/// The strictest service accepts a signed time if the clocks differ by less than this.
const CLOCK_SKEW_THRESHOLD: Duration = Duration::from_mins(5);
/// A token that is younger than this has not expired: none is made to last less.
const FRESH_TOKEN: Duration = Duration::from_mins(1);
/// A smaller difference is not clock skew: `Date` has whole seconds, and a reply takes time.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);

impl Evidence {
    /// From the difference between the reply's `Date` and the local clock.
    pub fn from_reply_date(difference: Duration) -> Self {
        let implication = if difference >= CLOCK_SKEW_THRESHOLD {
            Implication::Indicates(vec![Cause::ClockSkew], Certainty::Likely)
        } else if difference <= CLOCK_TOLERANCE {
            Implication::RulesOut(vec![Cause::ClockSkew])
        } else {
            Implication::Inconclusive
        };
        Self {
            source: EvidenceSource::ReplyDate(difference),
            implication,
        }
    }

    /// From the first public address in a rejection: services with an allow-list name the client's.
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

    /// From a token claim that holds, or does not, for a cause.
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

    /// From the remaining lifetime that a token claims. A rejected token that has not expired was
    /// revoked, or never valid.
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

    /// From the age of a token; none: it can have expired since its login.
    pub fn from_token_age(age: Duration) -> Option<Self> {
        (age < FRESH_TOKEN).then(|| Self {
            source: EvidenceSource::TokenAge(age),
            implication: Implication::RulesOut(vec![Cause::CredentialExpired]),
        })
    }

    /// From the version of the last accepted message, for a rejection of `version`.
    pub fn from_last_accepted(accepted: Version, version: Version) -> Option<Self> {
        if accepted == version {
            return Some(Self {
                source: EvidenceSource::SameVersion,
                implication: Implication::RulesOut(vec![
                    Cause::CredentialMissing,
                    Cause::SandboxMismatch,
                    Cause::EndpointWrong,
                ]),
            });
        }
        (accepted < version).then(|| Self {
            source: EvidenceSource::OlderVersion(accepted),
            implication: Implication::RulesOut(vec![
                Cause::IpNotAllowed,
                Cause::EndpointWrong,
                Cause::ClockSkew,
            ]),
        })
    }

    /// From the shape of the vault's values; `problem` has no value.
    pub fn from_vault_values(problem: String) -> Self {
        Self {
            source: EvidenceSource::VaultValue(problem),
            implication: Implication::Inconclusive,
        }
    }

    /// From the backend's request, which was passed unchanged and has no credential.
    pub fn from_backend_request(problem: String) -> Self {
        Self {
            source: EvidenceSource::BackendRequest(problem),
            implication: Implication::Indicates(vec![Cause::CredentialMissing], Certainty::Certain),
        }
    }

    /// Whether it is about any of the candidates.
    pub fn is_relevant_to(&self, candidates: &CauseCandidates) -> bool {
        match &self.implication {
            Implication::RulesOut(causes) | Implication::Indicates(causes, _) => candidates
                .causes()
                .iter()
                .any(|cause| causes.contains(cause)),
            Implication::Inconclusive => false,
        }
    }
}

impl fmt::Display for EvidenceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VaultValue(problem) => write!(f, "the vault's {problem}"),
            Self::BackendRequest(problem) => {
                write!(f, "in the backend's own request {problem}")
            }
            Self::CredentialProbe => f.write_str("a probe with the same credential"),
            Self::AccountProbe => f.write_str("its account probe"),
            Self::BalanceProbe => f.write_str("its balance probe"),
            Self::FreshToken => f.write_str(
                "a login with the same credential was accepted, and its new token rejected",
            ),
            Self::ReplyDate(difference) if *difference <= CLOCK_TOLERANCE => {
                f.write_str("the reply's date agrees with the local clock")
            }
            Self::ReplyDate(difference) => write!(
                f,
                "the reply's date differs from the local clock by {}",
                format_duration(*difference)
            ),
            Self::ReportedAddress(address) => {
                write!(f, "the reply names {address} as the client's address")
            }
            Self::TokenClaim => f.write_str("its token"),
            Self::TokenAge(age) => {
                let age = format_duration(*age);
                write!(
                    f,
                    "a login returned its token {age} ago, so it has not expired"
                )
            }
            Self::TokenLifetime(left) => write!(
                f,
                "its token claims to be valid for another {}",
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
    /// One clause of a diagnosis.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.source;
        let is_probe = matches!(
            source,
            EvidenceSource::CredentialProbe
                | EvidenceSource::AccountProbe
                | EvidenceSource::BalanceProbe
        );
        let is_claim = *source == EvidenceSource::TokenClaim;
        match &self.implication {
            Implication::Indicates(causes, _) if is_probe || is_claim => {
                write!(f, "{source} reports {}", join_causes(causes))
            }
            Implication::RulesOut(causes) if is_claim => {
                write!(f, "{source} rules out {}", join_causes(causes))
            }
            Implication::RulesOut(_) if is_probe => write!(f, "{source} found no fault"),
            Implication::Inconclusive if is_probe => write!(f, "{source} is inconclusive"),
            Implication::Indicates(..) | Implication::RulesOut(_) | Implication::Inconclusive => {
                write!(f, "{source}")
            }
        }
    }
}

/// `ip-not-allowed or account-suspended`.
pub(super) fn join_causes(causes: &[Cause]) -> String {
    let names: Vec<&str> = causes.iter().map(|cause| cause.as_str()).collect();
    names.join(" or ")
}

/// The candidates that are left, and the evidence that narrowed them. Only a probe can leave none:
/// what was true of an earlier message need not be true of this one.
pub fn narrow_candidates(
    mut candidates: CauseCandidates,
    all: impl IntoIterator<Item = Evidence>,
) -> (CauseCandidates, Vec<Evidence>) {
    let mut used = Vec::new();
    for evidence in all {
        if candidates.is_unambiguous() || !evidence.is_relevant_to(&candidates) {
            continue;
        }
        let left = candidates.clone().apply(&evidence.implication);
        if candidates.causes().contains(&left.cause) {
            candidates = left;
            used.push(evidence);
        }
    }
    (candidates, used)
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
    fn a_reply_date_settles_clock_skew() {
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
            "the reply's date differs from the local clock by 10 min"
        );
    }

    #[test]
    fn an_address_in_a_rejection_indicates_the_allow_list() {
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
    fn a_token_claim_is_likely_not_certain() {
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
            "its token reports sandbox-mismatch"
        );
        assert_eq!(
            Evidence::from_token_claim(Cause::SandboxMismatch, false).to_string(),
            "its token rules out sandbox-mismatch"
        );
    }

    #[test]
    fn a_token_with_time_left_has_not_expired() {
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
            "within the clock tolerance"
        );
        assert_eq!(
            Evidence::from_token_lifetime(Duration::from_hours(240)).to_string(),
            "its token claims to be valid for another 10 days"
        );
    }

    #[test]
    fn a_token_of_a_moment_ago_has_not_expired() {
        let of = |seconds| Evidence::from_token_age(Duration::from_secs(seconds));
        assert_eq!(of(60), None);
        let fresh = of(59).unwrap();
        let all = [Cause::CredentialExpired, Cause::CredentialRejected];
        assert_eq!(
            after(&all, &fresh),
            (Cause::CredentialRejected, Certainty::Likely)
        );
        assert_eq!(
            fresh.to_string(),
            "a login returned its token 59 s ago, so it has not expired"
        );
        let certain = CauseCandidates::new(Cause::CredentialExpired, Certainty::Certain, &[]);
        let left = certain.without_expiry();
        assert_eq!(
            (left.cause, left.certainty),
            (Cause::CredentialRejected, Certainty::Ambiguous)
        );
        assert!(!left.causes().contains(&Cause::CredentialExpired));
        let other = CauseCandidates::new(Cause::IpNotAllowed, Certainty::Certain, &[]);
        assert_eq!(other.clone().without_expiry(), other);
    }

    #[test]
    fn earlier_messages_do_not_leave_a_rejection_unexplained() {
        let all = [Cause::EndpointWrong, Cause::SandboxMismatch];
        let candidates = CauseCandidates::new(all[0], Certainty::Certain, &all[1..]);
        let same = Evidence::from_last_accepted(Version(1), Version(1));
        let (left, used) = narrow_candidates(candidates.clone(), same);
        assert_eq!((left, used), (candidates, vec![]));
    }

    #[test]
    fn the_last_accepted_version_rules_out_causes() {
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
            "an accepted newer version means nothing for this one"
        );
    }
}

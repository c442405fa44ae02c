//! What was learned beside the refused reply, as values: who says it, and what it leaves of
//! the suspects. Whoever asks, reads a clock or keeps a session hands the facts in; nothing here does.

use std::fmt;
use std::time::Duration;

use core::net::IpAddr;

use crate::diagnosis::settle::{Answer, Suspects};
use crate::diagnosis::span;
use crate::secret::Version;
use crate::sms::{Cause, Certainty};

/// One thing that was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Who says it.
    pub witness: Witness,
    /// What it says.
    pub answer: Answer,
}

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// A free call that shows whether the credential is known.
    CredentialCall,
    /// A free call about the account.
    AccountCall,
    /// A free call about the money left.
    BalanceCall,
    /// A login was accepted with this credential, and the fresh token was refused like the one before.
    FreshToken,
    /// The reply's own date: this far from our clock.
    Date(Duration),
    /// The address that the reply says we came from.
    Address(IpAddr),
    /// What the token says of itself, which proves nothing.
    Token,
    /// How long the token says that it lasts.
    TokenLife(Duration),
    /// The same credential was accepted before, at the same address.
    SameVersion,
    /// An older credential was accepted, so all but the credential was in order then.
    OlderVersion(Version),
}

/// Signatures that hold a time are taken by the strictest service if the clocks differ by less than this.
const SKEWED: Duration = Duration::from_mins(5);
/// A clock this near is not it: the date has whole seconds, and a reply takes some.
const NEAR: Duration = Duration::from_secs(30);

impl Learned {
    /// A reply's date, this far from our clock.
    pub fn date(apart: Duration) -> Self {
        let answer = match apart {
            apart if apart >= SKEWED => Answer::Says(vec![Cause::ClockSkew], Certainty::Likely),
            apart if apart <= NEAR => Answer::RulesOut(vec![Cause::ClockSkew]),
            _ => Answer::Nothing,
        };
        Self { witness: Witness::Date(apart), answer }
    }

    /// The first public address that a refusal names: services that look at it say which one they saw.
    pub fn address(reply: &str) -> Option<Self> {
        let words = reply.split(|c: char| !(c.is_ascii_hexdigit() || matches!(c, '.' | ':')));
        let mut found = words.filter_map(|word| word.trim_matches(['.', ':']).parse::<IpAddr>().ok());
        let address = found.find(|address| !address.is_loopback() && !address.is_unspecified())?;
        Some(Self { witness: Witness::Address(address), answer: Answer::Says(vec![Cause::IpNotAllowed], Certainty::Likely) })
    }

    /// What a token says of itself about a cause.
    pub fn claim(cause: Cause, holds: bool) -> Self {
        let answer = if holds { Answer::Says(vec![cause], Certainty::Likely) } else { Answer::RulesOut(vec![cause]) };
        Self { witness: Witness::Token, answer }
    }

    /// A token that says it lasts this long has not run out; it was withdrawn, or was never known.
    pub fn token_lasts(left: Duration) -> Self {
        let answer = if left > NEAR { Answer::RulesOut(vec![Cause::CredentialExpired]) } else { Answer::Nothing };
        Self { witness: Witness::TokenLife(left), answer }
    }

    /// What the last message that was accepted says of a refusal of this version.
    pub fn history(accepted: Version, version: Version) -> Option<Self> {
        if accepted == version {
            let answer = Answer::RulesOut(vec![Cause::CredentialMissing, Cause::SandboxMismatch, Cause::EndpointWrong]);
            return Some(Self { witness: Witness::SameVersion, answer });
        }
        let answer = Answer::RulesOut(vec![Cause::IpNotAllowed, Cause::EndpointWrong, Cause::ClockSkew]);
        (accepted < version).then_some(Self { witness: Witness::OlderVersion(accepted), answer })
    }

    /// Whether it says anything about them.
    pub fn bears_on(&self, suspects: &Suspects) -> bool {
        match &self.answer {
            Answer::RulesOut(causes) | Answer::Says(causes, _) => suspects.all().iter().any(|cause| causes.contains(cause)),
            Answer::Nothing => false,
        }
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CredentialCall => f.write_str("a free call with the same credential"),
            Self::AccountCall => f.write_str("its account call"),
            Self::BalanceCall => f.write_str("its balance call"),
            Self::FreshToken => f.write_str("a login with the same credential was accepted, and its fresh token refused"),
            Self::Date(apart) if *apart <= NEAR => f.write_str("the reply's date agrees with our clock"),
            Self::Date(apart) => write!(f, "the reply's date is {} away from our clock", span(*apart)),
            Self::Address(address) => write!(f, "the reply names {address} as the address it saw"),
            Self::Token => f.write_str("its token"),
            Self::TokenLife(left) => write!(f, "its token has {} left by its own words", span(*left)),
            Self::SameVersion => f.write_str("this version was accepted at this address before"),
            Self::OlderVersion(version) => write!(f, "only the credential has changed since version {} was accepted", version.0),
        }
    }
}

impl fmt::Display for Learned {
    /// One clause of the evidence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let witness = self.witness;
        let asked = matches!(witness, Witness::CredentialCall | Witness::AccountCall | Witness::BalanceCall);
        match &self.answer {
            Answer::Says(causes, _) if asked || witness == Witness::Token => {
                let words: Vec<&str> = causes.iter().map(|cause| cause.as_str()).collect();
                write!(f, "{witness} says {}", words.join(" or "))
            }
            Answer::RulesOut(causes) if witness == Witness::Token => {
                let words: Vec<&str> = causes.iter().map(|cause| cause.as_str()).collect();
                write!(f, "{witness} says that it is not {}", words.join(" or "))
            }
            Answer::RulesOut(_) if asked => write!(f, "{witness} was answered as if all were in order"),
            Answer::Nothing if asked => write!(f, "{witness} says nothing about it"),
            Answer::Says(..) | Answer::RulesOut(_) | Answer::Nothing => write!(f, "{witness}"),
        }
    }
}

/// The suspects that are left, and of what was learned only what bears on them.
pub fn narrowed(mut suspects: Suspects, all: impl IntoIterator<Item = Learned>) -> (Suspects, Vec<Learned>) {
    let mut kept = Vec::new();
    for learned in all {
        if !suspects.is_settled() && learned.bears_on(&suspects) {
            suspects = suspects.told(&learned.answer);
            kept.push(learned);
        }
    }
    (suspects, kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(all: &[Cause], learned: &Learned) -> (Cause, Certainty) {
        let suspects = Suspects::new(all[0], Certainty::Certain, &all[1..]).told(&learned.answer);
        (suspects.cause, suspects.certainty)
    }

    #[test]
    fn the_clocks_settle_what_a_signature_left_open() {
        let all = [Cause::CredentialRejected, Cause::ClockSkew];
        let apart = |seconds| after(&all, &Learned::date(Duration::from_secs(seconds)));
        assert_eq!(apart(0), (Cause::CredentialRejected, Certainty::Likely));
        assert_eq!(apart(30), (Cause::CredentialRejected, Certainty::Likely));
        assert_eq!(apart(31), (Cause::CredentialRejected, Certainty::Ambiguous));
        assert_eq!(apart(299), (Cause::CredentialRejected, Certainty::Ambiguous));
        assert_eq!(apart(300), (Cause::ClockSkew, Certainty::Likely));
        assert_eq!(Learned::date(Duration::from_mins(10)).to_string(), "the reply's date is 10 min away from our clock");
    }

    #[test]
    fn an_address_in_a_refusal_is_the_one_they_saw() {
        for (reply, address) in [
            (r#"{"error":"IP 203.0.113.7 is not allowed"}"#, "203.0.113.7"),
            ("your address: 2001:db8::7.", "2001:db8::7"),
            ("<Message>127.0.0.1 then 198.51.100.2</Message>", "198.51.100.2"),
        ] {
            let learned = Learned::address(reply).unwrap_or_else(|| panic!("{reply}"));
            assert_eq!(learned.witness, Witness::Address(address.parse().unwrap()));
            assert_eq!(after(&[Cause::CredentialRejected, Cause::IpNotAllowed], &learned), (Cause::IpNotAllowed, Certainty::Likely));
        }
        for reply in ["", "version 1.2.3", "at 12:30", "dead beef", "1.2.3.4.5", "::", "0.0.0.0"] {
            assert_eq!(Learned::address(reply), None, "{reply}");
        }
    }

    #[test]
    fn a_token_is_believed_a_little() {
        let all = [Cause::PermissionDenied, Cause::SandboxMismatch];
        assert_eq!(after(&all, &Learned::claim(Cause::SandboxMismatch, true)), (Cause::SandboxMismatch, Certainty::Likely));
        assert_eq!(after(&all, &Learned::claim(Cause::SandboxMismatch, false)), (Cause::PermissionDenied, Certainty::Likely));
        assert_eq!(Learned::claim(Cause::SandboxMismatch, true).to_string(), "its token says sandbox-mismatch");
        assert_eq!(Learned::claim(Cause::SandboxMismatch, false).to_string(), "its token says that it is not sandbox-mismatch");
    }

    #[test]
    fn a_token_that_lasts_has_not_run_out() {
        let all = [Cause::CredentialExpired, Cause::CredentialRejected];
        let with = |seconds| after(&all, &Learned::token_lasts(Duration::from_secs(seconds)));
        assert_eq!(with(31), (Cause::CredentialRejected, Certainty::Likely));
        assert_eq!(with(30), (Cause::CredentialExpired, Certainty::Ambiguous), "the clocks may differ by so much");
        assert_eq!(Learned::token_lasts(Duration::from_hours(240)).to_string(), "its token has 10 days left by its own words");
    }

    #[test]
    fn history_tells_what_changed() {
        let all = [Cause::CredentialRejected, Cause::IpNotAllowed];
        let with = |accepted, version| Learned::history(Version(accepted), Version(version));
        assert_eq!(after(&all, &with(2, 3).unwrap()), (Cause::CredentialRejected, Certainty::Likely));
        assert_eq!(after(&all, &with(3, 3).unwrap()), (Cause::CredentialRejected, Certainty::Ambiguous));
        assert_eq!(
            after(&[Cause::EndpointWrong, Cause::CredentialRejected], &with(3, 3).unwrap()),
            (Cause::CredentialRejected, Certainty::Likely)
        );
        assert_eq!(with(4, 3), None, "a newer one that works says nothing about this one");
    }
}

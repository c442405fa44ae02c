//! Why the sidecar itself denies a request: one table from the reason to a sentence and a remedy, and the rule that
//! decides whether it was the backend's request. A denied backend is an outage; a scanner is not.

use crate::diagnosis::remedy::{fill_placeholders, format_command};

/// The longest subject that is kept, in characters.
const MAX_SUBJECT: usize = 200;

/// Whose request a denial of some reason is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialScope {
    /// The backend's: only a request for a provider's host is denied for this reason.
    Backend,
    /// The backend's, if it is for a provider or from a configured caller; otherwise a stranger's.
    Client,
    /// Nobody's code is lost: the request is for another host, from a browser, or not read at all.
    Other,
}

/// Whose request was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientKind {
    /// The backend's: its codes do not arrive.
    Backend,
    /// Another client's.
    Stranger,
}

/// What is known of the client whose request is denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeniedClient {
    /// The request is for a provider's host, or for an operation of a dialect.
    pub addresses_provider: bool,
    /// The client proved to be a configured caller.
    pub is_known_caller: bool,
}

/// A reason with what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The reason.
    pub reason: DenialReason,
    /// The host, dialect or fault of the request.
    pub subject: String,
    /// What helps with this request in particular, such as the name that is closest; empty if nothing does.
    pub hint: String,
}

/// Defines the enum and its texts from one table.
macro_rules! denial_reasons {
    ($($variant:ident $word:literal $scope:ident $sentence:literal $remedy:literal)*) => {
        /// Why the sidecar denies a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DenialReason { $(#[doc = $sentence] $variant,)* }

        impl DenialReason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The value of the metric label.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Whose request it is.
            pub const fn scope(self) -> DenialScope {
                match self { $(Self::$variant => DenialScope::$scope,)* }
            }

            const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }

            const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

denial_reasons! {
    CaMissing "ca-missing" Backend
        "CONNECT to {what} needs a local CA, and none is in force"
        "run {init}, name its files in `[intercept] ca` of {config}, then {reload}; set NODE_EXTRA_CA_CERTS to its certificate where the backend starts, and restart the backend"
    HostNotCovered "host-not-covered" Backend
        "the local CA does not cover {what}"
        "unless its description names {what} in full, set a provider's `base_url` to https://{what}/…; run {renew}, then {reload}, then restart the backend"
    AddressNotCovered "address-not-covered" Backend
        "TLS for the IP address {what} cannot be terminated here"
        "use the service's host name in place of {what}"
    CaUntrusted "ca-untrusted" Backend
        "the backend does not trust the local CA: it rejected the certificate for {what}, or closed the connection when it had seen it"
        "set NODE_EXTRA_CA_CERTS to the CA's certificate where the backend starts, and restart the backend, which reads it only then; {doctor} compares the two"
    TlsFailed "tls-failed" Backend
        "the TLS handshake for {what} failed"
        "see the line `turned away` in the log; {doctor} examines the backend's side"
    UnlistedOperation "unlisted-operation" Client
        "the dialect {what} does not name this operation, so it does not get our credentials"
        "correct the URL in the backend: {show} lists the operations; to allow another, add its method and path to `operations` of the provider in {config}, then {reload}"
    AmbiguousOperation "ambiguous-operation" Client
        "a request in the API of {what} could be another operation to the service, so it does not get our credentials"
        "correct it in the backend: {show} lists the operations"
    UnlistedField "unlisted-field" Client
        "an operation of {what} does not name a field of this request, so it does not get our credentials"
        "leave the field out in the backend: {show} lists the fields of each operation"
    UnknownPath "unknown-path" Client
        "no provider or dialect matches this path"
        "begin the backend's base URL with /<provider or dialect>/; the providers are {what}"
    UnknownCaller "unknown-caller" Client
        "only configured callers may use this entrypoint, and the request has no token of one, a wrong one, or comes from another user"
        "let the backend send the token of its [callers.NAME] as proxy user info or in place of the service's password, or set `uid` there to the backend's user in {config}, then {reload}"
    ForeignHost "foreign-host" Client
        "the Host header names another host"
        "use an IP address or localhost in the backend's base URL, or add the name to `names` in [listen] of {config} and restart the sidecar"
    InsecureHttps "insecure-https" Client
        "an absolute https:// URL is accepted from callers on this machine only"
        "let the backend use CONNECT from elsewhere, or run the sidecar beside it"
    UnreadableMessage "unreadable-message" Client
        "a message in the API of {what} cannot be read"
        "compare it with {show}; the reply to the backend names the field"
    MissingProvider "missing-provider" Client
        "no provider of dialect {what} is configured"
        "add one to {config}, then {reload}; or point the backend at a configured provider"
    BodyTooLarge "body-too-large" Client
        "the request is too large: {what}"
        "send less, or raise `body` or `headers` in [limits] of {config} and restart the sidecar"
    TooSlow "too-slow" Client
        "the request did not arrive in time: {what}"
        "see why the backend sends it slowly, or raise `client` in [limits] of {config} and restart the sidecar"
    BytesInFlight "bytes-in-flight" Client
        "the bodies of all requests take the memory that `in_flight` allows, so nothing was sent"
        "repeat the request; if this happens again, raise `in_flight` in [limits] of {config} and restart the sidecar"
    Malformed "malformed" Client
        "the request is ambiguous or not valid HTTP/1.1: {what}"
        "correct the request in the backend"
    InternalError "internal-error" Backend
        "the sidecar failed while it handled the request"
        "report the place in the line `panicked` of the log"
    BrowserRequest "browser-request" Other
        "the request comes from a browser page"
        "send it from a backend"
    Loop "loop" Other
        "the request has already passed through this sidecar"
        "check base URLs and proxy settings for a loop"
    OtherHost "other-host" Other
        "{what} is not a host of a configured provider, and `other_hosts = \"deny\"`"
        "set `other_hosts = \"tunnel\"` in [intercept] of {config}, then {reload}; or list the host in NO_PROXY"
    BlockedAddress "blocked-address" Other
        "the sidecar does not connect to {what}"
        "list the host in NO_PROXY, if the backend may reach it"
    HostUnreachable "host-unreachable" Other
        "another host could not be reached"
        "see the line `turned away` in the log"
    ShuttingDown "shutting-down" Other
        "the sidecar is shutting down"
        "repeat the request"
}

impl DenialReason {
    /// Whether the backend sent the request. A stranger must not wake anybody, so a request counts only if it is for a
    /// provider or from a configured caller.
    pub const fn client_kind(self, client: DeniedClient) -> ClientKind {
        match self.scope() {
            DenialScope::Backend => ClientKind::Backend,
            DenialScope::Client if client.addresses_provider || client.is_known_caller => {
                ClientKind::Backend
            }
            DenialScope::Client | DenialScope::Other => ClientKind::Stranger,
        }
    }

    /// This reason with what it is about, which is cut to a fixed length.
    pub fn about(self, subject: &str) -> Denial {
        Denial {
            reason: self,
            subject: subject.chars().take(MAX_SUBJECT).collect(),
            hint: String::new(),
        }
    }
}

impl Denial {
    /// The same with a hint for this request.
    #[must_use]
    pub fn with_hint(self, hint: String) -> Self {
        Self { hint, ..self }
    }

    /// What is wrong, without a full stop.
    pub fn sentence(&self) -> String {
        self.fill(self.reason.sentence(), "")
    }

    /// What to do, with the commands for this config.
    pub fn remedy(&self, config: &str) -> String {
        self.fill(self.reason.remedy(), config)
    }

    /// What the backend reads. It names no path: the sidecar's config is no concern of a client.
    pub fn reply_text(&self) -> String {
        self.log_text("")
    }

    /// What the log says, with the commands for this config.
    pub fn log_text(&self, config: &str) -> String {
        let separator = if self.hint.is_empty() { "" } else { "; " };
        format!(
            "{}; {}{separator}{}",
            self.sentence(),
            self.remedy(config),
            self.hint
        )
    }

    fn fill(&self, text: &str, config: &str) -> String {
        fill_placeholders(text, |hole| self.value(hole, config).unwrap_or_default())
    }

    fn value(&self, hole: &str, config: &str) -> Option<String> {
        let value = match hole {
            "what" if self.subject.is_empty() => "the service".to_owned(),
            "what" => self.subject.clone(),
            "config" if config.is_empty() => "the sidecar's config".to_owned(),
            "config" => config.to_owned(),
            "init" => format_command("ca init", config),
            "renew" => format_command("ca renew", config),
            "reload" => format_command("reload", config),
            "doctor" => format_command("doctor --backend FOLDER", config),
            // `dialects` reads no config.
            "show" => format_command(&format!("dialects show {}", self.subject), ""),
            _ => return None,
        };
        Some(value)
    }
}

impl ClientKind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::Backend, Self::Stranger];

    /// The value of the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Stranger => "stranger",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::steps::remedy_steps;

    #[test]
    fn every_reason_has_a_sentence_and_a_remedy_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in DenialReason::ALL {
            let denial = reason.about("api.one.test");
            let known = |hole: &str| {
                assert!(denial.value(hole, "").is_some(), "{hole} of {reason:?}");
                String::new()
            };
            fill_placeholders(reason.sentence(), known);
            fill_placeholders(reason.remedy(), known);
            let sentence = denial.sentence();
            assert!(!sentence.ends_with('.'), "{sentence}");
            let remedy = denial.remedy("c.toml");
            assert!(!remedy.contains('{'), "{reason:?}");
            for step in remedy_steps(&remedy) {
                assert!(!step.text.contains("`sms-sidecar"), "{reason:?}: {step:?}");
            }
            assert!(seen.insert(sentence) && seen.insert(reason.as_str().to_owned()));
        }
    }

    #[test]
    fn commands_name_the_config() {
        let denial = DenialReason::CaMissing.about("api.one.test");
        assert!(
            denial
                .remedy("/c.toml")
                .contains("`sms-sidecar ca init --config /c.toml`")
        );
        let hinted = denial.clone().with_hint("use a.test".to_owned());
        assert!(hinted.log_text("/c.toml").ends_with("; use a.test"));
        let reply = denial.reply_text();
        assert!(
            reply.contains("`sms-sidecar ca init`")
                && reply.contains("of the sidecar's config")
                && !reply.contains("/etc/"),
            "{reply}"
        );
    }

    #[test]
    fn only_requests_for_a_provider_or_from_a_caller_are_the_backends() {
        let client = |addresses_provider, is_known_caller| DeniedClient {
            addresses_provider,
            is_known_caller,
        };
        let (stranger, both) = (client(false, false), client(true, true));
        for reason in DenialReason::ALL.iter().copied() {
            let expected = match reason.scope() {
                DenialScope::Backend => [ClientKind::Backend; 4],
                DenialScope::Other => [ClientKind::Stranger; 4],
                DenialScope::Client => [
                    ClientKind::Stranger,
                    ClientKind::Backend,
                    ClientKind::Backend,
                    ClientKind::Backend,
                ],
            };
            let found = [stranger, client(true, false), client(false, true), both]
                .map(|client| reason.client_kind(client));
            assert_eq!(found, expected, "{reason:?}");
        }
    }

    #[test]
    fn a_subject_is_bounded() {
        let denial = DenialReason::Malformed.about(&"ʻ".repeat(10_000));
        assert_eq!(denial.subject.chars().count(), MAX_SUBJECT);
    }
}

//! What the pipeline is built from, free of the config file's syntax.

use std::time::Duration;

use crate::dialect::Catalog;
use crate::net::OtherHosts;
pub use crate::policy::{OnUnknown, TextTemplate};
use crate::provider::Provider;
use crate::sms::{NumberingPlan, ProviderId};
use crate::vault::CredentialRef;

/// The settings of the pipeline.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Every loaded dialect.
    pub catalog: Catalog,
    /// `[providers.NAME]`, in the file's order.
    pub providers: Vec<Provider>,
    /// `[[routes]]`, first match wins.
    pub routes: Vec<Route>,
    /// `[callers.NAME]`.
    pub callers: Vec<Caller>,
    /// `[templates.NAME]`.
    pub templates: Vec<TextTemplate>,
    /// Whether other hosts are tunnelled or denied.
    pub other_hosts: OtherHosts,
    /// `mode` at the top.
    pub mode: Mode,
    /// Passes a provider's 401 to the backend unchanged.
    pub pass_401: bool,
}

/// Whether the sidecar acts or only observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Injects credentials, fails over, translates answers.
    Act,
    /// Changes nothing; counts causes.
    Observe,
}

/// Which messages go to which providers.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Recipient prefixes; empty: every recipient.
    pub recipients: Vec<String>,
    /// Names of callers; empty: every caller.
    pub callers: Vec<String>,
    /// The backend's dialects; empty: every dialect.
    pub dialects: Vec<String>,
    /// The providers, in the listed order.
    pub providers: Vec<ProviderId>,
    /// Time limit of the whole request.
    pub deadline: Duration,
    /// The most attempts at one provider.
    pub attempts: usize,
    /// What happens after an attempt in doubt.
    pub on_unknown: OnUnknown,
    /// How long after its answer the same message counts as a duplicate; zero turns it off.
    pub duplicate_window: Duration,
    /// Whether the listed order holds even for providers of the backend's dialect.
    pub prefer_listed: bool,
    /// Whether its requests are only observed.
    pub mode: Mode,
    /// The country of numbers without a country code.
    pub country: Option<NumberingPlan>,
}

/// A client that may use an entrypoint.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its name.
    pub name: String,
    /// How it is identified.
    pub proof: CallerProof,
}

/// How a caller is identified.
#[derive(Clone, Debug)]
pub enum CallerProof {
    /// The uid behind the socket.
    Uid(u32),
    /// A token from a vault, sent as proxy user info or in place of the service's password.
    Token(CredentialRef),
}

//! What the pipeline is made from, free of the file's spelling.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::{Catalog, Dialect};
use crate::net::{OtherHosts, UpstreamSettings};
pub use crate::policy::{OnUnknown, TextTemplate};
use crate::sms::ProviderId;
use crate::vault::CredentialRef;

/// Everything the pipeline needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Every loaded description.
    pub catalog: Catalog,
    /// `[providers.NAME]`, in the file's order.
    pub providers: Vec<Provider>,
    /// `[[routes]]`, first match wins.
    pub routes: Vec<Route>,
    /// `[callers.NAME]`.
    pub callers: Vec<Caller>,
    /// `[templates.NAME]`.
    pub templates: Vec<TextTemplate>,
    /// Other hosts: tunnel or refuse.
    pub other_hosts: OtherHosts,
    /// `mode` at the top.
    pub mode: Mode,
    /// An option of last resort: hand a provider's 401 on as it is.
    pub pass_401: bool,
}

/// Whether we act or only watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Credentials in, failover, translated answers.
    Act,
    /// Nothing is changed; causes are counted.
    Observe,
}

/// One account at one service.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name.
    pub id: ProviderId,
    /// The line of the config on which its table begins.
    pub line: usize,
    /// What it speaks.
    pub dialect: Arc<Dialect>,
    /// Where its credential is; none only in observe mode.
    pub credential: Option<CredentialRef>,
    /// Set: every message through it carries this.
    pub sender: Option<String>,
    /// One attempt's time limit.
    pub timeout: Duration,
    /// First recheck after it was set aside; none: never.
    pub recheck: Option<Duration>,
    /// Skipped when no template matches.
    pub templates_only: bool,
    /// More operations that pass: `GET /…`.
    pub operations: Vec<String>,
    /// Where attempts go; the dialect's unless set.
    pub base_url: String,
    /// The dialect's `[param]`s.
    pub params: BTreeMap<String, String>,
    /// How it is reached.
    pub upstream: UpstreamSettings,
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
    /// Dialects spoken; empty: every dialect.
    pub dialects: Vec<String>,
    /// In the listed order.
    pub providers: Vec<ProviderId>,
    /// For the whole call.
    pub deadline: Duration,
    /// Attempts at one provider, at the most.
    pub attempts: usize,
    /// What happens after a doubt.
    pub on_unknown: OnUnknown,
    /// How long an answered message is remembered; zero turns it off.
    pub duplicate_window: Duration,
    /// The listed order even before the dialect spoken.
    pub prefer_listed: bool,
    /// Act or observe.
    pub mode: Mode,
}

/// Who may use a door.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its name.
    pub name: String,
    /// How it is known.
    pub proof: CallerProof,
}

/// How a caller is known.
#[derive(Clone, Debug)]
pub enum CallerProof {
    /// The uid behind the socket.
    Uid(u32),
    /// A token from a vault, as proxy user info or in place of the service's password.
    Token(CredentialRef),
}

//! Commands at the control socket, and who ran them.

use std::fmt;

use crate::sms::ProviderId;
use crate::telemetry::Telemetry;

/// The user who runs a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operator {
    /// As the kernel reports it; none if it does not.
    pub uid: Option<u32>,
    /// The name of that user on this host.
    pub name: Option<String>,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.uid) {
            (Some(name), Some(uid)) => write!(f, "{name} (uid {uid})"),
            (None, Some(uid)) => write!(f, "uid {uid}"),
            (_, None) => f.write_str("an unknown user"),
        }
    }
}

/// A command that changes something, or sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// Takes a provider out of rotation.
    Pause,
    /// Puts it back.
    Resume,
    /// Reads the config again.
    Reload,
    /// Sends a message.
    Send,
}

impl CommandKind {
    /// Its name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Reload => "reload",
            Self::Send => "send",
        }
    }
}

/// An operator ran a command.
#[derive(Clone, Copy, Debug)]
pub struct OperatorCommand<'a> {
    /// Which one.
    pub command: CommandKind,
    /// The provider that it concerns.
    pub provider: Option<&'a ProviderId>,
    /// Who ran it.
    pub by: &'a Operator,
}

impl OperatorCommand<'_> {
    /// Logs it, and keeps the last one of each provider and of the config for the status.
    pub fn emit(&self, telemetry: &Telemetry) {
        telemetry.store.record_command(self);
        let provider = self.provider.map(ProviderId::as_str);
        tracing::info!(
            command = self.command.as_str(),
            provider,
            uid = self.by.uid,
            user = self.by.name,
            "{} by {}",
            self.command.as_str(),
            self.by
        );
    }
}

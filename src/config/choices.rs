//! The words of the keys that take one of a few, with their meaning.

use crate::net::OtherHosts;
use crate::proxy::{Mode, OnUnknown};

/// A word of the file and what it stands for.
pub(super) type Choices<T> = &'static [(&'static str, T)];

/// `mode`, at the top and on a route.
pub(super) const MODES: Choices<Mode> = &[("act", Mode::Act), ("observe", Mode::Observe)];
/// `other_hosts` of `[intercept]`.
pub(super) const OTHER_HOSTS: Choices<OtherHosts> =
    &[("tunnel", OtherHosts::Tunnel), ("deny", OtherHosts::Deny)];
/// `format` of `[log]`: whether it is JSON.
pub(super) const LOG_FORMATS: Choices<bool> = &[("json", true), ("human", false)];
/// `level` of `[log]`.
pub(super) const LOG_LEVELS: Choices<&str> = &[
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
];
/// `format` of `[notify]`.
pub(super) const NOTIFICATION_FORMATS: Choices<&str> = &[
    ("json", "json"),
    ("slack", "slack"),
    ("telegram", "telegram"),
];
/// `templates` of a provider: whether only approved texts are sent.
pub(super) const TEMPLATES: Choices<bool> = &[("only", true), ("any", false)];
/// `on_unknown` of a route.
pub(super) const ON_UNKNOWN: Choices<OnUnknown> =
    &[("failover", OnUnknown::Failover), ("stop", OnUnknown::Stop)];
/// `prefer` of a route: whether the listed order wins over the dialect of the request.
pub(super) const PREFERENCES: Choices<bool> = &[("listed", true), ("native", false)];

/// The words alone, for the schema.
pub(super) fn words<T>(choices: Choices<T>) -> Vec<&'static str> {
    choices.iter().map(|(word, _)| *word).collect()
}

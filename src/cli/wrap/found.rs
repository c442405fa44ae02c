//! Whether the sidecar that already listens runs with the config that `wrap` was given: the command gets the
//! variables and the CA of that config.

use std::net::SocketAddr;

use jiff::Timestamp;

use crate::cli::connect::connect;
use crate::config::Config;
use crate::diagnosis::format_command;
use crate::doctor::running::SidecarAnswer;
use crate::net::ca::inspect_certificate;
use crate::status::Status;

/// What the sidecar that listens on `address` lacks, and what to run.
pub(super) async fn found_sidecar_warning(loaded: &Config, address: SocketAddr) -> Option<String> {
    let digest = loaded.fingerprint.digest();
    let running = connect(&loaded.listen, loaded.file(), digest).await;
    let expected = ExpectedConfig {
        file: loaded.file(),
        has_ca: loaded.ca.is_some(),
        ca_expires: loaded
            .ca
            .as_ref()
            .and_then(|ca| inspect_certificate(ca).ok())
            .and_then(|ca| Timestamp::try_from(ca.expires).ok()),
    };
    let mismatch = expected.mismatch(&running.answer)?;
    Some(format!("the sidecar that listens on {address} {mismatch}"))
}

/// The config that the command is started for.
struct ExpectedConfig<'a> {
    file: &'a str,
    has_ca: bool,
    /// When the certificate of its CA expires; `None`: it cannot be read.
    ca_expires: Option<Timestamp>,
}

impl ExpectedConfig<'_> {
    fn mismatch(&self, answer: &SidecarAnswer) -> Option<String> {
        match answer {
            SidecarAnswer::Status(status) => self.stale_part(status),
            SidecarAnswer::OtherConfig(file) => Some(format!(
                "runs with another config, {file}; stop it, or run {} instead",
                format_command("wrap", file)
            )),
            SidecarAnswer::Absent | SidecarAnswer::MetricsOnly | SidecarAnswer::Unreadable => {
                Some(format!(
                    "does not show this user its status, so it may run with another config or CA than {}; set `listen.admin` or `listen.control` there, or compare them by hand",
                    self.file
                ))
            }
        }
    }

    /// What it has not taken over from the file yet. The CA is more important: without it every HTTPS request to a
    /// provider fails.
    fn stale_part(&self, status: &Status) -> Option<String> {
        let run = format_command("run", self.file);
        let restart =
            format!("restart it: `systemctl restart sms-sidecar`, or stop it and start {run}");
        let running = status.config.ca_expires_at.as_deref();
        match running {
            None if self.has_ca => {
                return Some(format!(
                    "runs without the CA that {} names, so HTTPS by CONNECT to a provider's host is answered 502; {restart}",
                    self.file
                ));
            }
            Some(running) if self.is_other_ca(running) => {
                return Some(format!(
                    "runs with another CA than the one that {} names, so Node may reject its certificates; {restart}",
                    self.file
                ));
            }
            Some(_) | None => {}
        }
        status.config.changed_at.as_ref()?;
        Some(format!(
            "has not loaded {} since it was changed; run {}",
            self.file,
            format_command("reload", self.file)
        ))
    }

    fn is_other_ca(&self, running: &str) -> bool {
        let Ok(running) = running.parse::<Timestamp>() else {
            return false;
        };
        self.ca_expires
            .is_some_and(|expected| expected.as_second() != running.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::ConfigStatus;

    fn mismatch(ca: Option<&str>, running: ConfigStatus) -> Option<String> {
        let expected = ExpectedConfig {
            file: "/c.toml",
            has_ca: ca.is_some(),
            ca_expires: ca.and_then(|end| end.parse().ok()),
        };
        let status = Status {
            config: running,
            ..Status::default()
        };
        expected.mismatch(&SidecarAnswer::Status(Box::new(status)))
    }

    #[test]
    fn what_the_running_sidecar_lacks_is_named_with_its_command() {
        const END: &str = "2027-11-25T20:46:00Z";
        let with_ca = |end: &str| ConfigStatus {
            ca_expires_at: Some(end.to_owned()),
            ..ConfigStatus::default()
        };
        let changed = ConfigStatus {
            changed_at: Some(END.to_owned()),
            ..ConfigStatus::default()
        };
        let run = "`sms-sidecar run --config /c.toml`";
        let cases = [
            (None, ConfigStatus::default(), None),
            (Some(END), with_ca(END), None),
            // Its file cannot be read here, which has a warning of its own.
            (Some(""), with_ca(END), None),
            (
                Some(END),
                ConfigStatus::default(),
                Some(("without the CA", run)),
            ),
            (Some(""), changed.clone(), Some(("without the CA", run))),
            (
                Some(END),
                with_ca("2028-11-25T20:46:00Z"),
                Some(("another CA", run)),
            ),
            (
                None,
                changed,
                Some((
                    "since it was changed",
                    "`sms-sidecar reload --config /c.toml`",
                )),
            ),
        ];
        for (ca, running, expected) in cases {
            let found = mismatch(ca, running.clone());
            let fits = match (&found, expected) {
                (None, None) => true,
                (Some(found), Some((what, command))) => {
                    found.contains(what) && found.contains(command)
                }
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(fits, "{ca:?} {running:?}: {found:?}, not {expected:?}");
        }
    }

    #[test]
    fn another_config_and_a_hidden_one_are_named() {
        let expected = ExpectedConfig {
            file: "/c.toml",
            has_ca: false,
            ca_expires: None,
        };
        let other = expected.mismatch(&SidecarAnswer::OtherConfig("/d.toml".to_owned()));
        assert!(other.is_some_and(|text| text.contains("`sms-sidecar wrap --config /d.toml`")));
        let hidden = expected.mismatch(&SidecarAnswer::Absent);
        assert!(hidden.is_some_and(|text| text.contains("another config or CA than /c.toml")));
    }
}

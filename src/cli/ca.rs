//! `sms-sidecar ca`: creates, shows and renews the local CA for exactly the hosts of the configured
//! providers. The key is never shown.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use crate::cli::load_config;
use crate::cli::output;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::net::CaSettings;
use crate::net::ca::{self, CaConstraints, CaCreateMode};

const DAY: Duration = Duration::from_hours(24);

/// The CA covers exactly the hosts of the configured providers. Exit code: 0 done, or the CA is in
/// order; 1 the CA misses a host or has expired; 2 it failed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The config file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        value_parser = crate::cli::absolute_path,
        default_value = "/etc/sms-sidecar/config.toml"
    )]
    config: PathBuf,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: CaAction,
}

#[derive(Debug, clap::Subcommand)]
enum CaAction {
    /// Create the CA at the files of `[intercept] ca`; does not replace an existing one.
    Init(ValidityArgs),
    /// Show the CA's hosts and when it expires.
    Show,
    /// Issue a new certificate with the same key for the hosts that are configured now.
    Renew(ValidityArgs),
}

#[derive(Debug, clap::Args)]
struct ValidityArgs {
    /// How many days the certificate is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 730, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

impl Args {
    /// The config that it was given.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = load_config(&args.config)?;
    let settings = loaded.ca.as_ref().with_context(|| {
        format!(
            "{} has no CA; set `[intercept] ca = {{ cert_file = \"…\", key_file = \"…\" }}`",
            args.config.display()
        )
    })?;
    let now = SystemClock::start().wall_clock();
    match &args.action {
        CaAction::Init(validity) => {
            write_ca(&loaded, settings, validity, now, CaCreateMode::NewKey)?;
        }
        CaAction::Renew(validity) => {
            write_ca(&loaded, settings, validity, now, CaCreateMode::KeepKey)?;
        }
        CaAction::Show => {}
    }
    let state = State::read(&loaded, settings, now)?;
    if args.json {
        output::verbatim(state.json());
    } else {
        output::line(state.text());
    }
    if !matches!(args.action, CaAction::Show) && !args.json {
        output::line(format_args!(
            "\nMake the backend trust it; backend and sidecar read it at their start:\n  NODE_EXTRA_CA_CERTS={}",
            state.file
        ));
    }
    Ok(ExitCode::from(u8::from(!state.is_sound())))
}

fn write_ca(
    loaded: &Config,
    settings: &CaSettings,
    validity: &ValidityArgs,
    now: SystemTime,
    mode: CaCreateMode,
) -> anyhow::Result<()> {
    let hosts = config::intercepted_hosts(&loaded.proxy).into_iter();
    let others: Vec<_> = hosts.filter(|host| !ca::is_literal_host(host)).collect();
    if !others.is_empty() {
        output::note(format_args!(
            "left out, because the CA covers only host names with a dot: {}",
            others.join(", ")
        ));
    }
    let constraints = config::needed_constraints(&loaded.proxy)?;
    ca::create(settings, &constraints, DAY * validity.days, now, mode)?;
    Ok(())
}

/// The state of a CA, as it is shown.
struct State {
    file: String,
    constraints: CaConstraints,
    expires: SystemTime,
    missing: Vec<String>,
    /// What it may sign for and a new one could not.
    excess: Vec<String>,
    has_expired: bool,
}

impl State {
    fn read(loaded: &Config, settings: &CaSettings, now: SystemTime) -> anyhow::Result<Self> {
        let found = ca::inspect(settings)?;
        let missing = config::uncovered_hosts(&loaded.proxy, |host| {
            found.constraints.covers(host) || !ca::is_literal_host(host)
        });
        let file = settings.cert_file.display().to_string();
        Ok(Self {
            file,
            missing,
            excess: config::excess_of_ca(&loaded.proxy, &found.constraints),
            has_expired: found.expires <= now,
            constraints: found.constraints,
            expires: found.expires,
        })
    }

    fn is_sound(&self) -> bool {
        self.missing.is_empty() && !self.has_expired
    }

    fn expires_at(&self) -> String {
        Timestamp::try_from(self.expires)
            .map_or_else(|_| String::from("an unknown time"), |at| at.to_string())
    }

    fn json(&self) -> String {
        let Self {
            file,
            missing,
            excess,
            ..
        } = self;
        let hosts = self.constraints.hosts();
        json!({ "ok": self.is_sound(), "cert_file": file, "hosts": hosts, "expires": self.expires_at(), "missing": missing, "excess": excess }).to_string()
    }

    fn text(&self) -> String {
        let mut lines = vec![format!(
            "{}: valid until {}, for these hosts only:",
            self.file,
            self.expires_at()
        )];
        lines.extend(self.constraints.hosts().iter().map(|host| {
            let below = if self.constraints.covers_below(host) {
                " and its sub-domains"
            } else {
                ""
            };
            format!("  {host}{below}")
        }));
        if self.has_expired {
            lines.push(String::from("It has expired: run `sms-sidecar ca renew`, then `sms-sidecar reload`, and restart the backend."));
        }
        if !self.missing.is_empty() {
            let missing = self.missing.join(", ");
            lines.push(format!("It does not cover {missing}: run `sms-sidecar ca renew`, then `sms-sidecar reload`, and restart the backend."));
        }
        if !self.excess.is_empty() {
            let excess = self.excess.join("; ");
            lines.push(format!("It can also sign for what no provider needs: {excess}. `sms-sidecar ca renew` limits it to the configured hosts and keeps its key; then run `sms-sidecar reload`, and restart the backend."));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn run_in(folder: &Path, dialects: &[&str], action: CaAction) -> anyhow::Result<u8> {
        let file = folder.join("config.toml");
        let head = "mode = \"observe\"\n[intercept]\nca = { cert_file = \"ca.pem\", key_file = \"ca.key\" }\n";
        let providers: Vec<_> = dialects
            .iter()
            .map(|dialect| format!("[providers.{dialect}]\ndialect = \"{dialect}\"\n"))
            .collect();
        fs::write(&file, head.to_owned() + &providers.concat()).unwrap();
        let code = run(&Args {
            config: file,
            json: false,
            action,
        })?;
        Ok(u8::from(code != ExitCode::SUCCESS))
    }

    fn days(days: u32) -> ValidityArgs {
        ValidityArgs { days }
    }

    #[test]
    fn a_ca_is_created_shown_and_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let run = |dialects: &[&str], action| run_in(folder.path(), dialects, action);
        assert!(run(&["twilio"], CaAction::Show).is_err());
        assert_eq!(run(&["twilio"], CaAction::Init(days(10))).unwrap(), 0);
        assert_eq!(run(&["twilio"], CaAction::Show).unwrap(), 0);
        assert_eq!(run(&["twilio", "vonage"], CaAction::Show).unwrap(), 1);
        assert!(
            run(&["twilio"], CaAction::Init(days(10)))
                .unwrap_err()
                .to_string()
                .contains("ca renew")
        );
        assert_eq!(
            run(&["twilio", "vonage"], CaAction::Renew(days(10))).unwrap(),
            0
        );
        assert_eq!(run(&["twilio", "vonage"], CaAction::Show).unwrap(), 0);
        // Broader than needed, and in order.
        assert_eq!(run(&["twilio"], CaAction::Show).unwrap(), 0);
    }

    #[test]
    fn the_text_names_hosts_and_the_remedy() {
        let state = State {
            file: String::from("ca.pem"),
            constraints: CaConstraints::for_hosts(&[String::from("api.one.test")], &[]).unwrap(),
            expires: SystemTime::UNIX_EPOCH,
            missing: vec![String::from("api.two.test")],
            excess: vec![String::from("URIs")],
            has_expired: true,
        };
        let text = state.text();
        for part in [
            "  api.one.test",
            "1970-01-01",
            "has expired",
            "does not cover api.two.test",
            "no provider needs: URIs.",
            "ca renew",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(state.json().contains("\"ok\":false"), "{}", state.json());
    }
}

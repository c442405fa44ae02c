//! Judges the whole file and complains about everything at once. Where a value is wrong
//! its default stands in, so that one mistake does not hide the next.

mod checker;
mod listen;
mod providers;
mod routes;
mod templates;
mod trace_export;

use std::ops::Range;
use std::path::Path;

use crate::config::raw::RawConfig;
use crate::config::vaults;
use crate::config::{Config, ConfigFingerprint, LogSettings};
use crate::dialect::Catalog;
use crate::net::OtherHosts;
use crate::problem::{Problem, ProblemReport};
use crate::proxy::{Mode, Settings};

pub(super) use checker::ConfigChecker;

/// What `mode` may be, at the top and on a route.
const MODES: &[(&str, Mode)] = &[("act", Mode::Act), ("observe", Mode::Observe)];

/// The settings, were there no error among the problems. `name` and `text` are the file's; `broken` is where it was complained about.
pub(super) fn check_config(
    (name, text): (&str, &str),
    file: &RawConfig,
    catalog: &Catalog,
    broken: Vec<Range<usize>>,
) -> (Config, Vec<Problem>) {
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    let mut judge = ConfigChecker::new((name, text), folder, catalog, broken);
    let mode = judge.choice_or(file.mode.as_ref(), Mode::Act, MODES);
    let vault = vaults::parse(&mut judge, &file.vaults);
    let providers = providers::providers(&mut judge, file, mode);
    let callers = providers::callers(&mut judge, file);
    let templates = templates::templates(&mut judge, file);
    let routes = routes::routes(&mut judge, file, mode);
    let listen = listen::listen(&mut judge, file);
    let (ca, other_hosts) = listen::intercept(&mut judge, file);
    let limits = listen::limits(&mut judge, file);
    let log = log_settings(&mut judge, file);
    let traces = trace_export::traces(&mut judge, file);
    routes::check_timeouts(&mut judge, file, &providers, &routes);
    routes::check_recipient_limits(&mut judge, file, &providers);
    routes::check_backup_senders(&mut judge, file, &providers, &routes);
    templates::check_approved_only(&mut judge, file, &providers, &templates);
    templates::check_lengths(&mut judge, file, &providers);
    let proxy = Settings {
        catalog: catalog.clone(),
        providers,
        routes,
        callers,
        templates,
        other_hosts: other_hosts.unwrap_or(OtherHosts::Tunnel),
        mode,
        pass_401: file.pass_401,
    };
    let (file, places) = (name.to_owned(), judge.spans);
    (
        Config {
            proxy,
            vault,
            listen,
            ca,
            limits,
            log,
            traces,
            warnings: ProblemReport::default(),
            fingerprint: ConfigFingerprint::default(),
            file,
            spans: places,
        },
        judge.problems,
    )
}

fn log_settings(judge: &mut ConfigChecker<'_>, file: &RawConfig) -> LogSettings {
    const LEVELS: &[(&str, &str)] = &[
        ("error", "error"),
        ("warn", "warn"),
        ("info", "info"),
        ("debug", "debug"),
        ("trace", "trace"),
    ];
    LogSettings {
        json: judge.choice_or(
            file.log.format.as_ref(),
            true,
            &[("json", true), ("human", false)],
        ),
        level: judge.choice_or(file.log.level.as_ref(), "info", LEVELS),
    }
}

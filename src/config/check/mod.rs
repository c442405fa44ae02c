//! Checks the whole file and reports every problem at once. A wrong value is replaced by its
//! default, so that one mistake does not hide the next.

mod countries;
mod listen;
mod notify;
mod providers;
mod routes;
mod templates;
mod trace_export;
mod variables;

pub use providers::DEFAULT_RECHECK;

use crate::config::checker::{ConfigChecker, ConfigSource};
use crate::config::choices::{LOG_FORMATS, LOG_LEVELS, MODES};
use crate::config::raw::RawConfig;
use crate::config::values;
use crate::config::vaults;
use crate::config::{Config, ConfigFingerprint, LogSettings};
use crate::dialect::Catalog;
use crate::problem::{Problem, ProblemReport};
use crate::proxy::{Mode, Settings};

/// All settings and all problems. The settings are valid only if no problem is an error.
pub(super) fn check_config(
    source: ConfigSource<'_>,
    file: &RawConfig,
    catalog: &Catalog,
) -> (Config, Vec<Problem>) {
    let name = source.name.to_owned();
    let mut checker = ConfigChecker::new(source, catalog);
    let vault = vaults::parse(&mut checker, &file.vaults);
    let proxy = proxy_settings(&mut checker, file);
    let listen = listen::listen(&mut checker, file);
    let ca = listen::ca(&mut checker, file);
    let limits = listen::limits(&mut checker, file);
    let log = log_settings(&mut checker, file);
    let traces = trace_export::traces(&mut checker, file);
    let instance = checker.parse_or(file.instance.as_ref(), None, values::instance_name);
    let notify = notify::notify(&mut checker, file);
    variables::warn_of_variables(&mut checker);
    let config = Config {
        instance,
        proxy,
        vault,
        listen,
        ca,
        limits,
        log,
        traces,
        notify,
        warnings: ProblemReport::default(),
        fingerprint: ConfigFingerprint::default(),
        file: name,
        spans: checker.spans,
    };
    (config, checker.problems)
}

fn proxy_settings(checker: &mut ConfigChecker<'_>, file: &RawConfig) -> Settings {
    let mode = checker.choice_or(file.mode.as_ref(), Mode::Act, MODES);
    let settings = Settings {
        catalog: checker.catalog.clone(),
        providers: providers::providers(checker, file, mode),
        callers: providers::callers(checker, file),
        templates: templates::templates(checker, file),
        routes: routes::routes(checker, file, mode),
        other_hosts: listen::other_hosts(checker, file),
        mode,
        pass_401: file.pass_401,
    };
    routes::check_timeouts(checker, file, &settings);
    routes::check_recipient_limits(checker, file, &settings.providers);
    routes::check_backup_senders(checker, file, &settings);
    countries::check_countries(checker, file, &settings);
    templates::check_approved_only(checker, file, &settings);
    templates::check_lengths(checker, file, &settings.providers);
    settings
}

fn log_settings(checker: &mut ConfigChecker<'_>, file: &RawConfig) -> LogSettings {
    LogSettings {
        json: checker.choice_or(file.log.format.as_ref(), true, LOG_FORMATS),
        level: checker.choice_or(file.log.level.as_ref(), "info", LOG_LEVELS),
    }
}

//! Judges the whole file and complains about everything at once. Where a value is wrong
//! its default stands in, so that one mistake does not hide the next.

mod accounts;
mod doors;
mod judge;
mod routes;
mod templates;
mod traces;
mod vaults;

use std::ops::Range;
use std::path::Path;

use crate::config::raw::File;
use crate::config::{Loaded, Log, Print};
use crate::dialect::Catalog;
use crate::net::OtherHosts;
use crate::problem::{Problem, Report};
use crate::proxy::{Mode, Settings};

use judge::Judge;

/// What `mode` may be, at the top and on a route.
const MODES: &[(&str, Mode)] = &[("act", Mode::Act), ("observe", Mode::Observe)];

/// The settings, were there no error among the problems. `name` and `text` are the file's; `broken` is where it was complained about.
pub(super) fn file((name, text): (&str, &str), file: &File, catalog: &Catalog, broken: Vec<Range<usize>>) -> (Loaded, Vec<Problem>) {
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    let mut judge = Judge::new((name, text), folder, catalog, broken);
    let mode = judge.choice(file.mode.as_ref(), Mode::Act, MODES);
    let vault = vaults::vaults(&mut judge, file);
    let providers = accounts::providers(&mut judge, file, mode);
    let callers = accounts::callers(&mut judge, file);
    let templates = templates::templates(&mut judge, file);
    let routes = routes::routes(&mut judge, file, mode);
    let listen = doors::listen(&mut judge, file);
    let (ca, other_hosts) = doors::intercept(&mut judge, file);
    let limits = doors::limits(&mut judge, file);
    let log = log(&mut judge, file);
    let traces = traces::traces(&mut judge, file);
    routes::slow(&mut judge, file, &providers, &routes);
    routes::abroad(&mut judge, file, &providers);
    routes::senders(&mut judge, file, &providers, &routes);
    templates::fit(&mut judge, file, &providers, &templates);
    templates::length(&mut judge, file, &providers);
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
    let (file, places) = (name.to_owned(), judge.places);
    (
        Loaded { proxy, vault, listen, ca, limits, log, traces, warnings: Report::default(), read: Print::default(), file, places },
        judge.problems,
    )
}

fn log(judge: &mut Judge<'_>, file: &File) -> Log {
    const LEVELS: &[(&str, &str)] = &[("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug"), ("trace", "trace")];
    Log {
        json: judge.choice(file.log.format.as_ref(), true, &[("json", true), ("human", false)]),
        level: judge.choice(file.log.level.as_ref(), "info", LEVELS),
    }
}

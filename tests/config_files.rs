//! The annotated examples load without a problem, and every problem is shown as in its golden
//! file: `tests/config/{valid,invalid}/NAME.toml` beside `NAME.txt`. Refresh the goldens with
//! `UPDATE_GOLDENS=1`, then read the difference.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may fail where it stands"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sms_sidecar::clock::{Clock as _, SystemClock};
use sms_sidecar::config::{
    Config, ConfigFingerprint, check_text, control_socket, inspect, intercepted_hosts, load,
    needed_constraints, uncovered_hosts,
};
use sms_sidecar::dialect::Catalog;
use sms_sidecar::net::ca::{self, CaConstraints};
use sms_sidecar::problem::{ProblemReport, Severity, SourceText};

/// A secret by mistake, in the invalid files.
const CANARY: &str = "CANARY";

/// The demo's script; only its `sidecar` text is a config, and the demo runs it.
const NO_CONFIG: &str = "demo.toml";

fn toml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "toml"));
    files.retain(|file| !file.ends_with(NO_CONFIG));
    files.sort();
    assert!(!files.is_empty(), "{folder} has no files");
    files
}

fn check(file: &Path) -> (Option<Config>, ProblemReport) {
    let catalog = Catalog::built_in();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let text = fs::read_to_string(file).unwrap();
    let (loaded, problems) = check_text(&name, &text, &catalog);
    (
        loaded,
        ProblemReport {
            problems,
            texts: vec![SourceText {
                file: name,
                text,
                is_dialect: false,
            }],
        },
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "UPDATE_GOLDENS writes the goldens"
)]
fn assert_golden(file: &Path, shown: &str) {
    let beside = file.with_extension("txt");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&beside, shown).unwrap();
    }
    let wanted = fs::read_to_string(&beside).unwrap_or_default();
    assert!(shown == wanted, "{} differs:\n{shown}", beside.display());
}

#[test]
fn every_example_loads_without_a_problem() {
    for file in toml_files("config") {
        let (loaded, report) = check(&file);
        assert!(
            loaded.is_some() && report.problems.is_empty(),
            "{}:\n{report}",
            file.display()
        );
    }
}

/// A fresh machine has none of the files that an example names: they are warnings, and observe.toml has none.
#[test]
fn every_example_checks_on_a_fresh_machine() {
    for file in toml_files("config") {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
            .arg("check")
            .arg(&file)
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}:\n{out}", file.display());
        if file.ends_with("observe.toml") {
            let path = std::path::absolute(&file).unwrap();
            assert_eq!(out, format!("{}: sound\n", path.display()));
        }
    }
}

/// `check` only warns of a missing CA; `run` does not start.
#[test]
fn run_fails_without_the_configured_ca() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let text = "mode = \"observe\"\n[listen]\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[intercept]\nca = { cert_file = \"ca.pem\", key_file = \"ca.key\" }\n[providers.twilio]\ndialect = \"twilio\"\n";
    fs::write(&file, text).unwrap();
    let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_sms-sidecar"));
    let run = run
        .args(["run", "--config"])
        .arg(&file)
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped());
    let mut run = run.spawn().unwrap();
    let mut log = std::io::BufRead::lines(std::io::BufReader::new(run.stderr.take().unwrap()))
        .map(Result::unwrap);
    // Until it fails, or until it serves.
    let output = log
        .find(|line| line.contains("ca init") || line.contains("\"started\""))
        .unwrap();
    if output.contains("started") {
        run.kill().unwrap();
    }
    assert!(output.contains("ca init"), "{output}");
    assert_eq!(run.wait().unwrap().code(), Some(2));
}

/// `check` accepts exactly the lengths that the system accepts.
#[test]
fn the_longest_socket_path_is_that_of_the_system() {
    let folder = tempfile::Builder::new()
        .prefix("s")
        .tempdir_in("/tmp")
        .unwrap();
    let named = |bytes: usize| {
        let room = bytes - folder.path().as_os_str().len() - 1;
        folder.path().join("s".repeat(room))
    };
    assert!(std::os::unix::net::UnixListener::bind(named(107)).is_ok());
    assert!(std::os::unix::net::UnixListener::bind(named(108)).is_err());
}

#[test]
fn every_listener_can_be_off() {
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let off = "admin = \"off\"\nmetrics = \"off\"\nunix = \"off\"\ncontrol = \"off\"\n";
    let text = format!("mode = \"observe\"\n[listen]\n{off}[providers.a]\ndialect = \"plain\"\n");
    let (loaded, problems) = check_text("c.toml", &text, &catalog);
    let listen = loaded.unwrap_or_else(|| panic!("{problems:?}")).listen;
    assert_eq!((listen.admin, listen.metrics), (None, None));
    assert_eq!((listen.unix, listen.control), (None, None));
    let (_, problems) = check_text(
        "c.toml",
        &text.replace("[listen]\n", "[listen]\nproxy = \"off\"\n"),
        &catalog,
    );
    let messages: Vec<&str> = problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    assert!(
        messages.contains(&"the backend has no entrypoint"),
        "{messages:?}"
    );
}

#[test]
fn valid_files_load_with_their_warnings() {
    for file in toml_files("tests/config/valid") {
        let (loaded, report) = check(&file);
        assert!(loaded.is_some(), "{}:\n{report}", file.display());
        assert_golden(&file, &format!("{report}\n"));
    }
}

#[test]
fn invalid_files_fail_with_every_problem() {
    for file in toml_files("tests/config/invalid") {
        let (loaded, report) = check(&file);
        assert!(
            loaded.is_none() && report.error_count() > 0,
            "{}",
            file.display()
        );
        assert_golden(&file, &format!("{report}\n"));
        assert!(
            !report.render(true).contains(CANARY) && !report.to_json().to_string().contains(CANARY),
            "{}:\n{report}",
            file.display()
        );
    }
}

#[test]
fn the_full_example_shows_the_defaults() {
    let (minimal, _) = check(Path::new("config/minimal.toml"));
    let (full, _) = check(Path::new("config/sms-sidecar.toml"));
    let minimal = minimal.unwrap();
    let full = full.unwrap();
    assert_eq!(
        (minimal.listen.proxy, minimal.listen.admin),
        (full.listen.proxy, full.listen.admin)
    );
    assert_eq!((minimal.limits, minimal.log), (full.limits, full.log));
    assert_eq!(
        (
            minimal.proxy.mode,
            minimal.proxy.pass_401,
            minimal.proxy.other_hosts
        ),
        (full.proxy.mode, full.proxy.pass_401, full.proxy.other_hosts)
    );
    let least = &minimal.proxy.providers[0];
    let all = &full.proxy.providers[0];
    assert_eq!(
        (least.timeout, least.recheck, least.templates_only),
        (all.timeout, all.recheck, all.templates_only)
    );
    assert_eq!(
        (&least.base_url, &least.upstream),
        (&all.base_url, &all.upstream)
    );
    let least = &minimal.proxy.routes[0];
    let all = &full.proxy.routes[0];
    assert_eq!(
        (least.deadline, least.attempts, least.on_unknown),
        (all.deadline, all.attempts, all.on_unknown)
    );
    assert_eq!(
        (least.duplicate_window, least.prefer_listed, least.mode),
        (all.duplicate_window, all.prefer_listed, all.mode)
    );
    assert_eq!((least.name.as_str(), least.providers.len()), ("default", 1));
    assert!(minimal.ca.is_none() && full.ca.is_some());
}

#[test]
fn the_order_of_the_file_is_kept_and_references_are_complete() {
    let (full, _) = check(Path::new("config/sms-sidecar.toml"));
    let full = full.unwrap();
    let names: Vec<&str> = full
        .proxy
        .providers
        .iter()
        .map(|provider| provider.id.as_str())
        .collect();
    assert_eq!(names, ["playmobile", "twilio", "eskiz"]);
    let reference = full.proxy.providers[1].credential.as_ref().unwrap();
    assert_eq!(reference.fields["auth_token"], "TWILIO_AUTH_TOKEN");
    assert!(
        reference.aliases["account_sid"].contains(&"TWILIO_ACCOUNT_SID".to_owned()),
        "the dialect's own names are included"
    );
    assert_eq!(full.vault.sources.len(), 5);
}

#[test]
fn a_host_that_the_ca_does_not_cover_is_named() {
    let (full, _) = check(Path::new("config/sms-sidecar.toml"));
    let settings = full.unwrap().proxy;
    let all = intercepted_hosts(&settings);
    assert!(
        all.contains(&"api.twilio.com".to_owned()) && all.contains(&"send.smsxabar.uz".to_owned()),
        "{all:?}"
    );
    assert!(
        all.iter()
            .all(|host| !host.contains('*') && host.parse::<std::net::IpAddr>().is_err()),
        "{all:?}"
    );
    assert_eq!(
        uncovered_hosts(&settings, |host| host != "api.twilio.com"),
        ["api.twilio.com"]
    );
}

/// A config with one provider of this dialect, in a folder where its CA would be.
fn config_with_ca(folder: &Path, dialect: &str) -> Config {
    let file = folder.join("config.toml");
    let text = format!(
        "mode = \"observe\"\n[intercept]\nca = {{ cert_file = \"ca.pem\", key_file = \"ca.key\" }}\n[providers.one]\ndialect = \"{dialect}\"\nbase_url = \"https://own.example.test/x\"\n"
    );
    fs::write(&file, text).unwrap();
    load(&file).unwrap()
}

/// A host or wildcard below a literal host needs that one's sub-domains; no other host does.
#[test]
fn a_new_ca_covers_the_hosts_below_its_hosts_and_no_other_sub_domain() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let mut open = Vec::new();
    for dialect in catalog.iter() {
        let settings = config_with_ca(folder.path(), dialect.name.as_str()).proxy;
        let needed = needed_constraints(&settings).unwrap();
        for pattern in dialect.host_patterns() {
            let sample = pattern.replace('*', "x");
            let below = |host: &String| sample.ends_with(&format!(".{host}"));
            let is_below = needed.hosts().iter().any(below);
            assert_eq!(needed.covers(&sample), is_below, "{sample}");
        }
        for host in needed.hosts() {
            assert!(needed.covers(host), "{host}");
            if needed.covers_below(host) {
                open.push(host.clone());
            }
        }
    }
    open.sort();
    open.dedup();
    // The last two because of `www.smsc.kz` and `www.smsc.ru`.
    assert_eq!(
        open,
        ["api.infobip.com", "sms.api.sinch.com", "smsc.kz", "smsc.ru"]
    );
}

#[test]
fn a_ca_that_signs_for_more_than_the_config_needs_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_with_ca(folder.path(), "eskiz");
    let settings = config.ca.as_ref().unwrap();
    let hosts = intercepted_hosts(&config.proxy);
    let needed = needed_constraints(&config.proxy).unwrap();
    let broad = CaConstraints::for_hosts(&hosts, &["*.notify.eskiz.uz".to_owned()]).unwrap();
    let day = Duration::from_hours(24);
    let now = SystemClock::start().wall_clock();
    ca::create(settings, &broad, day, now, ca::CaCreateMode::NewKey).unwrap();
    let warnings = || {
        let found = inspect(&config);
        assert!(
            found
                .iter()
                .all(|problem| problem.severity == Severity::Warning)
        );
        let texts = found.iter().map(|problem| format!("{problem:?}"));
        let about_ca = texts.filter(|text| text.contains("the CA"));
        about_ca.collect::<Vec<_>>()
    };
    let found = warnings();
    assert_eq!(found.len(), 1, "{found:?}");
    for part in ["sub-domains of notify.eskiz.uz", "ca renew"] {
        assert!(found[0].contains(part), "{found:?}");
    }
    ca::create(settings, &needed, day, now, ca::CaCreateMode::KeepKey).unwrap();
    assert!(warnings().is_empty());
}

/// Replaces every string of every example by a secret, with and without quotes.
#[test]
fn a_secret_in_any_place_is_never_shown() {
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let mut places = 0;
    for file in toml_files("config") {
        let text = fs::read_to_string(&file).unwrap();
        let strings: Vec<(usize, usize)> = strings(&text);
        for (start, end) in strings {
            for secret in [
                format!("\"{CANARY}-x9\""),
                format!("{CANARY}-x9"),
                format!("[\"{CANARY}-x9\"]"),
                format!("\"{CANARY}"),
                format!("{{ a = '{CANARY}' }}"),
            ] {
                let text = format!("{}{secret}{}", &text[..start], &text[end..]);
                let (_, problems) = check_text("c.toml", &text, &catalog);
                let report = ProblemReport {
                    problems,
                    texts: vec![SourceText {
                        file: "c.toml".into(),
                        text: text.clone(),
                        is_dialect: false,
                    }],
                };
                let output = report.render(false) + &report.to_json().to_string();
                assert!(!output.contains(CANARY), "{}\n{output}", file.display());
                places += 1;
            }
        }
    }
    assert!(places > 300, "{places}");
}

/// The quoted strings of a file, quotes included; comments passed over.
fn strings(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let code = line.split(" #").next().unwrap();
        let quotes: Vec<usize> = code
            .match_indices('"')
            .map(|(at, _)| line_start + at)
            .collect();
        if !line.starts_with('#') {
            found.extend(quotes.chunks_exact(2).map(|pair| (pair[0], pair[1] + 1)));
        }
        line_start += line.len();
    }
    found
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]
    /// A file that an editor or a merge has damaged gives problems, never a panic.
    #[test]
    fn a_mangled_example_is_checked(cut in 0usize..6000, length in 0usize..200, put in "[a-z=\"'\\[\\]{},#\n é]{0,12}") {
        let text = include_str!("../config/sms-sidecar.toml");
        let start = text.floor_char_boundary(cut.min(text.len()));
        let end = text.floor_char_boundary((start + length).min(text.len()));
        let mangled = format!("{}{put}{}", &text[..start], &text[end..]);
        let (loaded, problems) = check_text("c.toml", &mangled, &Catalog::default());
        let report = ProblemReport { problems, texts: vec![SourceText { file: "c.toml".into(), text: mangled, is_dialect: false }] };
        assert!(loaded.is_some() || report.error_count() > 0);
        assert!(!report.render(true).is_empty());
    }
}

fn changed_at(read: &ConfigFingerprint) -> Option<SystemTime> {
    read.change().map(|(_, at)| at)
}

#[test]
fn a_change_of_the_file_or_a_description_or_the_ca_is_seen_until_it_is_reverted() {
    let at = std::env::temp_dir().join(format!("sms-sidecar-print-{}", std::process::id()));
    let file = at.join("config.toml");
    let description = at.join("own/extra.toml");
    fs::create_dir_all(at.join("own")).unwrap();
    let config = fs::read_to_string("config/minimal.toml").unwrap();
    let ca = at.join("ca.pem");
    fs::write(&ca, "old").unwrap();
    let config = format!(
        "dialects = \"own\"\n{config}\n[intercept]\nca = {{ cert_file = \"ca.pem\", key_file = \"ca.key\" }}\n"
    );
    let own = "dialect = \"extra\"\nextends = \"twilio\"\n";
    fs::write(&file, &config).unwrap();
    fs::write(&description, own).unwrap();
    let read = load(&file).unwrap().fingerprint;
    assert_eq!(changed_at(&read), None);
    for (changed, text) in [(&file, config.as_str()), (&description, own), (&ca, "old")] {
        fs::write(changed, format!("# another\n{text}")).unwrap();
        assert_eq!(
            changed_at(&read),
            Some(fs::metadata(changed).unwrap().modified().unwrap()),
            "{}",
            changed.display()
        );
        let named = read.change().unwrap().0;
        let is_ca = *changed == ca;
        assert_eq!(named == ca.display().to_string(), is_ca, "{named}");
        fs::write(changed, text).unwrap();
        assert_eq!(
            changed_at(&read),
            None,
            "the content is the same again: {}",
            changed.display()
        );
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(
        changed_at(&read),
        None,
        "an editor may be about to put it back"
    );
    fs::remove_dir_all(&at).unwrap();
}

#[test]
fn the_control_socket_is_found_in_a_config_with_errors_but_not_in_invalid_toml() {
    let file =
        std::env::temp_dir().join(format!("sms-sidecar-control-{}.toml", std::process::id()));
    for (text, socket) in [
        (
            "nosuch = 1\n[listen]\ncontrol = \"c.sock\"\n",
            Some(std::env::temp_dir().join("c.sock")),
        ),
        (
            "[listen]\ncontrol = \"/run/c.sock\"\n[providers.a]\n",
            Some(PathBuf::from("/run/c.sock")),
        ),
        ("[listen]\ncontrol = \"off\"\n", None),
        ("[listen]\ncontrol = 7\n", None),
        ("[listen\ncontrol = \"c.sock\"\n", None),
    ] {
        fs::write(&file, text).unwrap();
        assert_eq!(control_socket(&file), socket, "{text}");
    }
    fs::remove_file(&file).unwrap();
}

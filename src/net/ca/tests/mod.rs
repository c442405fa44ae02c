//! The CA signs for its hosts only and keeps its key private.

mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::clock::SystemClock;

const YEAR: Duration = Duration::from_hours(365 * 24);

fn settings(folder: &TempDir) -> CaSettings {
    CaSettings {
        cert_file: folder.path().join("ca.pem"),
        key_file: folder.path().join("ca.key"),
    }
}

fn names(hosts: &[&str]) -> Vec<String> {
    hosts.iter().map(|host| (*host).to_owned()).collect()
}

fn limited_to(hosts: &[&str]) -> CaConstraints {
    CaConstraints::for_hosts(&names(hosts), &[]).unwrap()
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::start())
}

fn made(hosts: &[&str]) -> (TempDir, CaSettings, Ca) {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    create(
        &settings,
        &limited_to(hosts),
        YEAR,
        clock().wall_clock(),
        CaCreateMode::NewKey,
    )
    .unwrap();
    let ca = Ca::load(&settings, clock()).unwrap();
    (folder, settings, ca)
}

#[test]
fn a_bounded_number_of_leaves_is_kept() {
    let hosts: Vec<String> = (0..=MAX_LEAVES).map(|n| format!("h{n}.test")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let (_folder, _, ca) = made(&hosts);
    let kept = |host: &&str| {
        ca.server_config_for(host).unwrap();
        ca.leaves.lock().unwrap().len()
    };
    assert_eq!(hosts.iter().map(kept).max(), Some(MAX_LEAVES));
}

#[test]
fn it_covers_its_hosts_and_nothing_else() {
    let (_folder, _, ca) = made(&["api.one.test", "API.two.test", "api.one.test"]);
    assert_eq!(ca.hosts(), ["api.one.test", "api.two.test"]);
    assert!(ca.covers("api.two.test") && !ca.covers("x.api.two.test"));
    assert!(!ca.covers("two.test") && !ca.covers("evilapi.two.test") && !ca.covers("bank.test"));
    assert!(matches!(
        ca.server_config_for("bank.test"),
        Err(CaError::NotCovered(_))
    ));
    assert!(ca.expires() > clock().wall_clock() + YEAR - BACKDATE);
}

#[test]
fn only_the_owner_can_read_the_key() {
    let (_folder, settings, _) = made(&["api.one.test"]);
    let mode = |file| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&settings.key_file), mode(&settings.cert_file)),
        (0o600, 0o644)
    );
    for open in [0o640, 0o604] {
        fs::set_permissions(&settings.key_file, fs::Permissions::from_mode(open)).unwrap();
        let error = Ca::load(&settings, clock()).unwrap_err();
        assert!(
            matches!(error, CaError::KeyExposed { .. }) && error.to_string().contains("chmod 600"),
            "{error}"
        );
    }
}

#[test]
fn init_does_not_replace_a_ca_and_renew_keeps_its_key() {
    let (_folder, settings, first) = made(&["api.one.test"]);
    let again = create(
        &settings,
        &limited_to(&["api.two.test"]),
        YEAR,
        clock().wall_clock(),
        CaCreateMode::NewKey,
    );
    assert!(matches!(again, Err(CaError::AlreadyExists(_))));
    let key = fs::read(&settings.key_file).unwrap();
    create(
        &settings,
        &limited_to(&["api.two.test"]),
        2 * YEAR,
        clock().wall_clock(),
        CaCreateMode::KeepKey,
    )
    .unwrap();
    let second = Ca::load(&settings, clock()).unwrap();
    assert_eq!(fs::read(&settings.key_file).unwrap(), key);
    assert_eq!(second.hosts(), ["api.two.test"]);
    assert!(second.expires() > first.expires());
}

#[test]
fn files_that_do_not_belong_together_are_rejected() {
    let (_one, settings, _) = made(&["api.one.test"]);
    let (_two, other, _) = made(&["api.one.test"]);
    fs::copy(&other.cert_file, &settings.cert_file).unwrap();
    assert!(matches!(
        Ca::load(&settings, clock()),
        Err(CaError::InvalidContent { .. })
    ));
    fs::write(&settings.cert_file, "nothing").unwrap();
    assert!(matches!(
        Ca::load(&settings, clock()),
        Err(CaError::InvalidContent { .. })
    ));
}

#[test]
fn only_a_missing_file_is_reported_as_missing() {
    let (_folder, settings, _) = made(&["api.one.test"]);
    for file in [&settings.key_file, &settings.cert_file] {
        let text = fs::read(file).unwrap();
        let advice = || Ca::load(&settings, clock()).unwrap_err().to_string();
        fs::remove_file(file).unwrap();
        assert!(advice().contains("does not exist") && advice().contains("ca init"));
        // A folder cannot be read as a file, not even by root.
        fs::create_dir(file).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o700)).unwrap();
        let unreadable = advice();
        assert!(
            unreadable.contains("cannot be read: it is a folder")
                && !unreadable.contains("ca init"),
            "{unreadable}"
        );
        fs::remove_dir(file).unwrap();
        fs::write(file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let denied = CaError::from_read(
        &settings.key_file,
        io::Error::from(io::ErrorKind::PermissionDenied),
    );
    assert!(matches!(denied, CaError::Unreadable { .. }), "{denied}");
}

#[test]
fn an_unconstrained_ca_is_not_used() {
    let (_folder, settings, _) = made(&["api.one.test"]);
    let key = files::read_key(&settings.key_file).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(&settings.cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    assert!(matches!(
        Ca::load(&settings, clock()),
        Err(CaError::InvalidContent { .. })
    ));
}

#[test]
fn leaves_are_kept() {
    let (_folder, _, ca) = made(&["api.one.test"]);
    let first = ca.server_config_for("api.one.test").unwrap();
    assert!(Arc::ptr_eq(
        &first,
        &ca.server_config_for("api.one.test").unwrap()
    ));
    assert_eq!(first.alpn_protocols, [b"http/1.1".to_vec()]);
}

#[test]
fn a_file_that_cannot_be_replaced_leaves_nothing_beside_it() {
    let folder = TempDir::new().unwrap();
    let taken = folder.path().join("ca.pem");
    fs::create_dir(&taken).unwrap();
    let error = files::write_file(&taken, b"text", 0o644).unwrap_err();
    assert!(matches!(error, CaError::Unwritable { .. }), "{error}");
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["ca.pem"]);
}

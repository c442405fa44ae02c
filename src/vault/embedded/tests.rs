//! The encrypted file: values that were set are read, and every kind of damage has its own error.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tempfile::TempDir;

use super::*;

fn vault() -> (TempDir, Embedded) {
    let folder = tempfile::tempdir().unwrap();
    let vault = Embedded::new(
        folder.path().join("vault.age"),
        folder.path().join("etc/vault.key"),
    );
    vault.init().unwrap();
    (folder, vault)
}

fn set(vault: &Embedded, path: &str, field: &str, value: &str) {
    vault
        .update(|entries| {
            entries
                .entry(path.to_owned())
                .or_default()
                .insert(field.to_owned(), SecretString::from(value));
        })
        .unwrap();
}

fn value(vault: &Embedded, path: &str, field: &str) -> Option<String> {
    Some(
        vault
            .entries()
            .unwrap()
            .get(path)?
            .get(field)?
            .expose_secret()
            .to_owned(),
    )
}

fn mode(file: &Path) -> u32 {
    file.metadata().unwrap().mode() & 0o7777
}

fn chmod(file: &Path, mode: u32) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_value_that_was_set_is_read() {
    let (_folder, vault) = vault();
    set(&vault, "sms/x", "password", "canary \"quoted\"\nпароль");
    assert_eq!(
        value(&vault, "sms/x", "password").unwrap(),
        "canary \"quoted\"\nпароль"
    );
    let entry = vault.read("sms/x").await.unwrap();
    assert_eq!(
        entry.fields["password"].expose_secret(),
        "canary \"quoted\"\nпароль"
    );
    let missing = vault.read("sms/y").await.unwrap_err();
    assert!(matches!(missing, ReadError::MissingEntry { .. }));
    assert!(!format!("{entry:?} {missing} {missing:?} {vault:?}").contains("canary"));
    let sealed = std::fs::read(&vault.file).unwrap();
    assert!(
        !sealed.windows(6).any(|bytes| bytes == b"canary"),
        "it is encrypted"
    );
}

#[test]
fn new_files_are_private_and_not_overwritten() {
    let (_folder, vault) = vault();
    assert_eq!((mode(&vault.file), mode(&vault.key_file)), (0o600, 0o600));
    let key = std::fs::read(&vault.key_file).unwrap();
    assert!(matches!(
        vault.init(),
        Err(VaultWriteError::AlreadyExists(_))
    ));
    std::fs::remove_file(&vault.file).unwrap();
    vault.init().unwrap();
    assert_eq!(
        std::fs::read(&vault.key_file).unwrap(),
        key,
        "a key that is there is used"
    );
}

#[test]
fn writes_keep_mode_and_owner_and_leave_nothing_behind() {
    let (folder, vault) = vault();
    chmod(&vault.file, 0o640);
    let root = rustix::process::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(&vault.file, Some(12345), Some(23456)).unwrap();
    }
    let before = vault.file.metadata().unwrap();
    set(&vault, "a", "b", "c");
    let after = vault.file.metadata().unwrap();
    assert_ne!(before.ino(), after.ino(), "replaced, not overwritten");
    assert_eq!(
        (after.mode(), after.uid(), after.gid()),
        (before.mode(), before.uid(), before.gid())
    );
    let mut names: Vec<_> = folder
        .path()
        .read_dir()
        .unwrap()
        .map(|item| item.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["etc", "vault.age"]);
}

#[test]
fn a_symbolic_link_is_kept() {
    let (folder, vault) = vault();
    let link = folder.path().join("link.age");
    std::os::unix::fs::symlink(&vault.file, &link).unwrap();
    let linked = Embedded::new(link.clone(), vault.key_file.clone());
    set(&linked, "a", "b", "c");
    assert!(link.is_symlink());
    assert_eq!(value(&vault, "a", "b").unwrap(), "c");
}

#[test]
fn a_wrong_key_and_a_damaged_file_differ() {
    let (_folder, vault) = vault();
    set(&vault, "sms/x", "password", "canary");
    let (_other_folder, other) = self::vault();
    let crossed = Embedded::new(vault.file.clone(), other.key_file.clone());
    let error = crossed.entries().unwrap_err();
    assert!(matches!(error, ReadError::WrongKey { .. }));
    assert!(
        error.to_string().contains("does not open") && error.to_string().contains("vault.key"),
        "{error}"
    );
    assert!(crossed.update(|_| ()).is_err(), "and it is not overwritten");
    assert_eq!(value(&vault, "sms/x", "password").unwrap(), "canary");
}

#[test]
fn a_truncated_or_altered_file_is_malformed() {
    let (_folder, vault) = vault();
    set(&vault, "sms/x", "password", "canary");
    let whole = std::fs::read(&vault.file).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&vault.file, &whole[..length]).unwrap();
        assert!(
            matches!(vault.entries().unwrap_err(), ReadError::Malformed { .. }),
            "{length} of {} bytes",
            whole.len()
        );
    }
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&vault.file, &altered).unwrap();
    assert!(matches!(
        vault.entries().unwrap_err(),
        ReadError::Malformed { .. }
    ));
}

#[test]
fn content_other_than_a_map_is_malformed_and_not_quoted() {
    let (_folder, vault) = vault();
    let key = vault.identities().unwrap().remove(0).to_public();
    for plain in [
        "\"canary-value\"",
        "{\"sms/x\": \"canary-value\"}",
        "canary-value",
        "{\"sms/x\": {\"canary-value\": 1}}",
    ] {
        std::fs::write(&vault.file, age::encrypt(&key, plain.as_bytes()).unwrap()).unwrap();
        let error = vault.entries().unwrap_err();
        assert!(matches!(error, ReadError::Malformed { .. }));
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

#[test]
fn a_key_that_others_can_read_is_rejected() {
    let (_folder, vault) = vault();
    for mode in [0o644, 0o640, 0o604, 0o660] {
        chmod(&vault.key_file, mode);
        let error = vault.entries().unwrap_err();
        assert!(matches!(error, ReadError::KeyExposed { .. }), "{mode:o}");
        assert!(error.to_string().contains("chmod 0600"), "{error}");
    }
    chmod(&vault.key_file, 0o400);
    assert!(vault.entries().is_ok());
}

#[test]
fn errors_about_missing_and_foreign_keys_say_what_to_do() {
    let (_folder, vault) = vault();
    std::fs::write(&vault.key_file, "# comment\ncanary-AGE-SECRET-KEY-1XX\n").unwrap();
    let error = vault.entries().unwrap_err();
    assert!(matches!(error, ReadError::InvalidKey { .. }));
    assert!(!error.to_string().contains("canary"));
    std::fs::remove_file(&vault.key_file).unwrap();
    assert!(matches!(
        vault.entries().unwrap_err(),
        ReadError::MissingKey { .. }
    ));
    let nowhere = Embedded::new(
        "/nonexistent/vault.age".into(),
        "/nonexistent/vault.key".into(),
    );
    assert!(
        nowhere
            .update(|_| ())
            .unwrap_err()
            .to_string()
            .contains("vault init")
    );
}

#[test]
fn rotation_removes_the_old_key_and_keeps_the_entries() {
    let (folder, vault) = vault();
    set(&vault, "sms/x", "password", "canary");
    let old_key = folder.path().join("old.key");
    std::fs::copy(&vault.key_file, &old_key).unwrap();
    vault.rotate_key().unwrap();
    assert_eq!(value(&vault, "sms/x", "password").unwrap(), "canary");
    assert_eq!(vault.identities().unwrap().len(), 1);
    assert_eq!(mode(&vault.key_file), 0o600);
    let old = Embedded::new(vault.file.clone(), old_key);
    assert!(matches!(
        old.entries().unwrap_err(),
        ReadError::WrongKey { .. }
    ));
}

#[test]
fn a_rotation_interrupted_anywhere_leaves_a_vault_that_opens() {
    let (_folder, vault) = vault();
    set(&vault, "sms/x", "password", "canary");
    let mut keys = vault.identities().unwrap();
    keys.insert(0, Identity::generate());
    vault.write_keys(&keys).unwrap();
    assert_eq!(
        value(&vault, "sms/x", "password").unwrap(),
        "canary",
        "after the key, before the vault"
    );
    vault.update(|_| ()).unwrap();
    assert_eq!(
        value(&vault, "sms/x", "password").unwrap(),
        "canary",
        "after the vault, before the old key goes"
    );
    vault.rotate_key().unwrap();
    assert_eq!(vault.identities().unwrap().len(), 1);
}

#[test]
fn two_writers_lose_nothing() {
    let (_folder, vault) = vault();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let vault = &vault;
            scope.spawn(move || {
                (0..5).for_each(|turn| set(vault, &format!("{writer}/{turn}"), "f", "v"));
            });
        }
    });
    assert_eq!(vault.entries().unwrap().len(), 20);
}

#[test]
fn an_operator_sets_fields_by_command() {
    let settings = EmbeddedSettings {
        file: "vault.age".into(),
        key_file: "vault.key".into(),
    };
    for (fields, command) in [
        (vec!["username", "password"], "sms/a username password`"),
        (vec![], "sms/a FIELD`"),
    ] {
        let fields: Vec<String> = fields.into_iter().map(str::to_owned).collect();
        let target = WriteTarget {
            config: "a.toml",
            vault: "keys",
            path: "sms/a",
            fields: &fields,
        };
        assert_eq!(
            settings.write_instructions(&target),
            format!("`sms-sidecar vault set --config a.toml --vault keys {command}")
        );
    }
}

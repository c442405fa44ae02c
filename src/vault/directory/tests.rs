//! One file per field, and swaps of a whole generation that a read never mixes.

use std::fs;
use std::os::unix::fs::symlink;

use secrecy::ExposeSecret;

use super::*;

fn put(folder: &Path, field: &str, value: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(field), value).unwrap();
}

#[tokio::test]
async fn each_file_is_a_field_and_dates_the_entry() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("sms/x");
    put(&place, "a", "v\n");
    put(&place, "b", "w");
    put(&place, ".hidden", "canary");
    put(&place.join("folder"), "inside", "canary");
    let old = std::time::SystemTime::UNIX_EPOCH;
    fs::File::options()
        .write(true)
        .open(place.join("b"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    let entry = Directory::new(folder.path().to_owned())
        .read("sms/x")
        .await
        .unwrap();
    assert_eq!(entry.fields.keys().collect::<Vec<_>>(), ["a", "b"]);
    let newest = place.join("a").metadata().unwrap().modified().unwrap();
    assert_eq!(entry.modified, Some(newest));
}

#[test]
fn the_files_of_an_entry_are_those_of_its_fields() {
    let folder = tempfile::tempdir().unwrap();
    put(&folder.path().join("sms/a"), "password", "x");
    put(&folder.path().join("sms/a"), "other", "x");
    let settings = DirectorySettings {
        path: folder.path().to_owned(),
    };
    let reference = CredentialRef {
        vault: "v".into(),
        path: "sms/a".into(),
        aliases: [("password".into(), Vec::new())].into(),
        ..CredentialRef::default()
    };
    assert_eq!(
        settings.entry_files(&reference),
        [folder.path().join("sms/a/password")]
    );
}

#[test]
fn an_operator_writes_files() {
    let settings = DirectorySettings {
        path: "/run/secrets".into(),
    };
    let fields = ["username", "password"].map(str::to_owned);
    let target = |path| WriteTarget {
        config: "a.toml",
        vault: "keys",
        path,
        fields: &fields,
    };
    assert_eq!(
        settings.write_instructions(&target("sms")),
        "write the files username and password under sms in the folder of vault keys"
    );
    assert_eq!(
        settings.write_instructions(&target("")),
        "write the files username and password in the folder of vault keys"
    );
}

#[tokio::test]
async fn a_path_may_be_left_out_but_not_lead_out() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "auth_token", "v");
    let vault = Directory::new(folder.path().to_owned());
    assert_eq!(vault.read("").await.unwrap().fields.len(), 1);
    for path in ["..", "../x", "/etc", "a/../../b", "./a"] {
        assert!(
            matches!(
                vault.read(path).await.unwrap_err(),
                ReadError::InvalidPath { .. }
            ),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Directory::new(folder.path().join("secrets"));
    assert!(matches!(
        vault.read("sms/x").await.unwrap_err(),
        ReadError::MissingFile { .. }
    ));
    fs::create_dir(folder.path().join("secrets")).unwrap();
    let missing = vault.read("sms/x").await.unwrap_err().to_string();
    assert!(
        missing.ends_with("an entry is a folder there, a field is a file in it"),
        "{missing}"
    );
    assert!(matches!(
        vault.read("sms/x").await.unwrap_err(),
        ReadError::MissingEntry { .. }
    ));
    fs::create_dir_all(folder.path().join("secrets/sms/x")).unwrap();
    assert!(
        matches!(
            vault.read("sms/x").await.unwrap_err(),
            ReadError::MissingEntry { .. }
        ),
        "an empty folder is no entry"
    );
    fs::write(folder.path().join("secrets/sms/x/bin"), [0xff, 0xfe]).unwrap();
    assert!(matches!(
        vault.read("sms/x").await.unwrap_err(),
        ReadError::Malformed { .. }
    ));
}

/// Writes a generation as the kubelet does: a dated folder, `..data` replaced by a rename, links to its files.
fn generation(mount: &Path, name: &str, fields: &[(&str, &str)]) {
    for (field, value) in fields {
        put(&mount.join(name), field, value);
    }
    symlink(name, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    for (field, _) in fields {
        // The link exists from the second generation on.
        symlink(Path::new("..data").join(field), mount.join(field)).unwrap_or_default();
    }
}

#[tokio::test]
async fn a_read_sees_one_generation_of_a_kubernetes_mount() {
    let folder = tempfile::tempdir().unwrap();
    generation(
        folder.path(),
        "..2026_1",
        &[("username", "one"), ("password", "one")],
    );
    let vault = Directory::new(folder.path().to_owned());
    let of = |entry: VaultEntry| {
        entry
            .fields
            .values()
            .map(|value| value.expose_secret().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(vault.read("").await.unwrap()), ["one", "one"]);
    generation(
        folder.path(),
        "..2026_2",
        &[("username", "two"), ("password", "two")],
    );
    fs::remove_dir_all(folder.path().join("..2026_1")).unwrap();
    assert_eq!(of(vault.read("").await.unwrap()), ["two", "two"]);
}

#[tokio::test]
async fn reads_during_swaps_never_mix_generations() {
    let folder = tempfile::tempdir().unwrap();
    generation(folder.path(), "..0", &[("a", "0"), ("b", "0")]);
    let mount = folder.path().to_owned();
    let writer = std::thread::spawn(move || {
        for turn in 1..200 {
            let value = turn.to_string();
            generation(
                &mount,
                &format!("..{turn}"),
                &[("a", &value), ("b", &value)],
            );
            fs::remove_dir_all(mount.join(format!("..{}", turn - 1))).unwrap();
        }
    });
    let vault = Directory::new(folder.path().to_owned());
    while !writer.is_finished() {
        // A read may lose every race against a writer this fast, but it must not mix generations.
        let Ok(entry) = vault.read("").await else {
            continue;
        };
        if entry.fields.len() == 2 {
            assert_eq!(
                entry.fields["a"].expose_secret(),
                entry.fields["b"].expose_secret()
            );
        }
    }
    writer.join().unwrap();
}

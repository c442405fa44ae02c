//! The versions of Node and axios that a backend runs with. `wrap` and `doctor` decide by them
//! which proxy variables a client reads.

use std::io;
use std::path::Path;

/// A version: major, minor and patch; a pre-release suffix is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Release {
    /// The first axios that leaves proxying to Node if Node proxies itself; before, both do.
    pub(crate) const DEFERS_TO_NODE: Self = Self(1, 18, 1);
    /// The first axios that uses CONNECT for `https://`; before, it sends such a URL to the proxy in clear.
    pub(crate) const USES_CONNECT: Self = Self(1, 16, 1);

    /// Reads `v24.1.0` or `1.7.9-beta`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches('v').splitn(3, '.');
        let mut number = || {
            parts
                .next()?
                .split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        };
        Some(Self(number()?, number()?, number()?))
    }
}

/// The version of the `node` on the path; none if there is none, or it reports no version.
pub(crate) fn node_release() -> Option<Release> {
    let version = std::process::Command::new("node")
        .arg("--version")
        .output()
        .ok()?;
    Release::parse(&String::from_utf8_lossy(&version.stdout))
}

/// The version of each axios that a program can load from `modules`: at its top, and one level inside each package.
/// An error: a file or folder exists and cannot be read.
pub(crate) fn axios_releases(modules: &Path) -> io::Result<Vec<Release>> {
    let mut folders = vec![modules.to_owned()];
    for package in ok_unless_missing(std::fs::read_dir(modules))?
        .into_iter()
        .flatten()
    {
        folders.push(package?.path().join("node_modules"));
    }
    let mut releases = Vec::new();
    for folder in folders {
        releases.extend(axios_release(&folder.join("axios/package.json"))?);
    }
    Ok(releases)
}

/// None if there is no such package, or its file gives no version.
fn axios_release(package: &Path) -> io::Result<Option<Release>> {
    let text = ok_unless_missing(std::fs::read(package))?;
    Ok(text.and_then(|text| {
        let package: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Release::parse(package.get("version")?.as_str()?)
    }))
}

/// `None`: no file has this path.
fn ok_unless_missing<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        read => read.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_prefix_and_suffix() {
        assert_eq!(Release::parse("v24.1.0\n"), Some(Release(24, 1, 0)));
        assert_eq!(Release::parse("1.7.9-beta.2"), Some(Release(1, 7, 9)));
        assert_eq!(Release::parse("not a version"), None);
    }

    #[test]
    fn axios_is_found_at_the_top_and_one_level_down() {
        let folder = tempfile::tempdir().unwrap();
        for (package, version) in [("axios", "1.7.9"), ("twilio/node_modules/axios", "0.21.4")] {
            let path = folder.path().join(package);
            std::fs::create_dir_all(&path).unwrap();
            let text = format!("{{\"version\":\"{version}\"}}");
            std::fs::write(path.join("package.json"), text).unwrap();
        }
        let mut found = axios_releases(folder.path()).unwrap();
        found.sort_unstable();
        assert_eq!(found, [Release(0, 21, 4), Release(1, 7, 9)]);
        assert_eq!(axios_releases(&folder.path().join("none")).unwrap(), []);
    }

    #[test]
    fn an_axios_that_cannot_be_read_is_not_a_missing_one() {
        let folder = tempfile::tempdir().unwrap();
        // A folder cannot be read as a file, not even by root.
        std::fs::create_dir_all(folder.path().join("axios/package.json")).unwrap();
        assert!(axios_releases(folder.path()).is_err());
    }
}

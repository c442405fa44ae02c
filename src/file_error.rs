//! What the system's error says about a file, in words: what is wrong, and what to do. One place for all of
//! them, so that a file that exists and cannot be read is never called missing, and a full disk never a missing
//! right. Pure: an error in, words out.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

/// What is wrong with a file, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileProblem {
    /// "/etc/x does not exist", "/etc/x cannot be read: permission denied".
    pub(crate) what: String,
    /// An imperative clause.
    pub(crate) help: String,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.help)
    }
}

/// Why `file` could not be read.
pub(crate) fn describe_read_error(file: &Path, error: &io::Error) -> FileProblem {
    describe(file, error, Access::Read)
}

/// Why `file` could not be written.
pub(crate) fn describe_write_error(file: &Path, error: &io::Error) -> FileProblem {
    describe(file, error, Access::Write)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// What the kinds of errors have in common.
#[derive(Clone, Copy)]
enum Reason {
    Missing,
    Denied,
    DiskFull,
    QuotaExceeded,
    ReadOnlyFileSystem,
    IsFolder,
    NotFolder,
    NameTaken,
    TooManyOpenFiles,
    NotResponding,
    InvalidContent,
    Other,
}

/// "Too many open files", of this process and of the host.
const TOO_MANY_OPEN_FILES: [i32; 2] = [24, 23];
/// The folders that `ProtectHome=` of a systemd unit hides.
const HIDDEN_HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

const REASONS: [(ErrorKind, Reason); 13] = [
    (ErrorKind::NotFound, Reason::Missing),
    (ErrorKind::PermissionDenied, Reason::Denied),
    (ErrorKind::StorageFull, Reason::DiskFull),
    (ErrorKind::QuotaExceeded, Reason::QuotaExceeded),
    (ErrorKind::ReadOnlyFilesystem, Reason::ReadOnlyFileSystem),
    (ErrorKind::IsADirectory, Reason::IsFolder),
    (ErrorKind::NotADirectory, Reason::NotFolder),
    (ErrorKind::AlreadyExists, Reason::NameTaken),
    (ErrorKind::TimedOut, Reason::NotResponding),
    (ErrorKind::StaleNetworkFileHandle, Reason::NotResponding),
    (ErrorKind::HostUnreachable, Reason::NotResponding),
    (ErrorKind::NetworkUnreachable, Reason::NotResponding),
    (ErrorKind::InvalidData, Reason::InvalidContent),
];

impl Reason {
    fn of(error: &io::Error) -> Self {
        let code = error.raw_os_error();
        if code.is_some_and(|code| TOO_MANY_OPEN_FILES.contains(&code)) {
            return Self::TooManyOpenFiles;
        }
        REASONS
            .iter()
            .find(|(kind, _)| *kind == error.kind())
            .map_or(Self::Other, |(_, reason)| *reason)
    }

    /// Follows "cannot be read:".
    fn detail(self, error: &io::Error) -> String {
        let detail = match self {
            Self::Missing => "its folder does not exist",
            Self::Denied => "permission denied",
            Self::DiskFull => "its disk is full",
            Self::QuotaExceeded => "the quota of its disk is used up",
            Self::ReadOnlyFileSystem => "its file system is read-only",
            Self::IsFolder => "it is a folder",
            Self::NotFolder => "a part of its path is not a folder",
            Self::NameTaken => "something else has its name",
            Self::TooManyOpenFiles => "too many files are open",
            Self::NotResponding | Self::InvalidContent | Self::Other => return error.to_string(),
        };
        detail.to_owned()
    }

    fn help(self, file: &Path, access: Access) -> String {
        let help = match self {
            Self::Missing => "create it, or correct its path",
            Self::Denied => return permission_help(file, access),
            Self::DiskFull | Self::QuotaExceeded => "free space there, then try again",
            Self::ReadOnlyFileSystem => return read_only_help(file),
            Self::IsFolder => "name a file",
            Self::NotFolder => "correct its path",
            Self::NameTaken => "move that away, or name another path",
            Self::TooManyOpenFiles => {
                "raise the limit: `ulimit -n`, in a systemd unit `LimitNOFILE=`"
            }
            Self::NotResponding => "check its network share",
            Self::InvalidContent => "write its content again",
            Self::Other => "check its disk or network share",
        };
        help.to_owned()
    }
}

fn describe(file: &Path, error: &io::Error, access: Access) -> FileProblem {
    let reason = Reason::of(error);
    let name = file.display();
    let what = match (reason, access) {
        (Reason::Missing, Access::Read) => format!("{name} does not exist"),
        (_, Access::Read) => format!("{name} cannot be read: {}", reason.detail(error)),
        (_, Access::Write) => format!("{name} cannot be written: {}", reason.detail(error)),
    };
    let help = reason.help(file, access);
    FileProblem { what, help }
}

fn read_only_help(file: &Path) -> String {
    let folder = file.parent().unwrap_or(file).display();
    format!(
        "name a file elsewhere, or let it be written: in a systemd unit, `ReadWritePaths={folder}`"
    )
}

fn permission_help(file: &Path, access: Access) -> String {
    let right = match access {
        Access::Read => "let the user of this process read it and enter its folders",
        Access::Write => "let the user of this process write in its folder",
    };
    let is_hidden = HIDDEN_HOMES.iter().any(|home| file.starts_with(home));
    if !is_hidden {
        return right.to_owned();
    }
    let directive = match access {
        Access::Read => "`ProtectHome=read-only`",
        Access::Write => "`ProtectHome=false`",
    };
    format!(
        "{right}; in a systemd unit, `ProtectHome=` hides /home, /root and /run/user: set {directive} there, or move the file"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_is_told_as_what_it_is() {
        let read = |kind: ErrorKind| describe_read_error(Path::new("/etc/x"), &kind.into());
        let write = |kind: ErrorKind| describe_write_error(Path::new("/etc/x"), &kind.into());
        for (problem, what, help) in [
            (read(ErrorKind::NotFound), "does not exist", "create it"),
            (
                read(ErrorKind::PermissionDenied),
                "cannot be read: permission denied",
                "let the user of this process read it and enter its folders",
            ),
            (
                read(ErrorKind::IsADirectory),
                "it is a folder",
                "name a file",
            ),
            (
                read(ErrorKind::NotADirectory),
                "a part of its path is not a folder",
                "correct its path",
            ),
            (
                read(ErrorKind::StaleNetworkFileHandle),
                "cannot be read: stale",
                "check its network share",
            ),
            (
                read(ErrorKind::InvalidData),
                "cannot be read: invalid data",
                "write its content again",
            ),
            (
                write(ErrorKind::NotFound),
                "cannot be written: its folder does not exist",
                "create it",
            ),
            (
                write(ErrorKind::PermissionDenied),
                "cannot be written: permission denied",
                "write in its folder",
            ),
            (
                write(ErrorKind::StorageFull),
                "cannot be written: its disk is full",
                "free space",
            ),
            (
                write(ErrorKind::QuotaExceeded),
                "the quota of its disk is used up",
                "free space",
            ),
            (
                write(ErrorKind::ReadOnlyFilesystem),
                "its file system is read-only",
                "`ReadWritePaths=/etc`",
            ),
            (
                write(ErrorKind::Other),
                "cannot be written: other error",
                "check its disk",
            ),
        ] {
            assert!(problem.what.starts_with("/etc/x "), "{problem}");
            assert!(problem.what.contains(what), "{problem}");
            assert!(problem.help.contains(help), "{problem}");
        }
    }

    /// As the kernel reports them, not only as kinds.
    #[test]
    fn the_kernels_numbers_are_known() {
        for (code, what) in [
            (2, "does not exist"),
            (1, "permission denied"),
            (13, "permission denied"),
            (20, "not a folder"),
            (21, "it is a folder"),
            (23, "too many files are open"),
            (24, "too many files are open"),
            (28, "its disk is full"),
            (30, "read-only"),
            (116, "tale"),
            (122, "quota"),
        ] {
            let error = io::Error::from_raw_os_error(code);
            let problem = describe_read_error(Path::new("/x"), &error);
            assert!(problem.what.contains(what), "{code}: {problem}");
            let is_missing = problem.what.contains("exist");
            assert_eq!(is_missing, code == 2, "{problem}");
            let is_denied = problem.what.contains("permission");
            assert_eq!(is_denied, code == 1 || code == 13, "{problem}");
        }
    }

    #[test]
    fn a_hidden_home_is_named_with_its_directive() {
        let help =
            |file: &str, kind: ErrorKind| describe_read_error(Path::new(file), &kind.into()).help;
        for file in ["/home/app/.env", "/root/.env", "/run/user/1000/token"] {
            assert!(
                help(file, ErrorKind::PermissionDenied).contains("`ProtectHome=read-only`"),
                "{file}"
            );
            assert!(!help(file, ErrorKind::NotFound).contains("ProtectHome"));
        }
        for file in ["/etc/x", "/homes/x", "/run/secrets/x"] {
            let help = help(file, ErrorKind::PermissionDenied);
            assert!(!help.contains("ProtectHome"), "{file}");
        }
    }
}

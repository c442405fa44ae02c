//! The values of the file: durations, sizes, addresses, URLs, names. An error describes the value
//! that is expected and never quotes the one that was found.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Uri;

use crate::clock::{parse_duration, split_unit};
use crate::net::authority::Authority;
use crate::sms::NumberingPlan;

/// What is wrong with a value, and what to write.
pub(super) type InvalidValue = (&'static str, &'static str);

/// `500ms` `3s` `1m` `2h` `30d`.
pub(super) fn duration(word: &str) -> Result<Duration, InvalidValue> {
    parse_duration(word).ok_or((
        "this is not a duration",
        "write a whole number with its unit: \"500ms\", \"3s\", \"1m\", \"2h\"",
    ))
}

/// As `duration`, but greater than zero.
pub(super) fn positive_duration(word: &str) -> Result<Duration, InvalidValue> {
    duration(word).and_then(|time| {
        if time.is_zero() {
            Err((
                "the duration must be greater than zero",
                "write at least \"1ms\"",
            ))
        } else {
            Ok(time)
        }
    })
}

/// `64KiB` `1MiB`.
pub(super) fn size(word: &str) -> Result<usize, InvalidValue> {
    const HELP: InvalidValue = (
        "this is not a size",
        "write a whole number with its unit: \"32KiB\", \"1MiB\"",
    );
    let (number, unit) = split_unit(word).ok_or(HELP)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return Err(HELP),
    };
    usize::try_from(number)
        .ok()
        .and_then(|number| number.checked_mul(bytes))
        .filter(|size| *size > 0)
        .ok_or(HELP)
}

/// Whether a listener is not to be opened.
pub(super) fn is_off(word: &str) -> bool {
    word == "off"
}

/// `127.0.0.1:8125`, `[::1]:8125`; `off`: none.
pub(super) fn listen_address(word: &str) -> Result<Option<SocketAddr>, InvalidValue> {
    if is_off(word) {
        return Ok(None);
    }
    let wrong = (
        "this is not an address to listen on",
        "write an IP address with a port: \"127.0.0.1:8125\", \"[::1]:8125\", or \"off\"",
    );
    word.parse().map(Some).map_err(|_| wrong)
}

/// An IP address without a port.
pub(super) fn source_address(word: &str) -> Result<IpAddr, InvalidValue> {
    let help = "write the local address that connections come from, as \"192.0.2.1\"";
    let address: IpAddr = word
        .parse()
        .map_err(|_| ("this is not an IP address", help))?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(("connections cannot come from this address", help));
    }
    Ok(address)
}

/// Where a service is: `http(s)://host[:port][/path]`, without a secret.
pub(super) fn base_url(word: &str) -> Result<Uri, InvalidValue> {
    let uri = http_url(word)?;
    if word.contains(['?', '#']) {
        return Err((
            "a base URL cannot have a query or a fragment",
            "remove it; the dialect writes what belongs to the account",
        ));
    }
    Ok(uri)
}

/// The base URL of a collector of traces.
pub(super) fn collector_url(word: &str) -> Result<Uri, InvalidValue> {
    let uri = http_url(word)?;
    if word.contains(['?', '#']) {
        return Err((
            "the base URL of a collector cannot have a query or a fragment",
            "remove it; a local collector can add what a remote one requires",
        ));
    }
    if uri.path().trim_end_matches('/').ends_with("/v1/traces") {
        return Err((
            "the base URL of a collector cannot end with `/v1/traces`",
            "remove `/v1/traces`; it is appended to the base URL",
        ));
    }
    Ok(uri)
}

/// An HTTP proxy on the way out.
pub(super) fn proxy_url(word: &str) -> Result<Uri, InvalidValue> {
    let uri = http_url(word)?;
    let bare =
        uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
    if bare {
        Ok(uri)
    } else {
        Err((
            "this is not the URL of an HTTP proxy",
            "write \"http://host:port\"",
        ))
    }
}

fn http_url(word: &str) -> Result<Uri, InvalidValue> {
    let wrong = ("this is not a URL", "write \"https://host/path\"");
    let uri: Uri = word.parse().map_err(|_| wrong)?;
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err((
            "a URL cannot contain a user or a password",
            "remove them; credentials come from a vault",
        ));
    }
    let named = uri.host().is_some_and(|host| !host.is_empty())
        && matches!(uri.scheme_str(), Some("http" | "https"));
    if !named {
        return Err(wrong);
    }
    if Authority::from_uri(&uri).is_none() {
        return Err((
            "this URL has no valid host, or its port is not a number from 1 to 65535",
            "write \"https://host/path\" or \"https://host:443/path\"",
        ));
    }
    Ok(uri)
}

/// The name of a sidecar in the status.
pub(super) fn instance_name(word: &str) -> Result<Option<String>, InvalidValue> {
    let wrong = (
        "this is not a valid instance name",
        "write 1 to 100 characters on one line, as \"otp\", or leave the key out",
    );
    if is_label(word) {
        Ok(Some(word.to_owned()))
    } else {
        Err(wrong)
    }
}

/// Whether `word` is one short line that a person reads.
fn is_label(word: &str) -> bool {
    (1..=100).contains(&word.chars().count())
        && word.trim() == word
        && !word.chars().any(char::is_control)
}

/// A service's name in traces: one line that a person reads.
pub(super) fn service_name(word: &str) -> Result<String, InvalidValue> {
    let wrong = (
        "this is not a valid service name",
        "write 1 to 100 characters on one line, as \"sms-sidecar\"",
    );
    if is_label(word) {
        Ok(word.to_owned())
    } else {
        Err(wrong)
    }
}

/// A name that can be a metric label, a log field and the first segment of a URL.
pub(super) fn identifier(word: &str) -> Result<(), InvalidValue> {
    let fit = (1..=40).contains(&word.len())
        && word
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    let wrong = (
        "this is not a valid name",
        "a name is 1 to 40 lower-case letters, digits, `-` and `_`: it becomes a metric label and a part of a URL",
    );
    if fit { Ok(()) } else { Err(wrong) }
}

/// A mount or a namespace of a vault server: `secret`, `teams/sms`.
pub(super) fn mount_path(word: &str) -> Result<(), InvalidValue> {
    let fit = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let wrong = (
        "this is not a valid mount or namespace",
        "write it as `bao secrets list` or `bao auth list` shows it: letters, digits, `-`, `_`, `.`, with `/` between its parts",
    );
    if word.trim_matches('/').split('/').all(fit) {
        Ok(())
    } else {
        Err(wrong)
    }
}

/// The beginning of a number in international form.
pub(super) fn phone_prefix(word: &str) -> Result<(), InvalidValue> {
    let digits = word.strip_prefix('+').unwrap_or(word);
    let fit = (1..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0');
    if fit {
        Ok(())
    } else {
        Err((
            "this is not a valid phone prefix",
            "write the country code and the digits after it: \"+998\", \"+99890\"",
        ))
    }
}

/// A country calling code: `998`.
pub(super) fn country(word: &str) -> Result<Option<NumberingPlan>, InvalidValue> {
    let is_code = (1..=3).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
    if !is_code {
        return Err((
            "this is not a country calling code",
            "write its digits, without plus sign or zeros: \"998\"",
        ));
    }
    NumberingPlan::of(word).map(Some).ok_or((
        "no country has this calling code",
        "write one to three digits, as \"998\" for Uzbekistan or \"7\" for Kazakhstan",
    ))
}

/// `GET /path`: one more operation that may pass.
pub(super) fn operation(word: &str) -> Result<(), InvalidValue> {
    const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    let fit = word.split_once(' ').is_some_and(|(method, path)| {
        METHODS.contains(&method)
            && path.starts_with('/')
            && !path.contains([' ', '?', '#'])
            && !path.contains("..")
    });
    if fit {
        Ok(())
    } else {
        Err((
            "this is not an operation",
            "write a method and a path below the base URL: \"GET /Accounts/{sid}/Balance.json\"",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        assert_eq!(size("1MiB"), Ok(1 << 20));
        for wrong in [
            "",
            "5",
            "MiB",
            "-1B",
            "1.5KiB",
            "1 MiB",
            "1MB",
            "0B",
            "99999999999999999999B",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert!(positive_duration("0s").is_err() && duration("3").is_err());
    }

    #[test]
    fn urls_hold_no_secret_and_no_query() {
        assert!(
            base_url("https://host.example:8443/a/b").is_ok()
                && base_url("http://127.0.0.1:1").is_ok()
        );
        for wrong in [
            "host.example",
            "/path",
            "ftp://host",
            "https://u:p@host",
            "https://u@host",
            "https://host/?key=1",
            "https://",
            "https:///x",
        ] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
        assert!(
            proxy_url("http://proxy:3128").is_ok()
                && proxy_url("https://proxy:3128").is_err()
                && proxy_url("http://proxy/x").is_err()
        );
    }

    #[test]
    fn names_prefixes_operations() {
        assert!(
            identifier("play-mobile_2").is_ok()
                && identifier("Play").is_err()
                && identifier("a/b").is_err()
                && identifier("").is_err()
        );
        assert!(
            phone_prefix("+998").is_ok()
                && phone_prefix("99890").is_ok()
                && phone_prefix("00998").is_err()
                && phone_prefix("+").is_err()
                && phone_prefix("+99 8").is_err()
        );
        for (word, fit) in [
            ("998", true),
            ("7", true),
            ("+998", false),
            ("00998", false),
            ("99", false),
            ("UZ", false),
            ("", false),
        ] {
            assert_eq!(country(word).is_ok(), fit, "{word}");
        }
        for (word, fit) in [
            ("GET /x", true),
            ("GET x", false),
            ("GET", false),
            ("get /x", false),
            ("GET /x?y", false),
            ("GET /../x", false),
            ("TRACE /x", false),
        ] {
            assert_eq!(operation(word).is_ok(), fit, "{word}");
        }
    }
}

//! What single words of the file mean: durations, sizes, addresses, URLs, names. Each says what it
//! wants, and never what it got.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Uri;

/// What is wrong with a word, and what would be right.
pub(super) type InvalidValue = (&'static str, &'static str);

/// `500ms` `3s` `1m` `2h` `30d`.
pub(super) fn duration(word: &str) -> Result<Duration, InvalidValue> {
    const HELP: InvalidValue = (
        "this is no length of time",
        "write a whole number with its unit: \"500ms\", \"3s\", \"1m\", \"2h\"",
    );
    let (number, unit) = split_unit(word).ok_or(HELP)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(HELP),
    };
    number
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
        .ok_or(HELP)
}

/// As `duration`, but more than none.
pub(super) fn positive_duration(word: &str) -> Result<Duration, InvalidValue> {
    duration(word).and_then(|time| {
        if time.is_zero() {
            Err(("no time at all is too little", "write at least \"1ms\""))
        } else {
            Ok(time)
        }
    })
}

/// `64KiB` `1MiB`.
pub(super) fn size(word: &str) -> Result<usize, InvalidValue> {
    const HELP: InvalidValue = (
        "this is no size",
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

fn split_unit(word: &str) -> Option<(u64, &str)> {
    let (number, unit) = word.split_at(word.find(|c: char| !c.is_ascii_digit())?);
    Some((number.parse().ok()?, unit))
}

/// `127.0.0.1:8125`, `[::1]:8125`; `off`: none.
pub(super) fn listen_address(word: &str) -> Result<Option<SocketAddr>, InvalidValue> {
    if word == "off" {
        return Ok(None);
    }
    let wrong = (
        "this is no address to listen on",
        "write an IP address with a port: \"127.0.0.1:8125\", \"[::1]:8125\", or \"off\"",
    );
    word.parse().map(Some).map_err(|_| wrong)
}

/// An IP address without a port.
pub(super) fn source_address(word: &str) -> Result<IpAddr, InvalidValue> {
    let help = "write the local address to send from, as \"192.0.2.1\"";
    let address: IpAddr = word.parse().map_err(|_| ("this is no IP address", help))?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(("nothing can be sent from this address", help));
    }
    Ok(address)
}

/// Where a service is: `http(s)://host[:port][/path]`, nothing secret in it.
pub(super) fn base_url(word: &str) -> Result<Uri, InvalidValue> {
    let uri = http_url(word)?;
    if word.contains(['?', '#']) {
        return Err((
            "a base URL ends with its path",
            "take the query away; what belongs to the account is written by the dialect",
        ));
    }
    Ok(uri)
}

/// A collector of traces: the base URL below which it takes them.
pub(super) fn collector_url(word: &str) -> Result<Uri, InvalidValue> {
    let uri = http_url(word)?;
    if word.contains(['?', '#']) {
        return Err((
            "a collector's base URL ends with its path",
            "take the query away; what a collector wants to know of us, a local one can add",
        ));
    }
    if uri.path().trim_end_matches('/').ends_with("/v1/traces") {
        return Err((
            "this is the whole URL, and the base is wanted",
            "take `/v1/traces` away; it is put below the base",
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
        Err(("this is no HTTP proxy", "write \"http://host:port\""))
    }
}

fn http_url(word: &str) -> Result<Uri, InvalidValue> {
    let wrong = ("this is no URL of a server", "write \"https://host/path\"");
    let uri: Uri = word.parse().map_err(|_| wrong)?;
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err((
            "a URL with user and password is a secret in a file",
            "take them away; credentials come from a vault",
        ));
    }
    let named = uri.host().is_some_and(|host| !host.is_empty())
        && matches!(uri.scheme_str(), Some("http" | "https"));
    if named { Ok(uri) } else { Err(wrong) }
}

/// A service's name in traces: one line that a person reads.
pub(super) fn service_name(word: &str) -> Result<String, InvalidValue> {
    let fit = (1..=100).contains(&word.chars().count())
        && word.trim() == word
        && !word.chars().any(char::is_control);
    let wrong = (
        "this is no name for a service",
        "write 1 to 100 characters on one line, as \"sms-sidecar\"",
    );
    if fit { Ok(word.to_owned()) } else { Err(wrong) }
}

/// A name that is fit to be a metric label, a log field and a URL's first segment.
pub(super) fn identifier(word: &str) -> Result<(), InvalidValue> {
    let fit = (1..=40).contains(&word.len())
        && word
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    let wrong = (
        "this name cannot be used",
        "a name is 1 to 40 of: small letters, digits, `-`, `_` (it becomes a metric label and part of a URL)",
    );
    if fit { Ok(()) } else { Err(wrong) }
}

/// Where something is mounted in a vault server: `secret`, `teams/sms`.
pub(super) fn mount_path(word: &str) -> Result<(), InvalidValue> {
    let fit = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let wrong = (
        "this names no place in a vault server",
        "write it as `bao secrets list` or `bao auth list` shows it: letters, digits, `-`, `_`, `.`, parts with `/` between",
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
            "this begins no phone number",
            "write the country code and what follows it: \"+998\", \"+99890\"",
        ))
    }
}

/// `GET /path`: one more call that may pass.
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
            "this names no operation",
            "write a method and a path below the base URL: \"GET /Accounts/{sid}/Balance.json\"",
        ))
    }
}

/// The holes of the text that the backend writes: it needs words of its own besides.
pub(super) fn template_holes(text: &str) -> Result<Vec<String>, InvalidValue> {
    let found: Vec<String> = holes(text)?.into_iter().map(str::to_owned).collect();
    let bare: usize = found.iter().map(|hole| hole.len() + 2).sum();
    if bare == text.len() {
        Err((
            "a text of nothing but holes fits every message",
            "write the words as the backend sends them",
        ))
    } else {
        Ok(found)
    }
}

/// The holes of a text, in their order.
pub(super) fn holes(text: &str) -> Result<Vec<&str>, InvalidValue> {
    const BROKEN: InvalidValue = (
        "a brace in this text does not belong to a hole",
        "a hole is `{name}`, its name of letters, digits and `_`",
    );
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (hole, behind) = after.split_once('}').ok_or(BROKEN)?;
        let named =
            !hole.is_empty() && hole.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !named || before.contains('}') {
            return Err(BROKEN);
        }
        if before.is_empty() && !found.is_empty() {
            return Err((
                "two holes without a word between them",
                "nothing says where the one ends; put some text between them",
            ));
        }
        found.push(hole);
        rest = behind;
    }
    if rest.contains('}') {
        Err(BROKEN)
    } else {
        Ok(found)
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
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1S",
            "99999999999999999999s",
            "9999999999999999999d",
            "é",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(positive_duration("0s").is_err() && size("0B").is_err() && size("1MB").is_err());
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

    #[test]
    fn holes_are_found_in_order() {
        assert_eq!(holes("kod {code} for {app_2}!"), Ok(vec!["code", "app_2"]));
        assert_eq!(holes("none"), Ok(vec![]));
        assert!(
            template_holes("{code}").is_err()
                && template_holes("").is_err()
                && template_holes("{code}.").is_ok()
        );
        for wrong in [
            "{", "}", "{}", "{a b}", "{{a}}", "{a}{b}", "a} {b}", "{a} }",
        ] {
            assert!(holes(wrong).is_err(), "{wrong}");
        }
    }
}

//! What stands in the JSON Schema for the texts that have a grammar of their own: a name for
//! people, the units and a pattern. A test holds each pattern to the parser in `values`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Declares a type that stands for a string with a grammar of its own: its name for people, its
/// unit (`""`: none) and the pattern that it matches.
macro_rules! text_types {
    ($($(#[$meta:meta])* $name:ident { $kind:literal $unit:literal $pattern:literal })*) => {
        $(
            $(#[$meta])*
            pub(super) struct $name;

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    text_schema($kind, $unit, $pattern)
                }
            }
        )*
    };
}

fn text_schema(kind: &str, unit: &str, pattern: &str) -> Schema {
    let mut schema = json_schema!({ "type": "string", "pattern": pattern, "x-type": kind });
    if !unit.is_empty() {
        schema.insert("x-unit".to_owned(), unit.into());
    }
    schema
}

text_types! {
    /// A duration that may be zero.
    DurationText { "duration" "`ms`, `s`, `m`, `h`, `d`" "^[0-9]+(ms|s|m|h|d)$" }
    /// A duration of at least a millisecond.
    PositiveDurationText { "duration" "`ms`, `s`, `m`, `h`, `d`" "^0*[1-9][0-9]*(ms|s|m|h|d)$" }
    /// A duration, or `never`.
    DurationOrNeverText { "duration or `\"never\"`" "`ms`, `s`, `m`, `h`, `d`" "^(never|0*[1-9][0-9]*(ms|s|m|h|d))$" }
    /// A number of bytes.
    SizeText { "size" "`B`, `KiB`, `MiB`" "^0*[1-9][0-9]*(B|KiB|MiB)$" }
    /// An address to listen on, or `off`.
    ListenAddressText { "IP address and port, or `\"off\"`" "" "^(off|([0-9.]+|\\[[0-9a-fA-F:.]+(%[0-9]+)?\\]):[0-9]{1,5})$" }
    /// An IP address without a port.
    IpAddressText { "IP address" "" "^[0-9a-fA-F:.]+$" }
    /// The base URL of a service.
    HttpUrlText { "URL" "" "^https?://[^/?#@ ]+(/[^?# ]*)?$" }
    /// The URL of an HTTP proxy.
    ProxyUrlText { "URL" "" "^http://[^/?#@ ]+/?$" }
    /// The beginning of a phone number in international form.
    PhonePrefixText { "phone prefix" "" "^\\+?[1-9][0-9]{0,14}$" }
    /// A country calling code without a plus sign.
    CountryCodeText { "calling code" "" "^[1-9][0-9]{0,2}$" }
    /// A path; a relative one starts at the file's folder.
    FilePathText { "path" "" "." }
    /// A name of the operator's choice.
    IdentifierText { "name" "" "^[a-z0-9_-]{1,40}$" }
    /// A mount of a vault server.
    MountPathText { "mount" "" "^/*[a-zA-Z0-9._-]+(/[a-zA-Z0-9._-]+)*/*$" }
    /// A method and a path.
    OperationText { "method and path" "" "^(GET|HEAD|POST|PUT|PATCH|DELETE) /[^ ?#]*$" }
    /// Text on one line.
    ServiceNameText { "text" "" "^\\S([^\\r\\n]{0,98}\\S)?$" }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::config::values::{self, InvalidValue};

    /// Words at which a pattern and its parser could disagree.
    const WORDS: [&str; 62] = [
        "",
        " ",
        "a",
        "A",
        "0",
        "off",
        "never",
        "1",
        "10s",
        "0s",
        "007ms",
        "10 s",
        "-1s",
        "+1s",
        "1.5s",
        "3d",
        "3w",
        "1KiB",
        "0B",
        "1MB",
        "00MiB",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]:8125",
        "::1",
        "localhost:1",
        "127.0.0.1:",
        "8125",
        "http://h",
        "https://h:8/a/b",
        "https://u@h",
        "https://h?x",
        "https://h#x",
        "https://",
        "ftp://h",
        "http://h/",
        "http://h/x",
        "h",
        "/h",
        "+998",
        "998",
        "00998",
        "+",
        "+1234567890123456",
        "play-mobile_2",
        "a/b",
        "/a/b/",
        "a//b",
        "a.b",
        "é",
        "GET /x",
        "get /x",
        "GET x",
        "GET /x?y",
        "GET /x y",
        "TRACE /x",
        "GET /a/{sid}.json",
        "sms-sidecar",
        " x",
        "x ",
        "x y",
        "x\ny",
    ];

    fn pattern_of<T: JsonSchema>() -> Regex {
        let schema = T::json_schema(&mut SchemaGenerator::default());
        Regex::new(schema.get("pattern").unwrap().as_str().unwrap()).unwrap()
    }

    fn disagreements<T: JsonSchema, V>(
        parse: impl Fn(&str) -> Result<V, InvalidValue>,
    ) -> Vec<&'static str> {
        let pattern = pattern_of::<T>();
        WORDS
            .into_iter()
            .filter(|word| pattern.is_match(word) != parse(word).is_ok())
            .collect()
    }

    #[test]
    fn patterns_accept_what_check_accepts() {
        let found = [
            disagreements::<DurationText, _>(values::duration),
            disagreements::<PositiveDurationText, _>(values::positive_duration),
            disagreements::<SizeText, _>(values::size),
            disagreements::<ListenAddressText, _>(values::listen_address),
            disagreements::<HttpUrlText, _>(values::base_url),
            disagreements::<ProxyUrlText, _>(values::proxy_url),
            disagreements::<PhonePrefixText, _>(values::phone_prefix),
            disagreements::<CountryCodeText, _>(values::country),
            disagreements::<IdentifierText, _>(values::identifier),
            disagreements::<MountPathText, _>(values::mount_path),
            disagreements::<OperationText, _>(values::operation),
            disagreements::<ServiceNameText, _>(values::service_name),
        ];
        assert_eq!(found, [const { Vec::<&str>::new() }; 12]);
    }
}

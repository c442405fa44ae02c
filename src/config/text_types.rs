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

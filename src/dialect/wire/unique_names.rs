//! JSON in which no object has a name twice, or the name by which the JSON library marks a number.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Deserialized only to check the names.
pub(super) struct UniqueNames;

impl<'de> Deserialize<'de> for UniqueNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameVisitor)
    }
}

/// The library gives a number as an object with this name: an object of a client's that has it would be read
/// as a number.
pub(super) const NUMBER_MARK: &str = "$serde_json::private::Number";

/// A name in an object, or the mark of a number.
enum Key {
    Name(String),
    NumberMark,
}

impl<'de> Deserialize<'de> for Key {
    /// A name of the text can be an option, and the mark that the library adds is always a text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        String::deserialize(deserializer).map(Key::Name)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Key, E> {
        Ok(Key::NumberMark)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = UniqueNames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueNames, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(key) = map.next_key()? {
            let reason = match key {
                Key::NumberMark => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Key::Name(name) if name == NUMBER_MARK => Some("a name is reserved"),
                Key::Name(name) => (!names.insert(name)).then_some("a name is given twice"),
            };
            if let Some(reason) = reason {
                return Err(A::Error::custom(reason));
            }
            map.next_value::<UniqueNames>()?;
        }
        Ok(UniqueNames)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<UniqueNames, A::Error> {
        while items.next_element::<UniqueNames>()?.is_some() {}
        Ok(UniqueNames)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_unit<E: Error>(self) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Option<String> {
        let error = serde_json::from_str::<UniqueNames>(text).err()?;
        Some(error.to_string().split(" at line").next()?.to_owned())
    }

    #[test]
    fn numbers_of_every_size_are_values() {
        for text in [
            r#"{"a":1,"b":{"a":-1.5e300},"c":[{"a":1},{"a":123456789012345678901234567890}]}"#,
            r#"["$serde_json::private::Number",{"a":"$serde_json::private::Number"}]"#,
            "12",
            "null",
        ] {
            assert_eq!(reason(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_twice_is_found_in_every_spelling_and_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a/b":1,"a\/b":2}"#,
            r#"{"😀":1,"\ud83d\ude00":2}"#,
            r#"[[{"x":{"y":[{"a":1,"b":2,"\u0061":3}]}}]]"#,
            r#"{"":1,"":2}"#,
        ] {
            assert_eq!(
                reason(text).as_deref(),
                Some("a name is given twice"),
                "{text}"
            );
        }
        for text in [
            r#"{"$serde_json::private::Number":"1"}"#,
            r#"[{"a":{"\u0024serde_json::private::Number":"1"}}]"#,
        ] {
            assert_eq!(
                reason(text).as_deref(),
                Some("a name is reserved"),
                "{text}"
            );
        }
    }
}

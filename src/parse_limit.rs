//! How deep, and of how many values, a tree may be that is made from foreign bytes. A value in memory
//! takes up to a hundred times its bytes, so the size of a body alone bounds nothing: 1 MiB of
//! `[1],[1],…` becomes 100 MiB. The text is counted before anything is made from it.

use serde::de::DeserializeOwned;

/// The most values of one body: scalars, lists and objects of JSON, fields of a form, elements of XML. Enough for a
/// batch of 1,000 messages with ten values each; at most 2.5 MiB in memory beside the strings themselves.
pub const MAX_VALUES: usize = 10_000;

/// The deepest nesting of lists, objects and elements.
pub const MAX_DEPTH: usize = 64;

/// What one value takes in memory, beside its own text: measured, rounded up.
pub const VALUE_BYTES: usize = 256;

/// The limit that a body exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseLimit {
    /// More than [`MAX_VALUES`].
    #[error("the body has more than {MAX_VALUES} values")]
    Values,
    /// More than [`MAX_DEPTH`].
    #[error("the body is nested more than {MAX_DEPTH} levels deep")]
    Depth,
}

/// Why JSON cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Nothing was made of it.
    #[error(transparent)]
    Limit(#[from] ParseLimit),
    /// It is not JSON, or not of this type.
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
}

/// Reads foreign JSON within the limits.
pub fn read_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    count_json(text)?;
    Ok(serde_json::from_slice(text)?)
}

/// The number of values of JSON, without making anything of it; text that is not JSON gets any count.
pub fn count_json(text: &[u8]) -> Result<usize, ParseLimit> {
    let mut counter = ValueCounter::default();
    let mut depth = 0_usize;
    let mut previous = b' ';
    let mut rest = text.iter();
    counter.add()?;
    while let Some(byte) = rest.next() {
        match byte {
            byte if byte.is_ascii_whitespace() => continue,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => counter.add()?,
            b'"' => skip_string(&mut rest),
            _ => {}
        }
        // Something is in the list or object, so it has one value more than commas.
        if matches!(previous, b'{' | b'[') && !matches!(byte, b'}' | b']') {
            counter.add()?;
        }
        check_depth(depth)?;
        previous = *byte;
    }
    Ok(counter.0)
}

/// The number of pairs of a query or form; some services separate them by `;`.
pub fn count_pairs(text: &[u8]) -> Result<usize, ParseLimit> {
    let separators = text.iter().filter(|byte| matches!(byte, b'&' | b';'));
    within_limit(separators.count() + usize::from(!text.is_empty()))
}

/// A number of values, if a body may have that many.
pub fn within_limit(values: usize) -> Result<usize, ParseLimit> {
    if values <= MAX_VALUES {
        Ok(values)
    } else {
        Err(ParseLimit::Values)
    }
}

/// Whether lists, objects or elements may be nested this deep.
pub fn check_depth(depth: usize) -> Result<(), ParseLimit> {
    if depth <= MAX_DEPTH {
        Ok(())
    } else {
        Err(ParseLimit::Depth)
    }
}

/// Counts the values of one body.
#[derive(Debug, Default)]
pub struct ValueCounter(usize);

impl ValueCounter {
    /// One value more.
    pub fn add(&mut self) -> Result<(), ParseLimit> {
        self.0 = within_limit(self.0 + 1)?;
        Ok(())
    }
}

/// To the end of a string whose opening quote was read.
fn skip_string(rest: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                rest.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn values_of(tree: &Value) -> usize {
        1 + match tree {
            Value::Array(items) => items.iter().map(values_of).sum(),
            Value::Object(fields) => fields.values().map(values_of).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }

    fn list_of(item: &str, count: usize) -> String {
        format!("[{}]", vec![item; count].join(","))
    }

    #[test]
    fn the_largest_tree_is_read_and_one_value_more_is_not() {
        let object = format!("{{{}}}", vec![r#""a":1"#; MAX_VALUES].join(","));
        for (fits, exceeds) in [
            (list_of("{}", MAX_VALUES - 1), list_of("{}", MAX_VALUES)),
            (
                list_of("[ 1 ]", MAX_VALUES / 2 - 1),
                list_of("[1]", MAX_VALUES / 2),
            ),
            (
                list_of(r#"{"a":1}"#, MAX_VALUES / 2 - 1),
                list_of(r#"{"a":1}"#, MAX_VALUES / 2),
            ),
            (list_of("\n1 ", MAX_VALUES - 1), object),
        ] {
            let tree: Value = read_json(fits.as_bytes()).unwrap();
            assert!(values_of(&tree) >= MAX_VALUES - 1);
            assert_eq!(count_json(exceeds.as_bytes()), Err(ParseLimit::Values));
        }
    }

    #[test]
    fn depth_is_bounded_before_the_parser_recurses() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(count_json(nested(MAX_DEPTH).as_bytes()), Ok(MAX_DEPTH));
        assert_eq!(
            count_json(nested(MAX_DEPTH + 1).as_bytes()),
            Err(ParseLimit::Depth)
        );
        assert_eq!(
            count_json("{\"a\":".repeat(1 << 17).as_bytes()),
            Err(ParseLimit::Depth)
        );
    }

    #[test]
    fn what_is_in_a_string_does_not_count() {
        let text = format!(r#"["{}","\\","a"]"#, r#"[{,\""#.repeat(MAX_VALUES));
        assert_eq!(count_json(text.as_bytes()), Ok(4));
    }

    #[test]
    fn pairs_count_by_either_separator() {
        for separator in ["&", ";"] {
            let fits = vec!["a=1"; MAX_VALUES].join(separator);
            assert_eq!(count_pairs(fits.as_bytes()), Ok(MAX_VALUES));
            let exceeds = format!("{fits}{separator}");
            assert_eq!(count_pairs(exceeds.as_bytes()), Err(ParseLimit::Values));
        }
    }

    fn any_tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[\\[{,\"\\\\}\\]: a]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[\\[{,\"\\\\a]{0,4}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The count of the text is the number of values of the tree, whatever its strings hold and however it is
        /// indented.
        #[test]
        fn the_text_counts_as_the_tree(tree in any_tree()) {
            let filler = MAX_VALUES - values_of(&tree) - 1;
            for text in [tree.to_string(), format!("{tree:#}")] {
                let fits = format!("[{text}{}]", ",1".repeat(filler));
                prop_assert_eq!(count_json(fits.as_bytes()), Ok(MAX_VALUES));
                let exceeds = format!("[{text}{}]", ",1".repeat(filler + 1));
                prop_assert_eq!(count_json(exceeds.as_bytes()), Err(ParseLimit::Values));
            }
        }
    }
}

//! What a path leads through: a tree of values that was made, or the values of a JSON text where they stand.

use serde_json::Value;

/// What kind of value one is, as far as a path can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Null,
    /// A text, a number, `true` or `false`.
    Scalar,
    List,
    Object,
}

/// A value with the values inside it.
pub(crate) trait TreeValue<'t>: Copy {
    /// What kind of value it is.
    fn shape(self) -> Shape;

    /// The names and values of an object, in its order; none of another value.
    fn fields(self) -> impl Iterator<Item = (&'t str, Self)>;

    /// The values of a list; none of another value.
    fn items(self) -> impl Iterator<Item = Self>;

    /// The value of this name in an object.
    fn field(self, name: &str) -> Option<Self> {
        self.fields()
            .find_map(|(own, value)| (own == name).then_some(value))
    }

    /// A copy of it as a tree.
    fn to_value(self) -> Value;
}

impl<'t> TreeValue<'t> for &'t Value {
    fn shape(self) -> Shape {
        match self {
            Value::Null => Shape::Null,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => Shape::Scalar,
            Value::Array(_) => Shape::List,
            Value::Object(_) => Shape::Object,
        }
    }

    fn fields(self) -> impl Iterator<Item = (&'t str, Self)> {
        let fields = self.as_object().into_iter().flatten();
        fields.map(|(name, value)| (name.as_str(), value))
    }

    fn items(self) -> impl Iterator<Item = Self> {
        self.as_array().into_iter().flatten()
    }

    fn field(self, name: &str) -> Option<Self> {
        self.get(name)
    }

    fn to_value(self) -> Value {
        self.clone()
    }
}

//! Value of a parameter: what ROS 2 sends, as a Rust enum.

use crate::msg::rcl_interfaces::ParameterValue;
use std::fmt;

/// Value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Double(f64),
    /// Text.
    Text(String),
}

impl Value {
    /// Returns the value of a message.
    ///
    /// # Errors
    /// With the name of the type, if the node has no parameter of that type.
    pub fn of_message(message: ParameterValue) -> Result<Self, String> {
        match message.r#type {
            1 => Ok(Self::Bool(message.bool_value)),
            2 => Ok(Self::Integer(message.integer_value)),
            3 => Ok(Self::Double(message.double_value)),
            4 => Ok(Self::Text(message.string_value)),
            0 => Err("nothing, which would delete the parameter".into()),
            5..=9 => Err("an array".into()),
            unknown => Err(format!("a value of the unknown type {unknown}")),
        }
    }

    /// Returns the value as a message.
    pub fn message(self) -> ParameterValue {
        let r#type = self.type_number();
        let message = ParameterValue { r#type, ..ParameterValue::default() };
        match self {
            Self::Bool(bool_value) => ParameterValue { bool_value, ..message },
            Self::Integer(integer_value) => ParameterValue { integer_value, ..message },
            Self::Double(double_value) => ParameterValue { double_value, ..message },
            Self::Text(string_value) => ParameterValue { string_value, ..message },
        }
    }

    /// Returns the number of the type in `rcl_interfaces/ParameterType`.
    pub const fn type_number(&self) -> u8 {
        match self {
            Self::Bool(_) => 1,
            Self::Integer(_) => 2,
            Self::Double(_) => 3,
            Self::Text(_) => 4,
        }
    }

    /// Parses a value as the command line gives it, as ROS 2 does: `true`, `3`, `0.5`, or else text.
    pub fn parse(text: &str) -> Self {
        let number = || text.parse().map(Self::Integer).or_else(|_| text.parse().map(Self::Double));
        match text {
            "true" | "True" => Self::Bool(true),
            "false" | "False" => Self::Bool(false),
            text if text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) => {
                number().unwrap_or_else(|_| Self::Text(text.into()))
            }
            text => Self::Text(unquoted(text).into()),
        }
    }
}

/// The text between quotes, if it is quoted.
fn unquoted(text: &str) -> &str {
    let between = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    between('"').or_else(|| between('\'')).unwrap_or(text)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "the bool {value}"),
            Self::Integer(value) => write!(f, "the integer {value}"),
            Self::Double(value) => write!(f, "the double {value}"),
            Self::Text(value) => write!(f, "the string `{}`", fieldfit::escape(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a path that is read as a number, a number that is read as text, quotes that become part of a value.
    #[test]
    fn text_is_read_as_ros_2_reads_it() {
        let cases = [
            ("true", Value::Bool(true)),
            ("-3", Value::Integer(-3)),
            ("0.5", Value::Double(0.5)),
            ("3e2", Value::Double(300.0)),
            ("/models/lite0", Value::Text("/models/lite0".into())),
            ("2026-store", Value::Text("2026-store".into())),
            ("'5'", Value::Text("5".into())),
            ("nan", Value::Text("nan".into())),
            ("", Value::Text(String::new())),
        ];
        for (text, expected) in cases {
            assert_eq!(Value::parse(text), expected, "{text}");
        }
    }

    /// Catches: a value that comes back from a message as another one.
    #[test]
    fn messages_carry_values_there_and_back() {
        for value in [Value::Bool(true), Value::Integer(-7), Value::Double(0.25), Value::Text("x".into())] {
            assert_eq!(Value::of_message(value.clone().message()), Ok(value));
        }
        for r#type in [0, 5, 9, 10, 255] {
            assert!(Value::of_message(ParameterValue { r#type, ..ParameterValue::default() }).is_err());
        }
    }
}

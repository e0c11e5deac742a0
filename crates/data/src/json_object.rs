//! JSON objects of tables, whose fields are distinct.

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt::{self, Formatter};

/// Reads a JSON object.
///
/// # Errors
/// If the text is none, or a field is there twice: either value could be meant.
pub fn json_object(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let object = reader.deserialize_map(DistinctFields)?;
    reader.end()?;
    Ok(object)
}

/// Visitor of an object that refuses a second field of a name.
struct DistinctFields;

impl<'de> Visitor<'de> for DistinctFields {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, value)) = fields.next_entry::<String, Value>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the field `{name}` is there twice")));
            }
            object.insert(name, value);
        }
        Ok(object)
    }
}

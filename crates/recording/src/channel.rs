//! Channels: what a recording's messages are about and how they are encoded.

use crate::byte_reader::ByteReader;
use std::collections::BTreeMap;

/// Maximum bytes of a topic, a schema's name or an encoding's.
const MAX_NAME_BYTES: usize = 1024;

/// Channel of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Channel {
    /// Its topic.
    pub topic: String,
    /// Encoding of its messages: `cdr`, `json`, `protobuf`, `ros1`.
    pub encoding: String,
    /// Name of the messages' type; empty where none is given.
    pub schema: String,
}

impl Channel {
    /// Returns the type and the encoding for a message to the user.
    pub fn type_text(&self) -> String {
        let schema = if self.schema.is_empty() { "messages without a type" } else { &self.schema };
        format!("{schema} in {}", self.encoding)
    }
}

/// Channels of a file by their number.
#[derive(Debug, Default)]
pub(crate) struct ChannelTable {
    schemas: BTreeMap<u16, String>,
    channels: BTreeMap<u16, Channel>,
}

impl ChannelTable {
    /// Adds the schema of a record. Its definition is not kept.
    pub fn add_schema(&mut self, record: &[u8]) -> Result<(), String> {
        let mut record = ByteReader::new(record);
        let id = record.u16("number")?;
        let name = record.text(MAX_NAME_BYTES, "name")?;
        match self.schemas.get(&id) {
            Some(known) if known != name => Err(format!("schema {id} is `{name}` here, and was `{known}` before")),
            Some(_known) => Ok(()),
            None => {
                self.schemas.insert(id, name.to_owned());
                Ok(())
            }
        }
    }

    /// Adds the channel of a record.
    pub fn add_channel(&mut self, record: &[u8]) -> Result<(), String> {
        let mut record = ByteReader::new(record);
        let (id, schema) = (record.u16("number")?, record.u16("schema")?);
        let topic = record.text(MAX_NAME_BYTES, "topic")?.to_owned();
        let encoding = record.text(MAX_NAME_BYTES, "encoding")?.to_owned();
        let schema = match (schema, self.schemas.get(&schema)) {
            (0, _) => String::new(),
            (_, Some(name)) => name.clone(),
            (_, None) => return Err(format!("channel {id} ({topic}) has schema {schema}, which is missing")),
        };
        let channel = Channel { topic, encoding, schema };
        match self.channels.get(&id) {
            Some(known) if *known != channel => {
                Err(format!("channel {id} is `{}` here, and was `{}` before", channel.topic, known.topic))
            }
            Some(_known) => Ok(()),
            None => {
                self.channels.insert(id, channel);
                Ok(())
            }
        }
    }

    pub fn get(&self, id: u16) -> Result<&Channel, String> {
        self.channels.get(&id).ok_or_else(|| format!("it is of channel {id}, which is missing"))
    }
}

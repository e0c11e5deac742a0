//! Text messages: `std_msgs/msg/String`, and JSON with a string `label` or `data`.

use crate::cdr::CdrReader;
use crate::channel::Channel;
use crate::image_message::ImageFormat;
use serde_json::Value;

/// Encoding of a channel's texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// `std_msgs/msg/String` in CDR.
    RosString,
    /// An object in JSON with a string `label` or `data`.
    Json,
}

impl TextFormat {
    /// Returns the format of a channel's texts; `None` if it has no texts that are read, as one of images.
    pub fn of(channel: &Channel) -> Option<Self> {
        match (channel.encoding.as_str(), channel.schema.as_str()) {
            ("cdr", "std_msgs/msg/String") => Some(Self::RosString),
            ("json", _) if ImageFormat::of(channel).is_none() => Some(Self::Json),
            _other => None,
        }
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// The defect, if the message is malformed or holds no text.
    pub fn decode(self, message: &[u8]) -> Result<String, String> {
        match self {
            Self::RosString => CdrReader::new(message)?.text("data").map(str::to_owned),
            Self::Json => {
                let message: Value =
                    serde_json::from_slice(message).map_err(|error| format!("it is no JSON ({error})"))?;
                let text = ["label", "data"].iter().find_map(|field| message.get(field)?.as_str());
                Ok(text.ok_or("it has no string `label` or `data`")?.to_owned())
            }
        }
    }
}

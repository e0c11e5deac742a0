//! Image messages: the images of ROS 2 and Foxglove, encoded or as pixels.

use crate::cdr::CdrReader;
use crate::channel::Channel;
use crate::protobuf;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::borrow::Cow;

/// Field of `foxglove.CompressedImage` that holds the image.
const FOXGLOVE_DATA: u64 = 2;

/// Type and encoding of a channel's images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// `sensor_msgs/msg/CompressedImage` in CDR.
    RosCompressed,
    /// `sensor_msgs/msg/Image` in CDR.
    RosRaw,
    /// `foxglove.CompressedImage` in JSON.
    FoxgloveJson,
    /// `foxglove.CompressedImage` in protobuf.
    FoxgloveProtobuf,
}

/// Image of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageMessage<'a> {
    /// Bytes of an image file.
    Encoded(Cow<'a, [u8]>),
    /// Pixels.
    Raw(RawImage<'a>),
}

/// Pixels of a `sensor_msgs/msg/Image`, as the message states them: nothing of it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawImage<'a> {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes from the start of a row to the start of the next.
    pub step: u32,
    /// Name of the pixels' format: `rgb8`, `mono8`.
    pub encoding: &'a str,
    /// Rows from top to bottom.
    pub data: &'a [u8],
}

impl ImageFormat {
    /// Returns the format of a channel's images; `None` if it has no images that are read.
    pub fn of(channel: &Channel) -> Option<Self> {
        match (channel.encoding.as_str(), channel.schema.as_str()) {
            ("cdr", "sensor_msgs/msg/CompressedImage") => Some(Self::RosCompressed),
            ("cdr", "sensor_msgs/msg/Image") => Some(Self::RosRaw),
            ("json", "foxglove.CompressedImage") => Some(Self::FoxgloveJson),
            ("protobuf", "foxglove.CompressedImage") => Some(Self::FoxgloveProtobuf),
            _other => None,
        }
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// The defect, if the message is malformed.
    pub fn decode(self, message: &[u8]) -> Result<ImageMessage<'_>, String> {
        match self {
            Self::RosCompressed => {
                let mut message = CdrReader::new(message)?;
                message.skip_header()?;
                message.text("format")?;
                Ok(ImageMessage::Encoded(message.bytes("data")?.into()))
            }
            Self::RosRaw => raw(message).map(ImageMessage::Raw),
            Self::FoxgloveJson => {
                let message: FoxgloveImage<'_> = serde_json::from_slice(message)
                    .map_err(|error| format!("it is no foxglove.CompressedImage in JSON ({error})"))?;
                let data = STANDARD.decode(message.data.as_bytes());
                Ok(ImageMessage::Encoded(data.map_err(|error| format!("its data is no base64 ({error})"))?.into()))
            }
            Self::FoxgloveProtobuf => {
                let data = protobuf::bytes_field(message, FOXGLOVE_DATA)?;
                Ok(ImageMessage::Encoded(data.ok_or("it has no data")?.into()))
            }
        }
    }
}

/// Fields of `foxglove.CompressedImage` that are read.
#[derive(Deserialize)]
struct FoxgloveImage<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
}

fn raw(message: &[u8]) -> Result<RawImage<'_>, String> {
    let mut message = CdrReader::new(message)?;
    message.skip_header()?;
    let (height, width) = (message.u32("height")?, message.u32("width")?);
    let encoding = message.text("encoding")?;
    // The byte order of pixels of more than 8 bits, which are not read.
    message.u8("is_bigendian")?;
    let step = message.u32("step")?;
    Ok(RawImage { width, height, step, encoding, data: message.bytes("data")? })
}

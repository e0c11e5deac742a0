//! Package `sensor_msgs`: images of a camera.

use crate::msg::interfaces;
use crate::msg::std_msgs::Header;
use serde::{Deserialize, Serialize};

/// Image as pixels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Image {
    /// Time and coordinate frame of the camera.
    pub header: Header,
    /// Number of rows.
    pub height: u32,
    /// Number of columns.
    pub width: u32,
    /// Format of a pixel, as in `sensor_msgs/image_encodings.hpp`.
    pub encoding: String,
    /// Whether values of several bytes begin with the high byte.
    pub is_bigendian: u8,
    /// Bytes from the start of a row to the start of the next.
    pub step: u32,
    /// The rows.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// Image as a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CompressedImage {
    /// Time and coordinate frame of the camera.
    pub header: Header,
    /// Format of the file, such as `jpeg` or `rgb8; jpeg compressed bgr8`.
    pub format: String,
    /// The file's bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

interfaces! { "sensor_msgs":
    Image = "d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47",
    CompressedImage = "15640771531571185e2efc8a100baf923961a4d15d5569652e6cb6691e8e371a",
}

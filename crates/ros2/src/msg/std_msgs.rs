//! Package `std_msgs`: headers and text.

use crate::msg::builtin_interfaces::Time;
use crate::msg::interfaces;
use serde::{Deserialize, Serialize};

/// Header of a message: when and in which coordinate frame its data was captured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Header {
    /// Time of capture.
    pub stamp: Time,
    /// Coordinate frame.
    pub frame_id: std::string::String,
}

/// Text. The name of the type is `String`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct String {
    /// The text.
    pub data: std::string::String,
}

interfaces! { "std_msgs":
    String = "df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18",
}

//! Package `vision_msgs`, version 4: classes of images and boxes.

use crate::msg::geometry_msgs::PoseWithCovariance;
use crate::msg::interfaces;
use crate::msg::std_msgs::Header;
use serde::{Deserialize, Serialize};

/// A class with its score.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ObjectHypothesis {
    /// Name of the class.
    pub class_id: String,
    /// Its probability, 0..1.
    pub score: f64,
}

/// Classes of an image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Classification {
    /// Header of the image.
    pub header: Header,
    /// The classes by descending score.
    pub results: Vec<ObjectHypothesis>,
}

/// A class of an object and where the object is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ObjectHypothesisWithPose {
    /// The class.
    pub hypothesis: ObjectHypothesis,
    /// The pose.
    pub pose: PoseWithCovariance,
}

/// Point of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Point2D {
    /// Column.
    pub x: f64,
    /// Row.
    pub y: f64,
}

/// Position and rotation in an image.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Pose2D {
    /// Position in pixels.
    pub position: Point2D,
    /// Rotation in radians.
    pub theta: f64,
}

/// Box of an image.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BoundingBox2D {
    /// Centre, about which the box is rotated.
    pub center: Pose2D,
    /// Width in pixels.
    pub size_x: f64,
    /// Height in pixels.
    pub size_y: f64,
}

/// Object in an image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Detection2D {
    /// Header of the image.
    pub header: Header,
    /// Classes of the object, by descending score.
    pub results: Vec<ObjectHypothesisWithPose>,
    /// Box around the object.
    pub bbox: BoundingBox2D,
    /// Name of the object, the same in all images of a track.
    pub id: String,
}

/// Objects in an image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Detection2DArray {
    /// Header of the image.
    pub header: Header,
    /// The objects.
    pub detections: Vec<Detection2D>,
}

interfaces! { "vision_msgs":
    Classification = "f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143",
    Detection2DArray = "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
}

//! Boxes of a detector as parts of its image: finds the image by its stamp, and classifies each box's crop.

use crate::classification::{AnswerOptions, hypotheses};
use crate::image::{CameraImage, Encoding};
use crate::msg::builtin_interfaces::Time;
use crate::msg::vision_msgs::{BoundingBox2D, Detection2D, Detection2DArray, ObjectHypothesisWithPose};
use fieldfit::{Error, Frame, PixelFormat, Pixels, Prediction, Rect, Runtime};
use std::collections::VecDeque;
use std::sync::Arc;
use thiserror::Error as ThisError;

/// Most images that wait for their boxes.
const MAX_IMAGES: usize = 32;
/// Most bytes of them.
const MAX_BYTES: usize = 96 << 20;

/// Images that wait for their boxes, the newest of them.
#[derive(Debug, Default)]
pub struct ImageBuffer {
    images: VecDeque<Arc<CameraImage>>,
    bytes: usize,
}

/// Boxes that are not classified.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum DetectionError {
    /// Boxes of an image that is not in the buffer.
    #[error(
        "no image has the stamp {}.{:09} of the detections: the detector must copy the image's stamp, and answer within {held} images",
        stamp.sec,
        stamp.nanosec
    )]
    NoImage {
        /// The stamp of the detections.
        stamp: Time,
        /// Number of images that were in the buffer.
        held: usize,
    },
    /// An image that is refused.
    #[error(transparent)]
    Image(#[from] crate::image::ImageError),
    /// Boxes that the runtime does not answer.
    #[error(transparent)]
    Runtime(#[from] Error),
}

impl ImageBuffer {
    /// Adds an image, and drops the oldest that are too many.
    pub fn push(&mut self, image: CameraImage) {
        self.bytes += image.len();
        self.images.push_back(Arc::new(image));
        while self.images.len() > MAX_IMAGES || (self.bytes > MAX_BYTES && self.images.len() > 1) {
            let dropped = self.images.pop_front();
            self.bytes -= dropped.map_or(0, |image| image.len());
        }
    }

    /// Returns the newest image with that stamp.
    ///
    /// # Errors
    /// [`DetectionError::NoImage`] if there is none.
    pub fn find(&self, stamp: Time) -> Result<Arc<CameraImage>, DetectionError> {
        let found = self.images.iter().rev().find(|image| image.header().stamp == stamp);
        found.cloned().ok_or(DetectionError::NoImage { stamp, held: self.images.len() })
    }

    /// Drops all images.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Classifies the boxes of an image, and puts the classes in place of the detector's. A box outside the image gets none.
///
/// # Errors
/// If the image is refused or cannot be decoded, or the runtime does not answer.
pub fn classify(
    runtime: &Runtime,
    image: &CameraImage,
    encoding: Option<Encoding>,
    mut boxes: Detection2DArray,
    options: AnswerOptions,
) -> Result<Detection2DArray, DetectionError> {
    let frame = image.frame(encoding)?;
    let decoded;
    let pixels = match frame {
        Frame::Pixels(pixels) => pixels,
        // Once for all its boxes.
        Frame::Encoded(_) => {
            decoded = frame.to_rgb().map_err(Error::from)?;
            Pixels::packed(decoded.as_raw(), PixelFormat::Rgb8, decoded.width(), decoded.height())
        }
    };
    let parts: Vec<Option<Rect>> = boxes.detections.iter().map(|detection| part(&detection.bbox, &pixels)).collect();
    let crops = parts.iter().flatten().map(|rect| pixels.crop(*rect).map(Frame::Pixels));
    let crops: Vec<Frame<'_>> = crops.collect::<Result<_, _>>().map_err(Error::from)?;
    let mut predictions = Vec::new();
    runtime.infer_batch(&crops, &mut predictions)?;
    let mut predictions = predictions.iter();
    for (detection, part) in boxes.detections.iter_mut().zip(parts) {
        let prediction = part.and_then(|_| predictions.next());
        detection.results = prediction.map_or_else(Vec::new, |prediction| classes(detection, prediction, options));
    }
    Ok(boxes)
}

/// The classes of a box, at the pose that the detector gave it.
fn classes(detection: &Detection2D, prediction: &Prediction, options: AnswerOptions) -> Vec<ObjectHypothesisWithPose> {
    let pose = detection.results.first().map(|result| result.pose).unwrap_or_default();
    hypotheses(prediction, options).map(|hypothesis| ObjectHypothesisWithPose { hypothesis, pose }).collect()
}

/// The pixels of a box, its upright hull where it is rotated; `None` if it is empty or outside the image.
///
/// Where pixels share colours, it begins and ends at a pair.
fn part(bbox: &BoundingBox2D, pixels: &Pixels<'_>) -> Option<Rect> {
    if !(bbox.size_x > 0.0 && bbox.size_y > 0.0) {
        return None;
    }
    let (sine, cosine) = bbox.center.theta.sin_cos();
    let width = (bbox.size_x * cosine).abs() + (bbox.size_y * sine).abs();
    let height = (bbox.size_x * sine).abs() + (bbox.size_y * cosine).abs();
    let (left, width) = span(bbox.center.position.x, width, pixels.width, pixels.format)?;
    let (top, height) = span(bbox.center.position.y, height, pixels.height, pixels.format)?;
    Some(Rect { left, top, width, height })
}

/// First pixel and number of pixels of a length about a centre, inside a side.
fn span(centre: f64, length: f64, side: u32, format: PixelFormat) -> Option<(u32, u32)> {
    let is_shared = matches!(format, PixelFormat::Yuyv | PixelFormat::Uyvy | PixelFormat::Nv12);
    let block = if is_shared { 2.0 } else { 1.0 };
    let first = ((centre - length / 2.0) / block).floor() * block;
    let end = ((centre + length / 2.0) / block).ceil() * block;
    // No number is inside a side if it is not finite.
    let (first, end) = (first.max(0.0), end.min(f64::from(side)));
    (length.is_finite() && centre.is_finite() && first < end).then_some((first as u32, (end - first) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg::sensor_msgs::Image;
    use crate::msg::vision_msgs::{Point2D, Pose2D};

    fn bbox([x, y]: [f64; 2], theta: f64, [size_x, size_y]: [f64; 2]) -> BoundingBox2D {
        BoundingBox2D { center: Pose2D { position: Point2D { x, y }, theta }, size_x, size_y }
    }

    /// Catches: a crop that is shifted by half its size, outside the image, or between two pixels that share a colour.
    #[test]
    fn boxes_become_parts_inside_the_image() {
        let data = vec![0; 64 * 48 * 4];
        let rgb = Pixels::packed(&data[..64 * 48 * 3], PixelFormat::Rgb8, 64, 48);
        let yuv = Pixels::packed(&data[..64 * 48 * 2], PixelFormat::Yuyv, 64, 48);
        let rect = |left, top, width, height| Some(Rect { left, top, width, height });
        assert_eq!(part(&bbox([32.0, 24.0], 0.0, [10.0, 20.0]), &rgb), rect(27, 14, 10, 20));
        assert_eq!(part(&bbox([0.0, 47.0], 0.0, [10.0, 20.0]), &rgb), rect(0, 37, 5, 11), "clipped");
        let quarter = std::f64::consts::FRAC_PI_2;
        let turned = part(&bbox([32.0, 24.0], quarter, [10.0, 20.0]), &rgb).unwrap();
        assert!((19..=22).contains(&turned.width) && (9..=12).contains(&turned.height), "{turned:?}");
        assert_eq!(part(&bbox([32.0, 24.0], 0.0, [9.0, 9.0]), &yuv), rect(26, 18, 12, 12), "whole pairs");
        let nowhere = [
            bbox([100.0, 24.0], 0.0, [10.0, 10.0]),
            bbox([32.0, 24.0], 0.0, [0.0, 10.0]),
            bbox([32.0, 24.0], 0.0, [-4.0, -4.0]),
            bbox([f64::NAN, 24.0], 0.0, [4.0, 4.0]),
            bbox([f64::INFINITY, 24.0], 0.0, [f64::INFINITY, 4.0]),
            bbox([32.0, 24.0], f64::NAN, [4.0, 4.0]),
        ];
        for bbox in nowhere {
            assert_eq!(part(&bbox, &rgb), None, "{bbox:?}");
        }
        assert_eq!(part(&bbox([32.0, 24.0], 0.0, [1e300, 1e300]), &rgb), rect(0, 0, 64, 48));
    }

    /// Catches: boxes on another image than the detector saw, and a buffer that grows without end.
    #[test]
    fn images_are_found_by_their_stamp_among_the_newest() {
        let mut buffer = ImageBuffer::default();
        let image = |sec: u32, bytes: usize| {
            let mut image = Image { data: vec![0; bytes], ..Image::default() };
            image.header.stamp.nanosec = sec;
            CameraImage::Raw(image)
        };
        let stamp = |nanosec| Time { sec: 0, nanosec };
        (0..100).for_each(|number| buffer.push(image(number, 10)));
        assert!(buffer.find(stamp(99)).is_ok());
        assert_eq!(buffer.images.len(), MAX_IMAGES);
        let error = buffer.find(stamp(3)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no image has the stamp 0.000000003 of the detections: the detector must copy the image's stamp, and answer within \
             32 images"
        );
        buffer.push(image(100, MAX_BYTES + 1));
        assert_eq!((buffer.images.len(), buffer.bytes), (1, MAX_BYTES + 1), "one image is always held");
    }
}

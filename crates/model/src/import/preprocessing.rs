//! Published preprocessing: how the published checkpoint of each architecture was evaluated.

use fieldfit_tensor::{Filter, Fit, Preprocessing};

/// Preprocessing that is set by hand, in place of what is known; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct InputOverride {
    /// Side of the square image, in pixels; of a whole frame, its rows.
    pub size: Option<u32>,
    /// The part of the source image's shorter side that the square covers, 0 < crop ≤ 1.
    pub crop: Option<f32>,
    /// Mean, red, green, blue, in units of 0..255.
    pub mean: Option<[f32; 3]>,
    /// Standard deviation, red, green, blue, in units of 0..255.
    pub std: Option<[f32; 3]>,
}

impl InputOverride {
    /// Nothing is set.
    pub const NONE: Self = Self { size: None, crop: None, mean: None, std: None };

    /// Returns the preprocessing with what is set.
    pub(super) fn apply(self, known: Preprocessing) -> Preprocessing {
        let [size, width] = known.input(self.size.unwrap_or(known.size));
        Preprocessing {
            size,
            fit: Fit::of_width(known.fit.width().map(|_| width)),
            crop: self.crop.unwrap_or(known.crop),
            mean: self.mean.unwrap_or(known.mean),
            std: self.std.unwrap_or(known.std),
            filter: known.filter,
        }
    }
}

/// Returns the preprocessing under which most networks are trained and evaluated on ImageNet, for images of that side.
pub(crate) const fn imagenet(size: u32) -> Preprocessing {
    let ((mean, std), filter) = (IMAGENET, Filter::Bilinear);
    Preprocessing { size, fit: Fit::Crop, crop: 0.875, mean, std, filter }
}

/// ImageNet's mean and standard deviation, red, green, blue, in units of 0..255.
const IMAGENET: ([f32; 3], [f32; 3]) = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]);
/// (rgb − 127) / 128, of EfficientNet-Lite.
const LITE: ([f32; 3], [f32; 3]) = ([127.0; 3], [128.0; 3]);
/// Scaling to −1..1, of the ViTs that were trained on ImageNet-21k.
const HALF: ([f32; 3], [f32; 3]) = ([127.5; 3], [127.5; 3]);

/// Returns the preprocessing under which an architecture's published checkpoint was evaluated: by timm for transformers, by
/// torchvision for ResNet and MobileNetV2, by its authors for EfficientNet-Lite.
pub fn published_preprocessing(architecture: &str) -> Preprocessing {
    let (size, crop, (mean, std), filter) = match architecture {
        "efficientnet-tiny" => (32, 0.875, LITE, Filter::Bicubic),
        "resnet-tiny" => (32, 0.875, IMAGENET, Filter::Bilinear),
        "vit-micro" => (20, 0.9, IMAGENET, Filter::Bicubic),
        "efficientnet-lite1" => (240, 0.875, LITE, Filter::Bicubic),
        "efficientnet-lite2" => (260, 0.875, LITE, Filter::Bicubic),
        name if name.starts_with("efficientnet-lite") => (224, 0.875, LITE, Filter::Bicubic),
        name if name.starts_with("deit") => (224, 0.9, IMAGENET, Filter::Bicubic),
        name if name.starts_with("dinov2") => (518, 1.0, IMAGENET, Filter::Bicubic),
        name if name.starts_with("vit") => (224, 0.9, HALF, Filter::Bicubic),
        _ => return imagenet(224),
    };
    Preprocessing { size, fit: Fit::Crop, crop, mean, std, filter }
}

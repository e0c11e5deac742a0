//! A base model on disk: manifest, labels, preprocessing, mapped weights, import.

mod images;
mod params;

pub use images::Images;
pub use params::Params;

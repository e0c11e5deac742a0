//! Image formats: which are decoded, and which are only recognised, by file name or by content, to tell how to convert them.

use image::ImageFormat;
use std::path::Path;

/// File extensions of images that are decoded, in lower case; names may have them in any case.
pub const EXTENSIONS: [&str; 10] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "gif"];

/// Image format that is recognised and not decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ForeignFormat {
    /// Its name.
    pub name: &'static str,
    /// File extensions in lower case.
    extensions: &'static [&'static str],
    /// A command that converts a file.
    pub converter: &'static str,
}

const HEIC: ForeignFormat =
    ForeignFormat { name: "HEIC", extensions: &["heic", "heif", "hif"], converter: "heif-convert IN.heic OUT.jpg" };
const AVIF: ForeignFormat = ForeignFormat { name: "AVIF", extensions: &["avif"], converter: "avifdec IN.avif OUT.png" };
const JPEG_XL: ForeignFormat =
    ForeignFormat { name: "JPEG XL", extensions: &["jxl"], converter: "djxl IN.jxl OUT.png" };
const JPEG_2000: ForeignFormat = ForeignFormat {
    name: "JPEG 2000",
    extensions: &["jp2", "j2k", "jpx", "jpf"],
    converter: "opj_decompress -i IN.jp2 -o OUT.png",
};
const RAW: ForeignFormat = ForeignFormat {
    name: "camera raw",
    extensions: &["dng", "cr2", "cr3", "nef", "arw", "raf", "orf", "rw2", "pef", "srw", "raw"],
    converter: "darktable-cli IN.dng OUT.jpg",
};
const OTHER: ForeignFormat = ForeignFormat {
    name: "this kind of image",
    extensions: &["ppm", "pgm", "pbm", "pnm", "pam", "tga", "psd", "svg", "ico", "exr", "hdr", "qoi"],
    converter: "magick IN OUT.png",
};
const FOREIGN: [ForeignFormat; 6] = [HEIC, AVIF, JPEG_XL, JPEG_2000, RAW, OTHER];

/// Returns the file extension of encoded bytes, by how they begin; `None` if they are no image that is decoded.
pub fn encoded_extension(bytes: &[u8]) -> Option<&'static str> {
    match image::guess_format(bytes).ok()? {
        ImageFormat::Jpeg => Some("jpg"),
        ImageFormat::Png => Some("png"),
        ImageFormat::WebP => Some("webp"),
        ImageFormat::Bmp => Some("bmp"),
        ImageFormat::Tiff => Some("tiff"),
        ImageFormat::Gif => Some("gif"),
        _not_decoded => None,
    }
}

/// Whether the file name has the extension of an image that is decoded.
pub(crate) fn is_decodable(path: &Path) -> bool {
    extension(path).is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// The format that is not decoded and whose extension the file name has.
pub(crate) fn foreign_by_name(path: &Path) -> Option<&'static ForeignFormat> {
    let extension = extension(path)?;
    FOREIGN.iter().find(|format| format.extensions.contains(&extension.as_str()))
}

/// The format that is not decoded and that the content begins like, whatever the file is called.
pub(crate) fn foreign_by_content(bytes: &[u8]) -> Option<&'static ForeignFormat> {
    const JPEG_XL_BOX: &[u8] = b"\0\0\0\x0cJXL \r\n\x87\n";
    const JPEG_2000_BOX: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n";
    if bytes.starts_with(JPEG_XL_BOX) || bytes.starts_with(b"\xff\x0a") {
        return Some(&JPEG_XL);
    }
    if bytes.starts_with(JPEG_2000_BOX) || bytes.starts_with(b"\xff\x4f\xff\x51") {
        return Some(&JPEG_2000);
    }
    // The major brand of an ISO base media file (ISO/IEC 14496-12, 4.3).
    let brand = bytes.get(4..12)?.strip_prefix(b"ftyp")?;
    match brand {
        b"avif" | b"avis" => Some(&AVIF),
        b"crx " => Some(&RAW),
        b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1" => Some(&HEIC),
        _other_brand => None,
    }
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

//! Method styles: a colour and a marker shape per method, so that neither is needed alone to tell methods apart.

use super::html::escape;
use super::svg::Svg;

/// Number of colours: Okabe and Ito's palette without yellow, which is illegible on white. Classes `c0` … of the style sheet.
const COLOURS: usize = 7;

/// Marker outlines about the origin. Combined with the colours, which repeat after seven, the first 56 methods differ.
const SHAPES: [&str; 8] = [
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
    "M-3.6 -3.6H3.6V3.6H-3.6Z",
    "M0 -4.8L4.5 3.3H-4.5Z",
    "M0 -5L4.6 0L0 5L-4.6 0Z",
    "M0 4.8L4.5 -3.3H-4.5Z",
    "M-1.5 -4.6H1.5V-1.5H4.6V1.5H1.5V4.6H-1.5V1.5H-4.6V-1.5H-1.5Z",
    "M0 -5.4L1.5 -1.7L5.1 -1.7L2.3 0.8L3.3 4.6L0 2.4L-3.3 4.6L-2.3 0.8L-5.1 -1.7L-1.5 -1.7Z",
    "M-4.6 -3.2L-3.2 -4.6L0 -1.4L3.2 -4.6L4.6 -3.2L1.4 0L4.6 3.2L3.2 4.6L0 1.4L-3.2 4.6L-4.6 3.2L-1.4 0Z",
];

/// Methods of a page, in the order of first appearance.
pub(super) struct Methods<'a>(Vec<&'a str>);

/// Style of a method: a CSS class for the colour, and a marker outline.
pub(super) struct MethodStyle {
    pub(super) colour: String,
    pub(super) shape: &'static str,
}

impl<'a> Methods<'a> {
    pub(super) fn new(names: Vec<&'a str>) -> Self {
        Self(names)
    }

    pub(super) fn names(&self) -> &[&'a str] {
        &self.0
    }

    /// Returns the style of a method.
    pub(super) fn style(&self, method: &str) -> MethodStyle {
        let index = self.0.iter().position(|name| *name == method).unwrap_or(0);
        MethodStyle { colour: format!("c{}", index % COLOURS), shape: SHAPES[index % SHAPES.len()] }
    }

    /// Renders a method's name after its marker.
    pub(super) fn key(&self, method: &str) -> String {
        let MethodStyle { colour, shape } = self.style(method);
        let mut svg = Svg::new(14.0, 14.0);
        svg.shape(&format!("mark {colour}"), shape, (7.0, 7.0), "");
        let mark = svg.finish("key", "").replace(" role=\"img\" aria-label=\"\"", " aria-hidden=\"true\"");
        format!("<span class=\"method\">{}<span>{}</span></span>", mark.replace('\n', ""), escape(method))
    }

    /// Renders the legend of all methods.
    pub(super) fn legend(&self) -> String {
        let keys: String = self.0.iter().map(|method| format!("<li>{}</li>\n", self.key(method))).collect();
        format!("<ul class=\"legend\">\n{keys}</ul>\n")
    }
}

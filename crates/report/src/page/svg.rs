//! SVG writer: the few shapes that the plots need. Colours come from the page's style sheet, by class.
//!
//! A drawing is shown at its own size, one unit a CSS pixel, so that text has the same size in every plot.

use super::html::escape;

/// Width of a plot, in pixels: the content of a page on a phone of 360 pixels.
pub(super) const PLOT_WIDTH: f64 = 328.0;

/// About the width of a character of a plot's text, in pixels.
pub(super) const CHARACTER_WIDTH: f64 = 6.8;

/// SVG drawing under construction.
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Point of a drawing, in pixels from the top left.
pub(super) type Point = (f64, f64);

/// Horizontal anchor of a text at its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Middle,
    End,
}

impl Svg {
    /// Creates an empty drawing of a size in pixels.
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Adds a straight line.
    pub(super) fn line(&mut self, class: &str, (x1, y1): Point, (x2, y2): Point) {
        self.body.push_str(&format!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
        ));
    }

    /// Adds a line through points; nothing for fewer than two.
    pub(super) fn path(&mut self, class: &str, points: &[Point], title: &str) {
        if points.len() < 2 {
            return;
        }
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (points, title) = (points.join(" "), title_element(title));
        self.body.push_str(&format!("<polyline class=\"{class}\" points=\"{points}\">{title}</polyline>\n"));
    }

    /// Adds a rectangle with its top left at `(x, y)`; `style` is the content of its style attribute.
    pub(super) fn rect(&mut self, class: &str, (x, y): Point, (width, height): Point, style: &str, title: &str) {
        let style = if style.is_empty() { String::new() } else { format!(" style=\"{style}\"") };
        let title = title_element(title);
        self.body.push_str(&format!(
            "<rect class=\"{class}\"{style} x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">{title}</rect>\n"
        ));
    }

    /// Adds a horizontal text.
    pub(super) fn text(&mut self, class: &str, (x, y): Point, anchor: Anchor, text: &str) {
        self.rotated_text(class, (x, y), anchor, 0, text);
    }

    /// Adds a text rotated about its point, in degrees, clockwise.
    pub(super) fn rotated_text(&mut self, class: &str, (x, y): Point, anchor: Anchor, degrees: i32, text: &str) {
        let anchor = match anchor {
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let rotation =
            if degrees == 0 { String::new() } else { format!(" transform=\"rotate({degrees} {x:.1} {y:.1})\"") };
        let text = escape(text);
        self.body.push_str(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{rotation}>{text}</text>\n"
        ));
    }

    /// Adds a shape drawn about the origin, moved to a point.
    pub(super) fn shape(&mut self, class: &str, outline: &str, (x, y): Point, title: &str) {
        let title = title_element(title);
        self.body.push_str(&format!(
            "<path class=\"{class}\" d=\"{outline}\" transform=\"translate({x:.1} {y:.1})\">{title}</path>\n"
        ));
    }

    /// Returns the drawing as an element; `label` describes it to screen readers.
    pub(super) fn finish(self, class: &str, label: &str) -> String {
        let Self { width, height, body } = self;
        let label = escape(label);
        format!(
            "<svg class=\"{class}\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             role=\"img\" aria-label=\"{label}\">\n{body}</svg>\n"
        )
    }
}

/// Returns the tooltip of a shape.
fn title_element(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!("<title>{}</title>", escape(title)) }
}

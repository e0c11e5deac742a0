//! The few shapes of SVG that the plots need. Colours are left to the page's style, by class.

use super::html::escape;

/// A picture as it grows.
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// A point of a picture, in its own units, from the top left.
pub(super) type Point = (f64, f64);

/// Where a text stands at its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Middle,
    End,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): Point, (x2, y2): Point) {
        self.body.push_str(&format!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
        ));
    }

    /// A line through points; nothing for fewer than two.
    pub(super) fn path(&mut self, class: &str, points: &[Point], title: &str) {
        if points.len() < 2 {
            return;
        }
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (points, title) = (points.join(" "), titled(title));
        self.body.push_str(&format!("<polyline class=\"{class}\" points=\"{points}\">{title}</polyline>\n"));
    }

    /// A rectangle with its top left at `(x, y)`; `style` is the content of its style attribute.
    pub(super) fn rect(&mut self, class: &str, (x, y): Point, (width, height): Point, style: &str, title: &str) {
        let style = if style.is_empty() { String::new() } else { format!(" style=\"{style}\"") };
        let title = titled(title);
        self.body.push_str(&format!(
            "<rect class=\"{class}\"{style} x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">{title}</rect>\n"
        ));
    }

    pub(super) fn text(&mut self, class: &str, (x, y): Point, anchor: Anchor, text: &str) {
        self.turned_text(class, (x, y), anchor, 0, text);
    }

    /// A text that is turned about its point, in degrees, clockwise.
    pub(super) fn turned_text(&mut self, class: &str, (x, y): Point, anchor: Anchor, turn: i32, text: &str) {
        let anchor = match anchor {
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let turn = if turn == 0 { String::new() } else { format!(" transform=\"rotate({turn} {x:.1} {y:.1})\"") };
        let text = escape(text);
        self.body.push_str(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{turn}>{text}</text>\n"
        ));
    }

    /// A shape drawn about the origin, moved to a point.
    pub(super) fn shape(&mut self, class: &str, outline: &str, (x, y): Point, title: &str) {
        let title = titled(title);
        self.body.push_str(&format!(
            "<path class=\"{class}\" d=\"{outline}\" transform=\"translate({x:.1} {y:.1})\">{title}</path>\n"
        ));
    }

    /// The picture as an element of a page; `label` says what it shows to who can't see it.
    pub(super) fn finish(self, class: &str, label: &str) -> String {
        let Self { width, height, body } = self;
        let label = escape(label);
        format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{label}\">\n{body}</svg>\n"
        )
    }
}

fn titled(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!("<title>{}</title>", escape(title)) }
}

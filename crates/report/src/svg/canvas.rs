//! The plotters backend that writes SVG with groups, classes, dash patterns and a `<title>` per point.
//!
//! plotters' own SVG backend writes a flat list of shapes. Here every shape stands in a group that a
//! style sheet and the page's script can find, and coordinates have tenths of a pixel: one plotters
//! pixel is one [`FINE`]th of an SVG unit. All text is escaped here and nowhere else.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::rc::Rc;

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontStyle, FontTransform,
};

/// Plotters pixels per SVG unit.
pub(super) const FINE: i32 = 10;

/// Font of all text in charts; the reader's own system font, so that nothing is embedded.
pub(super) const FONT_FAMILY: &str =
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

#[derive(Debug, Default)]
struct Sheet {
    out: String,
    open_groups: usize,
    /// `<title>` of the next shape.
    title: Option<String>,
    /// Extra attributes of the next shape, written as they are.
    attributes: Option<String>,
}

/// Handle that writes groups between the shapes that plotters draws on the same sheet.
#[derive(Debug, Clone, Default)]
pub(super) struct Pen(Rc<RefCell<Sheet>>);

impl Pen {
    /// Opens a group. Values of attributes are escaped.
    pub(super) fn open(&self, attributes: &[(&str, &str)]) {
        let mut sheet = self.0.borrow_mut();
        sheet.out.push_str("<g");
        for (name, value) in attributes {
            let _ = write!(sheet.out, " {name}=\"{}\"", escape(value));
        }
        sheet.out.push_str(">\n");
        sheet.open_groups += 1;
    }

    /// Closes the innermost group.
    pub(super) fn close(&self) {
        let mut sheet = self.0.borrow_mut();
        assert!(sheet.open_groups > 0, "every close belongs to an open");
        sheet.open_groups -= 1;
        sheet.out.push_str("</g>\n");
    }

    /// Gives the next shape a native tooltip.
    pub(super) fn title(&self, text: &str) {
        self.0.borrow_mut().title = Some(text.to_owned());
    }

    /// Gives the next shape more attributes.
    pub(super) fn attributes(&self, attributes: &[(&str, &str)]) {
        let text = attributes
            .iter()
            .map(|(name, value)| format!(" {name}=\"{}\"", escape(value)))
            .collect();
        self.0.borrow_mut().attributes = Some(text);
    }

    /// Everything written so far.
    pub(super) fn into_text(self) -> String {
        let sheet = self.0.take();
        assert_eq!(sheet.open_groups, 0, "every open group was closed");
        sheet.out
    }
}

/// The drawing backend.
#[derive(Debug)]
pub(super) struct Canvas {
    pen: Pen,
    size: (u32, u32),
}

impl Canvas {
    /// A canvas of this many SVG units, writing through `pen`.
    pub(super) fn new(pen: Pen, width: f64, height: f64) -> Self {
        Self {
            pen,
            size: (fine(width).unsigned_abs(), fine(height).unsigned_abs()),
        }
    }

    /// Writes one shape: `<name body …/>`, with the pending title and attributes.
    fn shape(&self, name: &str, body: &str) {
        let mut sheet = self.pen.0.borrow_mut();
        let attributes = sheet.attributes.take().unwrap_or_default();
        match sheet.title.take() {
            Some(title) => {
                let title = escape(&title);
                let _ = writeln!(
                    sheet.out,
                    "<{name} {body}{attributes}><title>{title}</title></{name}>"
                );
            }
            None => {
                let _ = writeln!(sheet.out, "<{name} {body}{attributes}/>");
            }
        }
    }
}

/// SVG units to plotters pixels.
pub(super) fn fine(units: f64) -> i32 {
    // Canvas sizes are a few thousand units; saturating is right for anything else.
    (units * f64::from(FINE)).round() as i32
}

/// One coordinate in SVG units, without needless zeros.
fn unit(pixels: i32) -> String {
    let sign = if pixels < 0 { "-" } else { "" };
    let (whole, tenth) = (pixels.abs() / FINE, pixels.abs() % FINE);
    if tenth == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{tenth}")
    }
}

fn hex(color: BackendColor) -> String {
    let (r, g, b) = color.rgb;
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn paint(kind: &str, color: BackendColor) -> String {
    let mut out = format!("{kind}=\"{}\"", hex(color));
    if color.alpha < 1.0 {
        let _ = write!(
            out,
            " {kind}-opacity=\"{}\"",
            (color.alpha * 1000.0).round() / 1000.0
        );
    }
    out
}

fn stroke<S: BackendStyle>(style: &S) -> String {
    let width = unit(i32::try_from(style.stroke_width()).unwrap_or(FINE));
    format!(
        "fill=\"none\" {} stroke-width=\"{width}\"",
        paint("stroke", style.color())
    )
}

fn path_data(points: impl IntoIterator<Item = BackendCoord>) -> String {
    let mut data = String::new();
    let mut last = None;
    for (x, y) in points {
        // Many points may fall on one tenth of a pixel; one is enough.
        if last == Some((x, y)) {
            continue;
        }
        data.push(if last.is_none() { 'M' } else { 'L' });
        let _ = write!(data, "{} {}", unit(x), unit(y));
        last = Some((x, y));
    }
    data
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Canvas {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        let body = format!(
            "x=\"{}\" y=\"{}\" width=\"1\" height=\"1\" {}",
            unit(x),
            unit(y),
            paint("fill", color)
        );
        self.shape("rect", &body);
        Ok(())
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let paint = if fill {
            paint("fill", style.color())
        } else {
            stroke(style)
        };
        let body = format!(
            "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" {paint}",
            unit(left),
            unit(top),
            unit(right - left),
            unit(bottom - top)
        );
        self.shape("rect", &body);
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let body = format!("d=\"{}\" {}", path_data(path), stroke(style));
        self.shape("path", &body);
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let paint = if fill {
            paint("fill", style.color())
        } else {
            stroke(style)
        };
        let radius = unit(i32::try_from(radius).unwrap_or(FINE));
        self.shape(
            "circle",
            &format!(
                "cx=\"{}\" cy=\"{}\" r=\"{radius}\" {paint}",
                unit(x),
                unit(y)
            ),
        );
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        vert: I,
        style: &S,
    ) -> Drawn {
        let body = format!(
            "d=\"{}Z\" {}",
            path_data(vert),
            paint("fill", style.color())
        );
        self.shape("path", &body);
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &T,
        (x, y): BackendCoord,
    ) -> Drawn {
        let anchor = match style.anchor().h_pos {
            HPos::Left => "start",
            HPos::Center => "middle",
            HPos::Right => "end",
        };
        let size = style.size() / f64::from(FINE);
        // `dy` and not `dominant-baseline`: office programs that import SVG ignore the latter.
        let dy = match style.anchor().v_pos {
            VPos::Top => 0.76,
            VPos::Center => 0.35,
            VPos::Bottom => -0.22,
        } * size;
        let turn = match style.transform() {
            FontTransform::None => None,
            FontTransform::Rotate90 => Some(90),
            FontTransform::Rotate180 => Some(180),
            FontTransform::Rotate270 => Some(270),
        };
        let (x, y) = (unit(x), unit(y));
        let mut sheet = self.pen.0.borrow_mut();
        let attributes = sheet.attributes.take().unwrap_or_default();
        let _ = write!(
            sheet.out,
            "<text x=\"{x}\" y=\"{y}\" dy=\"{:.1}\" text-anchor=\"{anchor}\" font-size=\"{size:.0}\" {}{attributes}",
            dy,
            paint("fill", style.color())
        );
        if matches!(style.style(), FontStyle::Bold) {
            sheet.out.push_str(" font-weight=\"600\"");
        }
        if let Some(degrees) = turn {
            let _ = write!(sheet.out, " transform=\"rotate({degrees} {x} {y})\"");
        }
        let _ = writeln!(sheet.out, ">{}</text>", escape(text));
        Ok(())
    }
}

/// Text as XML text or a double-quoted attribute. Characters that XML 1.0 cannot carry become U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

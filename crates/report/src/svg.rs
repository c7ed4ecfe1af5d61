//! Draws a prepared [`Chart`] as SVG, through plotters and a backend of our own.
//!
//! The result is a whole picture: title, legend, axes with units, grid, a native tooltip per marker,
//! every colour as an attribute. It needs no style sheet, no script and no font file; a page may
//! recolour it through the class names. Decides nothing about data, and cannot fail: anything that
//! is not finite was made a gap when the chart was prepared.

mod bars;
mod canvas;
mod heat;
mod layout;
mod lines;
mod panel;
pub(crate) mod scale;
mod text;

pub(crate) use canvas::escape;
pub(crate) use layout::Rect;

use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::prelude::IntoDrawingArea;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, IntoFont, RGBColor, ShapeStyle};

use crate::chart::{Body, Chart, Ink, Panel};
use canvas::{Canvas, Pen, fine};
use layout::{Look, Plan};
use scale::Scale;

/// Size and density of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// For screens, slides and paper: 960 units wide.
    Wide,
    /// For a phone: 400 units wide, fewer ticks, wrapped titles.
    Narrow,
    /// A small picture of the first panel for an index, without title and legend.
    Preview,
}

/// A finished picture and where its panels lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// The `<svg>` element.
    pub svg: String,
    /// Width in SVG units.
    pub width: f64,
    /// Height in SVG units.
    pub height: f64,
    /// One entry per panel drawn.
    pub(crate) panels: Vec<Frame>,
}

/// Where one panel's plot lies and what its axes mean.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    /// The plot itself, without axis labels.
    pub(crate) plot: Rect,
    /// Horizontal axis.
    pub(crate) x: Scale,
    /// Left axis.
    pub(crate) y: Scale,
    /// Right axis.
    pub(crate) y2: Option<Scale>,
}

/// The chart as one `<svg>` element for screens, slides and paper.
#[must_use]
pub fn render(chart: &Chart) -> String {
    draw(chart, Layout::Wide).svg
}

/// The chart in a given layout.
#[must_use]
pub fn draw(chart: &Chart, layout: Layout) -> Drawing {
    let thinned = (layout == Layout::Preview).then(|| first_panel_thinned(chart));
    let chart = thinned.as_ref().unwrap_or(chart);
    let look = Look::of(layout);
    let plan = Plan::new(chart, &look);
    let pen = Pen::default();
    let root = Canvas::new(pen.clone(), look.width, plan.height).into_drawing_area();
    let sheet = Sheet {
        root,
        pen: pen.clone(),
        look,
    };

    pen.open(&[("class", "bg")]);
    sheet.rect(
        Rect {
            left: 0.0,
            top: 0.0,
            width: look.width,
            height: plan.height,
        },
        PAPER,
    );
    pen.close();
    sheet.title_block(&plan);
    if let Some(legend) = &plan.legend {
        sheet.legend(legend);
    }
    for (index, (panel, spot)) in chart.panels.iter().zip(&plan.panels).enumerate() {
        sheet.panel(index, panel, spot);
    }
    drop(sheet);

    let description = chart.subtitles.join(". ");
    let style = if layout == Layout::Preview {
        preview_style(chart)
    } else {
        String::new()
    };
    let class = match layout {
        Layout::Wide => "chart wide",
        Layout::Narrow => "chart narrow",
        Layout::Preview => "chart preview",
    };
    let (w, h) = (look.width, plan.height);
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{class}\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" \
         role=\"img\" font-family=\"{font}\">\n<title>{title}</title>\n<desc>{desc}</desc>\n{style}{body}</svg>",
        font = escape(canvas::FONT_FAMILY),
        title = escape(&chart.title),
        desc = escape(&description),
        body = pen.into_text(),
    );
    let panels = plan.panels.into_iter().map(|spot| spot.frame).collect();
    Drawing {
        svg,
        width: w,
        height: h,
        panels,
    }
}

/// What a preview shows: the first panel, with no more points than such a small picture can tell apart.
fn first_panel_thinned(chart: &Chart) -> Chart {
    const POINTS: usize = 120;
    let mut panels: Vec<Panel> = chart.panels.iter().take(1).cloned().collect();
    for panel in &mut panels {
        if let Body::Series(series) = &mut panel.body {
            for s in series {
                let step = s.points.len().div_ceil(POINTS).max(1);
                s.points = s.points.iter().step_by(step).cloned().collect();
            }
        }
    }
    Chart {
        panels,
        ..chart.clone()
    }
}

/// A preview is shown as an image, which no page can style: it carries its own dark colours.
fn preview_style(chart: &Chart) -> String {
    let mut inks: Vec<Ink> = chart.panels.first().map_or_else(Vec::new, |panel| {
        panel
            .series()
            .iter()
            .map(|s| s.ink)
            .chain(panel.lines.iter().map(|l| l.ink))
            .collect()
    });
    inks.sort_by_key(|ink| ink.class());
    inks.dedup_by_key(|ink| ink.class());
    let mut style = String::from(
        "<style>@media (prefers-color-scheme:dark){.bg *{fill:#161b22}.grid *{stroke:#30363d}.axis *{stroke:#6e7681}.mut text{fill:#9da7b3}",
    );
    for ink in inks {
        let (r, g, b) = ink.dark();
        let class = ink.class();
        style.push_str(&format!(
            ".ln.{class} *{{stroke:#{r:02x}{g:02x}{b:02x}}}.mk.{class} *,.bd.{class} *{{fill:#{r:02x}{g:02x}{b:02x}}}"
        ));
    }
    style.push_str(".mk{stroke:#161b22}.stripe *{stroke:#161b22}.err *{stroke:#e6edf3}}</style>\n");
    style
}

/// Colours of everything that is not data, on light paper.
const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
const TEXT: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const MUTED: RGBColor = RGBColor(0x57, 0x60, 0x6a);
const GRID: RGBColor = RGBColor(0xe4, 0xe7, 0xeb);
const AXIS: RGBColor = RGBColor(0x8c, 0x95, 0x9f);

fn rgb(ink: Ink) -> RGBColor {
    let (r, g, b) = ink.light();
    RGBColor(r, g, b)
}

/// Stroke width in SVG units as plotters wants it.
fn weight(units: f64) -> u32 {
    fine(units).unsigned_abs()
}

/// How one text stands at its point.
#[derive(Clone, Copy)]
struct Lettering {
    size: f64,
    bold: bool,
    h: HPos,
    v: VPos,
    turn: Turn,
    color: RGBColor,
}

/// Direction of reading. plotters' own type is not `Copy`, and charts need no more than these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Level,
    Up,
    Down,
}

impl Lettering {
    fn new(size: f64, color: RGBColor) -> Self {
        Self {
            size,
            bold: false,
            h: HPos::Left,
            v: VPos::Center,
            turn: Turn::Level,
            color,
        }
    }

    fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    fn at(self, h: HPos, v: VPos) -> Self {
        Self { h, v, ..self }
    }

    fn turned(self, turn: Turn) -> Self {
        Self { turn, ..self }
    }
}

/// One drawing in progress. Methods that draw a part of it live beside the part's arithmetic.
struct Sheet {
    root: DrawingArea<Canvas, Shift>,
    pen: Pen,
    look: Look,
}

const CANVAS_HOLDS: &str = "our backend only appends to a string and cannot fail";

impl Sheet {
    fn rect(&self, rect: Rect, color: RGBColor) {
        let corners = [
            (fine(rect.left), fine(rect.top)),
            (fine(rect.right()), fine(rect.bottom())),
        ];
        self.root
            .draw(&Rectangle::new(corners, color.filled()))
            .expect(CANVAS_HOLDS);
    }

    fn line(&self, from: (f64, f64), to: (f64, f64), color: RGBColor, width: f64) {
        let path = vec![(fine(from.0), fine(from.1)), (fine(to.0), fine(to.1))];
        let style = ShapeStyle {
            color: color.to_rgba(),
            filled: false,
            stroke_width: weight(width),
        };
        self.root
            .draw(&PathElement::new(path, style))
            .expect(CANVAS_HOLDS);
    }

    fn text(&self, words: &str, (x, y): (f64, f64), lettering: Lettering) {
        let font = ("sans-serif", lettering.size * f64::from(canvas::FINE)).into_font();
        let font = if lettering.bold {
            font.style(FontStyle::Bold)
        } else {
            font
        };
        let font = match lettering.turn {
            Turn::Level => font,
            Turn::Up => font.transform(FontTransform::Rotate270),
            Turn::Down => font.transform(FontTransform::Rotate90),
        };
        let style = font
            .color(&lettering.color)
            .pos(Pos::new(lettering.h, lettering.v));
        self.root
            .draw(&Text::new(words.to_owned(), (fine(x), fine(y)), style))
            .expect(CANVAS_HOLDS);
    }

    fn title_block(&self, plan: &Plan) {
        if plan.title.is_empty() && plan.subtitles.is_empty() {
            return;
        }
        self.pen.open(&[("class", "fg heading")]);
        for (words, y) in &plan.title {
            self.text(
                words,
                (self.look.margin, *y),
                Lettering::new(self.look.title_size, TEXT).bold(),
            );
        }
        self.pen.close();
        self.pen.open(&[("class", "mut heading")]);
        for (words, y) in &plan.subtitles {
            self.text(
                words,
                (self.look.margin, *y),
                Lettering::new(self.look.text_size, MUTED),
            );
        }
        self.pen.close();
    }
}

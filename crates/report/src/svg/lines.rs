//! Lines, bands, markers and legend samples.

use plotters::coord::types::RangedCoordf64;
use plotters::drawing::DrawingArea;
use plotters::element::{Circle, EmptyElement, PathElement, Polygon, Rectangle};
use plotters::prelude::Cartesian2d;
use plotters::style::{Color, RGBColor, ShapeStyle};

use super::bars::Slot;
use super::canvas::{Canvas, fine};
use super::layout::Key;
use super::scale::Scale;
use super::{CANVAS_HOLDS, Frame, Lettering, PAPER, Sheet, TEXT, rgb, weight};
use crate::chart::{Axis, Dash, Marker, Point, Series, SeriesStyle, Side};

/// A plot whose axes both run from 0 to 1; what the positions mean is [`Scale`]'s business.
pub(super) type Plot = DrawingArea<Canvas, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Opacity of a band.
const BAND_OPACITY: f64 = 0.18;

/// A series whose points stand closer than this, in SVG units, shows only some markers …
const MARKER_ROOM: f64 = 11.0;
/// … this far apart.
const SPARSE_MARKER_ROOM: f64 = 48.0;

impl Sheet {
    /// The plotters area of a frame.
    pub(super) fn plot(&self, frame: &Frame) -> Plot {
        let rect = frame.plot;
        let pixels = (
            fine(rect.left)..fine(rect.right()),
            fine(rect.bottom())..fine(rect.top),
        );
        self.root
            .apply_coord_spec(Cartesian2d::<RangedCoordf64, RangedCoordf64>::new(
                0.0..1.0,
                0.0..1.0,
                pixels,
            ))
    }

    /// One series in its own group, so that a script can find and hide it.
    pub(super) fn series(
        &self,
        plot: &Plot,
        frame: &Frame,
        series: &Series,
        (slot, x_axis): (Slot, &Axis),
    ) {
        let scale = match series.side {
            Side::Left => &frame.y,
            Side::Right => frame.y2.as_ref().unwrap_or(&frame.y),
        };
        self.pen
            .open(&[("class", "series"), ("data-key", &series.key)]);
        match series.style {
            SeriesStyle::Band => self.band(plot, frame, series, scale, x_axis),
            SeriesStyle::Line { dash, marker } => {
                self.curve(plot, frame, series, scale, dash);
                self.markers(plot, frame, series, scale, marker, x_axis);
            }
            SeriesStyle::Area { marker } => {
                self.area(plot, frame, series, scale);
                self.curve(plot, frame, series, scale, Dash::Solid);
                self.markers(plot, frame, series, scale, marker, x_axis);
            }
            SeriesStyle::Bars { striped } => {
                self.bars(frame, series, scale, (slot, striped), x_axis);
            }
        }
        self.pen.close();
    }

    fn curve(&self, plot: &Plot, frame: &Frame, series: &Series, scale: &Scale, dash: Dash) {
        let class = format!("ln {}", series.ink.class());
        let mut attributes = vec![("class", class.as_str()), ("stroke-linejoin", "round")];
        if let Some(pattern) = dash.pattern() {
            attributes.push(("stroke-dasharray", pattern));
        }
        self.pen.open(&attributes);
        let style = ShapeStyle {
            color: rgb(series.ink).to_rgba(),
            filled: false,
            stroke_width: weight(self.stroke_of(series.side)),
        };
        for run in runs(&series.points, |p| p.y) {
            if run.len() > 1 {
                let path: Vec<_> = run
                    .iter()
                    .map(|(p, y)| (frame.x.position(p.x), scale.position(*y)))
                    .collect();
                plot.draw(&PathElement::new(path, style))
                    .expect(CANVAS_HOLDS);
            }
        }
        self.pen.close();
    }

    /// Companions on the right axis are finer than the lines they go with.
    fn stroke_of(&self, side: Side) -> f64 {
        match side {
            Side::Left => self.look.line_width,
            Side::Right => self.look.line_width * 0.7,
        }
    }

    fn band(&self, plot: &Plot, frame: &Frame, series: &Series, scale: &Scale, x_axis: &Axis) {
        let color = rgb(series.ink);
        let area = format!("bd {}", series.ink.class());
        let edge = format!("ln {}", series.ink.class());
        let whisker = ShapeStyle {
            color: color.mix(0.6).to_rgba(),
            filled: false,
            stroke_width: weight(1.2),
        };
        let runs = runs(&series.points, |p| p.range);
        self.pen.open(&[("class", &area)]);
        for run in runs.iter().filter(|run| run.len() > 1) {
            let at = |p: &Point, v: f64| (frame.x.position(p.x), scale.position(v));
            let lower = run.iter().map(|(p, (low, _))| at(p, *low));
            let upper = run.iter().rev().map(|(p, (_, high))| at(p, *high));
            let outline: Vec<_> = lower.chain(upper).collect();
            plot.draw(&Polygon::new(outline, color.mix(BAND_OPACITY).filled()))
                .expect(CANVAS_HOLDS);
        }
        self.pen.close();
        // Whiskers say where the band was measured and are all there is of it at a lone point.
        let step = stride(series.points.len(), frame);
        self.pen.open(&[("class", &edge)]);
        for (p, (low, high)) in runs.iter().flatten().step_by(step) {
            let x = frame.x.position(p.x);
            let path = vec![(x, scale.position(*low)), (x, scale.position(*high))];
            self.pen.title(&format!(
                "{}: {} – {}\n{}: {}",
                series.name,
                series.format.show(*low),
                series.format.show(*high),
                x_axis.title,
                x_axis.format.show(p.x)
            ));
            plot.draw(&PathElement::new(path, whisker))
                .expect(CANVAS_HOLDS);
        }
        self.pen.close();
    }

    fn markers(
        &self,
        plot: &Plot,
        frame: &Frame,
        series: &Series,
        scale: &Scale,
        marker: Marker,
        x_axis: &Axis,
    ) {
        let class = format!("mk {}", series.ink.class());
        self.pen.open(&[
            ("class", &class),
            ("stroke", "#ffffff"),
            ("stroke-width", "1"),
        ]);
        let known: Vec<(&Point, f64)> = series
            .points
            .iter()
            .filter_map(|p| p.y.map(|y| (p, y)))
            .collect();
        let room = if stride(known.len(), frame) > 1 {
            SPARSE_MARKER_ROOM
        } else {
            0.0
        };
        let last = known.len().saturating_sub(1);
        let mut free_from = f64::NEG_INFINITY;
        for (i, (p, y)) in known.iter().enumerate() {
            let x = frame.x.position(p.x) * frame.plot.width;
            // The last always shows, and so does every point that is unlike the others.
            if x < free_from && i != last && !p.hollow {
                continue;
            }
            free_from = x + room;
            let mut title = format!(
                "{}: {} | {}: {}",
                series.name,
                series.format.show(*y),
                x_axis.title,
                x_axis.format.show(p.x)
            );
            if let Some(note) = &p.note {
                title.push_str(" | ");
                title.push_str(note);
            }
            self.pen.title(&title);
            let at = (frame.x.position(p.x), scale.position(*y));
            let size = match series.side {
                Side::Left => self.look.marker,
                Side::Right => self.look.marker * 0.8,
            };
            self.marker(plot, at, (marker, size), rgb(series.ink), p.hollow);
        }
        self.pen.close();
    }

    fn marker(
        &self,
        plot: &Plot,
        at: (f64, f64),
        (marker, r): (Marker, f64),
        color: RGBColor,
        hollow: bool,
    ) {
        let fill = if hollow {
            let RGBColor(r, g, b) = color;
            self.pen.attributes(&[
                ("class", "hollow"),
                ("stroke", &format!("#{r:02x}{g:02x}{b:02x}")),
                ("stroke-width", "1.8"),
            ]);
            PAPER.filled()
        } else {
            color.filled()
        };
        match outline(marker, r) {
            None => plot.draw(&(EmptyElement::at(at) + Circle::new((0, 0), weight(r), fill))),
            Some(corners) => {
                let corners: Vec<_> = corners
                    .into_iter()
                    .map(|(x, y)| (fine(x), fine(y)))
                    .collect();
                plot.draw(&(EmptyElement::at(at) + Polygon::new(corners, fill)))
            }
        }
        .expect(CANVAS_HOLDS);
    }

    /// Legend entries: a sample of the line or band, then the name.
    pub(super) fn legend(&self, keys: &[Key]) {
        self.pen.open(&[("class", "legend")]);
        for key in keys {
            self.pen
                .open(&[("class", "key"), ("data-key", &key.series)]);
            // Transparent, but it takes clicks between the sample and the words.
            let corners = [
                (fine(key.spot.left), fine(key.spot.top)),
                (fine(key.spot.right()), fine(key.spot.bottom())),
            ];
            let area = Rectangle::new(corners, PAPER.mix(0.0).filled());
            self.root.draw(&area).expect(CANVAS_HOLDS);
            let sample = key.sample();
            let middle = sample.top + sample.height / 2.0;
            let color = rgb(key.ink);
            match key.style {
                SeriesStyle::Band => {
                    let class = format!("bd {}", key.ink.class());
                    self.pen.open(&[("class", &class), ("fill-opacity", "0.3")]);
                    self.rect(sample, color);
                    self.pen.close();
                }
                SeriesStyle::Bars { striped } => {
                    let class = format!("bd {}", key.ink.class());
                    self.pen.open(&[("class", &class)]);
                    self.rect(sample, color);
                    self.pen.close();
                    if striped {
                        self.stripes(sample);
                    }
                }
                SeriesStyle::Line { marker, .. } | SeriesStyle::Area { marker } => {
                    let dash = match key.style {
                        SeriesStyle::Line { dash, .. } => dash,
                        _ => Dash::Solid,
                    };
                    let class = format!("ln {}", key.ink.class());
                    let mut attributes = vec![("class", class.as_str())];
                    if let Some(pattern) = dash.pattern() {
                        attributes.push(("stroke-dasharray", pattern));
                    }
                    self.pen.open(&attributes);
                    self.line(
                        (sample.left, middle),
                        (sample.right(), middle),
                        color,
                        self.look.line_width,
                    );
                    self.pen.close();
                    let class = format!("mk {}", key.ink.class());
                    self.pen.open(&[
                        ("class", &class),
                        ("stroke", "#ffffff"),
                        ("stroke-width", "1"),
                    ]);
                    let frame = Frame {
                        plot: sample,
                        x: UNIT.clone(),
                        y: UNIT.clone(),
                        y2: None,
                    };
                    let size = (marker, self.look.marker);
                    self.marker(&self.plot(&frame), (0.5, 0.5), size, color, false);
                    self.pen.close();
                }
            }
            self.pen.open(&[("class", "fg")]);
            self.text(
                &key.name,
                (sample.right() + 6.0, middle),
                Lettering::new(self.look.text_size, TEXT),
            );
            self.pen.close();
            self.pen.close();
        }
        self.pen.close();
    }
}

/// Only a frame's rectangle matters for a legend sample.
const UNIT: Scale = Scale {
    min: 0.0,
    max: 1.0,
    log: false,
    ticks: Vec::new(),
    categories: Vec::new(),
};

/// Runs of neighbouring points whose value is known, with that value.
pub(super) fn runs<T: Copy>(
    points: &[Point],
    value: impl Fn(&Point) -> Option<T>,
) -> Vec<Vec<(&Point, T)>> {
    let mut out: Vec<Vec<(&Point, T)>> = Vec::new();
    let mut open = false;
    for point in points {
        match value(point) {
            None => open = false,
            Some(v) if open => out.last_mut().expect("a run was opened").push((point, v)),
            Some(v) => {
                out.push(vec![(point, v)]);
                open = true;
            }
        }
    }
    out
}

/// Every how many points a marker fits.
fn stride(n: usize, frame: &Frame) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a plot is some hundred units wide"
    )]
    let fit = (frame.plot.width / MARKER_ROOM).max(2.0) as usize;
    n.div_ceil(fit).max(1)
}

/// Corners around the centre; `None` for a circle. Areas are alike, so no shape looks heavier.
fn outline(marker: Marker, r: f64) -> Option<Vec<(f64, f64)>> {
    let corners = match marker {
        Marker::Circle => return None,
        Marker::Square => {
            let h = r * 0.9;
            vec![(-h, -h), (h, -h), (h, h), (-h, h)]
        }
        Marker::Diamond => {
            let h = r * 1.3;
            vec![(0.0, -h), (h, 0.0), (0.0, h), (-h, 0.0)]
        }
        Marker::Triangle => {
            let h = r * 1.25;
            vec![(0.0, -h), (h, h * 0.8), (-h, h * 0.8)]
        }
        Marker::TriangleDown => {
            let h = r * 1.25;
            vec![(0.0, h), (h, -h * 0.8), (-h, -h * 0.8)]
        }
        Marker::Plus => {
            let (h, t) = (r * 1.3, r * 0.48);
            vec![
                (-t, -h),
                (t, -h),
                (t, -t),
                (h, -t),
                (h, t),
                (t, t),
                (t, h),
                (-t, h),
                (-t, t),
                (-h, t),
                (-h, -t),
                (-t, -t),
            ]
        }
    };
    Some(corners)
}

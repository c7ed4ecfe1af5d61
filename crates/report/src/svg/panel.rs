//! One panel: grid, axes, series, reference lines and their labels.

use plotters::style::text_anchor::{HPos, VPos};

use super::bars::Slot;
use super::layout::{Rect, Spot, within_reach};
use super::lines::runs;
use super::{AXIS, Frame, GRID, Layout, Lettering, MUTED, Sheet, TEXT, Turn, rgb, text};
use crate::chart::{Body, Orientation, Panel, RefLine, Series, SeriesStyle, Side};

/// Dash pattern of thresholds and peaks.
const MARK_DASH: &str = "6 4";

impl Sheet {
    pub(super) fn panel(&self, index: usize, panel: &Panel, spot: &Spot) {
        let number = index.to_string();
        self.pen
            .open(&[("class", "panel"), ("data-panel", &number)]);
        if !spot.heading.is_empty() {
            self.pen.open(&[("class", "fg")]);
            let left = self.look.heading_left(spot.frame.plot.left);
            for (words, y) in &spot.heading {
                self.text(
                    words,
                    (left, *y),
                    Lettering::new(self.look.heading_size, TEXT).bold(),
                );
            }
            self.pen.close();
        }
        if !spot.legend.is_empty() {
            self.legend(&spot.legend);
        }
        match &panel.body {
            Body::Heat(grid) => self.heat(panel, grid, spot),
            Body::Series(series) => {
                self.grid(&spot.frame);
                self.axes(panel, &spot.frame);
                self.mark_lines(panel, &spot.frame);
                let plot = self.plot(&spot.frame);
                // Bars lie below all lines, companions on the right axis below the lines they go with.
                let is_bars = |s: &&Series| matches!(s.style, SeriesStyle::Bars { .. });
                let of = u32::try_from(series.iter().filter(is_bars).count()).unwrap_or(1);
                for (index, s) in (0..).zip(series.iter().filter(is_bars)) {
                    let slot = Slot { index, of };
                    self.series(&plot, &spot.frame, s, (slot, &panel.x));
                }
                let (right, left): (Vec<_>, Vec<_>) = series
                    .iter()
                    .filter(|s| !is_bars(s))
                    .partition(|s| s.side == Side::Right);
                for s in right.into_iter().chain(left) {
                    let slot = Slot { index: 0, of: 1 };
                    self.series(&plot, &spot.frame, s, (slot, &panel.x));
                }
                self.mark_labels(panel, &spot.frame);
            }
        }
        self.pen.close();
    }

    fn grid(&self, frame: &Frame) {
        let plot = frame.plot;
        self.pen.open(&[("class", "grid")]);
        for tick in &frame.y.ticks {
            let y = plot.bottom() - frame.y.position(*tick) * plot.height;
            self.line((plot.left, y), (plot.right(), y), GRID, 1.0);
        }
        for tick in &frame.x.ticks {
            let x = plot.left + frame.x.position(*tick) * plot.width;
            self.line((x, plot.top), (x, plot.bottom()), GRID, 1.0);
        }
        self.pen.close();
    }

    /// Axis lines, tick labels and titles.
    pub(super) fn axes(&self, panel: &Panel, frame: &Frame) {
        let (plot, look) = (frame.plot, &self.look);
        self.pen.open(&[("class", "axis")]);
        self.line(
            (plot.left, plot.bottom()),
            (plot.right(), plot.bottom()),
            AXIS,
            1.0,
        );
        if frame.y2.is_some() {
            self.line(
                (plot.right(), plot.top),
                (plot.right(), plot.bottom()),
                AXIS,
                1.0,
            );
        }
        self.pen.close();

        self.pen.open(&[("class", "mut")]);
        let ticks = Lettering::new(look.tick_size, MUTED);
        for tick in &frame.y.ticks {
            let y = plot.bottom() - frame.y.position(*tick) * plot.height;
            self.text(
                &frame.y.label(*tick),
                (plot.left - 6.0, y),
                ticks.at(HPos::Right, VPos::Center),
            );
        }
        if let Some(y2) = &frame.y2 {
            for tick in &y2.ticks {
                let y = plot.bottom() - y2.position(*tick) * plot.height;
                self.text(&y2.label(*tick), (plot.right() + 6.0, y), ticks);
            }
        }
        self.x_labels(frame);
        self.pen.close();
        if look.layout != Layout::Preview {
            self.axis_titles(panel, frame);
        }
    }

    /// Labels under the plot; one that would touch its left neighbour is left out.
    fn x_labels(&self, frame: &Frame) {
        let (plot, look) = (frame.plot, &self.look);
        let mut free_from = f64::NEG_INFINITY;
        for tick in &frame.x.ticks {
            let label = frame.x.label(*tick);
            let half = text::width(&label, look.tick_size) / 2.0;
            let x = plot.left + frame.x.position(*tick) * plot.width;
            let x = x.min(look.width - half - 2.0);
            if x - half < free_from {
                continue;
            }
            free_from = x + half + 4.0;
            let at = (x, plot.bottom() + look.tick_size * 0.5);
            self.text(
                &label,
                at,
                Lettering::new(look.tick_size, MUTED).at(HPos::Center, VPos::Top),
            );
        }
    }

    fn axis_titles(&self, panel: &Panel, frame: &Frame) {
        let (plot, look) = (frame.plot, &self.look);
        let lettering = Lettering::new(look.text_size, TEXT).at(HPos::Center, VPos::Center);
        let middle = plot.top + plot.height / 2.0;
        self.pen.open(&[("class", "fg")]);
        let y = plot.bottom() + look.tick_size * 1.7 + look.text_size * 0.75;
        self.text(&panel.x.title, (plot.left + plot.width / 2.0, y), lettering);
        let fit = |words: &str| text::cut(words, look.text_size, plot.height + 50.0);
        let x = look.margin.min(10.0) + look.text_size * 0.5;
        self.text(
            &fit(&panel.y.title),
            (x, middle),
            lettering.turned(Turn::Up),
        );
        if let Some(y2) = &panel.y2 {
            let x = look.width - look.text_size * 0.6 - 2.0;
            self.text(&fit(&y2.title), (x, middle), lettering.turned(Turn::Down));
        }
        self.pen.close();
    }

    /// Thresholds and peaks.
    fn mark_lines(&self, panel: &Panel, frame: &Frame) {
        let plot = frame.plot;
        for line in &panel.lines {
            let (from, to) = match line.orientation {
                Orientation::Horizontal if !within_reach(line.value, frame) => continue,
                Orientation::Horizontal => {
                    let y = plot.bottom() - frame.y.position(line.value) * plot.height;
                    ((plot.left, y), (plot.right(), y))
                }
                Orientation::Vertical => {
                    let x = plot.left + frame.x.position(line.value) * plot.width;
                    ((x, plot.top), (x, plot.bottom()))
                }
            };
            let class = format!("ln {}", line.ink.class());
            self.pen
                .open(&[("class", &class), ("stroke-dasharray", MARK_DASH)]);
            self.line(from, to, rgb(line.ink), 1.6);
            self.pen.close();
        }
    }

    /// Labels of thresholds and peaks, none of which covers another, or a line where a free place
    /// exists.
    fn mark_labels(&self, panel: &Panel, frame: &Frame) {
        let mut taken: Vec<Rect> = Vec::new();
        for line in &panel.lines {
            self.mark_label(panel, frame, line, &mut taken);
        }
    }

    fn mark_label(&self, panel: &Panel, frame: &Frame, line: &RefLine, taken: &mut Vec<Rect>) {
        let Some(label) = line
            .label
            .as_deref()
            .filter(|_| self.look.layout != Layout::Preview)
        else {
            return;
        };
        let (plot, size) = (frame.plot, self.look.tick_size);
        let out_of_reach =
            line.orientation == Orientation::Horizontal && !within_reach(line.value, frame);
        let words = if out_of_reach {
            format!("{label}, above this range ↑")
        } else {
            label.to_owned()
        };
        let width = text::width_bold(&words, size);
        let spot = match line.orientation {
            Orientation::Vertical => {
                let x = plot.left + frame.x.position(line.value) * plot.width - width / 2.0;
                let left = x.min(self.look.width - width - 2.0).max(plot.left);
                Rect {
                    left,
                    top: plot.top - size * 1.45,
                    width,
                    height: size * 1.3,
                }
            }
            Orientation::Horizontal => {
                let y = if out_of_reach {
                    plot.top
                } else {
                    plot.bottom() - frame.y.position(line.value) * plot.height
                };
                free_spot(panel, frame, y, (width, size * 1.35), taken)
            }
        };
        taken.push(spot);
        let class = format!("mark halo {}", line.ink.class());
        self.pen.open(&[
            ("class", &class),
            ("stroke", "#ffffff"),
            ("stroke-width", "3"),
            ("stroke-linejoin", "round"),
            ("paint-order", "stroke"),
        ]);
        let at = (spot.left, spot.top + spot.height / 2.0);
        self.text(&words, at, Lettering::new(size, rgb(line.ink)).bold());
        self.pen.close();
    }
}

/// Markers reach this far around their point.
const CLEARANCE: f64 = 4.0;

/// The place beside a horizontal line where a label covers the fewest points, and no other label.
fn free_spot(
    panel: &Panel,
    frame: &Frame,
    y: f64,
    (width, height): (f64, f64),
    taken: &[Rect],
) -> Rect {
    let plot = frame.plot;
    let positions = positions(panel, frame);
    let above = y - height - 2.0;
    let below = y + 2.0;
    // From the right end leftwards; of equally free places the first is taken.
    let rightmost = (plot.right() - width - 4.0).max(plot.left);
    let leftmost = plot.left + 6.0;
    let columns = std::iter::successors(Some(rightmost), |left| {
        (*left > leftmost).then(|| (left - 12.0).max(leftmost))
    });
    let mut best: Option<(usize, Rect)> = None;
    for top in [above, below] {
        if top < plot.top - 1.0 || top + height > plot.bottom() + 1.0 {
            continue;
        }
        for left in columns.clone() {
            let spot = Rect {
                left,
                top,
                width,
                height,
            };
            let near = Rect {
                left: left - CLEARANCE,
                top: top - CLEARANCE,
                width: width + 2.0 * CLEARANCE,
                height: height + 2.0 * CLEARANCE,
            };
            let covered = positions.iter().filter(|p| near.contains(**p)).count();
            let cost = covered + 1000 * taken.iter().filter(|t| t.overlaps(spot)).count();
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, spot));
            }
        }
    }
    best.map_or(
        Rect {
            left: rightmost,
            top: below,
            width,
            height,
        },
        |(_, spot)| spot,
    )
}

/// Where lines run, in SVG units: their points and some places between.
fn positions(panel: &Panel, frame: &Frame) -> Vec<(f64, f64)> {
    let plot = frame.plot;
    let mut out = Vec::new();
    for line in panel
        .lines
        .iter()
        .filter(|l| l.orientation == Orientation::Vertical)
    {
        let x = plot.left + frame.x.position(line.value) * plot.width;
        let mut y = plot.top;
        while y < plot.bottom() {
            out.push((x, y));
            y += 4.0;
        }
    }
    for series in panel.series() {
        let scale = match series.side {
            Side::Left => &frame.y,
            Side::Right => frame.y2.as_ref().unwrap_or(&frame.y),
        };
        for run in runs(&series.points, |p| p.y) {
            let pixels: Vec<_> = run
                .iter()
                .map(|(p, v)| {
                    (
                        plot.left + frame.x.position(p.x) * plot.width,
                        plot.bottom() - scale.position(*v) * plot.height,
                    )
                })
                .collect();
            for pair in pixels.windows(2) {
                let steps = ((pair[1].0 - pair[0].0).abs() / 8.0)
                    .clamp(1.0, 60.0)
                    .floor();
                let mut k = 0.0;
                while k < steps {
                    let t = k / steps;
                    out.push((
                        pair[0].0 + (pair[1].0 - pair[0].0) * t,
                        pair[0].1 + (pair[1].1 - pair[0].1) * t,
                    ));
                    k += 1.0;
                }
            }
            out.extend(pixels.last());
        }
    }
    out
}

//! Grouped bars with error bars, and areas filled down to zero.

use plotters::element::{PathElement, Polygon, Rectangle};
use plotters::style::{Color, ShapeStyle};

use super::layout::Rect;
use super::lines::{Plot, runs};
use super::scale::Scale;
use super::{CANVAS_HOLDS, Frame, PAPER, Sheet, TEXT, rgb, weight};
use crate::chart::{Axis, Series};

/// Share of a category's width that its bars take together.
const GROUP: f64 = 0.66;
/// Distance of the stripes of a striped bar, and their width.
const STRIPE_GAP: f64 = 7.0;
const STRIPE: f64 = 1.6;
/// Half the width of the ends of an error bar.
const CAP: f64 = 6.0;
/// Opacity of an area.
const AREA_OPACITY: f64 = 0.18;

/// Which of several bars of one category a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// From 0.
    pub(super) index: u32,
    /// Bars per category.
    pub(super) of: u32,
}

impl Slot {
    /// Left edge and width of the bar at the middle of a category, in SVG units from the plot's left edge.
    fn place(self, frame: &Frame, x: f64) -> (f64, f64) {
        let n = frame.x.categories.len().max(1);
        let n = f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        let group = frame.plot.width / n * GROUP;
        let width = group / f64::from(self.of.max(1));
        let middle = frame.x.position(x) * frame.plot.width;
        (middle - group / 2.0 + width * f64::from(self.index), width)
    }
}

impl Sheet {
    /// Bars from zero, each with its spread, if it has one.
    pub(super) fn bars(
        &self,
        frame: &Frame,
        series: &Series,
        scale: &Scale,
        (slot, striped): (Slot, bool),
        x_axis: &Axis,
    ) {
        let color = rgb(series.ink);
        let class = format!("bd {}", series.ink.class());
        let plot = frame.plot;
        let height = |v: f64| scale.position(v).clamp(0.0, 1.0) * plot.height;
        for point in &series.points {
            let Some(value) = point.y else { continue };
            let (left, width) = slot.place(frame, point.x);
            let bar = Rect {
                left: plot.left + left + 1.0,
                top: plot.bottom() - height(value),
                width: (width - 2.0).max(1.0),
                height: height(value),
            };
            self.pen.open(&[("class", &class)]);
            let mut title = format!(
                "{}: {} | {}: {}",
                series.name,
                series.format.show(value),
                x_axis.title,
                x_axis.format.show(point.x)
            );
            if let Some(note) = &point.note {
                title.push_str(" | ");
                title.push_str(note);
            }
            self.pen.title(&title);
            let corners = [
                (super::fine(bar.left), super::fine(bar.top)),
                (super::fine(bar.right()), super::fine(bar.bottom())),
            ];
            self.root
                .draw(&Rectangle::new(corners, color.filled()))
                .expect(CANVAS_HOLDS);
            self.pen.close();
            if striped {
                self.stripes(bar);
            }
            if let Some((low, high)) = point.range {
                let middle = bar.left + bar.width / 2.0;
                let (top, bottom) = (plot.bottom() - height(high), plot.bottom() - height(low));
                self.pen.open(&[("class", "err")]);
                self.line((middle, top), (middle, bottom), TEXT, 1.4);
                self.line((middle - CAP, top), (middle + CAP, top), TEXT, 1.4);
                self.line((middle - CAP, bottom), (middle + CAP, bottom), TEXT, 1.4);
                self.pen.close();
            }
        }
    }

    /// Stripes in the colour of the paper: a bar that differs in black and white too.
    pub(super) fn stripes(&self, bar: Rect) {
        self.pen.open(&[("class", "stripe")]);
        let mut y = bar.bottom() - STRIPE_GAP;
        while y > bar.top + STRIPE {
            self.line((bar.left, y), (bar.right(), y), PAPER, STRIPE);
            y -= STRIPE_GAP;
        }
        self.pen.close();
    }

    /// What lies between a line and zero.
    pub(super) fn area(&self, plot: &Plot, frame: &Frame, series: &Series, scale: &Scale) {
        let class = format!("bd {}", series.ink.class());
        self.pen.open(&[("class", &class)]);
        let floor = scale.position(scale.min).max(0.0);
        for run in runs(&series.points, |p| p.y).iter().filter(|r| r.len() > 1) {
            let at = |x: f64| frame.x.position(x);
            let mut outline: Vec<_> = run
                .iter()
                .map(|(p, y)| (at(p.x), scale.position(*y)))
                .collect();
            outline.extend(run.last().map(|(p, _)| (at(p.x), floor)));
            outline.extend(run.first().map(|(p, _)| (at(p.x), floor)));
            let fill = rgb(series.ink).mix(AREA_OPACITY).filled();
            plot.draw(&Polygon::new(outline, fill)).expect(CANVAS_HOLDS);
        }
        // The edge to the left, so that a first point above zero reads as the start of the area.
        if let Some((first, y)) = series.points.first().and_then(|p| p.y.map(|y| (p, y))) {
            let x = frame.x.position(first.x);
            let style = ShapeStyle {
                color: rgb(series.ink).mix(AREA_OPACITY).to_rgba(),
                filled: false,
                stroke_width: weight(1.0),
            };
            let edge = vec![(x, floor), (x, scale.position(y))];
            plot.draw(&PathElement::new(edge, style))
                .expect(CANVAS_HOLDS);
        }
        self.pen.close();
    }
}

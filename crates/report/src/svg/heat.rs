//! Heat maps: coloured cells with their values written in them, and a colour bar.

use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::layout::{Rect, Spot};
use super::{Layout, Lettering, MUTED, Sheet, TEXT, Turn, text};
use crate::chart::{HeatGrid, Panel};

/// Stops from low to high: green, yellow, red. Lightness falls from the middle to the red end, so
/// that high cells stand out for readers who cannot tell red from green; values are written anyway.
const STOPS: [(u8, u8, u8); 5] = [
    (0x5c, 0xb8, 0x7a),
    (0xb5, 0xd9, 0x7c),
    (0xfb, 0xe1, 0x7a),
    (0xee, 0x8d, 0x4a),
    (0xb3, 0x22, 0x2e),
];

impl Sheet {
    pub(super) fn heat(&self, panel: &Panel, grid: &HeatGrid, spot: &Spot) {
        let frame = &spot.frame;
        let plot = frame.plot;
        let extent = grid.extent();
        let preview = self.look.layout == Layout::Preview;
        let row_height =
            plot.height / f64::from(u32::try_from(grid.rows.len().max(1)).unwrap_or(u32::MAX));
        for (i, row) in grid.rows.iter().enumerate() {
            let bottom =
                plot.bottom() - row_height * f64::from(u32::try_from(i).unwrap_or(u32::MAX));
            self.pen.open(&[("class", "mut")]);
            let name = Lettering::new(self.look.tick_size, MUTED).at(HPos::Right, VPos::Center);
            self.text(
                &row.name,
                (plot.left - 6.0, bottom - row_height / 2.0),
                name,
            );
            self.pen.close();
            self.pen.open(&[("class", "cells")]);
            for (column, value) in row.cells.iter().enumerate() {
                let Some(value) = *value else {
                    continue;
                };
                let color = shade(grid.share(value));
                let (left, right) = edges(&grid.columns, column);
                let x = |v: f64| plot.left + frame.x.position(v).clamp(0.0, 1.0) * plot.width;
                let cell = Rect {
                    left: x(left),
                    top: bottom - row_height,
                    width: x(right) - x(left),
                    height: row_height,
                };
                self.pen.title(&format!(
                    "{}: {} | {}: {} | {}: {}",
                    grid.bar_title,
                    grid.format.show(value),
                    panel.y.title,
                    row.name,
                    panel.x.title,
                    panel.x.format.show(grid.columns[column])
                ));
                self.rect(inset(cell, if preview { 0.4 } else { 0.8 }), color);
                if !preview {
                    self.cell_text(&grid.format.show(value), cell, ink_on(color));
                }
            }
            self.pen.close();
        }
        self.axes(panel, frame);
        if let (Some(bar), Some((low, high))) = (spot.bar, extent) {
            self.color_bar(bar, grid, low, high);
        }
    }

    /// The value in its cell: level where it fits, upright where that fits, else left to the tooltip.
    fn cell_text(&self, words: &str, cell: Rect, color: RGBColor) {
        let size = self.look.tick_size;
        let width = text::width(words, size);
        let turn = if width + 4.0 <= cell.width {
            Turn::Level
        } else if width + 4.0 <= cell.height && size + 3.0 <= cell.width {
            Turn::Up
        } else {
            return;
        };
        let at = (cell.left + cell.width / 2.0, cell.top + cell.height / 2.0);
        self.text(
            words,
            at,
            Lettering::new(size, color)
                .at(HPos::Center, VPos::Center)
                .turned(turn),
        );
    }

    fn color_bar(&self, bar: Rect, grid: &HeatGrid, low: f64, high: f64) {
        const STEPS: u32 = 48;
        self.pen.open(&[("class", "bar")]);
        for i in 0..STEPS {
            let share = f64::from(i) / f64::from(STEPS - 1);
            let left = bar.left + bar.width * f64::from(i) / f64::from(STEPS);
            // Each step reaches to the end and is covered by the next: no seams between them.
            let step = Rect {
                left,
                width: bar.right() - left,
                ..bar
            };
            self.rect(step, shade(share));
        }
        self.pen.close();
        self.pen.open(&[("class", "fg")]);
        let small = Lettering::new(self.look.tick_size, TEXT);
        self.text(&grid.bar_title, (bar.left, bar.top - 8.0), small);
        let log = if grid.log { ", logarithmic" } else { "" };
        let right = format!(
            "{} – {}{log}",
            grid.format.show(low),
            grid.format.show(high)
        );
        self.text(
            &right,
            (bar.right() + 8.0, bar.top + bar.height / 2.0),
            small,
        );
        self.pen.close();
    }
}

fn inset(cell: Rect, by: f64) -> Rect {
    Rect {
        left: cell.left + by,
        top: cell.top + by,
        width: (cell.width - 2.0 * by).max(0.2),
        height: (cell.height - 2.0 * by).max(0.2),
    }
}

/// A cell reaches half-way to its neighbours; the outer ones as far again, up to the axis's end.
fn edges(columns: &[f64], i: usize) -> (f64, f64) {
    let at = columns[i];
    let before = i.checked_sub(1).map(|j| (at - columns[j]) / 2.0);
    let after = columns.get(i + 1).map(|next| (next - at) / 2.0);
    let lone = 2.5;
    let left = before.or(after).unwrap_or(lone);
    let right = after.or(before).unwrap_or(lone);
    (at - left, at + right)
}

/// Colour of a share between 0 (low) and 1 (high).
fn shade(share: f64) -> RGBColor {
    let last = STOPS.len() - 1;
    let place = share.clamp(0.0, 1.0) * 4.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 3"
    )]
    let i = (place.floor() as usize).min(last - 1);
    let t = place - f64::from(u32::try_from(i).unwrap_or(0));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 255"
    )]
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * t).round() as u8;
    let (a, b) = (STOPS[i], STOPS[i + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// Black or white, whichever reads better on this colour.
fn ink_on(RGBColor(r, g, b): RGBColor) -> RGBColor {
    let luma = 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
    if luma > 130.0 {
        RGBColor(0x1a, 0x1a, 0x1a)
    } else {
        RGBColor(0xff, 0xff, 0xff)
    }
}

//! The plot: a bar for each load, as long as memcached's CPU time is a multiple of Volt's. SVG, by hand.

use crate::report::CostRow;
use std::fmt::Write;

const WIDTH: usize = 860;
const ROW: usize = 26;
const LEFT: usize = 300;
const TOP: usize = 52;

/// The plot as a file's text.
pub fn svg(rows: &[CostRow]) -> String {
    let mut text = String::new();
    draw(rows, &mut text).expect("a string takes everything");
    text
}

fn draw(rows: &[CostRow], text: &mut String) -> std::fmt::Result {
    let longest = rows.iter().map(|row| row.ratio.max(row.goal)).fold(2.0, f64::max).ceil();
    let x = |ratio: f64| LEFT as f64 + ratio / longest * (WIDTH - LEFT - 60) as f64;
    let height = TOP + rows.len() * ROW + 34;
    let bottom = TOP + rows.len() * ROW;
    writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"15\" fill=\"#222222\">Operations per second of server CPU: \
         Volt by memcached</text>"
    )?;
    for ratio in 0..=longest as usize {
        let at = x(ratio as f64);
        let colour = if ratio == 1 { "#888888" } else { "#dddddd" };
        writeln!(
            text,
            "<line x1=\"{at:.0}\" x2=\"{at:.0}\" y1=\"{}\" y2=\"{bottom}\" stroke=\"{colour}\"/>\n\
             <text x=\"{at:.0}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666666\">{ratio} x</text>",
            TOP - 8,
            bottom + 18,
        )?;
    }
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + index * ROW;
        let (from, to, goal) = (x(0.0), x(row.ratio), x(row.goal));
        writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#222222\">{}</text>\n\
             <rect x=\"{from:.0}\" y=\"{}\" width=\"{:.0}\" height=\"{}\" fill=\"#c0582b\"/>\n\
             <text x=\"{:.0}\" y=\"{}\" fill=\"#222222\">{:.1}</text>\n\
             <line x1=\"{goal:.0}\" x2=\"{goal:.0}\" y1=\"{}\" y2=\"{}\" stroke=\"#222222\" stroke-width=\"2\"/>",
            LEFT - 10,
            y + 15,
            escaped(&row.name),
            y + 3,
            to - from,
            ROW - 9,
            to.max(goal) + 6.0,
            y + 15,
            row.ratio,
            y,
            y + ROW - 3,
        )?;
    }
    writeln!(
        text,
        "<text x=\"16\" y=\"{}\" fill=\"#666666\">The black mark is the goal.</text>\n</svg>",
        bottom + 18
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('`', "")
}

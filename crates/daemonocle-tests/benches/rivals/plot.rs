//! The pictures: bars for the rivals and curves for what grows, on logarithmic scales, for light and for dark pages.

use std::fmt::Write as _;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::figures::{Spread, milliseconds, short};
use crate::growth::{Growth, Line};
use crate::report::{Timed, spread, whole};
use crate::rival::Rival;
use crate::{Result, Results};

struct Colours {
    suffix: &'static str,
    text: &'static str,
    faint: &'static str,
    ours: &'static str,
    theirs: &'static str,
    /// What comes after the command has returned.
    late: &'static str,
}

const COLOURS: [Colours; 2] = [
    Colours {
        suffix: "",
        text: "#1f2328",
        faint: "#d1d9e0",
        ours: "#0969da",
        theirs: "#8c959f",
        late: "#cf222e",
    },
    Colours {
        suffix: "-dark",
        text: "#f0f6fc",
        faint: "#3d444d",
        ours: "#4493f8",
        theirs: "#656c76",
        late: "#f85149",
    },
];

/// One line of a picture.
struct Bar<'a> {
    name: &'a str,
    spread: Spread,
    /// When the command has returned although there was more to come.
    returned: Option<f64>,
}

pub fn write(dir: &Path, rivals: &[Rival], results: &[Results], growth: &Growth) -> Result {
    let bars = |timed: Timed, returned: Timed| -> Vec<Bar<'_>> {
        let each = rivals.iter().zip(results);
        each.filter_map(|(rival, its)| {
            let returned = spread(its, returned).map(|it| it.middle);
            let spread = spread(its, timed)?;
            Some(Bar {
                name: &rival.name,
                spread,
                returned: returned.filter(|&it| it < spread.middle),
            })
        })
        .collect()
    };
    let memory = rivals.iter().zip(results).map(|(rival, its)| {
        let size = its.rest.private as f64;
        let spread = Spread { low: size, middle: size, high: size };
        Bar { name: &rival.name, spread, returned: None }
    });
    let pictures = [
        (
            "start",
            "start of a worker that takes 100 ms: until it serves, in ms (red: after the command has returned)",
            bars(
                |lap| Some(whole(lap.slow_start)),
                |lap| Some(milliseconds(lap.slow_start.returned)),
            ),
        ),
        (
            "stop",
            "stop: until the daemon is gone, in ms (red: after the command has returned)",
            bars(|lap| Some(whole(lap.stop)), |lap| Some(milliseconds(lap.stop.returned))),
        ),
        ("memory", "private memory of an idle daemon, in KiB", memory.collect()),
    ];
    for (name, title, bars) in &pictures {
        for colours in &COLOURS {
            let picture = draw(title, bars, colours)?;
            fs::write(dir.join(format!("{name}{}.svg", colours.suffix)), picture)?;
        }
    }
    for (name, title, lines) in [
        ("workers", "start of so many workers, until all serve, in ms", &growth.start),
        ("group", "status of a group of so many processes, in ms", &growth.status),
    ] {
        for colours in &COLOURS {
            let picture = curves(title, lines, colours)?;
            fs::write(dir.join(format!("{name}{}.svg", colours.suffix)), picture)?;
        }
    }
    Ok(())
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 200.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 56.0;
const LINE: f64 = 28.0;

fn draw(title: &str, bars: &[Bar<'_>], colours: &Colours) -> Result<String> {
    let Colours { text, faint, ours, theirs, late, .. } = colours;
    let low = bars.iter().flat_map(|bar| [bar.spread.low, bar.returned.unwrap_or(f64::MAX)]);
    let low = low.fold(f64::MAX, f64::min).log10().floor();
    let high = bars.iter().map(|bar| bar.spread.high).fold(0.0, f64::max).log10().ceil();
    let x =
        |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * (value.log10() - low) / (high - low).max(1.0);
    let bottom = TOP + LINE * bars.len() as f64;
    let height = bottom + 30.0;
    let mut svg = head(title, height, text)?;
    uprights(&mut svg, low as i32..=high as i32, x, bottom, faint)?;
    for (row, bar) in bars.iter().enumerate() {
        let top = TOP + LINE * row as f64;
        let middle = top + LINE / 2.0;
        let end = x(bar.spread.middle);
        let colour = if bar.name.starts_with("daemonocle") { ours } else { theirs };
        let turn = bar.returned.map_or(end, x);
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>",
            LEFT - 10.0,
            middle + 4.5,
            bar.name,
            middle - 8.0,
            turn - LEFT,
        )?;
        if turn < end {
            writeln!(
                svg,
                "<rect x=\"{turn:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"16\" fill=\"{late}\"/>",
                middle - 8.0,
                end - turn,
            )?;
        }
        let (from, to) = (x(bar.spread.low), x(bar.spread.high));
        if to > from {
            writeln!(
                svg,
                "<line x1=\"{from:.1}\" y1=\"{middle:.1}\" x2=\"{to:.1}\" y2=\"{middle:.1}\" stroke=\"{text}\"/>"
            )?;
        }
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            end.max(to) + 8.0,
            middle + 4.5,
            short(bar.spread.middle)
        )?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

const HEIGHT_OF_CURVES: f64 = 360.0;

fn curves(title: &str, lines: &[Line], colours: &Colours) -> Result<String> {
    /// Room for the names at the curves' ends.
    const NAMES: f64 = 220.0;
    const BOTTOM: f64 = HEIGHT_OF_CURVES - 36.0;
    const START: f64 = 70.0;
    let Colours { text, faint, ours, theirs, .. } = colours;
    let points = || lines.iter().flat_map(|line| &line.points);
    let most = points().map(|(count, _)| *count as f64).fold(1.0, f64::max).log10().ceil().max(1.0);
    let low = points().map(|(_, time)| time.low).fold(f64::MAX, f64::min).log10().floor();
    let high = points().map(|(_, time)| time.high).fold(0.0, f64::max).log10().ceil();
    let x = |count: f64| START + (WIDTH - START - NAMES) * count.log10() / most;
    let y = |time: f64| BOTTOM - (BOTTOM - TOP) * (time.log10() - low) / (high - low).max(1.0);
    let mut svg = head(title, HEIGHT_OF_CURVES, text)?;
    uprights(&mut svg, 0..=most as i32, x, BOTTOM, faint)?;
    for power in low as i32..=high as i32 {
        let (time, at) = (10f64.powi(power), y(10f64.powi(power)));
        writeln!(
            svg,
            "<line x1=\"{START}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\" stroke=\"{faint}\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{time}</text>",
            WIDTH - NAMES,
            START - 8.0,
            at + 4.5,
        )?;
    }
    let mut ends: Vec<_> = lines
        .iter()
        .filter_map(|line| {
            line.points.last().map(|(count, time)| (line, x(*count as f64), y(time.middle)))
        })
        .collect();
    ends.sort_by(|(.., a), (.., b)| a.total_cmp(b));
    let mut above = f64::MIN;
    for (line, right, end) in ends {
        let colour = if line.name.starts_with("daemonocle") { ours } else { theirs };
        let path: Vec<_> = line
            .points
            .iter()
            .map(|(count, time)| format!("{:.1},{:.1}", x(*count as f64), y(time.middle)))
            .collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"/>",
            path.join(" ")
        )?;
        for (count, time) in &line.points {
            let (x, from, to) = (x(*count as f64), y(time.low), y(time.high));
            writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{from:.1}\" x2=\"{x:.1}\" y2=\"{to:.1}\" stroke=\"{colour}\"/>\n\
                 <circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
                y(time.middle)
            )?;
        }
        // Names one below the other, where curves end in the same place.
        above = end.max(above + 16.0);
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            right + 10.0,
            above + 4.5,
            line.name
        )?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// A line for each power of ten, with its number below.
fn uprights(
    svg: &mut String,
    powers: RangeInclusive<i32>,
    x: impl Fn(f64) -> f64,
    bottom: f64,
    colour: &str,
) -> Result {
    for power in powers {
        let value = 10f64.powi(power);
        let at = x(value);
        writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"{colour}\"/>\n\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>",
            bottom + 18.0
        )?;
    }
    Ok(())
}

/// What each picture begins with.
fn head(title: &str, height: f64, text: &str) -> Result<String> {
    let mut svg = String::new();
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"{text}\">\n\
         <title>{title}</title>\n\
         <text x=\"10\" y=\"24\" font-size=\"15\">{title}</text>"
    )?;
    Ok(svg)
}

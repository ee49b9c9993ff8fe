//! The pictures: a bar for each rival, on a logarithmic scale, for light and for dark pages.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::figures::{Spread, milliseconds, short};
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

pub fn write(dir: &Path, rivals: &[Rival], results: &[Results]) -> Result {
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
    let mut svg = String::new();
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"{text}\">\n\
         <title>{title}</title>\n\
         <text x=\"10\" y=\"24\" font-size=\"15\">{title}</text>"
    )?;
    for power in low as i32..=high as i32 {
        let (value, at) = (10f64.powi(power), x(10f64.powi(power)));
        writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"{faint}\"/>\n\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>",
            bottom + 18.0
        )?;
    }
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

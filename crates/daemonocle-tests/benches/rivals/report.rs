//! The tables, and all single times.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::figures::{Spread, milliseconds, short};
use crate::growth::{Growth, Line};
use crate::lap::{Lap, SETUP, Span};
use crate::rival::Rival;
use crate::{Result, Results};

/// The first rival is what all are measured by.
const FLOOR: usize = 0;

pub fn write(
    dir: &Path,
    rivals: &[Rival],
    results: &[Results],
    growth: &Growth,
    absent: &[&str],
) -> Result {
    fs::write(dir.join("rivals.csv"), laps(rivals, results)?)?;
    fs::write(dir.join("README.md"), page(rivals, results, growth, absent)?)?;
    println!("written: {}", dir.canonicalize()?.display());
    Ok(())
}

/// When both are so: the command has returned, and what it was for is done.
pub fn whole(span: Span) -> f64 {
    milliseconds(span.returned.max(span.done))
}

/// Something that was timed in each lap.
pub type Timed = fn(&Lap) -> Option<f64>;

pub fn spread(results: &Results, timed: Timed) -> Option<Spread> {
    Spread::of(results.laps.iter().filter_map(timed))
}

/// In times of what the floor took in the same round.
fn ratio(results: &[Results], which: usize, timed: Timed) -> Option<Spread> {
    let laps = results[which].laps.iter().zip(&results[FLOOR].laps);
    Spread::of(laps.filter_map(|(its, floor)| Some(timed(its)? / timed(floor)?)))
}

fn page(rivals: &[Rival], results: &[Results], growth: &Growth, absent: &[&str]) -> Result<String> {
    let mut text = String::new();
    let rounds = results[FLOOR].laps.len();
    writeln!(
        text,
        "# What a daemon costs\n\n\
         Written by `cargo bench -p daemonocle-tests --bench rivals`; what was learnt from it is in\n\
         [FINDINGS.md](FINDINGS.md).\n\n\
         {}\n\n\
         {rounds} rounds, in each of which every rival had its turn, in another order each time. Times are medians in\n\
         milliseconds; *times C* is the median of the ratios within a round, with their 10th and 90th percentile. All\n\
         single times are in [rivals.csv](rivals.csv).\n",
        machine()?
    )?;
    for name in ["start", "stop", "memory"] {
        picture(&mut text, name)?;
    }
    starts(&mut text, rivals, results)?;
    others(&mut text, rivals, results)?;
    at_rest(&mut text, rivals, results)?;
    grown(&mut text, growth)?;
    writeln!(text, "## Who they are\n")?;
    for rival in rivals {
        let kill = if rival.is_stopped_by_kill { "; has no stop, so `kill` does it" } else { "" };
        writeln!(text, "- **{}**: {}{kill}", rival.name, rival.what)?;
    }
    if !absent.is_empty() {
        writeln!(text, "\nNot there, and so left out: {}.", absent.join(", "))?;
    }
    Ok(text)
}

fn starts(text: &mut String, rivals: &[Rival], results: &[Results]) -> Result {
    writeln!(
        text,
        "## start\n\n\
         *Serves* is when the daemon itself says that it serves, and *returns* when the command has returned. The slow\n\
         worker takes {} ms until it serves. One that fails says why on standard error and ends with 1 after 20 ms:\n\
         whether `start` has noticed, and whether it tells why.\n\n\
         | | returns | serves | times C | slow worker: returns | a failure is |\n\
         |---|---|---|---|---|---|",
        SETUP.as_millis()
    )?;
    for (which, (rival, its)) in rivals.iter().zip(results).enumerate() {
        let middle = |timed: Timed| cell(spread(its, timed));
        let slow = middle(|lap| Some(milliseconds(lap.slow_start.returned)));
        let early = share(&its.laps, |lap| lap.slow_start.is_early());
        let noticed = share(&its.laps, |lap| lap.failure.is_noticed);
        let explained = share(&its.laps, |lap| lap.failure.is_explained);
        let failure = match (noticed, explained) {
            (0.5.., 0.5..) => "told, with the reason",
            (0.5.., _) => "told",
            (_, 0.5..) => "**not noticed**, the reason is seen",
            _ => "**not noticed**",
        };
        writeln!(
            text,
            "| {} | {} | {} | {} | {slow}{} | {failure} |",
            rival.name,
            middle(|lap| Some(milliseconds(lap.start.returned))),
            middle(|lap| Some(milliseconds(lap.start.done))),
            ratios(ratio(results, which, |lap| Some(whole(lap.start)))),
            if early >= 0.5 { ", **early**" } else { "" },
        )?;
    }
    writeln!(text)?;
    Ok(())
}

fn others(text: &mut String, rivals: &[Rival], results: &[Results]) -> Result {
    writeln!(
        text,
        "## stop, restart, status\n\n\
         *Gone* is when the daemon's process has ended and the command has returned; restart counts until the new one\n\
         serves. *Status* is with the share of a processor, for which the daemon has to be watched for a while; *is it\n\
         there* is without.\n\n\
         | | stop: gone | times C | restart | status | is it there |\n\
         |---|---|---|---|---|---|"
    )?;
    for (which, (rival, its)) in rivals.iter().zip(results).enumerate() {
        let middle = |timed: Timed| cell(spread(its, timed));
        let early = share(&its.laps, |lap| lap.stop.is_early()) >= 0.5;
        writeln!(
            text,
            "| {} | {}{} | {} | {} | {} | {} |",
            rival.name,
            middle(|lap| Some(whole(lap.stop))),
            if early { ", returns **early**" } else { "" },
            ratios(ratio(results, which, |lap| Some(whole(lap.stop)))),
            middle(|lap| lap.restart.map(whole)),
            middle(|lap| lap.status.map(milliseconds)),
            middle(|lap| lap.check.map(milliseconds)),
        )?;
    }
    writeln!(text)?;
    Ok(())
}

fn at_rest(text: &mut String, rivals: &[Rival], results: &[Results]) -> Result {
    writeln!(
        text,
        "## At rest, and to build\n\n\
         All processes together that the idle daemon needs. *Packages* is what has to be built besides the program\n\
         itself, and *build* how long that takes from clean, once, with everything fetched.\n\n\
         | | processes | threads | PSS, KiB | private, KiB | wake-ups a minute | program, kB | packages | build, s |\n\
         |---|---|---|---|---|---|---|---|---|"
    )?;
    for (rival, its) in rivals.iter().zip(results) {
        let rest = &its.rest;
        let size = rival.size.map_or_else(dash, |size| (size / 1000).to_string());
        let (packages, time) = rival.build.map_or_else(
            || (dash(), dash()),
            |(packages, time)| (packages.to_string(), short(time)),
        );
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {size} | {packages} | {time} |",
            rival.name,
            rest.processes,
            rest.threads,
            rest.proportional,
            rest.private,
            rest.wake_ups,
        )?;
    }
    writeln!(text)?;
    Ok(())
}

fn grown(text: &mut String, growth: &Growth) -> Result {
    writeln!(
        text,
        "## Growth\n\n\
         Milliseconds, until all workers serve or are gone. The exponent is that of the number which the time grows\n\
         with, from the second column on: 1 is in proportion.\n"
    )?;
    for name in ["workers", "group"] {
        picture(text, name)?;
    }
    lines(text, "start of so many workers", &growth.start, 10)?;
    lines(text, "stop of so many workers", &growth.stop, 10)?;
    lines(text, "status of a group of so many processes", &growth.status, 10)?;
    writeln!(text, "| status of one process | alone | among 10,000 others |\n|---|---|---|")?;
    for (name, alone, among) in &growth.others {
        writeln!(text, "| {name} | {} | {} |", short(alone.middle), short(among.middle))?;
    }
    writeln!(text)?;
    Ok(())
}

fn lines(text: &mut String, what: &str, lines: &[Line], from: usize) -> Result {
    let counts = lines.iter().flat_map(|line| &line.points).map(|(count, _)| *count);
    let counts: std::collections::BTreeSet<_> = counts.collect();
    let heads: Vec<_> = counts.iter().map(ToString::to_string).collect();
    writeln!(text, "| {what} | {} | exponent |", heads.join(" | "))?;
    writeln!(text, "|---|{}---|", "---|".repeat(heads.len()))?;
    for line in lines {
        let cells: Vec<_> = line.points.iter().map(|(_, time)| short(time.middle)).collect();
        writeln!(text, "| {} | {} | {:.2} |", line.name, cells.join(" | "), line.exponent(from))?;
    }
    writeln!(text)?;
    Ok(())
}

fn picture(text: &mut String, name: &str) -> Result {
    writeln!(
        text,
        "<picture><source media=\"(prefers-color-scheme: dark)\" srcset=\"{name}-dark.svg\">\
         <img src=\"{name}.svg\" alt=\"{name}\"></picture>\n"
    )?;
    Ok(())
}

fn share(laps: &[Lap], is_so: impl Fn(&Lap) -> bool) -> f64 {
    laps.iter().filter(|lap| is_so(lap)).count() as f64 / laps.len() as f64
}

fn dash() -> String {
    "—".to_owned()
}

fn cell(spread: Option<Spread>) -> String {
    spread.map_or_else(dash, |it| short(it.middle))
}

fn ratios(spread: Option<Spread>) -> String {
    let text = |it: Spread| format!("{} ({}–{})", short(it.middle), short(it.low), short(it.high));
    spread.map_or_else(dash, text)
}

fn machine() -> Result<String> {
    let first = |command: &mut Command| -> Result<String> {
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    };
    let information = fs::read_to_string("/proc/cpuinfo")?;
    let model = information.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |text| text.trim_start_matches([' ', '\t', ':']));
    let processors = std::thread::available_parallelism()?;
    let date = first(Command::new("date").arg("+%Y-%m-%d"))?;
    let kernel = first(Command::new("uname").arg("-sr"))?;
    let compiler = first(Command::new("rustc").arg("--version"))?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let system = system.unwrap_or("unknown system").trim_matches('"');
    Ok(format!("{date}: {processors} processors ({model}), {kernel}, {system}, {compiler}."))
}

/// All single times, in milliseconds.
fn laps(rivals: &[Rival], results: &[Results]) -> Result<String> {
    let columns: [(&str, Timed); 11] = [
        ("start_returned", |lap| Some(milliseconds(lap.start.returned))),
        ("start_served", |lap| Some(milliseconds(lap.start.done))),
        ("slow_start_returned", |lap| Some(milliseconds(lap.slow_start.returned))),
        ("slow_start_served", |lap| Some(milliseconds(lap.slow_start.done))),
        ("failed_start_returned", |lap| Some(milliseconds(lap.failure.time))),
        ("stop_returned", |lap| Some(milliseconds(lap.stop.returned))),
        ("stop_gone", |lap| Some(milliseconds(lap.stop.done))),
        ("restart_returned", |lap| lap.restart.map(|span| milliseconds(span.returned))),
        ("restart_served", |lap| lap.restart.map(|span| milliseconds(span.done))),
        ("status", |lap| lap.status.map(milliseconds)),
        ("check", |lap| lap.check.map(milliseconds)),
    ];
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let mut text = format!("rival,round,{}\n", names.join(","));
    for (rival, its) in rivals.iter().zip(results) {
        for (round, lap) in its.laps.iter().enumerate() {
            let times = columns.iter().map(|(_, timed)| timed(lap));
            let times: Vec<_> = times
                .map(|time| time.map(|time| format!("{time:.3}")).unwrap_or_default())
                .collect();
            writeln!(text, "\"{}\",{round},{}", rival.name, times.join(","))?;
        }
    }
    Ok(text)
}

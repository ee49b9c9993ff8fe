//! What a daemon costs, here and elsewhere: `start` until the command returns and until the daemon serves,
//! `stop` until it is gone, `restart`, `status`, a start that fails, and what an idle daemon costs.
//!
//! ```console
//! $ cargo bench -p daemonocle-tests --bench rivals            # 50 rounds
//! $ cargo bench -p daemonocle-tests --bench rivals -- 200
//! ```
//!
//! Needs a C compiler; whatever else is absent is left out, by name. In every round each rival has its turn, in
//! another order each time, so that whatever else the machine does meets all of them alike; each ratio is one of
//! the same round. Writes the table, the pictures and all single times to `docs/benchmarks`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{getpid, set_child_subreaper};

mod bell;
mod build;
mod figures;
mod growth;
mod lap;
mod plot;
mod report;
mod rest;
mod rival;

use build::Built;
use growth::Growth;
use lap::{Lap, Place};
use rest::Rest;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const WARM_UP: usize = 3;

fn main() -> Result {
    let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(50);
    let dir = tempfile::tempdir()?;
    // The daemons become our children when their starters are gone, and we bury them.
    set_child_subreaper(Some(getpid()))?;
    let built = Built::all(dir.path())?;
    let (rivals, absent) = rival::all(&built, dir.path());
    let mut results: Vec<Results> = Vec::new();
    for rival in &rivals {
        let place = Place::new(dir.path(), rival)?;
        eprintln!("{}: {}", rival.name, rival.what);
        let rest = Rest::of(rival, &place).map_err(|error| format!("{}: {error}", rival.name))?;
        results.push(Results { laps: Vec::new(), rest, place });
    }
    for round in 0..WARM_UP + rounds {
        for turn in 0..rivals.len() {
            let turn = if round % 2 == 0 { turn } else { rivals.len() - 1 - turn };
            let which = (round / 2 + turn) % rivals.len();
            let lap = Lap::run(&rivals[which], &results[which].place)
                .map_err(|error| format!("{}: {error}", rivals[which].name))?;
            if round >= WARM_UP {
                results[which].laps.push(lap);
            }
        }
    }
    let growth = Growth::of(&built, dir.path())?;
    let benchmarks = home().join("../../docs/benchmarks");
    fs::create_dir_all(&benchmarks)?;
    report::write(&benchmarks, &rivals, &results, &growth, &absent)?;
    plot::write(&benchmarks, &rivals, &results, &growth)
}

/// All that is known of a rival.
struct Results {
    place: Place,
    laps: Vec<Lap>,
    rest: Rest,
}

/// The crate's directory.
fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

//! Random commands and kills from many sides at once, on one daemon; and whether at every moment at most one
//! was running, and every answer was possible.
//!
//! ```console
//! $ cargo build --release -p daemonocle-tests --bin fixture --bin storms
//! $ target/release/storms                             # 16 clients, 2,000 operations
//! $ target/release/storms --operations 100000 --seed 7
//! $ target/release/storms --seed 7 --history          # also tells all that has happened
//! ```
//!
//! Every daemon leaves on record when it was certainly alive (the worker `beats` of the fixture), and every
//! client when it asked and when it had which answer. Whether all of that can be true is judged afterwards
//! (`judge`). Prints a table, and what was wrong; the exit code is 1 if anything was.

mod answer;
mod client;
mod judge;
mod lives;

use std::process::ExitCode;
use std::thread;

use daemonocle_tests::Sandbox;

use client::{Client, Deed};
use lives::{Life, Moment};

/// How many operations one daemon has to go through, before there is another one.
const ROUND: u64 = 2000;

fn main() -> ExitCode {
    let (mut clients, mut operations, mut seed, mut tells) = (16, 2000, 1, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number =
            || arguments.next().and_then(|text| text.parse().ok()).expect("a number behind it");
        match &*argument {
            "--clients" => clients = number(),
            "--operations" => operations = number(),
            "--seed" => seed = number(),
            "--history" => tells = true,
            _ => panic!("unknown: {argument}"),
        }
    }
    // The daemons become our children, and we bury them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut total = [0; 5];
    while operations > 0 {
        let round = operations.min(ROUND);
        let storm = Storm::rage(clients, round, seed);
        total.iter_mut().zip(storm.count()).for_each(|(total, count)| *total += count);
        if tells {
            storm.tell();
        }
        storm.wrong.iter().for_each(|what| println!("WRONG  seed {seed}: {what}"));
        operations -= round;
        seed += 1;
    }
    println!("operations  daemons  kills  killed commands  wrong");
    let [deeds, lives, kills, killed, wrong] = total;
    println!("{deeds:10}  {lives:7}  {kills:5}  {killed:15}  {wrong}");
    ExitCode::from(u8::from(wrong > 0))
}

/// What has happened to one daemon.
struct Storm {
    deeds: Vec<Deed>,
    lives: Vec<Life>,
    wrong: Vec<String>,
}

impl Storm {
    fn rage(clients: u64, operations: u64, seed: u64) -> Self {
        let sandbox = Sandbox::new();
        let beats = sandbox.make_dir("beats", 0o777);
        let fixture = sandbox.fixture("beats").set("beats", &beats).set("on_hup", "yes");
        let mut deeds: Vec<Deed> = thread::scope(|scope| {
            let clients: Vec<_> = (1..=clients)
                .map(|number| {
                    let client = Client::new(fixture.clone(), seed * 1000 + number);
                    scope.spawn(move || client.run(operations / clients))
                })
                .collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        deeds.sort_by_key(|deed| deed.begin);
        let lives = lives::read(&beats);
        let mut wrong = judge::all(&deeds, &lives);
        wrong.extend(judge::aftermath(&sandbox, &fixture));
        Self { deeds, lives, wrong }
    }

    /// Operations, daemons, kills, killed commands, and what is wrong.
    fn count(&self) -> [usize; 5] {
        let count = |is_it: fn(&Deed) -> bool| self.deeds.iter().filter(|deed| is_it(deed)).count();
        let Self { deeds, lives, wrong } = self;
        [deeds.len(), lives.len(), count(Deed::is_kill), count(Deed::is_killed), wrong.len()]
    }

    /// All that has happened, by microseconds since the beginning.
    fn tell(&self) {
        let zero = self.deeds.first().map_or(0, |deed| deed.begin);
        let since = |moment: Moment| (moment - zero) / 1000;
        for Life { pid, first, last, .. } in &self.lives {
            println!("{:9} {:9} daemon {pid}", since(*first), since(*last));
        }
        for Deed { begin, end, what } in &self.deeds {
            println!("{:9} {:9} {what:?}", since(*begin), since(*end));
        }
    }
}

//! Random commands and kills from many sides at once, on one daemon or some workers; and whether at every moment
//! at most one of each was running, and every answer was possible.
//!
//! ```console
//! $ cargo build --release -p daemonocle-tests --bin fixture --bin storms
//! $ target/release/storms                             # 16 clients, 2,000 operations
//! $ target/release/storms --operations 100000 --seed 7
//! $ target/release/storms --workers 3                 # many daemons as one
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

use client::{Client, Crew, Deed};
use lives::{Life, Moment};

/// How many operations one daemon has to go through, before there is another one.
const ROUND: u64 = 2000;

fn main() -> ExitCode {
    let (mut clients, mut operations, mut seed, mut tells) = (16, 2000, 1, false);
    let mut crew = Crew { workers: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number =
            || arguments.next().and_then(|text| text.parse().ok()).expect("a number behind it");
        match &*argument {
            "--clients" => clients = number(),
            "--operations" => operations = number(),
            "--seed" => seed = number(),
            "--workers" => crew.workers = Some(number() as usize),
            "--history" => tells = true,
            _ => {
                eprintln!(
                    "usage: storms [--clients N] [--operations N] [--seed N] [--workers N] [--history]"
                );
                return ExitCode::from(2);
            }
        }
    }
    // The daemons become our children, and we bury them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut total = [0; 6];
    while operations > 0 {
        let round = operations.min(ROUND);
        let storm = Storm::rage(crew, clients, round, seed);
        total.iter_mut().zip(storm.count()).for_each(|(total, count)| *total += count);
        if tells {
            storm.tell();
        }
        storm.wrong.iter().for_each(|what| println!("WRONG  seed {seed}: {what}"));
        operations -= round;
        seed += 1;
    }
    println!("operations  daemons  reloads  kills  killed commands  wrong");
    let [deeds, lives, reloads, kills, killed, wrong] = total;
    println!("{deeds:10}  {lives:7}  {reloads:7}  {kills:5}  {killed:15}  {wrong}");
    ExitCode::from(u8::from(wrong > 0))
}

/// What has happened to one daemon, or many.
struct Storm {
    deeds: Vec<Deed>,
    /// Of each worker.
    lives: Vec<Vec<Life>>,
    wrong: Vec<String>,
}

impl Storm {
    fn rage(crew: Crew, clients: u64, operations: u64, seed: u64) -> Self {
        let sandbox = Sandbox::new();
        let beats = sandbox.make_dir("beats", 0o777);
        let mut fixture = sandbox.fixture("beats").set("beats", &beats).set("on_hup", "yes");
        if let Some(workers) = crew.workers {
            fixture = fixture
                .set("multi", workers.to_string())
                .set("name", "worker_{n}")
                .set("pid_file", sandbox.path("worker_{n}.pid"));
        }
        let mut deeds: Vec<Deed> = thread::scope(|scope| {
            let clients: Vec<_> = (1..=clients)
                .map(|number| {
                    let client = Client::new(fixture.clone(), crew, seed * 1000 + number);
                    scope.spawn(move || client.run(operations / clients))
                })
                .collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        deeds.sort_by_key(|deed| deed.begin);
        let lives: Vec<_> = (0..crew.count()).map(|worker| lives::read(&beats, worker)).collect();
        let mut wrong = judge::exit_codes(&deeds, crew);
        for (worker, lives) in lives.iter().enumerate() {
            let its: Vec<_> = deeds.iter().filter_map(|deed| deed.about(crew, worker)).collect();
            wrong.extend(judge::all(&its, lives));
        }
        wrong.extend(judge::aftermath(&sandbox, &fixture, crew));
        Self { deeds, lives, wrong }
    }

    /// Operations, daemons, those of them that have certainly taken over from another one, kills, killed
    /// commands, and what is wrong.
    fn count(&self) -> [usize; 6] {
        let count = |is_it: fn(&Deed) -> bool| self.deeds.iter().filter(|deed| is_it(deed)).count();
        let Self { deeds, lives, wrong } = self;
        let lives: Vec<_> = lives.iter().flatten().collect();
        let is_heir = |life: &&&Life| life.predecessor.is_some() && life.reign.is_some();
        let (daemons, reloads) = (lives.len(), lives.iter().filter(is_heir).count());
        let (kills, killed) = (count(Deed::is_kill), count(Deed::is_killed));
        [deeds.len(), daemons, reloads, kills, killed, wrong.len()]
    }

    /// All that has happened, by microseconds since the beginning.
    fn tell(&self) {
        let zero = self.deeds.first().map_or(0, |deed| deed.begin);
        let since = |moment: Moment| (moment - zero) / 1000;
        for (worker, lives) in self.lives.iter().enumerate() {
            for Life { pid, first, last, reign, .. } in lives {
                let reign = reign.map(|(begin, end)| (since(begin), since(end)));
                println!(
                    "{:9} {:9} worker {worker}: daemon {pid}, certainly {reign:?}",
                    since(*first),
                    since(*last)
                );
            }
        }
        for Deed { begin, end, what, worker } in &self.deeds {
            println!("{:9} {:9} {worker:?}: {what:?}", since(*begin), since(*end));
        }
    }
}

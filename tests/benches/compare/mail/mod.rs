//! The textbook scenario: a mail relay that looks two names up for each mail, and a server that dies and
//! comes back.
//!
//! The relay sends as fast as it can, so that what is seen is what the arrangement lets through. The
//! 20 ms that it takes for a mail besides are the limit of none: the textbook needs one mail in 3.6 s.

mod death;

use std::{fmt, time::Duration};

use anyhow::Result;
use dns_lb_tests::{
    Death,
    comparison::{Arrangement, MAILS_NEEDED_PER_HOUR, MailPhase, MailRow, MailRun, Skipped},
    machine::met,
};

use self::death::Stage;
use crate::{batches, options::Options, peers, runs};

/// The deaths, and what the record calls them.
const DEATHS: [(Death, &str); 2] = [(Death::Killed, "killed"), (Death::Dropped, "blackholed")];

/// What a row is of.
#[derive(Clone, Copy)]
struct Combination {
    arrangement: Arrangement,
    death: Death,
    /// The death in the record's words.
    death_name: &'static str,
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.arrangement, self.death_name)
    }
}

/// How long each part of a run takes.
#[derive(Clone, Copy, Debug)]
struct Phases {
    /// Until the death, at least.
    before: Duration,
    /// From the death until the server is brought back. By nameserver lines, the first of which is
    /// silent, each mail takes 10 s and a little.
    during: Duration,
    /// From then on. A look-up that the dead server was asked for may take its 5 s of this.
    after: Duration,
}

impl Phases {
    /// Three such mails.
    const FULL: Self = Self {
        before: Duration::from_secs(5),
        during: Duration::from_secs(31),
        after: Duration::from_secs(10),
    };
    /// One.
    const QUICK: Self = Self {
        before: Duration::from_secs(2),
        during: Duration::from_millis(11_500),
        after: Duration::from_secs(6),
    };
}

/// Measures what the arguments ask for, and writes the record.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    // As many labs as there are rows without IPVS: most of a run is waiting.
    let options = Options::parse(arguments, 3, 14)?;
    let phases = if options.quick {
        Phases::QUICK
    } else {
        Phases::FULL
    };
    let binary = runs::binary()?;
    let (combinations, mut skipped) = plan(&options);
    let (runs, mut failed) = batches::measure(
        &combinations,
        &options,
        |combination| Stage::set(*combination, &binary),
        |stage| stage.measure(phases),
        in_words,
    )?;
    skipped.append(&mut failed);
    let rows = combinations.iter().zip(runs);
    let rows = rows.map(|(combination, runs)| MailRow {
        arrangement: combination.arrangement,
        death: combination.death_name.to_owned(),
        runs,
    });
    let rows = rows.filter(|row| !row.runs.is_empty()).collect();
    runs::write(&options, rows, skipped)
}

/// What is to be measured, and what of it is not.
fn plan(options: &Options) -> (Vec<Combination>, Vec<Skipped>) {
    let mut skipped = Vec::new();
    if options.quick {
        skipped.push(Skipped {
            what: "all runs but one, of which the death lasts a mail of 10 s".to_owned(),
            why: "--quick".to_owned(),
        });
    }
    let mut combinations = Vec::new();
    for &arrangement in &options.arrangements {
        if let Some(missing) = peers::missing(arrangement) {
            skipped.push(missing);
            continue;
        }
        combinations.extend(DEATHS.map(|(death, death_name)| Combination {
            arrangement,
            death,
            death_name,
        }));
    }
    (combinations, skipped)
}

fn in_words(run: &MailRun) -> String {
    let phases = [&run.before, &run.during, &run.after];
    let [before, during, after] = phases.map(MailPhase::mails_per_hour);
    format!(
        "{before:.0} mails an hour, {during:.0} while the server is dead ({}: {MAILS_NEEDED_PER_HOUR}), \
         then {after:.0}; {} put off; the longest look-up took {:.0} ms",
        met(during >= MAILS_NEEDED_PER_HOUR),
        phases.map(|phase| phase.deferred).iter().sum::<usize>(),
        phases
            .map(|phase| phase.longest_lookup_ms)
            .into_iter()
            .fold(0.0, f64::max),
    )
}

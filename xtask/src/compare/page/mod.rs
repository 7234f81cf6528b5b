//! The page of results. All of it is made of the records: what they do not have, it says is missing.

mod cost;
mod failover;
mod kernels;
mod mail;
mod scale;
mod short;
mod table;

use dns_lb_tests::comparison::Skipped;

use super::{
    plot::{Plot, Subject},
    record::{Place, Records},
};

pub(super) use self::short::in_short;

/// What a section says that has no record.
const NOT_MEASURED: &str = "Not measured.";

/// The page, with links to the plots in the folder `results` beside it.
pub(super) fn write(records: &Records, plots: &[Plot]) -> String {
    let sections = [
        head(),
        in_short(records),
        mail::section(records) + &links(plots, Subject::Mail),
        failover::section(records) + &links(plots, Subject::Failover),
        cost::section(records) + &links(plots, Subject::Cost),
        scale::section(records),
        kernels::section(records),
        machines(records),
        rerun(),
        skipped(records),
    ];
    let mut page = sections.join("\n");
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn head() -> String {
    "<!-- Written by `cargo xtask compare` from the records in results/. Do not edit: a test draws it again. -->\n\
     # Beside what people run today\n\n\
     dns-lb and the arrangements that it replaces, at the same work, in one lab, and what is compared in one run. What\n\
     counts are ratios: absolute figures belong to the [machines](#machines). Figures are `median [smallest–largest]` of\n\
     all runs, and `>` before one says that it would have been more: the run ended before the loss did. \"Host\" is the\n\
     machine that ran the chore, on its own kernel; \"emulated\" a machine in software, with Debian's kernel, for\n\
     what the host's kernel lacks. Only figures of one place are compared.\n"
        .to_owned()
}

fn links(plots: &[Plot], subject: Subject) -> String {
    let links = plots.iter().filter(|plot| plot.subject == subject);
    links
        .map(|plot| {
            let alt = plot.alt.replace(['[', ']'], "");
            format!("\n![{alt}](results/{})\n", plot.file)
        })
        .collect()
}

/// A part's name, its machine, whether it was quick, and what it left out.
type Taken<'a> = (String, &'a [String], bool, &'a [Skipped]);

/// Of every part that was measured.
fn taken(records: &Records) -> Vec<Taken<'_>> {
    let mut all: Vec<Taken<'_>> = Vec::new();
    for (name, place) in records.places() {
        let Place {
            mail,
            failover,
            cost,
            kernel: _,
        } = place;
        if let Some(part) = mail {
            all.push((
                format!("mail, {name}"),
                &part.machine,
                part.quick,
                &part.skipped,
            ));
        }
        if let Some(part) = failover {
            all.push((
                format!("failover, {name}"),
                &part.machine,
                part.quick,
                &part.skipped,
            ));
        }
        if let Some(part) = cost {
            all.push((
                format!("cost, {name}"),
                &part.machine,
                part.quick,
                &part.skipped,
            ));
        }
    }
    if let Some(scale) = &records.scale {
        all.push((
            "scale, host".to_owned(),
            &scale.machine,
            scale.quick,
            &scale.skipped,
        ));
    }
    all
}

fn machines(records: &Records) -> String {
    let mut text = "## Machines\n\n".to_owned();
    let mut machines: Vec<(String, Vec<String>)> = Vec::new();
    for (part, machine, quick, _) in taken(records) {
        let machine = machine.join(", ");
        let part = if quick {
            format!("{part} (quick)")
        } else {
            part
        };
        match machines.iter_mut().find(|(name, _)| *name == machine) {
            Some((_, parts)) => parts.push(part),
            None => machines.push((machine, vec![part])),
        }
    }
    for (machine, parts) in &machines {
        text += &format!("- {}: {machine}\n", parts.join("; "));
    }
    if machines.is_empty() {
        text += NOT_MEASURED;
        text.push('\n');
    }
    if taken(records).iter().any(|(_, _, quick, _)| *quick) {
        text +=
            "\n**Quick** parts were as short as can be: they show that it works, not how well.\n";
    }
    text += "\nIn the emulated machine an instruction takes a nanosecond, whatever it does, and waiting costs nothing: time-outs\n\
             and probes are as long as anywhere, runs of cost are alike, and what is called a nanosecond of work is an\n\
             instruction. Misses of caches and of branches cost nothing there, so only ratios mean something.\n";
    text
}

fn rerun() -> String {
    "## Measure it again\n\n\
     As root, on Debian 12; missing programs are installed. `--quick` is as short as can be, of the test suites runs\n\
     only the packets', and keeps its page in `target/compare`: on two cores nine minutes here, building included, and seven more in the\n\
     emulated machine.\n\n\
     ```sh on=build\n\
     cargo xtask compare --quick\n\
     cargo xtask compare --quick --emulated\n\
     cargo xtask compare\n\
     cargo xtask compare cost scale    # some parts anew, the others as recorded\n\
     cargo xtask compare --draw        # this page and its plots, from the records\n\
     ```\n"
        .to_owned()
}

fn skipped(records: &Records) -> String {
    let mut text = "## What was not measured\n\n".to_owned();
    let lines = skipped_lines(records);
    for line in &lines {
        text += &format!("- {line}\n");
    }
    if lines.is_empty() {
        text += "Nothing was left out.\n";
    }
    text
}

/// What was not measured, and why: one line a reason.
pub(super) fn skipped_lines(records: &Records) -> Vec<String> {
    let mut reasons: Vec<(String, &str, Vec<&str>)> = Vec::new();
    for (part, _, _, skipped) in taken(records).iter() {
        for Skipped { what, why } in *skipped {
            let found = reasons
                .iter_mut()
                .find(|(of, reason, _)| of == part && reason == why);
            match found {
                Some((_, _, whats)) => whats.push(what),
                None => reasons.push((part.clone(), why, vec![what])),
            }
        }
    }
    let mut lines: Vec<String> = reasons
        .into_iter()
        .map(|(part, why, whats)| format!("{part}: {}: {why}", whats.join("; ")))
        .collect();
    let mut lacks = |part: &str, is_there: bool| {
        if !is_there {
            lines.push(format!("{part}: no record"));
        }
    };
    for (name, place) in records.places() {
        lacks(&format!("mail, {name}"), place.mail.is_some());
        lacks(&format!("failover, {name}"), place.failover.is_some());
        lacks(&format!("cost, {name}"), place.cost.is_some());
        lacks(&format!("kernel, {name}"), place.kernel.is_some());
    }
    lacks("scale, host", records.scale.is_some());
    lines
}

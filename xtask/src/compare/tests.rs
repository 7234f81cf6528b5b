//! The page and its plots, from invented records and from those that are kept.

use std::{collections::BTreeMap, fs, path::Path};

use dns_lb_tests::comparison::{Arrangement, Skipped};

use super::{
    Part, RESULTS, draw,
    figures::{Figure, compare},
    measure::{Places, plan},
    page, plots_in,
    record::Records,
    write,
};

/// Records with figures that nobody has measured.
const INVENTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/invented-records");
/// The page that is kept, and the folder of its records.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

fn invented() -> Records {
    Records::load(Path::new(INVENTED)).expect("records")
}

fn page_of(records: &Records) -> String {
    let mut files = draw(records).expect("it can be drawn");
    files.remove(Path::new("results.md")).expect("a page")
}

#[test]
fn what_is_kept_is_what_its_records_draw() {
    let docs = Path::new(DOCS);
    let records = Records::load(&docs.join(RESULTS)).expect("records");
    let drawn = draw(&records).expect("it can be drawn");
    let remedy = "is not what the records draw: run `cargo xtask compare --draw`";
    for (path, text) in &drawn {
        let kept = fs::read_to_string(docs.join(path)).unwrap_or_default();
        assert!(kept == *text, "docs/{} {remedy}", path.display());
    }
    for plot in plots_in(docs).expect("a folder") {
        assert!(
            drawn.contains_key(&plot),
            "docs/{} {remedy}",
            plot.display()
        );
    }
}

#[test]
fn the_readme_quotes_the_page() {
    let docs = Path::new(DOCS);
    let [readme, page] = [docs.join("../README.md"), docs.join("results.md")]
        .map(|path| fs::read_to_string(path).expect("a text"));
    let (_, section) = readme
        .split_once("\n## Beside what people run today\n")
        .expect("a section");
    let rows = section
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.ends_with("| host |") || line.ends_with("| emulated |"));
    let mut quoted = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, _, times, medians, ..] = cells[..] else {
            panic!("{row}");
        };
        let figures = medians.replace(" instructions", "");
        for figure in [times].into_iter().chain(figures.split(", ")) {
            assert!(page.contains(&format!(" {figure} ")), "{figure} in {row}");
            quoted += 1;
        }
    }
    assert!(quoted >= 30, "{quoted}");
}

#[test]
fn the_records_that_are_kept_are_no_quick_ones() {
    let records = Records::load(&Path::new(DOCS).join(RESULTS)).expect("records");
    assert!(
        !page_of(&records).contains("Quick"),
        "a quick run has overwritten what is kept"
    );
}

#[test]
fn the_same_records_draw_the_same() {
    let records = invented();
    let first = draw(&records).expect("it can be drawn");
    assert_eq!(first, draw(&records).expect("it can be drawn"));
    let names: Vec<String> = first.keys().map(|it| it.display().to_string()).collect();
    assert_eq!(
        names,
        [
            "results/cost.svg",
            "results/failover-emulated.svg",
            "results/failover-host.svg",
            "results/failover-seconds.svg",
            "results/mail-emulated.svg",
            "results/mail-host.svg",
            "results.md",
        ]
    );
}

#[test]
fn records_with_less_draw_what_they_have() {
    let nothing = page_of(&Records::default());
    for section in ["mail", "failover", "cost"] {
        assert!(nothing.contains(&format!("\n- {section}, host: no record\n")));
        assert!(nothing.contains(&format!("\n- {section}, emulated: no record\n")));
    }
    assert!(!nothing.contains("!["), "no plot: {nothing}");
    assert!(!nothing.contains("|---"), "no table: {nothing}");

    let mut one_place = invented();
    one_place.emulated = super::record::Place::default();
    one_place.scale = None;
    let page = page_of(&one_place);
    assert!(page.contains("results/mail-host.svg"));
    assert!(!page.contains("results/mail-emulated.svg"));

    let mut hollow = invented();
    for place in [&mut hollow.here, &mut hollow.emulated] {
        for row in place.mail.iter_mut().flat_map(|part| &mut part.rows) {
            row.runs.clear();
        }
        for row in place.failover.iter_mut().flat_map(|part| &mut part.rows) {
            row.runs.clear();
        }
        for row in place.cost.iter_mut().flat_map(|part| &mut part.rows) {
            row.path_ns.clear();
            row.lab_ns.clear();
            row.queries_per_second.clear();
        }
    }
    assert_eq!(compare(&hollow), []);
    assert!(page_of(&hollow).contains("| nameserver lines | host | killed | — |"));

    let mut empty = invented();
    for place in [&mut empty.here, &mut empty.emulated] {
        place.mail.iter_mut().for_each(|part| part.rows.clear());
        place.failover.iter_mut().for_each(|part| part.rows.clear());
        place.cost.iter_mut().for_each(|part| part.rows.clear());
    }
    assert!(page_of(&empty).contains("Not measured."));
    assert!(!page_of(&empty).contains("Runs of each"));
}

#[test]
fn every_row_of_a_table_has_a_cell_for_each_column() {
    let page = page_of(&invented());
    let tables = page
        .split("\n\n")
        .filter(|block| block.starts_with("| "))
        .collect::<Vec<_>>();
    assert!(tables.len() > 8, "{page}");
    for table in tables {
        let mut columns = table.lines().map(|line| line.matches('|').count());
        let header = columns.next();
        assert!(columns.all(|count| Some(count) == header), "{table}");
    }
}

#[test]
fn the_page_says_of_how_many_runs_its_figures_are() {
    let page = page_of(&invented());
    for counts in [
        "\nRuns of each: host 3, emulated 3.\n",
        "\nRounds: host 4, emulated 4.\n",
    ] {
        assert!(page.contains(counts), "{counts} {page}");
    }
}

#[test]
fn what_was_skipped_is_on_the_page_with_its_reason() {
    let mut records = invented();
    let part = records.here.failover.as_mut().expect("a record");
    part.skipped = ["one", "two"]
        .map(|what| Skipped {
            what: what.to_owned(),
            why: "there is none".to_owned(),
        })
        .into();
    let line = "failover, host: one; two: there is none";
    assert!(page::skipped_lines(&records).contains(&line.to_owned()));
    assert!(page_of(&records).contains(&format!("\n- {line}\n")));
}

#[test]
fn a_comparison_that_is_lost_is_shown_as_lost() {
    let mut records = invented();
    let part = records.here.failover.as_mut().expect("a record");
    for row in &mut part.rows {
        for run in &mut row.runs {
            run.lost = match row.arrangement {
                Arrangement::DnsdistTuned => 10,
                _ => 40,
            };
            run.still_losing = row.arrangement == Arrangement::DnsLb;
            run.until_last_loss_ms = 1000.0;
        }
    }
    let all = compare(&records);
    let found = all.iter().find(|it| {
        it.place == "host"
            && it.figure == Figure::QueriesLost
            && it.case == "hung, one port"
            && it.theirs == Arrangement::DnsdistTuned.to_string()
            && it.ours == Arrangement::DnsLb.to_string()
    });
    let times = found.expect("a comparison").times;
    assert_eq!(times.to_string(), "< 0.250");
    let page = page_of(&records);
    let row = page.lines().find(|line| {
        line.starts_with("| queries lost | host | dnsdist, tuned, for dns-lb, tuned |")
    });
    let row = row.expect("a row of what is lost");
    assert!(row.contains("; hung, one port: **0.250**"), "{row}");
    // Like is compared with like.
    assert!(!page.contains("dnsdist, tuned, for dns-lb, defaults"));
    assert!(
        page.contains("| dnsdist, tuned | host | one port | **0.250** | **0.250** | **0.250** |")
    );
}

#[test]
fn noise_below_zero_can_be_drawn() {
    for figure in [-5.0, 0.0] {
        let mut records = invented();
        let rows = &mut records.here.cost.as_mut().expect("a record").rows;
        for row in rows {
            row.path_ns
                .iter_mut()
                .step_by(2)
                .for_each(|ns| *ns = figure);
        }
        let files = draw(&records).expect("it can be drawn");
        let plot = &files[Path::new("results/cost.svg")];
        let values = plot.split('"').filter(|value| !value.starts_with('#'));
        let numbers = values.flat_map(|it| it.split([',', ' ']));
        let mut numbers = numbers.filter_map(|it| it.parse::<i64>().ok());
        let far = numbers.find(|it| it.abs() > 10_000);
        assert_eq!(far, None, "nothing is outside of the plot");
    }
}

#[test]
fn figures_of_two_places_are_never_compared() {
    let mut records = invented();
    let rows = &mut records.emulated.failover.as_mut().expect("a record").rows;
    rows.retain(|row| row.arrangement == Arrangement::IpvsTextbook);
    let all = compare(&records);
    let theirs = Arrangement::IpvsTextbook.to_string();
    let lost = |it: &&super::figures::Comparison| it.figure == Figure::QueriesLost;
    assert!(!all.iter().filter(lost).any(|it| it.theirs == theirs));
}

#[test]
fn plots_that_are_drawn_no_more_go() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &draw(&invented()).expect("drawn")).expect("written");
    assert_eq!(plots_in(folder.path()).expect("a folder").len(), 6);
    write(folder.path(), &BTreeMap::new()).expect("written");
    assert!(plots_in(folder.path()).expect("a folder").is_empty());
    assert!(folder.path().join("results.md").exists());
}

#[test]
fn what_is_measured_is_what_was_asked_for() {
    let names = |parts: &[Part], here, emulated| -> Vec<String> {
        plan(parts, Places { here, emulated })
            .iter()
            .map(|group| {
                let names: Vec<_> = group.iter().map(ToString::to_string).collect();
                names.join(" + ")
            })
            .collect()
    };
    let parts = [Part::Mail, Part::Cost, Part::Scale, Part::Kernel];
    let here = ["mail, here", "cost, here", "scale, here", "kernel, here"];
    let there = ["mail, emulated + cost, emulated", "kernel, emulated"];
    assert_eq!(names(&parts, true, false), here);
    assert_eq!(names(&parts, false, true), there);
    assert_eq!(
        names(&parts, true, true),
        [&here[..3], &there, &here[3..]].concat()
    );
}

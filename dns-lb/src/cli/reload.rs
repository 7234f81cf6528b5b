//! `dns-lb reload`: has the agent read its configuration again.

use std::process::ExitCode;

use clap::Args;

use super::{
    admin::{Agent, print_json, understand},
    counted, print,
};
use crate::api::admin::{Reload, ReloadReport};

/// Have the agent read its configuration again and change what is different.
///
/// What is not different is not touched. A file with faults changes nothing; they are printed as by
/// `dns-lb check-config`, and the exit code is 2.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb reload --dry-run     what would change?
  dns-lb reload
  dns-lb reload --json | jq '.generation'")]
pub(super) struct Arguments {
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,

    /// Print a JSON document: changes and warnings (a text each), applied, generation.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    agent: Agent,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let request = Reload {
        dry_run: arguments.dry_run,
    };
    let document = arguments.agent.ask("/reload", &request)?;
    let report: ReloadReport = understand(&document)?;
    if arguments.json {
        print_json(&document)?;
    } else {
        print(&render(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(report: &ReloadReport) -> String {
    let changes = report.changes.iter().map(|change| format!("{change}\n"));
    let warnings = report.warnings.iter();
    let warnings = warnings.map(|warning| format!("warning: {warning}\n"));
    let mut text: String = changes.chain(warnings).collect();
    let number = counted(report.changes.len(), "change");
    text.push_str(&match (report.changes.is_empty(), report.applied) {
        (true, _) => "nothing to change\n".to_owned(),
        (false, true) => format!("{number} made, generation {}\n", report.generation),
        (false, false) => format!("{number} not made: this was a dry run\n"),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_done() {
        let mut report = ReloadReport {
            changes: vec!["+ resolvers/dns3".to_owned(), "- zones".to_owned()],
            warnings: vec!["api.listen: needs a restart".to_owned()],
            applied: true,
            generation: 7,
        };
        let all = "+ resolvers/dns3\n- zones\nwarning: api.listen: needs a restart\n";
        assert_eq!(
            render(&report),
            format!("{all}2 changes made, generation 7\n")
        );
        report.applied = false;
        let dry = "2 changes not made: this was a dry run\n";
        assert_eq!(render(&report), format!("{all}{dry}"));
        assert_eq!(render(&ReloadReport::default()), "nothing to change\n");
    }
}

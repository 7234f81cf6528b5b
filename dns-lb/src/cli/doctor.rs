//! `dns-lb doctor`: what breaks Direct Routing on this host and on every server, and the remedy.

use std::{fmt::Write as _, io, process::ExitCode};

use clap::Args;
use serde_json::json;

use super::{
    ConfigFile, PinDirectory,
    client::{LIVE_DEADLINE, get_status, reachable},
    counted,
    palette::{Palette, Tone},
    print, runtime,
};
use crate::{
    config::Config,
    doctor::{Agent, Check, Report, Said, Severity, examine},
};

/// Find what breaks Direct Routing on this host and on every server, and say the remedy.
///
/// Looks at pins, privileges, kernel and interfaces, asks on the link who has the VIPs, and asks every
/// server through the VIP, as clients' packets reach it, and by its own address. Changes nothing, and
/// works whether or not the agent runs. Needs root, or CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF; what could not be
/// looked at is said. Every check is explained in docs/doctor.md. Exit code 1 if there is an error.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb doctor
  dns-lb doctor --all                    the checks that passed too, with what was seen
  dns-lb doctor --json | jq '.checks[] | select(.severity == \"error\")'")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,

    #[command(flatten)]
    pins: PinDirectory,

    /// Say also what has passed.
    #[arg(long)]
    all: bool,

    /// Print a JSON document: version, agent_runs, numbers of each severity, then checks, those that
    /// passed included (id, severity, subject, evidence, remedy, doc).
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = Config::load(&arguments.config.config)?;
    let runtime = runtime()?;
    let report = runtime.block_on(async {
        let listen = reachable(config.api.listen);
        let said = ask(&listen.to_string()).await;
        let agent = Agent::look(&config, listen, said.map_err(|error| format!("{error:#}"))).await;
        examine(&config, &arguments.pins.pin_dir, &agent).await
    });
    if arguments.json {
        print(&format!("{:#}\n", document(&report)))?;
    } else {
        print(&text(&report, arguments.all, Palette::of(&io::stdout())))?;
    }
    Ok(match report.count(Severity::Error) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What a running agent says of itself.
async fn ask(authority: &str) -> anyhow::Result<Said> {
    let (status, _) = get_status(authority, LIVE_DEADLINE).await?;
    let interfaces = status.dataplane.interfaces.iter();
    Ok(Said {
        version: status.version.clone(),
        programs: interfaces.map(|interface| interface.program_id).collect(),
    })
}

fn document(report: &Report) -> serde_json::Value {
    json!({
        "version": report.version,
        "agent_runs": report.agent_runs,
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "skipped": report.count(Severity::Skipped),
        "infos": report.count(Severity::Info),
        "passed": report.count(Severity::Ok),
        "checks": report.checks,
    })
}

/// Findings first, the worst of them first, then how many there are.
fn text(report: &Report, all: bool, palette: Palette) -> String {
    let mut text = String::new();
    let shown = report.checks.iter();
    for check in shown.filter(|check| all || check.severity != Severity::Ok) {
        push_check(&mut text, check, palette);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let count = |severity| report.count(severity);
    let agent = match report.agent_runs {
        true => "an agent runs",
        false => "no agent runs",
    };
    let _ = writeln!(
        text,
        "{}, {}, {} skipped, {} to know, {} passed; {agent}",
        counted(count(Severity::Error), "error"),
        counted(count(Severity::Warning), "warning"),
        count(Severity::Skipped),
        count(Severity::Info),
        count(Severity::Ok),
    );
    text
}

fn push_check(text: &mut String, check: &Check, palette: Palette) {
    let severity = format!("{:<7}", check.severity);
    let tone = match check.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning | Severity::Skipped => Tone::Caution,
        Severity::Info => Tone::Plain,
        Severity::Ok => Tone::Good,
    };
    let severity = palette.paint(tone, &severity);
    let Check {
        id,
        subject,
        evidence,
        ..
    } = check;
    let _ = writeln!(text, "{severity}  {id}  {subject}\n         {evidence}");
    if let Some(remedy) = &check.remedy {
        let _ = writeln!(text, "         -> {remedy}");
    }
    if matches!(check.severity, Severity::Error | Severity::Warning) {
        let _ = writeln!(text, "         {}", check.doc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::id;

    fn report() -> Report {
        let check = |id: crate::doctor::Id, severity, subject: &str, remedy: Option<&str>| Check {
            id,
            severity,
            subject: subject.to_owned(),
            evidence: "what was seen".to_owned(),
            remedy: remedy.map(str::to_owned),
            doc: id.doc(),
        };
        Report {
            version: "0.1.0".to_owned(),
            agent_runs: false,
            checks: vec![
                check(id::VIP_MISSING, Severity::Error, "s/b", Some("give it")),
                check(id::WRONG_MAC, Severity::Skipped, "s/b", None),
                check(id::KERNEL_OLD, Severity::Ok, "host", None),
            ],
        }
    }

    #[test]
    fn findings_come_first_and_what_passed_is_a_number() {
        let expected = "\
error    vip-missing  s/b
         what was seen
         -> give it
         docs/doctor.md#vip-missing
skipped  wrong-mac  s/b
         what was seen

1 error, 0 warnings, 1 skipped, 0 to know, 1 passed; no agent runs
";
        assert_eq!(text(&report(), false, Palette::Plain), expected);
        assert!(text(&report(), true, Palette::Plain).contains("ok       kernel-old  host\n"));
        let painted = text(&report(), false, Palette::Colours);
        let error = Palette::Colours.paint(Tone::Bad, "error  ");
        assert!(painted.starts_with(&format!("{error}  vip-missing")));
        assert_ne!(error, "error  ");
    }

    #[test]
    fn the_document_has_all_of_it() {
        let document = document(&report());
        assert_eq!(
            (&document["errors"], &document["passed"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(
            document["checks"][0],
            json!({
                "id": "vip-missing",
                "severity": "error",
                "subject": "s/b",
                "evidence": "what was seen",
                "remedy": "give it",
                "doc": "docs/doctor.md#vip-missing",
            })
        );
        assert_eq!(document["checks"][2]["severity"], "ok");
    }
}

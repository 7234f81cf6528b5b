//! The alerts and the dashboard that are shipped: they parse, they ask for what there is, and every
//! alert fires when it should and only then. None of this needs root.

use std::{fs, path::Path, process::Command};

use dns_lb_tests::monitoring::{dashboard, documented, read, series, shipped, spoken_of};

const ALERTS: &str = "examples/prometheus/alerts.yml";
const ALERTS_TEST: &str = "examples/prometheus/alerts_test.yml";

/// Runs promtool, which is to be content.
fn promtool(arguments: &[&str], file: &Path) {
    let output = Command::new("promtool")
        .args(arguments)
        .arg(file)
        .output()
        .expect("promtool: `cargo xtask setup` brings it");
    assert!(
        output.status.success(),
        "promtool {}:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn what_is_asked_for_exists() {
    let documented = documented().expect("the documentation");
    let mut there_are = series(&documented);
    assert!(there_are.len() > 30, "{there_are:?}");
    // Prose speaks of a histogram as a whole.
    there_are.extend(documented.into_iter().map(|metric| metric.name));
    for file in [
        ALERTS,
        ALERTS_TEST,
        "examples/grafana/dns-lb.json",
        "docs/monitoring.md",
    ] {
        let asked = spoken_of(&read(file).expect("a file"));
        let unknown: Vec<_> = asked.difference(&there_are).collect();
        assert!(
            !asked.is_empty() && unknown.is_empty(),
            "{file}: {unknown:?}"
        );
    }
}

#[test]
fn promtool_accepts_the_alerts() {
    promtool(&["check", "rules"], &shipped(ALERTS));
}

#[test]
fn every_alert_fires_and_keeps_silent() {
    promtool(&["test", "rules"], &shipped(ALERTS_TEST));

    let values = |text: &str, key: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.trim_start_matches([' ', '-']));
        let values = lines.filter_map(|line| line.strip_prefix(key));
        values.map(|value| value.trim().to_owned()).collect()
    };
    let test = read(ALERTS_TEST).expect("the tests");
    for alert in values(&read(ALERTS).expect("the alerts"), "alert:") {
        let name = format!("alertname: {alert}\n");
        let expected = test.split(&name).skip(1).map(|rest| rest.trim_start());
        let (silent, firing): (Vec<_>, Vec<_>) =
            expected.partition(|expected| expected.starts_with("exp_alerts: []"));
        assert!(
            !silent.is_empty(),
            "{alert}: nothing says when it is silent"
        );
        assert!(!firing.is_empty(), "{alert}: nothing says when it fires");
        for expected in firing {
            let expected = expected.strip_prefix("exp_alerts:\n").expect("alerts");
            assert!(
                expected.trim_start().starts_with("- exp_labels:"),
                "{alert}"
            );
        }
    }
}

/// promtool of Debian 12 takes expressions in rules alone.
#[test]
fn the_dashboard_asks_what_prometheus_understands() {
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    let questions = dashboard("1m").expect("the dashboard");
    assert!(questions.len() > 10);
    for (number, (_, question)) in questions.iter().enumerate() {
        // A string of JSON is one of YAML.
        let question = serde_json::to_string(question).expect("JSON");
        rules += &format!("      - record: panel:{number}\n        expr: {question}\n");
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard-rules.yml");
    fs::write(&file, rules).expect("a file");
    promtool(&["check", "rules"], &file);
}

//! The command as a shell sees it: what it prints where, and how it leaves.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn dns_lb(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dns-lb"))
        .args(arguments)
        .output()
        .expect("the command starts")
}

fn check_config(file: &Path, more: &[&str]) -> Output {
    let file = file.to_str().expect("a temporary path is UTF-8");
    dns_lb(&[&["check-config", "--config", file], more].concat())
}

fn text(octets: &[u8]) -> &str {
    str::from_utf8(octets).expect("output is UTF-8")
}

#[test]
fn a_good_configuration_is_one_line() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/dns-lb.toml");
    let output = check_config(&example, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    let expected = format!("{} is valid: 1 service, 2 backends\n", example.display());
    assert_eq!(text(&output.stdout), expected);

    let output = check_config(&example, &["--json"]);
    assert_eq!(output.status.code(), Some(0));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["valid"], true);
    assert_eq!(document["backends"], 2);
}

#[test]
fn a_bad_configuration_is_reported_whole_and_leaves_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dns-lb.toml");
    fs::write(&file, "interfaces = []\nnonsense\nservice = 1\n").unwrap();
    let output = check_config(&file, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let places: Vec<&str> = text(&output.stderr)
        .lines()
        .map(|line| line.strip_prefix(file.to_str().unwrap()).unwrap())
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(places, [":1:14:", ":2:9:", ":3:11:"]);

    let output = check_config(&file, &["--json"]);
    assert_eq!(output.status.code(), Some(2));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["valid"], false);
    assert_eq!(document["faults"][2]["line"], 3);
    assert_eq!(document["faults"][2]["key"], "service");
}

#[test]
fn every_verb_leaves_with_2_where_the_configuration_is_missing() {
    for verb in [
        &["check-config"][..],
        &["status"],
        &["drain", "resolvers/dns1"],
        &["disable", "resolvers/dns1"],
        &["enable", "resolvers/dns1"],
        &["weight", "resolvers/dns1", "5"],
        &["reload"],
        &["doctor"],
    ] {
        let output = dns_lb(&[verb, &["--config", "/nonexistent/dns-lb.toml"]].concat());
        assert_eq!(output.status.code(), Some(2), "{verb:?}");
        assert_eq!(
            text(&output.stderr),
            "cannot read the configuration /nonexistent/dns-lb.toml: No such file or directory \
             (os error 2)\n"
        );
    }
}

#[test]
fn wrong_usage_leaves_with_2() {
    for arguments in [
        &["bogus"][..],
        &[],
        &["status", "--url", "https://x"],
        &["run", "x"],
        &["drain"],
        &["drain", "resolvers/dns1", "--all-services"],
        &["weight", "resolvers/dns1", "1001"],
    ] {
        let output = dns_lb(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn no_agent_leaves_with_1() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let output = dns_lb(&["status", "--url", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("no agent answers at 127.0.0.1:"));

    let output = dns_lb(&["reload", "--socket", "/nonexistent/admin.sock"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "no agent takes commands at /nonexistent/admin.sock: start it with";
    assert!(text(&output.stderr).starts_with(expected));
}

#[test]
fn import_writes_a_whole_new_file_or_none() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/keepalived/fixtures");
    let input = fixtures.join("textbook.conf");
    let input = input.to_str().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dns-lb.toml");
    let path = file.to_str().unwrap();
    let import = |more: &[&str]| dns_lb(&[&["import", "keepalived", input], more].concat());

    let printed = import(&[]);
    assert_eq!(printed.status.code(), Some(0));
    let output = import(&["--output", path]);
    assert_eq!(output.status.code(), Some(0));
    let expected =
        format!("{path}: 1 service, 2 backends; 7 comments in it say what has changed\n");
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(fs::read(&file).unwrap(), printed.stdout);
    assert_eq!(check_config(&file, &[]).status.code(), Some(0));

    fs::write(&file, "mine").unwrap();
    let output = import(&["--output", path]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("cannot write {path}: it is there already; --force replaces it\n");
    assert_eq!(text(&output.stderr), expected);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert_eq!(
        import(&["--output", path, "--force"]).status.code(),
        Some(0)
    );
    assert_eq!(fs::read(&file).unwrap(), printed.stdout);
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");

    let output = import(&["--output", "/nonexistent/dns-lb.toml"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn import_reports_what_it_does_not_understand_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("keepalived.conf");
    let output_file = directory.path().join("dns-lb.toml");
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    fs::write(&input, "include conf.d/*.conf\nbogus\n").unwrap();
    let included = directory.path().join("conf.d/a.conf");
    fs::write(
        &included,
        "virtual_server 192.0.2.53 53 {\nlvs_method NAT\n}\n",
    )
    .unwrap();
    let arguments = [
        input.to_str().unwrap(),
        "--output",
        output_file.to_str().unwrap(),
    ];
    let output = dns_lb(&[&["import", "keepalived"], &arguments[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let report = text(&output.stderr);
    let starts = [
        format!("{}:2: ", input.display()),
        format!("{}:1: ", included.display()),
    ];
    for (line, start) in report.lines().zip(&starts) {
        assert!(line.starts_with(start.as_str()), "{report}");
    }
    assert_eq!(report.lines().count(), 2, "{report}");
    assert!(!output_file.exists());

    let output = dns_lb(&["import", "keepalived", "/nonexistent/keepalived.conf"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "/nonexistent/keepalived.conf: cannot read /nonexistent/keepalived.conf: ";
    assert!(text(&output.stderr).starts_with(expected));
}

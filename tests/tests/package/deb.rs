//! The package's life in a clean root: installed, given a configuration, upgraded, removed, purged.
//!
//! No systemd runs there. One that is pretended notes what it is asked for, and what it would find.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use crate::clean_root::{CleanRoot, run};

const ROOT_OF_TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const CONFIGURATION: &str = r#"
interfaces = ["lo"]
[[service]]
name = "resolvers"
vips = ["192.168.0.200"]
[[service.backend]]
name = "dns1"
address = "192.168.0.201"
"#;

/// What is pretended, where the scripts find it first, and deb-systemd-helper, which can do without, does
/// not: `is-active` is answered by whether there is a file, all else is noted.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$@" >>/asked
for word in "$@"; do
    case "$word" in
    is-active) test -e /active; exit ;;
    is-enabled) echo enabled; exit 0 ;;
    esac
done
"#;

/// The package of a version, made once.
fn package(version: &str) -> PathBuf {
    static MADE: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    // Another test's failure to make one is this one's as well.
    let mut made = MADE.lock().expect("a package");
    made.entry(version.to_owned())
        .or_insert_with(|| make(version))
        .clone()
}

/// Makes it as `cargo xtask dist` does, of the agent that these tests run.
fn make(version: &str) -> PathBuf {
    let own = env::current_exe().expect("the test's own path");
    let profile = own
        .ancestors()
        .nth(2)
        .expect("target/<profile>/deps/<test>");
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dist");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "xtask",
            "--",
            "dist",
            "--fast",
        ])
        .arg("--binary")
        .arg(profile.join("dns-lb"))
        .args(["--deb-version", version, "--output"])
        .arg(&output)
        .current_dir(ROOT_OF_TREE));
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    output.join(format!("dns-lb_{version}_{architecture}.deb"))
}

/// Lays a package into the root and has dpkg install it.
fn install(root: &CleanRoot, package: &Path) {
    fs::copy(package, root.path("/dns-lb.deb")).expect("a copy");
    root.run(&["dpkg", "--install", "/dns-lb.deb"]);
}

/// What systemd has been asked for since the last call, of what changes what runs.
fn asked(root: &CleanRoot) -> Vec<String> {
    let asked = fs::read_to_string(root.path("/asked")).unwrap_or_default();
    let _ = fs::remove_file(root.path("/asked"));
    let verbs = ["start", "stop", "restart", "try-restart", "reload"];
    let lines = asked.lines();
    let words = lines.map(|line| line.split(' ').filter(|word| !word.starts_with("--")));
    let words = words.map(Iterator::collect::<Vec<&str>>);
    let words = words.filter(|words| words.iter().any(|word| verbs.contains(word)));
    words.map(|words| words.join(" ")).collect()
}

fn read(root: &CleanRoot, path: &str) -> String {
    fs::read_to_string(root.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn is_there(root: &CleanRoot, path: &str) -> bool {
    root.path(path).symlink_metadata().is_ok()
}

#[test]
fn it_is_installed_upgraded_removed_and_purged() {
    let (first, second) = (package("0.0.1-1"), package("0.0.2-1"));
    let root = CleanRoot::new("package");
    root.stand_in("/usr/local/sbin/systemctl", SYSTEMCTL);
    fs::create_dir_all(root.path("/run/systemd/system")).expect("a systemd that runs");

    install(&root, &first);
    assert_eq!(asked(&root), [""; 0], "something was started");
    the_files_are_there(&root);
    let user = root.run(&["getent", "passwd", "dns-lb"]);
    assert!(
        user.contains(":/var/lib/dns-lb:") && user.trim_end().ends_with("nologin"),
        "{user}"
    );
    for (path, owner, mode) in [
        ("/etc/dns-lb", "root:root", 0o755),
        ("/etc/dns-lb/hash.key", "root:dns-lb", 0o640),
        ("/usr/sbin/dns-lb", "root:root", 0o755),
        ("/usr/lib/systemd/system/dns-lb.service", "root:root", 0o644),
        (
            "/usr/share/doc/dns-lb/examples/dns-lb.toml",
            "root:root",
            0o644,
        ),
    ] {
        assert_eq!(
            root.owner_and_mode(path),
            (owner.to_owned(), mode),
            "{path}"
        );
    }
    let key = read(&root, "/etc/dns-lb/hash.key");
    assert!(
        key.trim_end()
            .bytes()
            .all(|octet| octet.is_ascii_hexdigit()),
        "{key}"
    );
    assert_eq!(key.len(), 33);
    assert!(
        !is_there(&root, "/etc/dns-lb/dns-lb.toml"),
        "an example as configuration"
    );
    assert!(is_there(
        &root,
        "/etc/systemd/system/multi-user.target.wants/dns-lb.service"
    ));

    // The agent agrees with the key's form and the example's, as the user that it is run as.
    root.run(&[
        "dns-lb",
        "check-config",
        "--config",
        "/usr/share/doc/dns-lb/examples/dns-lb.toml",
    ]);

    // An upgrade of what does not run starts nothing; of what runs, starts it again.
    fs::write(root.path("/etc/dns-lb/dns-lb.toml"), CONFIGURATION).expect("a configuration");
    fs::create_dir_all(root.path("/var/lib/dns-lb")).expect("a folder");
    fs::write(root.path("/var/lib/dns-lb/state.json"), "{}").expect("a state");
    install(&root, &second);
    assert_eq!(asked(&root), [""; 0], "what did not run was started");
    fs::write(root.path("/active"), "").expect("an agent that runs");
    install(&root, &second);
    assert_eq!(asked(&root), ["restart dns-lb.service"]);
    assert!(
        root.run(&["dpkg-query", "--show", "dns-lb"])
            .contains("0.0.2-1")
    );
    assert_eq!(read(&root, "/etc/dns-lb/dns-lb.toml"), CONFIGURATION);
    assert_eq!(read(&root, "/etc/dns-lb/hash.key"), key);

    // Removed: the agent is stopped, then nothing is steered any more; what is the operator's stays.
    fs::rename(root.path("/usr/sbin/dns-lb"), root.path("/agent")).expect("the agent aside");
    root.stand_in(
        "/usr/sbin/dns-lb",
        "#!/bin/sh\necho \"dns-lb $* stop\" >>/asked\nexit \"$(cat /refuses)\"\n",
    );
    fs::write(root.path("/refuses"), "1").expect("an answer");
    let output = root.output(&["dpkg", "--remove", "dns-lb"]);
    assert!(!output.status.success(), "it went although it steers");
    assert!(is_there(&root, "/usr/sbin/dns-lb"));
    assert_eq!(
        asked(&root)[..2],
        ["stop dns-lb.service", "dns-lb unload stop"]
    );
    fs::write(root.path("/refuses"), "0").expect("an answer");
    root.run(&["dpkg", "--remove", "dns-lb"]);
    assert_eq!(asked(&root), ["stop dns-lb.service", "dns-lb unload stop"]);
    assert!(!is_there(&root, "/usr/sbin/dns-lb"));
    assert_eq!(read(&root, "/etc/dns-lb/dns-lb.toml"), CONFIGURATION);
    assert!(is_there(&root, "/var/lib/dns-lb/state.json"));

    // Back again: as it was.
    install(&root, &first);
    assert_eq!(read(&root, "/etc/dns-lb/hash.key"), key);

    fs::rename(root.path("/usr/sbin/dns-lb"), root.path("/agent")).expect("the agent aside");
    root.stand_in("/usr/sbin/dns-lb", "#!/bin/sh\n");
    root.run(&["dpkg", "--purge", "dns-lb"]);
    for path in ["/etc/dns-lb", "/var/lib/dns-lb", "/usr/share/doc/dns-lb"] {
        assert!(!is_there(&root, path), "{path} is left");
    }
    assert!(!is_there(
        &root,
        "/etc/systemd/system/multi-user.target.wants/dns-lb.service"
    ));
}

/// A key that is another balancer's is kept, and a configuration that waits is taken at once.
#[test]
fn what_is_there_before_it_is_used() {
    let package = package("0.0.1-1");
    let root = CleanRoot::new("prepared");
    root.stand_in("/usr/local/sbin/systemctl", SYSTEMCTL);
    fs::create_dir_all(root.path("/run/systemd/system")).expect("a systemd that runs");
    fs::create_dir_all(root.path("/etc/dns-lb")).expect("a folder");
    let key = "00112233445566778899aabbccddeeff\n";
    fs::write(root.path("/etc/dns-lb/hash.key"), key).expect("a key");
    fs::write(root.path("/etc/dns-lb/dns-lb.toml"), CONFIGURATION).expect("a configuration");
    root.run(&["chmod", "0600", "/etc/dns-lb/hash.key"]);
    install(&root, &package);
    assert_eq!(read(&root, "/etc/dns-lb/hash.key"), key);
    let (owner, mode) = root.owner_and_mode("/etc/dns-lb/hash.key");
    assert_eq!((owner.as_str(), mode), ("root:dns-lb", 0o640));
    assert_eq!(asked(&root), ["start dns-lb.service"]);
}

fn the_files_are_there(root: &CleanRoot) {
    let files = root.run(&["dpkg", "--listfiles", "dns-lb"]);
    let files: Vec<&str> = files.lines().collect();
    for wanted in [
        "/usr/sbin/dns-lb",
        "/usr/lib/systemd/system/dns-lb.service",
        "/usr/lib/systemd/system/dns-lb-bpffs.service",
        "/usr/lib/sysusers.d/dns-lb.conf",
        "/usr/share/man/man8/dns-lb.8.gz",
        "/usr/share/man/man8/dns-lb-run.8.gz",
        "/usr/share/man/man8/dns-lb-import-keepalived.8.gz",
        "/usr/share/bash-completion/completions/dns-lb",
        "/usr/share/zsh/vendor-completions/_dns-lb",
        "/usr/share/fish/vendor_completions.d/dns-lb.fish",
        "/usr/share/doc/dns-lb/copyright",
        "/usr/share/doc/dns-lb/changelog.gz",
        "/usr/share/doc/dns-lb/changelog.Debian.gz",
        "/usr/share/doc/dns-lb/README.md",
        "/usr/share/doc/dns-lb/control.md",
        "/usr/share/doc/dns-lb/examples/prometheus/alerts.yml",
    ] {
        assert!(files.contains(&wanted), "{wanted} is not in {files:#?}");
    }
    let page = fs::metadata(root.path("/usr/share/man/man8/dns-lb.8.gz"));
    assert!(page.is_ok_and(|page| page.len() > 500));
}

//! What machines are told: a real Prometheus scrapes the agent, promtool judges the metrics, and the
//! status is held against its schema.

mod schema;
mod web;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    Load, Node, Ports, Process, Software, Topology, agent, lab::VIP, monitoring, node::Stdout,
    process,
};
use serde_json::Value;

use self::{
    schema::faults,
    web::{encoded, get},
};
use crate::stage::{RATE, Stage};

const AGENT: u16 = 8053;
const PROMETHEUS: u16 = 9090;

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service that counts everything that there is to count.
fn stage() -> Stage {
    let servers = Topology::of(&[Software::Nsd, Software::Knot]);
    Stage::set_configured(&servers, |backends| {
        let plain = agent::configuration(&["eth0"], "hash", backends);
        plain.replace("policy =", "count_queries = true\npolicy =")
    })
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A Prometheus that scrapes the agent of its host every second, and knows the alerts.
struct Prometheus {
    node: Node,
    _process: Process,
}

impl Prometheus {
    fn start(node: &Node) -> Self {
        let alerts = monitoring::shipped("examples/prometheus/alerts.yml");
        let configuration = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n\
             rule_files: [{alerts:?}]\n\
             scrape_configs:\n  - job_name: dns-lb\n    static_configs:\n      - targets: [\"127.0.0.1:{AGENT}\"]\n"
        );
        let file = "/run/prometheus.yml";
        node.write(file, &configuration).expect("a file");
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus");
        let _ = fs::remove_dir_all(&data);
        let mut command = process::program("prometheus");
        command
            .arg(format!("--config.file={file}"))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{PROMETHEUS}"))
            .arg("--log.level=warn");
        let process = node
            .spawn("prometheus", command, Stdout::Log)
            .expect("prometheus: `cargo xtask setup` brings it");
        Self {
            node: node.clone(),
            _process: process,
        }
    }

    /// The values that it has for an expression now, with their labels.
    fn ask(&self, expression: &str) -> Vec<(Value, f64)> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let Some((status, body)) = get(&self.node, PROMETHEUS, &path) else {
            return Vec::new();
        };
        if status == 503 {
            // It is starting.
            return Vec::new();
        }
        assert_eq!(status, 200, "{expression}: {body}");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        let values = answer["data"]["result"].as_array().expect("a result");
        let value = |sample: &Value| {
            let number = sample["value"][1].as_str().expect("a number as text");
            (sample["metric"].clone(), number.parse().expect("a number"))
        };
        values.iter().map(value).collect()
    }

    /// The one value of an expression.
    fn value(&self, expression: &str) -> Option<f64> {
        match &self.ask(expression)[..] {
            [(_, value)] => Some(*value),
            _ => None,
        }
    }
}

#[test]
fn a_real_prometheus_sees_what_happens() {
    let mut stage = stage();
    let balancer = stage.lab.balancer.clone();
    let prometheus = Prometheus::start(&balancer);
    wait_until("the agent is scraped", || {
        prometheus.value("up{job=\"dns-lb\"}") == Some(1.0)
    });
    wait_until("both servers are up", || {
        prometheus.value("sum(dns_lb_backend_health{state=\"up\"})") == Some(2.0)
    });

    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE / 4, Ports::Fresh).expect("a load");
    thread::sleep(Duration::from_secs(4));
    stage.lab.backends[1].kill().expect("the server runs");
    stage.await_down("dns2");
    wait_until("a death is seen, and an alert is coming up", || {
        let down = "dns_lb_backend_health{backend=\"dns2\",state=\"down\"}";
        let alert = "ALERTS{alertname=\"DnsLbBackendDown\",backend=\"dns2\"}";
        prometheus.value(down) == Some(1.0) && prometheus.value(alert) == Some(1.0)
    });
    wait_until("probes that fail are told by their cause", || {
        let failed = "sum(dns_lb_probes_total{backend=\"dns2\",cause!=\"passed\"})";
        prometheus.value(failed) >= Some(2.0)
    });
    let fell = |name: &str| {
        let fell = "dns_lb_backend_transitions_total{to=\"down\",backend=";
        prometheus.value(&format!("{fell}\"{name}\"}}"))
    };
    assert_eq!((fell("dns1"), fell("dns2")), (Some(0.0), Some(1.0)));
    // The first tables, and those without dns2.
    assert!(prometheus.value("dns_lb_table_build_seconds_count") >= Some(2.0));
    assert!(
        prometheus
            .value("dns_lb_last_table_build_seconds > 0")
            .is_some()
    );
    let share = "dns_lb_backend_share_ratio{backend=\"dns1\"}";
    assert_eq!(prometheus.value(share), Some(1.0));
    assert_eq!(prometheus.ask("ALERTS{alertname=\"DnsLbAgentDown\"}"), []);

    // The dashboard shows something everywhere.
    let mut questions = monitoring::dashboard("10s").expect("the dashboard");
    wait_until("every panel has data", || {
        questions.retain(|(_, question)| prometheus.ask(question).is_empty());
        if !questions.is_empty() {
            println!("no data yet: {questions:?}");
        }
        questions.is_empty()
    });

    // What is counted is what the agent says once nothing comes any more.
    load.stop().expect("a report");
    let said = stage.agent.status().expect("a status").services[0].packets;
    wait_until("the last packets are counted", || {
        prometheus.value("sum(dns_lb_service_packets_total)") == Some(said as f64)
    });
    let by_server = "sum(dns_lb_backend_packets_total)";
    assert_eq!(prometheus.value(by_server), Some(said as f64));
    let queries = "sum(dns_lb_service_queries_total)";
    assert_eq!(prometheus.value(queries), Some(said as f64));

    let kept = prometheus.ask("{job=\"dns-lb\",__name__=~\"dns_lb_.+\"}");
    let kept: std::collections::BTreeSet<_> = kept
        .iter()
        .map(|(labels, _)| labels["__name__"].as_str().expect("a name").to_owned())
        .collect();
    let documented = monitoring::documented().expect("the documentation");
    assert_eq!(kept, monitoring::series(&documented));
}

#[test]
fn promtool_has_nothing_to_say_and_the_status_fits_its_schema() {
    let mut stage = stage();
    let balancer = stage.lab.balancer.clone();
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    load.run_for(Duration::from_millis(300)).expect("a report");
    stage.lab.backends[0].kill().expect("the server runs");
    stage.await_down("dns1");

    let (status, metrics) = get(&balancer, AGENT, "/metrics").expect("the agent");
    assert_eq!(status, 200);
    let mut command = process::program("promtool");
    command.args(["check", "metrics"]);
    let output = balancer
        .output_with_input(command, &metrics)
        .expect("promtool: `cargo xtask setup` brings it");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}");

    let schema = monitoring::read("docs/status.schema.json").expect("the schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let (_, document) = get(&balancer, AGENT, "/status").expect("the agent");
    let mut document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(faults(&schema, &document), Vec::<String>::new());
    // The check can fail.
    document["services"][0]["backends"][0]["health"] = "dead".into();
    document["services"][0]["backends"][1]["mac"] = "02:00".into();
    document["services"][0]["port"] = 65_536.into();
    document["tables"]["builds"]["buckets"]["many"] = 1.into();
    document
        .as_object_mut()
        .expect("an object")
        .remove("version");
    let faults = faults(&schema, &document);
    for place in [
        "/services/0/backends/0/health: ",
        "/services/0/backends/1/mac: ",
        "/services/0/port: ",
        "/tables/builds/buckets/many: ",
        ": ",
    ] {
        let is_there = faults.iter().any(|fault| fault.starts_with(place));
        assert!(is_there, "{place:?} is not in {faults:#?}");
    }
}

#[test]
fn it_is_ready_as_long_as_somebody_answers() {
    let mut stage = stage();
    let balancer = stage.lab.balancer.clone();
    let answer = |path: &str| get(&balancer, AGENT, path).expect("the agent");
    assert_eq!(answer("/readyz"), (200, "ready\n".to_owned()));
    stage.lab.backends[0].kill().expect("the server runs");
    stage.await_down("dns1");
    assert_eq!(answer("/readyz").0, 200);

    stage.lab.backends[1].kill().expect("the server runs");
    let unready = "too few usable backends: resolvers has 0 of at least 1\n";
    wait_until("nobody is up", || {
        answer("/readyz") == (503, unready.to_owned())
    });
    assert_eq!(answer("/livez"), (200, "ok\n".to_owned()));
    let failed_open = "dns_lb_service_failed_open{service=\"resolvers\"} 1";
    wait_until("the service has failed open", || {
        let (_, metrics) = answer("/metrics");
        metrics.lines().any(|line| line == failed_open)
    });

    stage.lab.backends[1].start().expect("the server starts");
    wait_until("somebody is up", || answer("/readyz").0 == 200);
}

#[test]
fn what_has_been_lately_is_told() {
    let mut stage = stage();
    let balancer = stage.lab.balancer.clone();
    let document = |path: &str| -> Value {
        let (status, body) = get(&balancer, AGENT, path).expect("the agent");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    };
    let rates = |document: &Value| -> (f64, f64) {
        let service = &document["services"][0];
        let backends = service["backends"].as_array().expect("backends");
        let rate = |of: &Value| of["packets_per_second"].as_f64().unwrap_or_default();
        (rate(service), backends.iter().map(rate).sum())
    };
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE / 4, Ports::Fresh).expect("a load");
    wait_until("the rate is that of the load", || {
        let (service, backends) = rates(&document("/status"));
        // Read within the same moment, one after the other, and rounded.
        let alike = (service - backends).abs() < 0.1 * service;
        alike && service > 0.7 * f64::from(RATE / 4) && service < 1.3 * f64::from(RATE / 4)
    });
    stage.lab.backends[1].kill().expect("the server runs");
    stage.await_down("dns2");
    let change = document("/status")["recent_transitions"][0].clone();
    assert_eq!(change["backend"], "dns2", "{change}");
    assert_eq!(
        (&change["from"], &change["to"]),
        (&"up".into(), &"down".into())
    );
    assert!(change["reason"].is_string(), "{change}");
    load.stop().expect("a report");
    wait_until("nothing comes any more", || {
        rates(&document("/status")) == (0.0, 0.0)
    });

    let history = document("/history");
    let service = &history["services"][0];
    let lists = [service, &service["backends"][0], &service["backends"][1]];
    for list in lists.map(|of| of["packets_per_second"].as_array().expect("rates")) {
        let newest = list.last().expect("a rate").as_f64();
        assert_eq!(newest, Some(0.0), "{list:?}");
        assert!(
            list.iter()
                .any(|rate| rate.as_f64() > Some(f64::from(RATE / 40))),
            "{list:?}"
        );
    }
    let dead = document("/history/resolvers/dns2");
    let probes = dead["probes"].as_array().expect("probes");
    let causes: Vec<&str> = probes
        .iter()
        .filter_map(|probe| probe["cause"].as_str())
        .collect();
    assert_ne!(causes[0], "passed", "{causes:?}");
    assert!(causes.contains(&"passed"), "{causes:?}");
    let nobody = get(&balancer, AGENT, "/history/resolvers/nobody").expect("the agent");
    assert_eq!(nobody.0, 404);
}

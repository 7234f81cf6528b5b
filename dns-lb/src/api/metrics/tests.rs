//! The text that Prometheus gets, held against the document, and the documentation against it.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::testing::assert_shipped, *};
use crate::api::server::StatusRequest;

/// A family as the text describes it.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    labels: BTreeSet<String>,
    samples: usize,
}

/// What a text has, by name. Of a histogram the name is that of the whole.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a name and a help");
            let family = families.entry(name.to_owned()).or_default();
            assert_eq!(family.help, "", "{name} is there twice");
            family.help = help.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            families.get_mut(name).expect("the help is first").kind = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            value.parse::<f64>().expect("a number");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts.iter().find_map(|part| name.strip_suffix(part));
            let whole = whole.filter(|whole| families.contains_key(*whole));
            let family = families.get_mut(whole.unwrap_or(name)).expect(name);
            family.samples += 1;
            let labels = labels.trim_end_matches('}').split("\",");
            let names = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            family.labels.extend(names.filter(|name| name != "le"));
        }
    }
    families
}

#[test]
fn the_samples_are_what_the_document_says() {
    let mut status = Status::sample();
    // The kernel allows it.
    status.dataplane.interfaces[0].name = "a\"b\\".to_owned();
    let text = render(status).unwrap();
    let lines: BTreeSet<&str> = text.lines().collect();
    for line in [
        r#"dns_lb_build_info{version="0.1.0"} 1"#,
        "dns_lb_start_time_seconds 1769853600.0",
        "dns_lb_generation 7",
        r#"dns_lb_table_build_seconds_bucket{le="0.0025"} 0"#,
        r#"dns_lb_table_build_seconds_bucket{le="0.005"} 2"#,
        r#"dns_lb_table_build_seconds_bucket{le="+Inf"} 2"#,
        "dns_lb_table_build_seconds_sum 0.009",
        "dns_lb_table_build_seconds_count 2",
        "dns_lb_last_table_build_seconds 0.0044",
        "dns_lb_failed_table_builds_total 1",
        r#"dns_lb_interface_info{interface="a\"b\\",mode="native"} 1"#,
        r#"dns_lb_unclaimed_packets_total{ending="not_service"} 12"#,
        r#"dns_lb_service_packets_total{service="resolvers",ending="transmitted"} 1234567"#,
        r#"dns_lb_service_packets_total{service="resolvers",ending="malformed_ip"} 0"#,
        r#"dns_lb_service_bytes_total{service="resolvers"} 92592525"#,
        r#"dns_lb_service_tcp_segments_total{service="resolvers"} 70"#,
        r#"dns_lb_service_tcp_connections_total{service="resolvers"} 10"#,
        r#"dns_lb_service_queries_total{service="resolvers",type="a"} 1000"#,
        r#"dns_lb_service_edns_queries_total{service="resolvers"} 900"#,
        r#"dns_lb_service_failed_open{service="resolvers"} 0"#,
        r#"dns_lb_backend_packets_total{service="resolvers",backend="dns1"} 1234567"#,
        r#"dns_lb_backend_bytes_total{service="resolvers",backend="dns1"} 92592525"#,
        r#"dns_lb_backend_share_ratio{service="resolvers",backend="dns1"} 1.0"#,
        r#"dns_lb_backend_weight{service="resolvers",backend="dns2"} 1"#,
        r#"dns_lb_backend_configured_weight{service="resolvers",backend="dns2"} 2"#,
        r#"dns_lb_backend_health{service="resolvers",backend="dns1",state="up"} 1"#,
        r#"dns_lb_backend_health{service="resolvers",backend="dns1",state="down"} 0"#,
        r#"dns_lb_backend_health{service="resolvers",backend="dns2",state="down"} 1"#,
        r#"dns_lb_backend_admin{service="resolvers",backend="dns2",state="enabled"} 1"#,
        r#"dns_lb_backend_admin{service="resolvers",backend="dns2",state="draining"} 0"#,
        r#"dns_lb_backend_health_since_seconds{service="resolvers",backend="dns1"} 1769857200.0"#,
        r#"dns_lb_backend_transitions_total{service="resolvers",backend="dns1",to="up"} 2"#,
        r#"dns_lb_backend_transitions_total{service="resolvers",backend="dns1",to="down"} 1"#,
        r#"dns_lb_backend_frozen{service="resolvers",backend="dns1"} 0"#,
        r#"dns_lb_backend_frozen{service="resolvers",backend="dns2"} 1"#,
        r#"dns_lb_backend_unresolved{service="resolvers",backend="dns1"} 0"#,
        r#"dns_lb_probe_duration_seconds_bucket{service="resolvers",backend="dns1",le="0.00025"} 2"#,
        r#"dns_lb_probe_duration_seconds_bucket{service="resolvers",backend="dns1",le="1"} 3"#,
        r#"dns_lb_probe_duration_seconds_count{service="resolvers",backend="dns1"} 3"#,
        r#"dns_lb_probes_total{service="resolvers",backend="dns1",cause="timeout"} 4"#,
        r#"dns_lb_late_probes_total{service="resolvers",backend="dns2"} 2"#,
        r#"dns_lb_latest_probe_seconds{service="resolvers",backend="dns2"} 0.021"#,
    ] {
        assert!(lines.contains(line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn what_has_not_happened_yet_is_zero_or_absent() {
    let mut status = Status::sample();
    status.tables = Default::default();
    let service = &mut status.services[0];
    service.queries = None;
    service.backends[0].probes = Default::default();
    let text = render(status).unwrap();
    for name in ["dns_lb_last_table_build_seconds", "dns_lb_service_queries"] {
        assert_eq!(families(&text).get(name).map_or(0, |it| it.samples), 0);
    }
    for line in [
        "dns_lb_table_build_seconds_count 0",
        r#"dns_lb_probes_total{service="resolvers",backend="dns1",cause="passed"} 0"#,
        r#"dns_lb_probe_duration_seconds_bucket{service="resolvers",backend="dns1",le="+Inf"} 0"#,
    ] {
        assert!(text.lines().any(|is| is == line), "{line}");
    }
    assert!(!text.contains(r#"backend="dns1",cause="timeout""#));
}

/// `UPDATE_DOCS=1` mends what is wrong.
#[test]
fn every_metric_is_documented_and_no_other() {
    let text = render(Status::sample()).unwrap();
    let rows: String = families(&text)
        .into_iter()
        .map(|(name, family)| {
            let Family {
                help,
                kind,
                labels,
                samples,
            } = family;
            assert!(samples > 0, "{name}: the sample has nothing of it");
            assert!(help.ends_with('.') && !help.contains('|'), "{name}");
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = labels.join(", ");
            format!("| `{name}` | {kind} | {labels} | {help} |\n")
        })
        .collect();
    assert_shipped("docs/monitoring.md", |shipped| {
        let is_row = |line: &&str| line.starts_with("| `dns_lb_");
        let begin = shipped.find("| `dns_lb_").expect("the table of metrics");
        let length: usize = shipped[begin..]
            .split_inclusive('\n')
            .take_while(is_row)
            .map(str::len)
            .sum();
        format!("{}{rows}{}", &shipped[..begin], &shipped[begin + length..])
    });
}

/// A document of 100 services with 10 backends each.
fn large() -> Status {
    let mut status = Status::sample();
    let (service, backend) = (&status.services[0], &status.services[0].backends[0]);
    let services = (0..100).map(|number| {
        let backends = (0..10).map(|place| {
            let name = format!("dns{place}");
            crate::api::status::Backend {
                name,
                ..backend.clone()
            }
        });
        crate::api::status::Service {
            name: format!("service{number}"),
            backends: backends.collect(),
            ..service.clone()
        }
    });
    status.services = services.collect();
    status
}

#[test]
fn a_thousand_backends_are_written_whole() {
    let status = large();
    let begun = std::time::Instant::now();
    let text = render(status).unwrap();
    println!("{} octets in {:?}", text.len(), begun.elapsed());
    let families = families(&text);
    assert_eq!(families["dns_lb_backend_share_ratio"].samples, 1_000);
    assert_eq!(families["dns_lb_backend_health"].samples, 3_000);
    // 13 bounds, infinity, sum and count.
    assert_eq!(families["dns_lb_probe_duration_seconds"].samples, 16_000);
}

/// A source whose documents are counted.
fn counted() -> (StatusSource, tokio::task::JoinHandle<u64>) {
    let (source, mut requests) = StatusSource::new();
    let made = tokio::spawn(async move {
        let mut made = 0;
        while let Some(StatusRequest::Status(reply)) = requests.recv().await {
            made += 1;
            let mut status = Status::sample();
            status.generation = made;
            let _ = reply.send(status);
        }
        made
    });
    (source, made)
}

#[tokio::test(start_paused = true)]
async fn a_document_is_made_when_asked_for_and_once_a_second_at_the_most() {
    let (source, made) = counted();
    let page = Page::default();
    let said = |text: &Bytes| {
        let text = str::from_utf8(text).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("dns_lb_generation "));
        line.unwrap().to_owned()
    };
    tokio::time::sleep(10 * FRESH).await;
    let (first, second, third) =
        tokio::join!(page.get(&source), page.get(&source), page.get(&source));
    for text in [first, second, third] {
        assert_eq!(said(&text.unwrap()), "dns_lb_generation 1");
    }
    tokio::time::sleep(FRESH).await;
    assert_eq!(
        said(&page.get(&source).await.unwrap()),
        "dns_lb_generation 2"
    );
    drop(source);
    assert_eq!(made.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_document_there_are_no_metrics_and_the_last_are_not_passed_off_as_new() {
    let (source, mut requests) = StatusSource::new();
    let page = Page::default();
    let answer = async {
        let Some(StatusRequest::Status(reply)) = requests.recv().await else {
            panic!("the status is asked for");
        };
        let _ = reply.send(Status::sample());
        requests
    };
    let (text, requests) = tokio::join!(page.get(&source), answer);
    text.unwrap();
    tokio::time::sleep(FRESH).await;
    let busy = page.get(&source).await.unwrap_err();
    assert_eq!(busy, MetricsError::Status(StatusError::Busy));
    drop(requests);
    let stopping = page.get(&source).await.unwrap_err();
    assert_eq!(stopping, MetricsError::Status(StatusError::Stopping));
}

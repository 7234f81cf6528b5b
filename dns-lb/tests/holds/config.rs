//! The text of a configuration file.

use std::{collections::BTreeSet, net::IpAddr, ops::RangeInclusive, time::Duration};

use dns_lb::{
    config::{
        Backend, Config, Difference, Faults, HealthCheck, MAX_BACKENDS, MAX_SERVICES, MAX_VIPS,
        Policy, Question, Service,
    },
    health::Expected,
};

/// Asserts what must hold; true: it is a configuration.
pub(crate) fn holds(octets: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(octets) else {
        return false;
    };
    match Config::parse(text) {
        Ok(config) => {
            assert_eq!(Config::parse(text).as_ref(), Ok(&config));
            is_valid(&config);
            let same = Difference::between(&config, &config);
            assert_eq!(same, Difference::default());
            let mut other = config.clone();
            other.services.rotate_left(1);
            other.services[0].name.push('2');
            let Difference { changes, warnings } = Difference::between(&other, &config);
            assert!(!changes.is_empty() && warnings.is_empty());
            for line in changes {
                assert!(!line.contains(char::is_control), "{line:?}");
            }
            true
        }
        Err(faults) => {
            are_in_place(&faults, text);
            false
        }
    }
}

/// Each fault has a place in the text, or just behind a line, and is one line that no terminal
/// stumbles over.
fn are_in_place(faults: &Faults, text: &str) {
    let lines: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
    let faults = faults.as_slice();
    assert!(!faults.is_empty());
    assert!(faults.is_sorted_by_key(|fault| (fault.line, fault.column)));
    for fault in faults {
        assert!((1..=lines.len()).contains(&fault.line), "{fault}");
        let length = lines[fault.line - 1];
        assert!((1..=length + 1).contains(&fault.column), "{fault}");
        let shown = fault.to_string();
        assert!(!shown.contains(char::is_control), "{shown:?}");
    }
}

fn is_valid(config: &Config) {
    assert!(!config.interfaces.is_empty());
    differ(&config.interfaces);
    assert!((1_024..=16_777_216).contains(&config.tcp_flows));
    for path in [
        &config.hash_key_file,
        &config.state_file,
        &config.api.admin_socket,
    ] {
        assert!(path.is_absolute());
    }
    assert!(config.api.admin_socket.as_os_str().len() <= 96);
    assert_eq!(config.api.admin_mode & !0o066, 0o600);
    assert_ne!(config.api.listen.port(), 0);

    let services = &config.services;
    assert!((1..=MAX_SERVICES).contains(&services.len()));
    differ(services.iter().map(|service| &service.name));
    let backends = || services.iter().flat_map(|service| &service.backends);
    assert!(backends().count() <= MAX_BACKENDS);
    let endpoints = || {
        services.iter().flat_map(|service| {
            let of_vip = move |&vip| {
                let protocols = service.protocols.iter();
                protocols.map(move |&protocol| (vip, service.port, protocol))
            };
            service.vips.iter().flat_map(of_vip)
        })
    };
    assert!(endpoints().count() <= MAX_VIPS);
    differ(endpoints());
    let vips: BTreeSet<IpAddr> = endpoints().map(|(vip, ..)| vip).collect();
    assert!(backends().all(|backend| !vips.contains(&backend.address)));
    for service in services {
        is_valid_service(service);
    }
}

fn is_valid_service(service: &Service) {
    is_name(&service.name);
    assert!(!service.vips.is_empty() && !service.protocols.is_empty());
    assert_ne!(service.port, 0);
    if let Some(max_load) = service.max_load {
        assert!((105..=1_000).contains(&max_load));
        assert_eq!(service.policy, Policy::Qname);
    }
    assert!(service.max_ejected <= 100);
    assert!(service.slow_start <= Duration::from_secs(3_600));
    is_valid_check(&service.health);
    assert!(!service.backends.is_empty());
    differ(service.backends.iter().map(|backend| &backend.name));
    differ(service.backends.iter().map(|backend| backend.address));
    for Backend {
        name,
        weight,
        mac,
        local,
        ..
    } in &service.backends
    {
        is_name(name);
        assert!(*weight <= 1_000);
        assert!(mac.is_none_or(|mac| mac.is_unicast()));
        assert!(!local || mac.is_none());
    }
}

fn is_valid_check(check: &HealthCheck) {
    const INTERVAL: RangeInclusive<Duration> =
        Duration::from_millis(10)..=Duration::from_secs(3_600);
    assert!((1..=8).contains(&check.questions.len()));
    assert!((1..=check.questions.len()).contains(&check.questions_to_pass));
    assert!(INTERVAL.contains(&check.interval));
    assert!(INTERVAL.contains(&check.down_interval));
    assert!(INTERVAL.contains(&check.fast_interval) && check.fast_interval <= check.interval);
    let timeout = Duration::from_millis(1)..=Duration::from_secs(60);
    assert!(timeout.contains(&check.timeout));
    assert!((1..=100).contains(&check.fall) && (1..=100).contains(&check.rise));
    assert!(check.flap_window <= Duration::from_secs(3_600));
    for question in &check.questions {
        is_valid_question(question);
    }
}

/// The limits, and that it can be asked.
fn is_valid_question(question: &Question) {
    let Question {
        edns_size,
        accept_rcodes,
        min_answers,
        ..
    } = question;
    assert!(edns_size.is_none_or(|size| (512..=4_096).contains(&size)));
    assert!(!accept_rcodes.is_empty());
    assert!(*min_answers <= 100);
    let query = Expected::new(question).query(question, true);
    let query = query.expect("what a configuration asks can be asked");
    assert!(query.len() <= 512, "what fits any UDP message");
}

fn is_name(name: &str) {
    assert!((1..=63).contains(&name.len()));
    assert!(!name.contains(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c)));
}

#[track_caller]
fn differ<T: Ord>(values: impl IntoIterator<Item = T>) {
    let mut seen = BTreeSet::new();
    assert!(values.into_iter().all(|value| seen.insert(value)));
}

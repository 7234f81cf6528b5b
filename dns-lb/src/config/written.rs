//! A configuration as a file would state it, key by key: what differences are told in.

use std::fmt::Display;

use super::{
    Announce, Api, Backend, Choice as _, Config, HealthCheck, Question, Service,
    scalar::{WrittenDuration, rcode_name},
};

/// A key and its value in TOML, in the order in which the example has them. A key without a value is
/// not stated.
pub(super) type Settings = Vec<(String, Option<String>)>;

/// The keys at the top, those of `[api]` and of `[announce]`.
pub(super) fn top(config: &Config) -> Settings {
    let Config {
        interfaces,
        xdp_mode,
        hash_key_file,
        tcp_flows,
        state_file,
        api:
            Api {
                listen,
                admin_socket,
                admin_mode,
                admin_group,
            },
        announce,
        services: _,
    } = config;
    let announced = |value: &dyn Fn(&Announce) -> String| announce.as_ref().map(value);
    vec![
        set("interfaces", list(interfaces)),
        set("xdp_mode", quoted(xdp_mode.word())),
        set("hash_key_file", quoted(hash_key_file.display())),
        set("tcp_flows", tcp_flows),
        set("state_file", quoted(state_file.display())),
        set("api.listen", quoted(listen)),
        set("api.admin_socket", quoted(admin_socket.display())),
        set("api.admin_mode", quoted(format!("{admin_mode:04o}"))),
        may("api.admin_group", admin_group.as_ref().map(quoted)),
        may("announce.interface", announced(&|to| quoted(&to.interface))),
        may(
            "announce.hold",
            announced(&|to| quoted(WrittenDuration(to.hold))),
        ),
        may(
            "announce.withdraw_first",
            announced(&|to| to.withdraw_first.to_string()),
        ),
        may(
            "announce.settle",
            announced(&|to| quoted(WrittenDuration(to.settle))),
        ),
    ]
}

/// The keys of `[[service]]` and of `[service.health]`.
pub(super) fn service(service: &Service) -> Settings {
    let Service {
        name: _,
        vips,
        port,
        protocols,
        policy,
        max_load,
        count_queries,
        on_no_backend,
        max_ejected,
        quorum,
        slow_start,
        health,
        backends: _,
    } = service;
    let mut settings = vec![
        set("vips", list(vips)),
        set("port", port),
        set("protocols", list(protocols)),
        set("policy", quoted(policy)),
        may("max_load", max_load.map(percent)),
        set("count_queries", count_queries),
        set("on_no_backend", quoted(on_no_backend.word())),
        set("max_ejected", percent(*max_ejected)),
        set("quorum", quorum),
        set("slow_start", quoted(WrittenDuration(*slow_start))),
    ];
    settings.extend(checks(health));
    settings
}

fn checks(health: &HealthCheck) -> Settings {
    let HealthCheck {
        questions,
        questions_to_pass,
        transport,
        path,
        identity,
        check_return,
        interval,
        fast_interval,
        down_interval,
        timeout,
        fall,
        rise,
        flap_window,
    } = health;
    let mut settings = Settings::new();
    for (number, question) in (1..).zip(questions) {
        let prefix = match questions.len() {
            1 => "health.".to_owned(),
            _ => format!("health.queries[{number}]."),
        };
        settings.extend(rules(&prefix, question));
    }
    let duration = |duration| quoted(WrittenDuration(duration));
    settings.extend([
        set("health.queries_to_pass", questions_to_pass),
        set("health.transport", quoted(transport.word())),
        set("health.path", quoted(path.word())),
        set("health.identity", quoted(identity.word())),
        set("health.check_return", check_return),
        set("health.interval", duration(*interval)),
        set("health.fast_interval", duration(*fast_interval)),
        set("health.down_interval", duration(*down_interval)),
        set("health.timeout", duration(*timeout)),
        set("health.fall", fall),
        set("health.rise", rise),
        set("health.flap_window", duration(*flap_window)),
    ]);
    settings
}

fn rules(prefix: &str, question: &Question) -> Settings {
    let Question {
        name,
        record_type,
        recursion_desired,
        edns_size,
        accept_rcodes,
        min_answers,
        expect,
        require_aa,
        max_serial_lag,
    } = question;
    let codes = accept_rcodes.iter().map(|&code| rcode_name(code));
    let settings = [
        set("query", quoted(format!("{name} {record_type}"))),
        set("recursion_desired", recursion_desired),
        set("edns_size", edns_size.unwrap_or(0)),
        set("accept_rcodes", list(codes)),
        set("min_answers", min_answers),
        may("expect", expect.as_ref().map(quoted)),
        set("require_aa", require_aa),
        may(
            "max_serial_lag",
            max_serial_lag.as_ref().map(u32::to_string),
        ),
    ];
    let prefixed = settings.map(|(key, value)| (format!("{prefix}{key}"), value));
    prefixed.into()
}

/// The keys of `[[service.backend]]`, without its name.
pub(super) fn backend(backend: &Backend) -> Settings {
    let Backend {
        name: _,
        address,
        weight,
        mac,
        local,
    } = backend;
    vec![
        set("address", quoted(address)),
        set("weight", weight),
        may("mac", mac.as_ref().map(quoted)),
        set("local", local),
    ]
}

fn set(key: &str, value: impl Display) -> (String, Option<String>) {
    may(key, Some(value.to_string()))
}

fn may(key: &str, value: Option<String>) -> (String, Option<String>) {
    (key.to_owned(), value)
}

fn quoted(text: impl Display) -> String {
    format!("{:?}", text.to_string())
}

fn percent(percent: u32) -> String {
    quoted(format!("{percent}%"))
}

fn list(values: impl IntoIterator<Item: Display>) -> String {
    let values: Vec<String> = values.into_iter().map(quoted).collect();
    format!("[{}]", values.join(", "))
}

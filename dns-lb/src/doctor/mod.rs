//! What breaks Direct Routing on this host and on every backend, found by looking and by asking.
//!
//! `look` finds out what is, and changes nothing; `host`, `interface`, `vip` and `backend` judge it and
//! are pure; `report` is what comes of it. Works beside a running agent and without one. What could
//! not be found out is said, and never counted as right.

mod agent;
mod backend;
mod host;
pub mod id;
mod interface;
mod look;
mod report;
mod vip;

use std::{collections::BTreeSet, net::IpAddr, path::Path};

pub use self::{
    agent::{Agent, Peer, Said},
    id::Id,
    look::Capabilities,
    report::{Check, Report, Severity},
};
use self::{look::Look, report::Sheet};
use crate::config::Config;

/// Makes every check of the page `docs/doctor.md`, within some seconds.
///
/// Belongs to the network namespace of the thread that calls it.
pub async fn examine(config: &Config, pin_dir: &Path, agent: &Agent) -> Report {
    let mut sheet = Sheet::default();
    let capabilities = look::own_capabilities();
    agent::judge(agent, &mut sheet);
    let host = look::host(config, pin_dir);
    host::judge(&host, &capabilities, &mut sheet);
    if let Peer::Found { capabilities, .. } = &agent.peer {
        host::judge_agent(capabilities, &mut sheet);
    }

    let looked = match Look::at(config).await {
        Ok(looked) => looked,
        Err(error) => {
            skip_links(config, &error, &mut sheet);
            return sheet.report(agent);
        }
    };
    let context = interface::Context {
        config,
        program: interface::own_programs(&host.pinned, agent),
        agent_runs: agent.runs(),
    };
    interface::judge(&context, &looked.interfaces, &mut sheet);
    interface::judge_egress(&context, &looked.interfaces, &looked.egress, &mut sheet);

    let (claims, servers) = tokio::join!(looked.ask_for_vips(), looked.ask_servers(config));
    vip::judge(
        &vip::Context {
            vips: vips(config),
            owners: looked.owners(config),
            own: &looked.own_addresses,
            has_local: has_local(config),
        },
        &looked.interfaces,
        &claims,
        &mut sheet,
    );
    let can_resolve = capabilities.is_ok_and(Capabilities::can_resolve);
    backend::judge_places(config, &looked.places(config), can_resolve, &mut sheet);
    for server in &servers {
        backend::judge_server(server, &mut sheet);
    }
    sheet.report(agent)
}

/// Nothing is known of any link.
fn skip_links(config: &Config, why: &str, sheet: &mut Sheet) {
    for interface in &config.interfaces {
        sheet.skip(id::INTERFACE_MISSING, interface, why);
    }
    for vip in vips(config) {
        sheet.skip(id::VIP_ANSWERED_BY_BACKEND, vip, why);
    }
    for service in &config.services {
        for backend in &service.backends {
            let subject = format!("{}/{}", service.name, backend.name);
            sheet.skip(id::BACKEND_NOT_FOUND, subject, why);
        }
    }
}

/// Every VIP of every service.
fn vips(config: &Config) -> BTreeSet<IpAddr> {
    let services = config.services.iter();
    services
        .flat_map(|service| &service.vips)
        .copied()
        .collect()
}

fn has_local(config: &Config) -> bool {
    let services = config.services.iter();
    let mut backends = services.flat_map(|service| &service.backends);
    backends.any(|backend| backend.local)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::id;

    #[test]
    fn the_page_has_every_check_and_no_other() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/doctor.md");
        let page = fs::read_to_string(page).expect("docs/doctor.md");
        let headings: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
            .collect();
        let explained: BTreeSet<&str> = headings.iter().copied().collect();
        assert_eq!(headings.len(), explained.len(), "a heading twice");
        let checks: BTreeSet<&str> = id::ALL.iter().map(|id| id.name()).collect();
        assert_eq!(checks.len(), id::ALL.len(), "a name twice");
        assert_eq!(explained, checks);
    }

    #[test]
    fn names_are_anchors() {
        for id in id::ALL {
            let is_plain = |letter: char| letter.is_ascii_lowercase() || letter == '-';
            assert!(id.name().chars().all(is_plain), "{id}");
        }
    }
}

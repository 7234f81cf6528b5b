//! How to look around in a lab that was left up.

use std::path::Path;

use dns_lb_tests::{Lab, lab::VIP};

/// Commands that work as they stand, from another terminal.
pub(super) fn text(lab: &Lab, binary: &Path) -> String {
    let balancer = format!("nsenter -t {} -n -m", lab.balancer.tid());
    let client = format!("nsenter -t {} -n -m", lab.clients[0].node.tid());
    let binary = binary.display();
    let mut lines = vec![
        "\nThe lab stays up until Ctrl-C. As root, in another terminal:".to_owned(),
        format!("  {balancer} {binary} status"),
        format!("  {balancer} bpftool map dump pinned /sys/fs/bpf/dns-lb/backends"),
        format!("  {client} dig @{VIP} id.lab.example TXT +short"),
        "Enter a host:".to_owned(),
    ];
    let hosts = [&lab.balancer, &lab.router];
    let clients = lab.clients.iter().map(|client| &client.node);
    let backends = lab.backends.iter().map(|backend| &backend.node);
    for host in hosts.into_iter().chain(clients).chain(backends) {
        lines.push(format!(
            "  nsenter -t {} -n -m    # {}",
            host.tid(),
            host.name()
        ));
    }
    lines.join("\n")
}

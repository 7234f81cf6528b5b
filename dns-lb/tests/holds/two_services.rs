//! A configuration to command.

use std::sync::LazyLock;

use dns_lb::config::Config;

/// Two services that share a name of a backend.
pub(crate) static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = r#"
        interfaces = ["eth0"]
        [[service]]
        name = "auth"
        vips = ["192.0.2.1"]
        backend = [
            { name = "dns1", address = "192.0.2.11" },
            { name = "dns2", address = "192.0.2.12", weight = 0 },
        ]
        [[service]]
        name = "resolvers"
        vips = ["192.0.2.2"]
        backend = [
            { name = "dns1", address = "192.0.2.21" },
            { name = "dns3", address = "192.0.2.23", weight = 7 },
        ]
    "#;
    Config::parse(text).expect("a configuration")
});

//! The checks by name. Each has a heading of that name in `docs/doctor.md`, which a test sees to.

use std::fmt;

use serde::Serialize;

/// The name of a check: it says what is wrong where the check finds something, and stays the same from
/// version to version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Id(&'static str);

impl Id {
    /// Its word, of lower-case letters and hyphens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Where it is explained.
    #[must_use]
    pub fn doc(self) -> String {
        format!("docs/doctor.md#{self}")
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

/// Makes a constant of each check, and the list of all.
macro_rules! checks {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: Id = Id($name);)*

        /// Every check.
        pub const ALL: &[Id] = &[$($constant),*];
    };
}

checks! {
    /// No agent runs, which may be meant.
    AGENT_NOT_RUNNING = "agent-not-running";
    /// The agent runs, and its HTTP side does not answer.
    HTTP_UNREACHABLE = "http-unreachable";
    /// The agent runs, and cannot be commanded.
    ADMIN_SOCKET_UNREACHABLE = "admin-socket-unreachable";
    /// The agent is of another version than this command.
    AGENT_VERSION = "agent-version";
    /// The pinned maps are of another layout than this command's.
    PINS_VERSION = "pins-version";

    /// The pin directory is not where pins can be.
    BPFFS_MISSING = "bpffs-missing";
    /// A process lacks a privilege.
    CAPABILITY_MISSING = "capability-missing";
    /// The kernel is older than any that can run the program.
    KERNEL_OLD = "kernel-old";
    /// The kernel has no type information of itself.
    BTF_MISSING = "btf-missing";
    /// Nobody keeps the clock right.
    CLOCK_UNSYNCHRONISED = "clock-unsynchronised";
    /// There is no secret for the flow hash yet.
    HASH_KEY_MISSING = "hash-key-missing";
    /// What is in the file of the secret is none.
    HASH_KEY_MALFORMED = "hash-key-malformed";
    /// Others may read the secret.
    HASH_KEY_EXPOSED = "hash-key-exposed";
    /// What to compare with another balancer's.
    HASH_KEY_FINGERPRINT = "hash-key-fingerprint";

    /// A configured interface is not there.
    INTERFACE_MISSING = "interface-missing";
    /// It is down, or has no carrier.
    INTERFACE_DOWN = "interface-down";
    /// It has no MAC addresses.
    INTERFACE_NOT_ETHERNET = "interface-not-ethernet";
    /// It is a bridge or a VLAN device, above the one that should be named.
    INTERFACE_ABOVE = "interface-above";
    /// It receives what is not for it.
    PROMISCUOUS = "promiscuous";
    /// It has, or would get, the program in the kernel's stack.
    XDP_GENERIC = "xdp-generic";
    /// It carries somebody else's program.
    XDP_FOREIGN = "xdp-foreign";
    /// The agent runs, and the interface carries no program.
    XDP_NOT_ATTACHED = "xdp-not-attached";
    /// It cannot send what XDP forwards.
    XDP_CANNOT_SEND = "xdp-cannot-send";
    /// Frames are longer than its driver takes for XDP.
    MTU_TOO_LARGE = "mtu-too-large";
    /// Frames that come in by one interface do not fit another that they leave by.
    MTU_MISMATCH = "mtu-mismatch";
    /// Its driver makes one frame of several before XDP sees them.
    LRO_ON = "lro-on";
    /// Its driver takes VLAN tags off before XDP sees the frame.
    VLAN_OFFLOAD = "vlan-offload";
    /// The kernel drops what comes in by another way than the answer would leave.
    RP_FILTER_STRICT = "rp-filter-strict";

    /// A backend answers for a VIP on the link, and takes the clients' packets past the balancer.
    VIP_ANSWERED_BY_BACKEND = "vip-answered-by-backend";
    /// Somebody who is no backend does.
    VIP_ANSWERED_BY_OTHER = "vip-answered-by-other";
    /// Nobody answers for a VIP, this host included.
    VIP_UNANSWERED = "vip-unanswered";
    /// This host has a VIP that duplicate address detection has not passed.
    VIP_DUPLICATE = "vip-duplicate";
    /// This host is a server as well, and says on the link that it has the VIP.
    VIP_ANNOUNCED_HERE = "vip-announced-here";

    /// A backend is not found on the link.
    BACKEND_NOT_FOUND = "backend-not-found";
    /// There is a router between balancer and backend.
    BACKEND_BEHIND_GATEWAY = "backend-behind-gateway";
    /// A backend is this very host, and not said to be.
    BACKEND_IS_THIS_HOST = "backend-is-this-host";
    /// A backend is said to be this very host, and is not.
    BACKEND_NOT_LOCAL = "backend-not-local";
    /// Two backends of a service have one MAC address.
    BACKEND_SAME_MAC = "backend-same-mac";

    /// A server answers nobody.
    SERVER_SILENT = "server-silent";
    /// A server answers, but not as the health check wants it.
    ANSWER_NOT_ACCEPTED = "answer-not-accepted";
    /// A backend does not have the VIP.
    VIP_MISSING = "vip-missing";
    /// A backend has the VIP, and its server does not serve there.
    VIP_NOT_SERVED = "vip-not-served";
    /// A server answers from another address than was asked.
    WRONG_SOURCE = "wrong-source";
    /// A server answers to the MAC address that a query comes from.
    WRONG_MAC = "wrong-mac";
    /// Another backend answers what is sent to this one.
    ANSWERED_BY_ANOTHER = "answered-by-another";
    /// A server does not take TCP, which its service does.
    TCP_CLOSED = "tcp-closed";
    /// A server serves on the VIP alone.
    OWN_ADDRESS_SILENT = "own-address-silent";
}

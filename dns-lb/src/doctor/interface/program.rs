//! Whose program an interface carries, and in which mode.

use super::{Attached, Context, Interface, NATIVE};
use crate::{
    config::XdpMode,
    doctor::{Severity, id, report::Sheet},
};

pub(super) fn judge(context: &Context<'_>, name: &str, interface: &Interface, sheet: &mut Sheet) {
    let mut own = None;
    match (interface.attached, &context.program) {
        (None, _) if context.agent_runs => sheet.find(
            id::XDP_NOT_ATTACHED,
            Severity::Error,
            name,
            "an agent runs, and no XDP program is on this interface: nothing that comes in by it is \
             steered",
            "dns-lb reload, if the interface is new in the configuration; else start the agent again",
        ),
        (None, _) => {
            sheet.pass(id::XDP_FOREIGN, name, "carries no XDP program");
            sheet.find(
                id::XDP_NOT_ATTACHED,
                Severity::Info,
                name,
                "carries no XDP program: nothing that comes in by it is steered",
                "an agent attaches it: `dns-lb run`",
            );
        }
        (Some(_), None) => sheet.skip(
            id::XDP_FOREIGN,
            name,
            "whose program it carries is known neither from the pins nor from an agent",
        ),
        (Some(attached), Some(programs)) if programs.contains(&attached.program) => {
            own = Some(attached);
            sheet.pass(id::XDP_NOT_ATTACHED, name, "carries the program");
            let evidence = format!("program {} is dns-lb's", attached.program);
            sheet.pass(id::XDP_FOREIGN, name, evidence);
        }
        (Some(Attached { program, .. }), Some(_)) => sheet.find(
            id::XDP_FOREIGN,
            Severity::Error,
            name,
            format!("carries XDP program {program}, which is not dns-lb's, and there is room for one"),
            format!("`bpftool prog show id {program}` says what it is; `ip link set dev {name} xdp off`"),
        ),
    }
    judge_mode(context.config.xdp_mode, own, name, interface, sheet);
}

fn judge_mode(
    wanted: XdpMode,
    own: Option<Attached>,
    name: &str,
    interface: &Interface,
    sheet: &mut Sheet,
) {
    let can = interface
        .xdp_features
        .map(|features| features & NATIVE != 0);
    match (wanted, own, can) {
        (XdpMode::Generic, ..) => sheet.pass(id::XDP_GENERIC, name, "generic XDP, as configured"),
        (_, Some(attached), _) if attached.is_native => {
            sheet.pass(id::XDP_GENERIC, name, "native XDP");
        }
        (_, Some(_), can) => sheet.find(
            id::XDP_GENERIC,
            Severity::Warning,
            name,
            match can {
                Some(true) => "has generic XDP, which is slower, though its driver has native XDP",
                _ => "has generic XDP, which is slower",
            },
            "the agent's log says why native XDP was refused; the kernel's (`dmesg`) what its driver \
             wants",
        ),
        (_, None, Some(true)) => sheet.pass(id::XDP_GENERIC, name, "its driver has native XDP"),
        (_, None, Some(false)) => sheet.find(
            id::XDP_GENERIC,
            match wanted {
                XdpMode::Native => Severity::Error,
                _ => Severity::Warning,
            },
            name,
            "its driver has no native XDP in its present state",
            "generic XDP (xdp_mode = \"auto\" or \"generic\") works, more slowly; or name another \
             interface",
        ),
        (_, None, None) => sheet.skip(
            id::XDP_GENERIC,
            name,
            "this kernel does not tell what a driver has (Linux 6.3 and later do): see `ethtool -i`",
        ),
    }
}

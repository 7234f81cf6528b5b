//! Asking the loaded program what it would do with a frame.

use std::path::Path;

use aya::{
    maps::{Array, Map, MapData},
    programs::{ProgramError, TestRun as _, TestRunOptions, Xdp},
};
use aya_obj::programs::XdpAttachType;
use dns_lb_common::{ABI_VERSION, Backend, Control, Explanation, NO_BACKEND, VipSlot, map};

use super::{DatapathError, entries::read_range, error::os_error};

/// What the program would do with a frame.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The generation of the tables that it goes by.
    pub generation: u64,
    /// Its verdict.
    pub explanation: Explanation,
    /// The frame as it would leave.
    pub frame: Vec<u8>,
    /// The entry of the backend that it would go to.
    pub backend: Option<Backend>,
    /// The entries of the service that claims it.
    pub vips: Vec<VipSlot>,
}

/// Runs the pinned program on a frame as if it came in by this interface (`BPF_PROG_TEST_RUN`). The
/// program sees that it is only asked: it counts nothing, remembers nothing and sends nothing.
///
/// # Errors
///
/// If no program is pinned, or one of another version, or the kernel refuses the frame: it takes 14
/// octets to about a page, and an interface of this network namespace.
pub fn explain(pin_dir: &Path, frame: &[u8], ifindex: u32) -> Result<Explained, DatapathError> {
    let path = pin_dir.join(super::pins::PROGRAM);
    if !path.exists() {
        return Err(DatapathError::NotLoaded {
            path: pin_dir.to_owned(),
        });
    }
    for _ in 1..ATTEMPTS {
        let explained = ask(pin_dir, &path, frame, ifindex)?;
        if control(pin_dir)?.generation == explained.generation {
            return Ok(explained);
        }
    }
    ask(pin_dir, &path, frame, ifindex)
}

/// How often it is tried to read the maps without a new configuration coming in between.
const ATTEMPTS: usize = 10;

fn ask(
    pin_dir: &Path,
    program: &Path,
    frame: &[u8],
    ifindex: u32,
) -> Result<Explained, DatapathError> {
    let control = control(pin_dir)?;
    let refused = |source: ProgramError| DatapathError::Refused {
        source: Box::new(source),
    };
    let program = Xdp::from_pin(program, XdpAttachType::Interface).map_err(refused)?;

    // The kernel takes metadata and frame in one piece, and their border from the context.
    let question = Explanation {
        magic: Explanation::MAGIC,
        ..Explanation::default()
    };
    let mut data = octets(&question);
    data.extend(frame);
    let context = Context {
        data: size_of::<Explanation>() as u32,
        data_end: data.len() as u32,
        ingress_ifindex: ifindex,
        ..Context::default()
    };
    let mut out = vec![0; data.len() + 256];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(&data),
            data_out: Some(&mut out),
            ctx_in: Some(&context.octets()),
            ..TestRunOptions::default()
        })
        .map_err(|error| match os_error(&error) {
            Some(libc::EINVAL | libc::ENODEV) => DatapathError::NoInterface {
                name: format!("with index {ifindex}"),
            },
            _ => refused(error),
        })?;
    out.truncate(result.data_size_out as usize);
    let frame = out.split_off(size_of::<Explanation>().min(out.len()));
    let explanation = read_explanation(&out).ok_or(DatapathError::Object {
        what: "an answer to a question",
    })?;
    let base = control.live_bank().backend_base;
    let backends = array::<Backend>(pin_dir, map::BACKENDS)?;
    let backend = match explanation.backend {
        NO_BACKEND => None,
        id => Some(backends.get(&(base + u32::from(id)), 0))
            .transpose()
            .map_err(DatapathError::map("read", map::BACKENDS))?,
    };
    Ok(Explained {
        generation: control.generation,
        vips: vips(pin_dir, &control, explanation.service)?,
        explanation,
        frame,
        backend,
    })
}

/// The live entries of a service.
fn vips(pin_dir: &Path, control: &Control, service: u16) -> Result<Vec<VipSlot>, DatapathError> {
    let vips = array::<VipSlot>(pin_dir, map::VIPS)?;
    let base = control.live_bank().vip_base;
    let slots = read_range(&vips, base..base.saturating_add(vips.len() / 2))
        .map_err(DatapathError::map("read", map::VIPS))?;
    let claims =
        |slot: &VipSlot| service != 0 && slot.service == service && slot.key.names_service();
    Ok(slots.into_iter().filter(claims).collect())
}

/// The entry of `control`, if the maps are of this version.
fn control(pin_dir: &Path) -> Result<Control, DatapathError> {
    let other = |found| DatapathError::Abi {
        path: pin_dir.to_owned(),
        found,
        expected: ABI_VERSION,
    };
    let failed = DatapathError::map("read", map::CONTROL);
    let data = MapData::from_pin(pin_dir.join(map::CONTROL)).map_err(&failed)?;
    if data.info().map_err(&failed)?.value_size() as usize != size_of::<Control>() {
        return Err(other(0));
    }
    let control = Array::<_, Control>::try_from(Map::Array(data)).map_err(&failed)?;
    let control = control.get(&0, 0).map_err(&failed)?;
    match control.abi_version {
        ABI_VERSION => Ok(control),
        version => Err(other(version)),
    }
}

fn array<T: aya::Pod>(
    pin_dir: &Path,
    name: &'static str,
) -> Result<Array<MapData, T>, DatapathError> {
    let data = MapData::from_pin(pin_dir.join(name)).map_err(DatapathError::map("open", name))?;
    Array::try_from(Map::Array(data)).map_err(DatapathError::map("open", name))
}

/// `struct xdp_md` of `linux/bpf.h`, as `BPF_PROG_TEST_RUN` takes it (`xdp_convert_md_to_buff` in
/// `net/bpf/test_run.c`): offsets in the data instead of pointers.
#[derive(Default)]
struct Context {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

impl Context {
    fn octets(&self) -> Vec<u8> {
        let fields = [
            self.data,
            self.data_end,
            self.data_meta,
            self.ingress_ifindex,
            self.rx_queue_index,
            self.egress_ifindex,
        ];
        fields
            .iter()
            .flat_map(|field| field.to_ne_bytes())
            .collect()
    }
}

fn octets(explanation: &Explanation) -> Vec<u8> {
    let Explanation {
        magic,
        ending,
        origin,
        service,
        backend,
        reserved,
    } = *explanation;
    let mut octets = magic.to_ne_bytes().to_vec();
    octets.extend([ending, origin]);
    for field in [service, backend, reserved] {
        octets.extend(field.to_ne_bytes());
    }
    octets
}

fn read_explanation(octets: &[u8]) -> Option<Explanation> {
    let [a, b, c, d, ending, origin, s0, s1, b0, b1, r0, r1] = *octets.first_chunk()?;
    Some(Explanation {
        magic: u32::from_ne_bytes([a, b, c, d]),
        ending,
        origin,
        service: u16::from_ne_bytes([s0, s1]),
        backend: u16::from_ne_bytes([b0, b1]),
        reserved: u16::from_ne_bytes([r0, r1]),
    })
}

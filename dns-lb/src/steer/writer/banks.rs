//! A mirror of both banks, so that only differences are written.

use dns_lb_common::{Backend, Control, VipSlot};

use crate::{
    datapath::{DatapathError, Maps},
    steer::Recorded,
};

/// What the maps say when a writer takes them over.
pub(super) struct Banks {
    pub(super) control: Control,
    pub(super) vips: [Vec<VipSlot>; 2],
    pub(super) backends: [Vec<Backend>; 2],
    /// What packets are steered by: in new maps, what those say that they take the place of.
    pub(super) recorded: Recorded,
}

impl Banks {
    pub(super) fn of(maps: &mut Maps) -> Result<Self, DatapathError> {
        let capacity = maps.capacity();
        if let Some(former) = maps.take_former() {
            let (slots, stride) = (
                capacity.vip_slots as usize,
                capacity.backend_stride() as usize,
            );
            // New maps are zero. The count of generations goes on: backends' incarnations are taken
            // from it.
            return Ok(Self {
                control: Control {
                    generation: former.generation,
                    ..Control::default()
                },
                vips: [(); 2].map(|()| vec![VipSlot::default(); slots]),
                backends: [(); 2].map(|()| vec![Backend::default(); stride]),
                recorded: Recorded::read(capacity, &former.vips, &former.backends),
            });
        }
        let control = maps.control()?;
        let vips = [maps.vips(0)?, maps.vips(1)?];
        let backends = [maps.backends(0)?, maps.backends(1)?];
        let live = (control.active & 1) as usize;
        Ok(Self {
            recorded: Recorded::read(capacity, &vips[live], &backends[live]),
            control,
            vips,
            backends,
        })
    }
}

/// Brings a bank from what it holds to what is wanted, by writing what differs. The mirror follows
/// each write, so that it stays true when one fails.
pub(super) fn write_differences<T: Copy + PartialEq>(
    mirror: &mut [T],
    wanted: &[T],
    mut write: impl FnMut(u32, &T) -> Result<(), DatapathError>,
) -> Result<(), DatapathError> {
    for (place, (held, wanted)) in (0..).zip(mirror.iter_mut().zip(wanted)) {
        if held != wanted {
            write(place, wanted)?;
            *held = *wanted;
        }
    }
    Ok(())
}

//! The same benchmark in an emulated machine, on the kernel that has what this one lacks.

use anyhow::bail;

use super::measure::Programs;

/// Who is measured there: those that this kernel may lack, and dns-lb beside them. Who has no need of another
/// kernel is measured on this one.
const ARRANGEMENTS: &str = "ipvs-textbook,ipvs-expire,ipvs-tuned,dns-lb,dns-lb-tuned";

/// Has the benchmark measure a part there, and returns its record.
pub(super) fn run(programs: &Programs, part: &str, quick: bool) -> anyhow::Result<Vec<u8>> {
    let _ = (&programs.compare, part, quick, ARRANGEMENTS);
    bail!("there is no emulated machine yet")
}

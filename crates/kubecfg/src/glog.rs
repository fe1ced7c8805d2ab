//! Log lines in glog's form: `F1020 10:00:00.000000 12345 kubecfg.go:66] message`.

use jiff::tz::TimeZone;

use crate::world::World;

/// One line, with its line feed. The file is named as it was; scripts grep for it.
pub(crate) fn line(severity: char, world: &World, line: u32, message: &str) -> String {
    let now = world.clock.now().to_zoned(TimeZone::system());
    let stamp = now.strftime("%m%d %H:%M:%S");
    let micros = now.subsec_nanosecond() / 1000;
    format!("{severity}{stamp}.{micros:06} {:>5} kubecfg.go:{line}] {}\n", world.pid, message.trim_end())
}

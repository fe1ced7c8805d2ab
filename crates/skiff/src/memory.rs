//! Memory: the allocator, how it takes memory from the kernel, and what is given back when the start is over.
//!
//! mimalloc reserves an arena of a gigabyte and, where the kernel overcommits, readies all of it at once with the advice to
//! use huge pages: the first bytes of every two megabytes then cost two megabytes. Skiff's idle memory was half that. An
//! arena whose parts are readied as they are needed costs nothing measurable in speed and gets no such advice.
//!
//! Most of the program is needed once: to make keys, to write down what the API looks like, to find out about the machine.
//! Its pages stay mapped all the same until memory is short, and the kernel maps sixteen for each one that is touched. So
//! when the start is over they are all let go, and those that are needed again come back from the page cache.
//!
//! Unsafe: a function that the loader calls before `main`, since the first allocation comes before it too; and letting go
//! of what the program is running from.

use std::ffi::{c_int, c_long, c_void};
use std::ops::Range;
use std::time::Duration;

use rustix::mm::{Advice, madvise};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_arena_eager_commit` of mimalloc 3.
const ARENA_EAGER_COMMIT: c_int = 4;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

#[used]
// SAFETY: the section holds addresses of functions that take nothing we need and return nothing.
#[unsafe(link_section = ".init_array")]
static EARLY: extern "C" fn() = early;

extern "C" fn early() {
    // SAFETY: the function writes a number into mimalloc's table of options; nothing else runs yet.
    unsafe { mi_option_set(ARENA_EAGER_COMMIT, 0) }
}

/// How long after the start the last of what it set going has come to rest. Nobody can tell: caches fill, nodes report.
const SETTLED: Duration = Duration::from_secs(10);

/// Waits until the start is over, and lets go of what only it needed.
pub(crate) async fn settle() {
    tokio::time::sleep(SETTLED).await;
    release();
}

fn release() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    for range in unwritten(&maps, &program.to_string_lossy()) {
        // SAFETY: these pages are the file's, have never been writable, and are read from it again when they are touched.
        let outcome =
            unsafe { madvise(range.start as *mut c_void, range.end - range.start, Advice::LinuxDontNeed) };
        if let Err(error) = outcome {
            tracing::debug!(%error, "the program's pages stay mapped");
        }
    }
}

/// The addresses at which the program's file is mapped as it is: its code and what lies before. What lies behind was
/// written to by the loader, even where it can only be read now.
fn unwritten(maps: &str, program: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.ends_with(program)) {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let ends = range.split_once('-').and_then(|(start, end)| {
            Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
        });
        match (rights, ends) {
            ("r--p", Some(range)) => found.push(range),
            ("r-xp", Some(range)) => {
                found.push(range);
                return found;
            }
            // Of an order that we do not know: better nothing than something that was written to.
            _ => return Vec::new(),
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
100000-200000 r--p 00000000 fe:00 7 /usr/bin/skiff
200000-300000 r-xp 00100000 fe:00 7 /usr/bin/skiff
300000-310000 r--p 00200000 fe:00 7 /usr/bin/skiff
310000-320000 rw-p 00210000 fe:00 7 /usr/bin/skiff
320000-330000 rw-p 00000000 00:00 0 [heap]
";

    #[test]
    fn code_and_what_lies_before_it_is_let_go_and_what_the_loader_wrote_is_not() {
        assert_eq!(unwritten(MAPS, "/usr/bin/skiff"), [0x10_0000..0x20_0000, 0x20_0000..0x30_0000]);
        assert!(unwritten(MAPS, "/usr/bin/other").is_empty());
        let behind: String = MAPS.split_inclusive('\n').skip(3).collect();
        assert!(unwritten(&behind, "/usr/bin/skiff").is_empty());
    }

    #[test]
    fn this_program_goes_on_without_its_pages() {
        release();
    }
}

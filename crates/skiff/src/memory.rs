//! The allocator, and how it takes memory from the kernel.
//!
//! mimalloc reserves an arena of a gigabyte and, where the kernel overcommits, readies all of it at once with the advice to
//! use huge pages: the first bytes of every two megabytes then cost two megabytes. Skiff's idle memory was half that. An
//! arena whose parts are readied as they are needed costs nothing measurable in speed and gets no such advice.
//!
//! Unsafe: a function that the loader calls before `main`, since the first allocation comes before it too.

use std::ffi::{c_int, c_long};

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

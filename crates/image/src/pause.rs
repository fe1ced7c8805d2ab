//! The pause image: one program of a hundred bytes that holds a pod's namespaces open.
//!
//! It travels inside the binary, so that a machine without network can start pods. The program blocks SIGINT, SIGTERM
//! and SIGCHLD and waits for them in turn: it reaps children (it may be process 1 of the pod) and ends on the others.
//! Blocked signals reach process 1 although it has no handlers, which an unblocked SIGTERM would not.

use std::io;

use crate::{Config, Layer};

/// Where the program is linked to.
const BASE: u64 = 0x40_0000;
/// Sizes of the ELF header and of its one program header.
const HEADERS: u64 = 64 + 56;

/// x86-64 machine code; its last eight bytes are the signal mask.
#[rustfmt::skip]
const CODE: &[u8] = &[
    0xb8, 14, 0, 0, 0,                   // mov eax, SYS_rt_sigprocmask
    0x31, 0xff,                          // xor edi, edi            (SIG_BLOCK)
    0x48, 0x8d, 0x35, 0x52, 0, 0, 0,     // lea rsi, [rip + mask]
    0x31, 0xd2,                          // xor edx, edx
    0x41, 0xba, 8, 0, 0, 0,              // mov r10d, 8
    0x0f, 0x05,                          // syscall
    // wait:
    0xb8, 128, 0, 0, 0,                  // mov eax, SYS_rt_sigtimedwait
    0x48, 0x8d, 0x3d, 0x3c, 0, 0, 0,     // lea rdi, [rip + mask]
    0x31, 0xf6,                          // xor esi, esi
    0x31, 0xd2,                          // xor edx, edx            (no time-out)
    0x41, 0xba, 8, 0, 0, 0,              // mov r10d, 8
    0x0f, 0x05,                          // syscall
    0x83, 0xf8, 17,                      // cmp eax, SIGCHLD
    0x75, 0x1c,                          // jne other
    // reap:
    0xb8, 61, 0, 0, 0,                   // mov eax, SYS_wait4
    0xbf, 0xff, 0xff, 0xff, 0xff,        // mov edi, -1
    0x31, 0xf6,                          // xor esi, esi
    0xba, 1, 0, 0, 0,                    // mov edx, WNOHANG
    0x45, 0x31, 0xd2,                    // xor r10d, r10d
    0x0f, 0x05,                          // syscall
    0x85, 0xc0,                          // test eax, eax
    0x7f, 0xe6,                          // jg reap
    0xeb, 0xc7,                          // jmp wait
    // other:
    0x85, 0xc0,                          // test eax, eax
    0x78, 0xc3,                          // js wait                 (interrupted)
    0xb8, 231, 0, 0, 0,                  // mov eax, SYS_exit_group
    0x31, 0xff,                          // xor edi, edi
    0x0f, 0x05,                          // syscall
    0x66, 0x90,                          // padding
    // mask: SIGINT | SIGTERM | SIGCHLD
    0x02, 0x40, 0x01, 0, 0, 0, 0, 0,
];

/// The program as a static ELF file; absent on processors it is not written for.
pub fn program() -> Option<Vec<u8>> {
    if std::env::consts::ARCH != "x86_64" {
        return None;
    }
    let size = HEADERS + CODE.len() as u64;
    let mut elf = Vec::with_capacity(CODE.len() + 120);
    // e_ident: magic, 64 bits, little endian, version 1, System V.
    elf.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend_from_slice(&2u16.to_le_bytes()); // ET_EXEC
    elf.extend_from_slice(&62u16.to_le_bytes()); // EM_X86_64
    elf.extend_from_slice(&1u32.to_le_bytes());
    elf.extend_from_slice(&(BASE + HEADERS).to_le_bytes()); // entry
    elf.extend_from_slice(&64u64.to_le_bytes()); // program headers
    elf.extend_from_slice(&0u64.to_le_bytes()); // no section headers
    elf.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        elf.extend_from_slice(&half.to_le_bytes());
    }
    elf.extend_from_slice(&1u32.to_le_bytes()); // PT_LOAD
    elf.extend_from_slice(&5u32.to_le_bytes()); // read, execute
    for word in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend_from_slice(&u64::to_le_bytes(word));
    }
    elf.extend_from_slice(CODE);
    Some(elf)
}

/// The archive of the pause image under `name`; absent on processors the program is not written for.
///
/// # Errors
/// Never in practice: it is written to memory.
pub fn archive(name: &str) -> io::Result<Option<Vec<u8>>> {
    let Some(program) = program() else { return Ok(None) };
    let mut layer = Layer::new();
    layer.file("pause", 0o755, &program)?;
    let config =
        Config { names: vec![name.to_owned()], entrypoint: vec!["/pause".to_owned()], ..Config::default() };
    let mut out = Vec::new();
    layer.write(&config, &mut out)?;
    Ok(Some(out))
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_program_waits_and_ends_on_sigterm() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pause");
        std::fs::write(&path, program().unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the program under test")]
        let mut child = std::process::Command::new(&path).spawn().unwrap();
        // /proc shows the system call it waits in; before that SIGTERM would simply end it.
        let waits_in = format!("/proc/{}/syscall", child.id());
        while !std::fs::read_to_string(&waits_in).unwrap().starts_with("128 ") {
            assert!(child.try_wait().unwrap().is_none(), "pause ended by itself");
            std::thread::yield_now();
        }
        #[expect(clippy::disallowed_methods, reason = "no crate of this one sends signals")]
        let sent = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(sent.success());
        let end = child.wait().unwrap();
        assert_eq!((end.code(), end.signal()), (Some(0), None));
    }
}

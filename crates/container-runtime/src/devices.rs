//! Devices of a container under cgroup v2: a small BPF program decides, as there is no controller for it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// Character devices that may be opened: major number, minor numbers (empty: all).
///
/// null, zero, full, random, urandom; tty, console, ptmx; the terminals behind ptmx.
const USUAL: [(u32, &[u32]); 3] = [(1, &[3, 5, 7, 8, 9]), (5, &[0, 1, 2]), (136, &[])];

const ACCESS_MKNOD: i32 = 1;
const TYPE_CHARACTER: i32 = 2;

/// One instruction of the kernel's machine (`struct bpf_insn`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high half.
    registers: u8,
    offset: i16,
    value: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbc;
const AND_VALUE: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const MOVE_VALUE: u8 = 0xb7;
const EXIT: u8 = 0x95;

/// The program: 1 allows, 0 refuses. Its argument (register 1) is `struct bpf_cgroup_dev_ctx`: kind of device in the
/// low and kind of access in the high half of the first word, then the major and the minor number.
fn program() -> Vec<Instruction> {
    let one = |code, registers, offset, value| Instruction { code, registers, offset, value };
    let allow = [one(MOVE_VALUE, 0, 0, 1), one(EXIT, 0, 0, 0)];
    let mut all = vec![
        one(LOAD_WORD, 0x12, 0, 0),
        one(MOVE_REGISTER, 0x23, 0, 0),
        one(AND_VALUE, 0x02, 0, 0xffff),
        one(SHIFT_RIGHT, 0x03, 0, 16),
        one(LOAD_WORD, 0x14, 4, 0),
        one(LOAD_WORD, 0x15, 8, 0),
        // Making a device file is harmless where it cannot be opened.
        one(JUMP_IF_NOT_EQUAL, 0x03, 2, ACCESS_MKNOD),
    ];
    all.extend(allow);
    all.extend([one(JUMP_IF_EQUAL, 0x02, 2, TYPE_CHARACTER), one(MOVE_VALUE, 0, 0, 0), one(EXIT, 0, 0, 0)]);
    for (major, minors) in USUAL {
        if minors.is_empty() {
            all.push(one(JUMP_IF_NOT_EQUAL, 0x04, 2, major as i32));
            all.extend(allow);
        }
        for minor in minors {
            all.push(one(JUMP_IF_NOT_EQUAL, 0x04, 3, major as i32));
            all.push(one(JUMP_IF_NOT_EQUAL, 0x05, 2, *minor as i32));
            all.extend(allow);
        }
    }
    all.extend([one(MOVE_VALUE, 0, 0, 0), one(EXIT, 0, 0, 0)]);
    all
}

/// Attaches the program to the v2 group in that folder, for as long as the group is there.
pub(crate) fn attach(group: &Path) -> io::Result<()> {
    const LOAD: i32 = 5;
    const ATTACH: i32 = 8;
    const KIND_CGROUP_DEVICE: u32 = 15;
    const PLACE_CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;

    /// The first fields of `union bpf_attr` for loading; the kernel takes the rest as zero.
    #[repr(C)]
    struct Load {
        kind: u32,
        instruction_count: u32,
        instructions: u64,
        licence: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
    }
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        place: u32,
        flags: u32,
    }

    let program = program();
    let load = Load {
        kind: KIND_CGROUP_DEVICE,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        licence: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
    };
    // SAFETY: the structure has the kernel's layout and its size is given; what it points to outlives the call.
    let loaded = unsafe { libc::syscall(libc::SYS_bpf, LOAD, &raw const load, std::mem::size_of::<Load>()) };
    if loaded < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let loaded = unsafe { OwnedFd::from_raw_fd(loaded as i32) };
    let target = File::open(group)?;
    let attach = Attach {
        target: target.as_raw_fd() as u32,
        program: loaded.as_raw_fd() as u32,
        place: PLACE_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: as above.
    match unsafe { libc::syscall(libc::SYS_bpf, ATTACH, &raw const attach, std::mem::size_of::<Attach>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel's machine does.
    fn decide(kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [kind | access << 16, major, minor];
        let program = program();
        let (mut registers, mut at) = ([0i64; 8], 0usize);
        loop {
            let i = program[at];
            let (to, from) = ((i.registers & 15) as usize, (i.registers >> 4) as usize);
            at += 1;
            let mut jump = |when: bool| {
                if when {
                    at += i.offset as usize;
                }
            };
            match i.code {
                LOAD_WORD => registers[to] = i64::from(context[i.offset as usize / 4]),
                MOVE_REGISTER => registers[to] = registers[from],
                AND_VALUE => registers[to] &= i64::from(i.value),
                SHIFT_RIGHT => registers[to] >>= i.value,
                MOVE_VALUE => registers[to] = i64::from(i.value),
                JUMP_IF_EQUAL => jump(registers[to] == i64::from(i.value)),
                JUMP_IF_NOT_EQUAL => jump(registers[to] != i64::from(i.value)),
                EXIT => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_usual_devices_may_be_opened_and_nothing_else() {
        const BLOCK: u32 = 1;
        const CHARACTER: u32 = 2;
        const READ_WRITE: u32 = 6;
        for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, 0), (136, 77)] {
            assert!(decide(CHARACTER, READ_WRITE, major, minor), "{major}:{minor}");
            assert!(!decide(BLOCK, READ_WRITE, major, minor), "{major}:{minor}");
        }
        for (major, minor) in [(1, 1), (1, 11), (5, 3), (8, 0), (10, 237), (137, 0)] {
            assert!(!decide(CHARACTER, READ_WRITE, major, minor), "{major}:{minor}");
        }
        assert!(decide(BLOCK, 1, 8, 0), "a file may be made");
        assert!(!decide(BLOCK, 3, 8, 0), "but not opened");
    }

    /// Needs root and a cgroup v2 tree, the hybrid one of a v1 machine included.
    #[test]
    fn the_kernel_takes_the_program_and_obeys_it() {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
        let group = Path::new(root.expect("a v2 tree")).join(format!("roadstead-test-{}", std::process::id()));
        std::fs::create_dir(&group).unwrap();
        attach(&group).unwrap();
        let script = format!(
            "echo $$ > {}/cgroup.procs && cat /dev/null && echo usual && head -c 1 /dev/kmsg 2>/dev/null || echo refused",
            group.display()
        );
        let output = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
        std::fs::remove_dir(&group).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "usual\nrefused\n");
    }
}

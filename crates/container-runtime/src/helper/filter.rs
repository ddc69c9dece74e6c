//! System call filters, compiled once and loaded often: libseccomp takes longer to compile the default filter than
//! everything else about a container takes together (11 ms here).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::OnceLock;

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use crate::oci::Filter;
use crate::seccomp::{Comparison, Rules, relevant, rules};

/// Name of the compiled filter in a container's folder.
const FILE: &str = "seccomp.bpf";

/// The filters of containers with the default capabilities and of those with none, as the zygote has compiled them.
static COMMON: OnceLock<Vec<(BTreeSet<&'static str>, Vec<u8>)>> = OnceLock::new();

/// Compiles what nearly every container needs. In children, so that the memory libseccomp takes for it is not in
/// every helper afterwards.
pub(super) fn compile_common() {
    COMMON.get_or_init(|| {
        let sets: [BTreeSet<&'static str>; 2] = [["SYS_CHROOT"].into(), BTreeSet::new()];
        sets.into_iter().filter_map(|set| Some((set.clone(), compile_in_child(&set).ok()?))).collect()
    });
}

fn compile_in_child(set: &BTreeSet<&'static str>) -> io::Result<Vec<u8>> {
    let (_, socket) = super::in_child(|socket| {
        if let Ok(program) = compile(&rules(set)) {
            let _ = fs::File::from(socket).write_all(&program);
        }
    })?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    let mut program = Vec::new();
    fs::File::from(socket).read_to_end(&mut program)?;
    if program.is_empty() {
        return Err(io::Error::other("the system call filter cannot be compiled"));
    }
    Ok(program)
}

/// Writes the default filter for these capabilities into the container's folder.
pub(super) fn write(capabilities: &BTreeSet<String>, dir: &Path) -> io::Result<()> {
    let key = relevant(capabilities);
    let common = COMMON.get().and_then(|all| all.iter().find(|(set, _)| *set == key));
    match common {
        Some((_, program)) => fs::write(dir.join(FILE), program),
        None => fs::write(dir.join(FILE), compile(&rules(&key))?),
    }
}

fn compile(rules: &Rules) -> io::Result<Vec<u8>> {
    let refused = |error: SeccompError| io::Error::other(error.to_string());
    let context = || -> Result<ScmpFilterContext, SeccompError> {
        let mut context = ScmpFilterContext::new(ScmpAction::Errno(libc::EPERM))?;
        for arch in architectures() {
            context.add_arch(*arch)?;
        }
        // A name that this machine's library does not know is one that no program here can call by number either.
        let known = |name: &str| ScmpSyscall::from_name(name).ok();
        for call in rules.allowed.iter().filter_map(|name| known(name)) {
            context.add_rule(ScmpAction::Allow, call)?;
        }
        for condition in &rules.conditions {
            let Some(call) = known(condition.call) else { continue };
            let (op, value) = match condition.first {
                Comparison::Equal(value) => (ScmpCompareOp::Equal, value),
                Comparison::Less(value) => (ScmpCompareOp::Less, value),
                Comparison::Greater(value) => (ScmpCompareOp::Greater, value),
                Comparison::Without(bits) => (ScmpCompareOp::MaskedEqual(bits), 0),
            };
            context.add_rule_conditional(ScmpAction::Allow, call, &[ScmpArgCompare::new(0, op, value)])?;
        }
        for call in rules.unknown.iter().filter_map(|name| known(name)) {
            context.add_rule(ScmpAction::Errno(libc::ENOSYS), call)?;
        }
        Ok(context)
    };
    let context = context().map_err(refused)?;
    let file = rustix::fs::memfd_create("seccomp", rustix::fs::MemfdFlags::CLOEXEC)?;
    context.export_bpf(&file).map_err(refused)?;
    let mut file = fs::File::from(file);
    file.rewind()?;
    let mut program = Vec::new();
    file.read_to_end(&mut program)?;
    Ok(program)
}

/// This machine's, and those whose programs it can also run.
fn architectures() -> &'static [ScmpArch] {
    match std::env::consts::ARCH {
        "x86_64" => &[ScmpArch::X8664, ScmpArch::X86, ScmpArch::X32],
        "aarch64" => &[ScmpArch::Aarch64, ScmpArch::Arm],
        _ => &[ScmpArch::Native],
    }
}

/// A filter in memory, so that it can be loaded where its file cannot be seen any more.
pub(super) enum LoadedFilter {
    None,
    Program(Vec<u8>),
    Profile(Box<oci_spec::runtime::LinuxSeccomp>),
}

impl LoadedFilter {
    pub(super) fn read(filter: &Filter, dir: &Path) -> io::Result<Self> {
        Ok(match filter {
            Filter::None => Self::None,
            Filter::Compiled => Self::Program(fs::read(dir.join(FILE))?),
            Filter::Profile(profile) => Self::Profile(Box::new(serde_json::from_value(profile.clone())?)),
        })
    }

    /// Loads it into this process, for good.
    pub(super) fn apply(&self) -> Result<(), String> {
        match self {
            Self::None => Ok(()),
            Self::Program(program) => load(program).map_err(|error| format!("load the system call filter: {error}")),
            Self::Profile(profile) => libcontainer::seccomp::initialize_seccomp(profile)
                .map(drop)
                .map_err(|error| format!("load the seccomp profile: {error}")),
        }
    }
}

fn load(program: &[u8]) -> io::Result<()> {
    const INSTRUCTION_BYTES: usize = std::mem::size_of::<libc::sock_filter>();
    // Copied, because the kernel wants instructions aligned and a file's bytes are not.
    let instructions: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION_BYTES)
        .map(|b| libc::sock_filter {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect();
    let len = u16::try_from(instructions.len()).map_err(|_| io::Error::other("it is too long"))?;
    let program = libc::sock_fprog { len, filter: instructions.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which outlives the call.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_filter_is_a_program_the_kernel_takes_by_its_size() {
        let program = compile(&rules(&BTreeSet::new())).unwrap();
        assert_eq!(program.len() % 8, 0);
        assert!((300..4096).contains(&(program.len() / 8)), "{}", program.len() / 8);
    }
}

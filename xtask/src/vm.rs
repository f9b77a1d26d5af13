//! `cargo xtask vm`: the capture suite on kernels other than this machine's.
//!
//! Enters: kernel packages of Debian's suites, the suite's static test binary. Leaves: what each kernel's run printed, and
//! an error if any failed. The machine's own package sources stay untouched: each suite gets lists and a cache of its own
//! under `target/vm`. Bounded: one machine of one GiB at a time, and a time limit for each.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::setup::{Group, ensure};
use crate::{build, command};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Longest run of the suite on one emulated kernel.
const LIMIT_S: u32 = 1800;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these kernels; all of them by default
    #[arg(value_enum)]
    kernels: Vec<Kernel>,
    /// Only tests whose name contains this
    #[arg(long, default_value = "")]
    test: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// 5.10: Debian bullseye
    #[value(name = "5.10")]
    V5_10,
    /// 6.1: Debian bookworm
    #[value(name = "6.1")]
    V6_1,
    /// 6.12: Debian trixie
    #[value(name = "6.12")]
    V6_12,
    /// The newest: Debian sid
    #[value(name = "7")]
    V7,
}

impl Kernel {
    fn suite(self) -> &'static str {
        match self {
            Self::V5_10 => "bullseye",
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
            Self::V7 => "sid",
        }
    }
}

/// The oldest kernel we promise, and the one most servers of the day run; every test of the suite. `heard` gets each line.
pub(crate) fn in_ci(heard: &mut dyn FnMut(&str)) -> Result<()> {
    let options = Options {
        kernels: vec![Kernel::V5_10, Kernel::V6_12],
        test: String::new(),
    };
    run(&options, heard)
}

pub(crate) fn vm(options: &Options) -> Result<()> {
    run(options, &mut |_| {})
}

fn run(options: &Options, heard: &mut dyn FnMut(&str)) -> Result<()> {
    ensure(&[Group::Vm])?;
    build::ebpf()?;
    let test = static_test()?;
    let kernels = if options.kernels.is_empty() {
        Kernel::value_variants()
    } else {
        &options.kernels
    };
    let mut failed = Vec::new();
    for &kernel in kernels {
        let image = image(kernel).with_context(|| {
            let suite = kernel.suite();
            format!("cannot get the kernel of Debian {suite} to test on (nothing is skipped for that)")
        })?;
        println!("== {} ({})", image.display(), kernel.suite());
        let mut console = boot(kernel, &image, &test, &options.test)?;
        if console.contains("Kernel panic") {
            // Emulation has faults of its own; one that is ours comes again.
            println!("{console}\n== the machine broke down; once more");
            console = boot(kernel, &image, &test, &options.test)?;
        }
        println!("{console}");
        console.lines().for_each(&mut *heard);
        if !console.lines().any(|line| line.trim() == "suite: 0") {
            failed.push(kernel.suite());
        }
    }
    if !failed.is_empty() {
        bail!("the capture suite failed on the kernels of {}", failed.join(", "));
    }
    Ok(())
}

/// Builds the suite without a need for libraries, and somewhat optimised: an emulated processor is slow.
fn static_test() -> Result<PathBuf> {
    let mut cargo = command::cargo();
    cargo
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .args([
            "test",
            "--no-run",
            "--package",
            "spanhound-agent",
            "--test",
            "kernel",
        ])
        .args(["--target", TARGET, "--message-format", "json", "--quiet"])
        .stderr(Stdio::inherit());
    let messages = command::output(&mut cargo)?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "kernel")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo did not say where the test binary is")
}

fn directory(kernel: Kernel) -> PathBuf {
    spanhound_tests::tree::target().join("vm").join(kernel.suite())
}

/// The kernel's image, fetched and unpacked where it is not there yet.
fn image(kernel: Kernel) -> Result<PathBuf> {
    let directory = directory(kernel);
    let unpacked = directory.join("unpacked");
    if let Some(image) = find_image(&unpacked) {
        return Ok(image);
    }
    println!("Fetching the kernel of Debian {}", kernel.suite());
    let apt = Apt::new(kernel.suite(), &directory)?;
    command::output(apt.command("apt-get").args(["--quiet", "--quiet", "update"]))?;
    let depends = command::output(apt.command("apt-cache").args([
        "depends",
        "--important",
        "linux-image-cloud-amd64",
    ]))?;
    let package = depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|package| package.starts_with("linux-image-"))
        .context("the suite's kernel package names no image")?;
    let mut packages = vec![package.to_owned()];
    // Since Linux 7 the image itself is in a package of its own.
    let more = command::output(apt.command("apt-cache").args(["depends", "--important", package]))?;
    packages.extend(
        more.lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .filter(|package| package.starts_with("linux-binary-"))
            .map(str::to_owned),
    );
    for package in &packages {
        command::output(
            apt.command("apt-get")
                .args(["--quiet", "--quiet", "download", package]),
        )?;
    }
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            command::run(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(&path)
                    .arg(&unpacked),
            )?;
            fs::remove_file(&path)?;
        }
    }
    find_image(&unpacked).with_context(|| format!("no kernel image in {}", packages.join(", ")))
}

fn find_image(directory: &Path) -> Option<PathBuf> {
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).ok()?.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(path);
            } else if entry.file_name().to_string_lossy().starts_with("vmlinuz") {
                return Some(path);
            }
        }
    }
    None
}

/// apt with lists and cache of its own, and the mirror the machine itself uses.
struct Apt {
    directory: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(suite: &str, directory: &Path) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial", "unpacked"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let list = directory.join("sources.list");
        fs::write(
            &list,
            format!("deb [signed-by={keys}] {} {suite} main\n", mirror()?),
        )?;
        let at = directory.display();
        let options = vec![
            format!("Dir::Etc::sourcelist={at}/sources.list"),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={at}/lists"),
            format!("Dir::Cache={at}/cache"),
            "Dir::State::status=/dev/null".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
        ];
        Ok(Self {
            directory: directory.to_owned(),
            options,
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = command::in_directory(program, &self.directory);
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}

/// The Debian mirror this machine is set up with.
fn mirror() -> Result<String> {
    let apt = Path::new("/etc/apt");
    let mut files = vec![apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(apt.join("sources.list.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    let words = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .collect::<Vec<_>>()
        .join("\n");
    words
        .split_whitespace()
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
        .context("this machine has no Debian package source to take kernels from")
}

/// Runs the suite on the kernel; what its console showed.
fn boot(kernel: Kernel, image: &Path, test: &Path, filter: &str) -> Result<String> {
    let directory = directory(kernel);
    let root = directory.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for part in ["bin", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(root.join(part))?;
    }
    let busybox = command::find("busybox").context("busybox is not installed")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    symlink("busybox", root.join("bin/sh"))?;
    fs::copy(test, root.join("suite"))?;
    let init = root.join("init");
    fs::write(
        &init,
        format!(
            "#!/bin/sh\n\
             busybox=/bin/busybox\n\
             $busybox mount -t proc proc /proc; $busybox mount -t sysfs sys /sys; $busybox mount -t devtmpfs dev /dev\n\
             $busybox mount -t tmpfs tmp /tmp; $busybox mount -t tracefs t /sys/kernel/tracing\n\
             $busybox mount -t debugfs d /sys/kernel/debug\n\
             $busybox ip link set lo up; $busybox uname -r\n\
             SPANHOUND_TIERS=fentry,kprobe /suite --test-threads 1 --show-output {filter}\n\
             echo \"suite: $?\"\n\
             $busybox poweroff -f\n"
        ),
    )?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let archive = directory.join("initramfs");
    let packed = Command::new("sh")
        .args(["-c", "find . | cpio --quiet -o -H newc -R 0:0 > ../initramfs"])
        .current_dir(&root)
        .status()?;
    if !packed.success() {
        bail!("cannot pack {}", root.display());
    }
    let console = directory.join("console.log");
    let limit = LIMIT_S.to_string();
    let status = Command::new("timeout")
        .arg(&limit)
        .args([
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-cpu",
            // An emulated cmpxchg16b leaves wrong flags behind, which ends the machine when an interrupt comes right then.
            "max,-la57,-cx16",
            "-smp",
            "1",
            "-m",
            "1024",
        ])
        .args([
            "-nic",
            "none",
            "-display",
            "none",
            "-monitor",
            "none",
            "-no-reboot",
            "-kernel",
        ])
        .arg(image)
        .arg("-initrd")
        .arg(&archive)
        .args([
            "-append",
            "console=ttyS0 panic=-1 quiet mitigations=off nokaslr tsc=reliable no_timer_check",
            "-serial",
        ])
        .arg(format!("file:{}", console.display()))
        .stdin(Stdio::null())
        .status()
        .context("cannot start qemu-system-x86_64")?;
    let text = String::from_utf8_lossy(&fs::read(&console)?).into_owned();
    if !status.success() {
        bail!("the machine did not end by itself within {LIMIT_S} s; its console:\n{text}");
    }
    Ok(text)
}

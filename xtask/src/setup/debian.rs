//! Packages of the system (Debian and what follows it), through apt-get, as root or through sudo.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Group, Step, kernel_toolchain};
use crate::command;

/// What shows that a package (or something that does as well) is there.
enum Sign {
    /// A program on the path.
    Program(&'static str),
    /// `directory`, `start`, `rest`: a file `rest` below any entry of `directory` whose name begins with `start`.
    Versioned(&'static str, &'static str, &'static str),
}

const PACKAGES: &[(Group, &str, Sign)] = &[
    (Group::Page, "nodejs", Sign::Program("node")),
    (Group::Page, "npm", Sign::Program("npm")),
    (Group::Services, "nginx-light", Sign::Program("nginx")),
    (
        Group::Services,
        "postgresql",
        Sign::Versioned("/usr/lib/postgresql", "", "bin/initdb"),
    ),
    (Group::Services, "redis-server", Sign::Program("redis-server")),
    (
        Group::Services,
        "python3-venv",
        Sign::Versioned("/usr/lib", "python3.", "ensurepip/__init__.py"),
    ),
    (Group::Services, "iproute2", Sign::Program("ip")),
    (Group::Services, "iptables", Sign::Program("iptables")),
    (Group::Services, "nodejs", Sign::Program("node")),
    (Group::Services, "npm", Sign::Program("npm")),
    (Group::Services, "default-jdk-headless", Sign::Program("javac")),
    (
        Group::Services,
        "golang-google-grpc-dev",
        Sign::Versioned("/usr/share/gocode/src", "google.golang.org", "grpc/version.go"),
    ),
    (Group::Browser, "chromium", Sign::Program("chromium")),
    (Group::Bench, "valgrind", Sign::Program("valgrind")),
    (Group::Bench, "wrk", Sign::Program("wrk")),
    (Group::Bench, "nginx-light", Sign::Program("nginx")),
    (Group::Links, "haproxy", Sign::Program("haproxy")),
    (Group::Links, "uwsgi-core", Sign::Program("uwsgi-core")),
    (
        Group::Links,
        "uwsgi-plugin-python3",
        Sign::Versioned("/usr/lib", "uwsgi", "plugins/python3_plugin.so"),
    ),
    (Group::Links, "puma", Sign::Program("puma")),
    (
        Group::Links,
        "php-fpm",
        Sign::Versioned("/etc/php", "", "fpm/php-fpm.conf"),
    ),
    (Group::Links, "g++", Sign::Program("g++")),
    (Group::Fuzz, "g++", Sign::Program("g++")),
    (Group::Vm, "qemu-system-x86", Sign::Program("qemu-system-x86_64")),
    (Group::Vm, "busybox-static", Sign::Program("busybox")),
    (Group::Vm, "cpio", Sign::Program("cpio")),
];

impl Sign {
    fn seen(&self) -> bool {
        match self {
            Self::Program(program) => command::find(program).is_some(),
            Self::Versioned(directory, start, rest) => std::fs::read_dir(directory).is_ok_and(|entries| {
                entries.flatten().any(|entry| {
                    entry.file_name().to_string_lossy().starts_with(start) && entry.path().join(rest).exists()
                })
            }),
        }
    }
}

/// One step for all packages that are missing: one call of the package manager.
pub(super) fn missing(groups: &[Group]) -> Result<Vec<Step>> {
    let mut packages: Vec<&str> = PACKAGES
        .iter()
        .filter(|(group, _, sign)| groups.contains(group) && !sign.seen())
        .map(|(_, package, _)| *package)
        .collect();
    if groups.contains(&Group::Ebpf) {
        packages.extend(kernel_toolchain::packages());
    }
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Step::new(
        format!("install packages {}", packages.join(" ")),
        move || install(&packages),
    )])
}

fn install(packages: &[&str]) -> Result<()> {
    if command::find("apt-get").is_none() {
        bail!(
            "there is no apt-get here; please install what these packages of Debian hold: {}",
            packages.join(" ")
        );
    }
    let _quiet = ServicesStayDown::begin();
    // The lists may be old or absent; where they can't be brought up to date, the old ones may still do.
    if let Err(error) = command::output(as_root("apt-get")?.args(["update", "-q"])) {
        eprintln!("setup: package lists could not be updated: {error:#}");
    }
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(packages);
    command::output(as_root("apt-get")?.args(arguments)).map(|_| ())
}

/// The program as root: directly, or through sudo.
fn as_root(program: &str) -> Result<Command> {
    let mut command = if super::is_root() {
        Command::new(program)
    } else if let Some(sudo) = command::find("sudo") {
        let mut command = Command::new(sudo);
        command.args(["--preserve-env=DEBIAN_FRONTEND", program]);
        command
    } else {
        bail!("needs root: run `cargo xtask setup` as root, or install sudo");
    };
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::inherit());
    Ok(command)
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// While it lives, a package that brings a service does not start it: a test dependency must not take port 80. This is
/// Debian's own way of saying so; a policy that is there already is left alone.
struct ServicesStayDown {
    written: bool,
}

impl ServicesStayDown {
    fn begin() -> Self {
        let possible = super::is_root() && !Path::new(POLICY).exists();
        Self {
            written: possible && Self::write().is_ok(),
        }
    }

    fn write() -> Result<()> {
        std::fs::write(POLICY, "#!/bin/sh\nexit 101\n").context("cannot write the policy")?;
        std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    }
}

impl Drop for ServicesStayDown {
    fn drop(&mut self) {
        if self.written {
            // Left behind it would only keep services down, which the message says.
            if let Err(error) = std::fs::remove_file(POLICY) {
                eprintln!("setup: please remove {POLICY}: {error}");
            }
        }
    }
}

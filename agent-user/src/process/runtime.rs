//! What a process runs on: decides which link rungs apply to it.
//!
//! Enters: executable name, mapped files. Leaves: a [`Runtime`]. Deliberately absent: versions.

/// Name as in OpenTelemetry's `process.runtime.name` family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Runtime {
    #[default]
    Unknown,
    Go,
    Nodejs,
    Python,
    Java,
    Ruby,
    Php,
    Dotnet,
    Native,
}

impl Runtime {
    /// Empty for [`Runtime::Unknown`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Go => "go",
            Self::Nodejs => "nodejs",
            Self::Python => "python",
            Self::Java => "java",
            Self::Ruby => "ruby",
            Self::Php => "php",
            Self::Dotnet => "dotnet",
            Self::Native => "native",
        }
    }

    /// By the executable's file name and the libraries mapped (text of /proc/PID/maps).
    pub(super) fn detect(executable: &str, maps: &str, is_go: bool) -> Self {
        let name = executable.rsplit('/').next().unwrap_or_default();
        let starts = |prefix: &str| name.starts_with(prefix);
        let mapped = |library: &str| maps.contains(library);
        if is_go {
            Self::Go
        } else if starts("node") || mapped("libnode.so") || name == "deno" || name == "bun" {
            Self::Nodejs
        } else if starts("python") || starts("pypy") || starts("uwsgi") || mapped("libpython") {
            Self::Python
        } else if name == "java" || mapped("libjvm.so") {
            Self::Java
        } else if starts("ruby") || mapped("libruby") {
            Self::Ruby
        } else if starts("php") || mapped("libphp") {
            Self::Php
        } else if name == "dotnet" || mapped("libcoreclr.so") {
            Self::Dotnet
        } else if name.is_empty() {
            Self::Unknown
        } else {
            Self::Native
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_known_by_name_or_by_what_they_map() {
        assert_eq!(Runtime::detect("/usr/bin/python3.11", "", false), Runtime::Python);
        assert_eq!(
            Runtime::detect(
                "/opt/app",
                "7f00 r-xp 00 /usr/lib/jvm/lib/server/libjvm.so",
                false
            ),
            Runtime::Java
        );
        assert_eq!(Runtime::detect("/srv/shop", "", true), Runtime::Go);
        assert_eq!(Runtime::detect("/usr/sbin/nginx", "", false), Runtime::Native);
        assert_eq!(Runtime::detect("", "", false), Runtime::Unknown);
    }
}

//! What users would call the application a process belongs to.
//!
//! Enters: what /proc tells. Leaves: `service.name`. Deliberately absent: uniqueness; every process of an application
//! shall get the same name, whatever its worker number.

use super::Runtime;

/// What a name is made from.
pub(super) struct Clues<'a> {
    /// `OTEL_SERVICE_NAME`, where the process has it.
    pub(super) declared: Option<&'a str>,
    /// `service.name` of `OTEL_RESOURCE_ATTRIBUTES`.
    pub(super) resource: Option<&'a str>,
    pub(super) systemd_unit: &'a str,
    pub(super) executable: &'a str,
    pub(super) arguments: &'a [String],
    pub(super) process_name: &'a str,
    /// Last part of the working directory.
    pub(super) directory: &'a str,
    pub(super) runtime: Runtime,
}

/// Programs that only run another one: their argument names the service.
const LAUNCHERS: [&str; 8] = [
    "gunicorn",
    "uvicorn",
    "hypercorn",
    "celery",
    "flask",
    "waitress-serve",
    "uwsgi",
    "puma",
];

pub(super) fn service_name(clues: &Clues<'_>) -> String {
    let declared = clues
        .declared
        .or(clues.resource)
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let name = declared
        .map(str::to_owned)
        .or_else(|| unit_name(clues.systemd_unit))
        .or_else(|| application(clues))
        .unwrap_or_else(|| program(clues).to_owned());
    let name = if name.is_empty() {
        clues.process_name.to_owned()
    } else {
        name
    };
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// The executable's name, unless the process goes by another: one file under several names (Debian's `redis-server` is a
/// link to `redis-check-rdb`). The kernel cuts process names to 15 bytes.
fn program<'a>(clues: &Clues<'a>) -> &'a str {
    let (executable, name) = (base_name(clues.executable), clues.process_name);
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let called_so = clues
        .arguments
        .first()
        .is_some_and(|title| base_name(title.split(' ').next().unwrap_or(title)) == name);
    if plain && called_so && !executable.starts_with(name) {
        name
    } else {
        executable
    }
}

fn unit_name(unit: &str) -> Option<String> {
    let name = unit.strip_suffix(".service")?;
    let name = name.split('@').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn application(clues: &Clues<'_>) -> Option<String> {
    match clues.runtime {
        Runtime::Python | Runtime::Ruby => script(clues),
        Runtime::Nodejs => script(clues),
        Runtime::Java => java(clues.arguments),
        Runtime::Php => None,
        _ => None,
    }
}

/// The script or module an interpreter runs; for a launcher, the application it was told to serve.
fn script(clues: &Clues<'_>) -> Option<String> {
    // A process that set its own title ("gunicorn: worker [shop]") shows it as one argument.
    if let [title] = clues.arguments
        && let Some((launcher, rest)) = title.split_once(": ")
        && LAUNCHERS.contains(&launcher)
    {
        let inside = rest.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        return inside.map(|(name, _)| module_name(name, clues));
    }
    let mut arguments = clues.arguments.iter().skip(1).map(String::as_str).peekable();
    while let Some(argument) = arguments.next() {
        if argument == "-m" {
            let module = arguments.next()?;
            return if LAUNCHERS.contains(&module) {
                served(arguments, clues)
            } else {
                Some(module_name(module, clues))
            };
        }
        if argument == "-c" || argument == "-e" {
            return None;
        }
        if argument.starts_with('-') {
            continue;
        }
        if LAUNCHERS.contains(&base_name(argument)) {
            return served(arguments, clues);
        }
        return Some(module_name(argument, clues));
    }
    None
}

/// The first argument behind a launcher's options that looks like `module:application`, else the first plain one.
fn served<'a>(arguments: impl Iterator<Item = &'a str>, clues: &Clues<'_>) -> Option<String> {
    let mut plain = None;
    for argument in arguments {
        if argument.starts_with('-') {
            continue;
        }
        if let Some((module, attribute)) = argument.split_once(':')
            && !attribute.is_empty()
            && module
                .chars()
                .all(|c| c.is_alphanumeric() || c == '_' || c == '.')
            && !attribute.starts_with(|c: char| c.is_ascii_digit())
        {
            return Some(module_name(module, clues));
        }
        if plain.is_none()
            && argument
                .chars()
                .all(|c| c.is_alphanumeric() || "_./-".contains(c))
            && !argument.starts_with(|c: char| c.is_ascii_digit())
        {
            plain = Some(argument);
        }
    }
    plain.map(|argument| module_name(argument, clues))
}

/// `shop.py` -> `shop`, `shop.wsgi` -> `shop`; names that say nothing (`main`, `app`, `index`) give way to the directory's.
fn module_name(argument: &str, clues: &Clues<'_>) -> String {
    let path = argument.split(':').next().unwrap_or(argument);
    let base = base_name(path);
    let stem = ["py", "js", "mjs", "cjs", "ts", "rb", "pyc"]
        .iter()
        .find_map(|ending| base.strip_suffix(ending)?.strip_suffix('.'))
        .unwrap_or(base);
    let stem = stem
        .strip_suffix(".wsgi")
        .or_else(|| stem.strip_suffix(".asgi"))
        .unwrap_or(stem);
    if matches!(
        stem,
        "main" | "app" | "index" | "server" | "wsgi" | "asgi" | "manage" | "application" | "__main__" | "run"
    ) {
        let telling = |name: &&str| {
            !matches!(
                *name,
                "" | "." | "src" | "dist" | "app" | "bin" | "build" | "lib" | "tmp"
            )
        };
        let directory = path
            .rsplit('/')
            .skip(1)
            .find(telling)
            .or(Some(clues.directory).filter(telling));
        if let Some(directory) = directory {
            return directory.to_owned();
        }
    }
    stem.to_owned()
}

/// The jar or main class.
fn java(arguments: &[String]) -> Option<String> {
    let mut arguments = arguments.iter().skip(1).map(String::as_str);
    while let Some(argument) = arguments.next() {
        match argument {
            "-jar" => {
                return arguments
                    .next()
                    .map(|jar| base_name(jar).trim_end_matches(".jar").to_owned());
            }
            "-cp" | "-classpath" | "--class-path" | "-p" | "--module-path" | "--add-modules"
            | "--add-opens" => {
                arguments.next();
            }
            "-m" | "--module" => return arguments.next().map(|module| base_name(module).to_owned()),
            _ if argument.starts_with('-') || argument.starts_with('@') => {}
            _ => {
                let name = base_name(argument);
                let name = name
                    .strip_suffix(".java")
                    .unwrap_or_else(|| name.rsplit('.').next().unwrap_or(name));
                return Some(name.to_owned());
            }
        }
    }
    None
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(executable: &str, runtime: Runtime, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        service_name(&Clues {
            declared: None,
            resource: None,
            systemd_unit: "",
            executable,
            arguments: &arguments,
            process_name: "worker",
            directory: "shop",
            runtime,
        })
    }

    #[test]
    fn interpreters_give_way_to_what_they_run() {
        let python = |arguments: &[&str]| name("/usr/bin/python3.11", Runtime::Python, arguments);
        assert_eq!(python(&["python3", "/srv/cart/app.py"]), "cart");
        assert_eq!(python(&["python3", "catalog.py", "--port", "1"]), "catalog");
        assert_eq!(
            python(&[
                "/venv/bin/python",
                "/venv/bin/gunicorn",
                "-w",
                "4",
                "catalog:app",
                "-b",
                "127.0.0.1:1"
            ]),
            "catalog"
        );
        assert_eq!(
            python(&["python3", "-m", "uvicorn", "main:app", "--port", "80"]),
            "shop"
        );
        assert_eq!(python(&["gunicorn: worker [catalog]"]), "catalog");
        assert_eq!(python(&["python3", "-c", "print()"]), "python3.11");
        let node = |arguments: &[&str]| name("/usr/bin/node", Runtime::Nodejs, arguments);
        assert_eq!(
            node(&["node", "--max-old-space-size=1", "/srv/web/dist/server.js"]),
            "web"
        );
        assert_eq!(node(&["node", "recommend.mjs"]), "recommend");
    }

    #[test]
    fn java_is_named_by_jar_or_class() {
        let java = |arguments: &[&str]| name("/usr/bin/java", Runtime::Java, arguments);
        assert_eq!(
            java(&["java", "-Xmx1g", "-jar", "/opt/payment-1.2.jar"]),
            "payment-1.2"
        );
        assert_eq!(java(&["java", "-cp", "a:b", "com.shop.Payment", "x"]), "Payment");
        assert_eq!(java(&["java", "/srv/Payment.java"]), "Payment");
    }

    #[test]
    fn a_declared_name_beats_a_unit_and_a_unit_beats_the_executable() {
        let mut clues = Clues {
            declared: Some("till"),
            resource: None,
            systemd_unit: "postgresql@15-main.service",
            executable: "/usr/lib/postgresql/15/bin/postgres",
            arguments: &[],
            process_name: "postgres",
            directory: "",
            runtime: Runtime::Native,
        };
        assert_eq!(service_name(&clues), "till");
        clues.declared = None;
        assert_eq!(service_name(&clues), "postgresql");
        clues.systemd_unit = "";
        assert_eq!(service_name(&clues), "postgres");
        clues.executable = "";
        assert_eq!(service_name(&clues), "postgres");
        let title = ["redis-server 127.0.0.1:6379".to_owned()];
        clues = Clues {
            executable: "/usr/bin/redis-check-rdb",
            process_name: "redis-server",
            arguments: &title,
            ..clues
        };
        assert_eq!(service_name(&clues), "redis-server");
        clues.process_name = "worker 3";
        assert_eq!(service_name(&clues), "redis-check-rdb");
    }
}

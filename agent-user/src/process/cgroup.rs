//! Container and systemd unit, from the paths of a process's control groups (cgroups(7)).
//!
//! Enters: the text of /proc/PID/cgroup. Leaves: names, or nothing. Deliberately absent: questions to any runtime.

/// Container id and systemd unit, each empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) container_id: String,
    pub(super) systemd_unit: String,
}

pub(super) fn membership(cgroup: &str) -> Membership {
    let mut found = Membership::default();
    for line in cgroup.lines() {
        let Some(path) = line.splitn(3, ':').nth(2) else {
            continue;
        };
        for segment in path.split('/') {
            if found.container_id.is_empty()
                && let Some(id) = container_id(segment)
            {
                found.container_id = id.to_owned();
            }
            if segment.ends_with(".service") && !segment.starts_with("user@") {
                found.systemd_unit = segment.to_owned();
            }
        }
    }
    found
}

/// Docker, containerd, CRI-O and Podman all end the segment with 64 hexadecimal digits, some with a prefix
/// (`docker-`, `cri-containerd-`, `crio-`, `libpod-`) and a suffix (`.scope`).
fn container_id(segment: &str) -> Option<&str> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    let id = name.rsplit(['-', ':']).next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn every_runtime_writes_the_id_its_own_way() {
        for path in [
            format!("0::/system.slice/docker-{ID}.scope"),
            format!(
                "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"
            ),
            format!("12:pids:/docker/{ID}\n0::/"),
            format!("0::/machine.slice/libpod-{ID}.scope/container"),
            format!("3:cpu:/kubepods/besteffort/pod0/{ID}"),
        ] {
            assert_eq!(membership(&path).container_id, ID, "{path}");
        }
    }

    #[test]
    fn a_unit_is_not_a_container_and_a_session_is_neither() {
        let unit = membership("0::/system.slice/system-postgresql.slice/postgresql@15-main.service");
        assert_eq!(
            (unit.systemd_unit.as_str(), unit.container_id.as_str()),
            ("postgresql@15-main.service", "")
        );
        let session = membership("0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope");
        assert_eq!(session, Membership::default());
        assert_eq!(membership("garbage\n::"), Membership::default());
    }
}

//! What a control group's path tells: the systemd unit, the container.

use procfs::ProcessCGroup;

/// The length of a container's id, in hexadecimal digits.
const ID: usize = 64;

/// A container, as its control group names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id, or its name where it has no id.
    pub id: String,
    /// What runs it; `unknown` where only the id tells that there is one.
    pub runtime: &'static str,
}

/// The path that tells most: of the unified hierarchy, else of systemd's own.
#[must_use]
pub fn path(groups: &[ProcessCGroup]) -> Option<&str> {
    let unified = groups.iter().find(|group| group.hierarchy == 0 && group.pathname != "/");
    let systemd = || {
        let named = groups.iter().find(|group| group.controllers.iter().any(|name| name == "name=systemd"));
        named.or_else(|| groups.iter().max_by_key(|group| group.pathname.len()))
    };
    unified.or_else(systemd).map(|group| group.pathname.as_str())
}

/// The systemd unit: the deepest service or scope.
#[must_use]
pub fn unit(path: &str) -> Option<&str> {
    let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    path.rsplit('/').find(is_unit)
}

/// The container, if the path is one's.
#[must_use]
pub fn container(path: &str) -> Option<Container> {
    let parts = || path.rsplit('/').filter(|part| !part.is_empty());
    for part in parts() {
        let name = part.strip_suffix(".scope").unwrap_or(part);
        let (prefix, id) = name.rsplit_once('-').unwrap_or(("", name));
        if is_id(id) {
            let runtime = match prefix {
                "docker" => "docker",
                "cri-containerd" => "containerd",
                "crio" | "crio-conmon" => "cri-o",
                "libpod" | "libpod-conmon" => "podman",
                _ if path.contains("/docker/") => "docker",
                _ if path.contains("/kubepods") => "kubernetes",
                _ if path.contains("/libpod_parent/") => "podman",
                _ => "unknown",
            };
            return Some(Container { id: id.to_ascii_lowercase(), runtime });
        }
        for (start, runtime) in [("lxc.payload.", "lxc"), ("machine-", "systemd-nspawn")] {
            if let Some(name) = name.strip_prefix(start)
                && !name.is_empty()
            {
                return Some(Container { id: name.to_owned(), runtime });
            }
        }
    }
    // Before LXC 4: /lxc/NAME/…
    let name = path.split("/lxc/").nth(1)?.split('/').next().filter(|name| !name.is_empty())?;
    Some(Container { id: name.to_owned(), runtime: "lxc" })
}

fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_unit_counts() {
        for (path, expected) in [
            ("/system.slice/ssh.service", Some("ssh.service")),
            ("/user.slice/user-0.slice/session-3.scope", Some("session-3.scope")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/a.service", Some("a.service")),
            ("/system.slice/docker.service/x", Some("docker.service")),
            ("/", None),
            ("/init.scope", Some("init.scope")),
        ] {
            assert_eq!(unit(path), expected, "{path}");
        }
    }

    #[test]
    fn containers_of_every_runtime_are_known() {
        let id = "0123456789abcdef".repeat(4);
        for (path, runtime) in [
            (format!("/system.slice/docker-{id}.scope"), "docker"),
            (format!("/docker/{id}"), "docker"),
            (format!("/docker/{id}/init.scope"), "docker"),
            (format!("/kubepods.slice/kubepods-burstable.slice/cri-containerd-{id}.scope"), "containerd"),
            (format!("/kubepods/besteffort/pod1-2/{id}"), "kubernetes"),
            (format!("/kubepods.slice/crio-{id}.scope"), "cri-o"),
            (format!("/machine.slice/libpod-{id}.scope/container"), "podman"),
            (format!("/somewhere/{id}"), "unknown"),
        ] {
            assert_eq!(container(&path), Some(Container { id: id.clone(), runtime }), "{path}");
        }
        for (path, name, runtime) in [
            ("/lxc.payload.web/system.slice/x.service", "web", "lxc"),
            ("/lxc/web/x", "web", "lxc"),
            ("/machine.slice/machine-web.scope/payload", "web", "systemd-nspawn"),
        ] {
            assert_eq!(container(path), Some(Container { id: name.into(), runtime }), "{path}");
        }
        for path in ["/", "/system.slice/ssh.service", "/lxc/", "/docker/0123", "/user.slice"] {
            assert_eq!(container(path), None, "{path}");
        }
    }
}

//! How many CPUs this process really has: its affinity, and the quota of its control group.
//!
//! Knows nothing of models. A container sees all the CPUs of its host, but may have the time of two: threads beyond those only take
//! the time from one another, and the process is stopped for the rest of each period when it is used up.

use std::path::{Path, PathBuf};

/// The CPUs that this process may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cpus {
    /// How many it may run on: the affinity, which a `cpuset` narrows too.
    pub allowed: usize,
    /// How many CPUs' time the control group gives it, if that is limited; may have a fraction.
    pub quota: Option<f64>,
}

impl Cpus {
    /// What holds for this process now. Where it cannot be read (not on Linux), what the standard library finds.
    #[must_use]
    pub fn find() -> Self {
        Self::read(Path::new("/")).unwrap_or_else(|| Self {
            allowed: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            quota: None,
        })
    }

    /// As [`Self::find`], with `proc` and the mount points below another root: tests put a tree there.
    #[must_use]
    pub fn read(root: &Path) -> Option<Self> {
        let process = root.join("proc/self");
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        let allowed = count(list.trim())?;
        Some(Self { allowed, quota: quota(root, &process) })
    }

    /// How many threads can compute at the same time: the whole part of the quota, at least one, at most as many as there are CPUs.
    #[must_use]
    pub fn threads(self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and saturates"
        )]
        let quota = self.quota.map_or(usize::MAX, |quota| quota as usize);
        self.allowed.min(quota).max(1)
    }
}

/// The number of CPUs in a list such as `0-3,8`.
fn count(list: &str) -> Option<usize> {
    list.split(',').try_fold(0_usize, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)? + 1)
    })
}

/// A mounted hierarchy of control groups.
struct Mount {
    /// Which part of the hierarchy is mounted: `/` or, in a container of the first version, its own group.
    part: String,
    point: PathBuf,
    is_v2: bool,
}

/// The least quota of the process's control group and those above it, in CPUs.
fn quota(root: &Path, process: &Path) -> Option<f64> {
    let groups = std::fs::read_to_string(process.join("cgroup")).ok()?;
    let mounts = std::fs::read_to_string(process.join("mountinfo")).ok()?;
    let mounts: Vec<Mount> = mounts.lines().filter_map(|line| mount(root, line)).collect();
    let mut least: Option<f64> = None;
    for line in groups.lines() {
        // `hierarchy:controllers:path`; the second version has the hierarchy 0 and names no controllers.
        let mut parts = line.splitn(3, ':');
        let (Some(hierarchy), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let is_v2 = hierarchy == "0" && controllers.is_empty();
        if !is_v2 && !controllers.split(',').any(|controller| controller == "cpu") {
            continue;
        }
        let Some(mount) = mounts.iter().find(|mount| mount.is_v2 == is_v2) else { continue };
        // A path outside of what is mounted is that of a host that cannot be seen from here: the mount is the group then.
        let below = path.strip_prefix(&mount.part).unwrap_or_default().trim_start_matches('/');
        let mut group = mount.point.join(below);
        loop {
            let found = if is_v2 { quota_v2(&group) } else { quota_v1(&group) };
            if let Some(found) = found {
                least = Some(least.map_or(found, |least| least.min(found)));
            }
            if group == mount.point || !group.pop() {
                break;
            }
        }
    }
    least
}

/// A line of `mountinfo`, when it is a hierarchy that limits CPU time.
fn mount(root: &Path, line: &str) -> Option<Mount> {
    // `36 35 98:0 /part /point options [optional…] - type source super-options`
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (part, point) = (before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    let is_v2 = kind == "cgroup2";
    let limits_cpu = kind == "cgroup" && options.split(',').any(|option| option == "cpu");
    (is_v2 || limits_cpu).then(|| Mount {
        part: part.to_owned(),
        point: root.join(point.trim_start_matches('/')),
        is_v2,
    })
}

/// `cpu.max`: the quota and the period, in microseconds; the quota is `max` where there is none.
fn quota_v2(group: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(group.join("cpu.max")).ok()?;
    let mut words = text.split_whitespace();
    share(words.next()?, words.next()?)
}

/// `cpu.cfs_quota_us` and `cpu.cfs_period_us`; the quota is -1 where there is none.
fn quota_v1(group: &Path) -> Option<f64> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    share(read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim())
}

fn share(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a tree of files means: CPUs, quota, threads.
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: Option<(usize, Option<f64>, usize)>) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let found = Cpus::read(dir.path());
        assert_eq!(found.map(|cpus| (cpus.allowed, cpus.quota, cpus.threads())), expected);
    }

    const STATUS: (&str, &str) =
        ("proc/self/status", "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-5,8,10-11\n");
    const V2: (&str, &str) = (
        "proc/self/mountinfo",
        "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    );

    #[test]
    fn affinity_alone() {
        check(&[STATUS], Some((9, None, 9)));
        check(&[("proc/self/status", "Cpus_allowed_list:\t3\n")], Some((1, None, 1)));
        check(&[("proc/self/status", "Cpus_allowed_list:\tx\n")], None);
        check(&[], None);
    }

    #[test]
    fn a_container_of_the_second_version() {
        let group = ("proc/self/cgroup", "0::/\n");
        let quota = |text| ("sys/fs/cgroup/cpu.max", text);
        check(&[STATUS, V2, group, quota("200000 100000\n")], Some((9, Some(2.0), 2)));
        check(&[STATUS, V2, group, quota("150000 100000\n")], Some((9, Some(1.5), 1)));
        check(&[STATUS, V2, group, quota("50000 100000\n")], Some((9, Some(0.5), 1)));
        check(&[STATUS, V2, group, quota("6400000 100000\n")], Some((9, Some(64.0), 9)));
        check(&[STATUS, V2, group, quota("max 100000\n")], Some((9, None, 9)));
    }

    #[test]
    fn the_least_quota_of_the_groups_above_counts() {
        check(
            &[
                STATUS,
                V2,
                ("proc/self/cgroup", "0::/kubepods/pod1/one\n"),
                ("sys/fs/cgroup/kubepods/cpu.max", "800000 100000\n"),
                ("sys/fs/cgroup/kubepods/pod1/cpu.max", "300000 100000\n"),
                ("sys/fs/cgroup/kubepods/pod1/one/cpu.max", "max 100000\n"),
            ],
            Some((9, Some(3.0), 3)),
        );
    }

    #[test]
    fn a_container_of_the_first_version() {
        let group =
            ("proc/self/cgroup", "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n");
        let hybrid = (
            "proc/self/mountinfo",
            "30 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
             31 23 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             32 23 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
        );
        let quota = |text| ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", text);
        let period = ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "50000\n");
        check(&[STATUS, group, hybrid, quota("200000\n"), period], Some((9, Some(4.0), 4)));
        check(&[STATUS, group, hybrid, quota("-1\n"), period], Some((9, None, 9)));
        // On the host the whole hierarchy is mounted.
        let whole = (
            "proc/self/mountinfo",
            "32 23 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
        );
        let quota = ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "100000");
        let period = ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000");
        check(&[STATUS, group, whole, quota, period], Some((9, Some(1.0), 1)));
    }

    #[test]
    fn this_process_has_a_cpu() {
        assert!(Cpus::find().threads() >= 1);
    }
}

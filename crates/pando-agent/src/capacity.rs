//! How much of a machine this server may use: its cores and memory, or less where a control group says so.

use std::path::{Path, PathBuf};

use pando_model::resources::Capacity;

/// Reads it. Where nothing can be read, one core and no memory. Blocking.
#[must_use]
pub fn read() -> Capacity {
    let cores = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count().max(1));
    read_below(Path::new("/"), cores)
}

fn read_below(root: &Path, cores: u32) -> Capacity {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let cpu =
        groups.lines().flat_map(|line| directories(root, line, "cpu")).filter_map(|dir| cpu_limit(&dir));
    let memory = groups
        .lines()
        .flat_map(|line| directories(root, line, "memory"))
        .filter_map(|dir| memory_limit(&dir));
    let all = cores.saturating_mul(1000);
    Capacity {
        cpu_millis: cpu.fold(all, u32::min),
        memory_bytes: memory.fold(total_memory(root).unwrap_or(0), u64::min),
    }
}

/// The directories of one line of `/proc/self/cgroup` that may limit `controller`, from the group up to the root.
fn directories(root: &Path, line: &str, controller: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let base = root.join("sys/fs/cgroup");
    let base = match controllers {
        "" => base,
        list if list.split(',').any(|one| one == controller) => base.join(list),
        _ => return Vec::new(),
    };
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().map(|part| base.join(part)).collect()
}

fn cpu_limit(dir: &Path) -> Option<u32> {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    let (quota, period) = match read("cpu.max") {
        Some(text) => text.trim().split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()))?,
        None => (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
    };
    // `max` and -1 mean no limit; neither is such a number.
    let (quota, period): (u64, u64) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    u32::try_from(quota.saturating_mul(1000).checked_div(period)?).ok().map(|millis| millis.max(1))
}

fn memory_limit(dir: &Path) -> Option<u64> {
    let names = ["memory.max", "memory.limit_in_bytes"];
    names.iter().find_map(|name| std::fs::read_to_string(dir.join(name)).ok()?.trim().parse().ok())
}

fn total_memory(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files below a root, and what is read from them with 8 cores.
    fn check(files: &[(&str, &str)], cpu_millis: u32, memory_bytes: u64) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let capacity = read_below(root.path(), 8);
        assert_eq!(capacity, Capacity { cpu_millis, memory_bytes }, "{files:?}");
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 5 kB\n");

    #[test]
    fn the_tightest_limit_counts() {
        check(&[], 8000, 0);
        check(&[MEMINFO], 8000, 1_024_000);
        let group = ("proc/self/cgroup", "0::/system.slice/pando.service\n");
        let own = "sys/fs/cgroup/system.slice/pando.service";
        let (max, memory) = (format!("{own}/cpu.max"), format!("{own}/memory.max"));
        check(&[MEMINFO, group, (&max, "max 100000\n"), (&memory, "max\n")], 8000, 1_024_000);
        check(&[MEMINFO, group, (&max, "150000 100000\n"), (&memory, "500000\n")], 1500, 500_000);
        let above = ("sys/fs/cgroup/system.slice/cpu.max", "50000 100000");
        check(&[MEMINFO, group, (&max, "150000 100000\n"), above], 500, 1_024_000);
    }

    #[test]
    fn version_one_counts_too() {
        let group = ("proc/self/cgroup", "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n1:name=systemd:/x\n");
        let quota = ("sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "200000\n");
        let period = ("sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n");
        let memory = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let own = ("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "4096\n");
        check(&[MEMINFO, group, quota, period, memory], 2000, 1_024_000);
        check(&[MEMINFO, group, own], 8000, 4096);
        let free = ("sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1\n");
        check(&[MEMINFO, group, free, period], 8000, 1_024_000);
    }

    #[test]
    fn this_machine_has_something() {
        let capacity = read();
        assert!(capacity.cpu_millis > 0 && capacity.memory_bytes > 0, "{capacity:?}");
    }
}

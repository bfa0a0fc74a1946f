use super::find::find;
use super::*;

const LIMITS: Resources = Resources { cpu_millis: Some(250), memory_bytes: Some(64_000_000), pids: Some(50) };

/// Directories that look like a mounted hierarchy; the kernel's part is played by nobody.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new(directories: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in directories {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        Self(root)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    fn v2(&self, own: &str) -> Cgroups {
        let mounts =
            format!("30 23 0:26 / {} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n", self.path("").display());
        find(&mounts, &format!("0::{own}\n"))
    }
}

#[test]
fn version_two_limits_in_one_cgroup_beside_the_daemons() {
    let fake = Fake::new(&["system.slice/pando.service/daemon"]);
    fake.write("system.slice/pando.service/cgroup.controllers", "cpu memory pids\n");
    let cgroups = fake.v2("/system.slice/pando.service/daemon");
    let groups = cgroups.make("id.0", &LIMITS).unwrap();
    assert_eq!(groups.len(), 1);
    let run = "system.slice/pando.service/pando/id.0";
    assert_eq!(groups[0].directory, fake.path(run));
    assert_eq!(groups[0].home, fake.path("system.slice/pando.service/daemon"));
    assert_eq!(fake.read(&format!("{run}/memory.max")), "64000000");
    assert_eq!(fake.read(&format!("{run}/cpu.max")), "25000 100000");
    assert_eq!(fake.read(&format!("{run}/pids.max")), "50");
    assert!(fake.path("system.slice/pando.service/cgroup.subtree_control").exists());
    assert!(fake.path("system.slice/pando.service/pando/cgroup.subtree_control").exists());
    fake.write(&format!("{run}/memory.events"), "low 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n");
    assert_eq!(groups[0].memory_kills(), 3);
}

#[test]
fn only_what_is_asked_for_is_limited() {
    let fake = Fake::new(&["own"]);
    fake.write("own/cgroup.controllers", "cpu memory pids\n");
    let cgroups = fake.v2("/own");
    assert!(cgroups.make("id.0", &Resources::default()).unwrap().is_empty());
    let memory = Resources { cpu_millis: None, pids: None, ..LIMITS };
    cgroups.make("id.1", &memory).unwrap();
    assert!(fake.path("own/pando/id.1/memory.max").exists());
    assert!(!fake.path("own/pando/id.1/cpu.max").exists());
    assert!(!fake.path("own/pando/id.1/pids.max").exists());
    let cpu = Resources { memory_bytes: None, ..LIMITS };
    assert_eq!(cgroups.make("id.2", &cpu).unwrap()[0].memory_kills(), 0);
    assert_eq!(cgroups.warning(&LIMITS), None);
}

#[test]
fn a_controller_that_is_not_delegated_is_named() {
    let fake = Fake::new(&["own"]);
    fake.write("own/cgroup.controllers", "memory pids\n");
    let cgroups = fake.v2("/own");
    let warning = cgroups.warning(&LIMITS).unwrap();
    assert!(
        warning.starts_with("CPU limits are not enforced: the `cpu` controller is not delegated"),
        "{warning}"
    );
    assert_eq!(cgroups.warning(&Resources { cpu_millis: None, ..LIMITS }), None);
    assert_eq!(cgroups.make("id.0", &LIMITS).unwrap().len(), 1);
}

#[test]
fn version_one_limits_in_each_hierarchy() {
    let fake = Fake::new(&["memory/a/b", "cpu", "pids"]);
    let (memory, cpu, pids) = (fake.path("memory"), fake.path("cpu"), fake.path("pids"));
    let mounts = format!(
        "35 24 0:31 / {} rw - cgroup cgroup rw,memory\n36 24 0:32 / {} rw - cgroup cgroup rw,cpu,cpuacct\n\
         37 24 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n38 24 0:34 / {} rw - cgroup cgroup rw,pids\n",
        memory.display(),
        cpu.display(),
        pids.display()
    );
    let cgroups = find(&mounts, "4:memory:/a/b\n2:pids:/\n1:cpu,cpuacct:/gone\n0::/\n");
    let groups = cgroups.make("id.0", &LIMITS).unwrap();
    assert_eq!(groups.len(), 3);
    assert_eq!(fake.read("pids/pando/id.0/pids.max"), "50");
    assert_eq!(fake.read("memory/a/b/pando/id.0/memory.limit_in_bytes"), "64000000");
    assert_eq!(fake.read("cpu/pando/id.0/cpu.cfs_quota_us"), "25000");
    assert_eq!(fake.read("cpu/pando/id.0/cpu.cfs_period_us"), "100000");
    assert_eq!(groups[0].home, fake.path("memory/a/b"));
    fake.write("memory/a/b/pando/id.0/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
    assert_eq!(groups[0].memory_kills(), 1);
}

#[test]
fn a_container_that_sees_only_its_own_part_uses_that() {
    let fake = Fake::new(&["memory"]);
    let mounts =
        format!("35 24 0:31 /docker/x {} rw - cgroup cgroup rw,memory\n", fake.path("memory").display());
    let cgroups = find(&mounts, "4:memory:/docker/x\n");
    let memory = Resources { cpu_millis: None, pids: None, ..LIMITS };
    let groups = cgroups.make("id.0", &memory).unwrap();
    assert_eq!(groups[0].directory, fake.path("memory/pando/id.0"));
}

#[test]
fn a_machine_without_cgroups_says_so_once_for_all() {
    let cgroups = find("", "");
    let warning = cgroups.warning(&LIMITS).unwrap();
    assert_eq!(
        warning,
        "memory, CPU and process limits are not enforced: this machine has no `memory` cgroup controller"
    );
    assert!(cgroups.make("id.0", &LIMITS).unwrap().is_empty());
}

#[test]
fn a_half_made_run_leaves_nothing() {
    let fake = Fake::new(&["own/pando/id.0/memory.max"]);
    fake.write("own/cgroup.controllers", "cpu memory pids\n");
    assert!(fake.v2("/own").make("id.0", &LIMITS).is_err(), "memory.max is a directory here");
    // The kernel removes a cgroup's files with it; here the obstacle keeps the directory.
    fs::remove_dir(fake.path("own/pando/id.0/memory.max")).unwrap();
    assert!(fake.v2("/own").make("id.0", &LIMITS).is_ok());
}

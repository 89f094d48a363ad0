//! A limit on the memory of processes, as a container has it: what they keep in the page cache counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millrace_testkit::wait;

const ROOT: &str = "/sys/fs/cgroup";
const EMPTY: Duration = Duration::from_secs(10);

/// One control group. It goes when the value does; its processes must have ended by then.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
    /// Version 2: one hierarchy for all controllers.
    unified: bool,
}

impl Cgroup {
    /// A group with a limit in bytes, and no swap.
    pub fn new(name: &str, limit: u64) -> Result<Cgroup> {
        let root = Path::new(ROOT);
        let unified = root.join("cgroup.controllers").exists();
        let parent = if unified {
            root.to_owned()
        } else {
            root.join("memory")
        };
        if unified {
            // Where it is not allowed yet; that it is, is seen below.
            let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
        }
        let folder = parent.join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| {
            format!(
                "making the control group {}: a limit on memory needs root",
                folder.display()
            )
        })?;
        let group = Cgroup { folder, unified };
        let (most, swap) = match unified {
            true => ("memory.max", "memory.swap.max"),
            false => ("memory.limit_in_bytes", "memory.swappiness"),
        };
        let file = group.folder.join(most);
        fs::write(&file, limit.to_string()).with_context(|| format!("writing {}", file.display()))?;
        // Machines without swap have no such file.
        let _ = fs::write(group.folder.join(swap), "0");
        Ok(group)
    }

    /// The command, begun inside of the group.
    pub fn enter(&self, command: &Command) -> Command {
        let mut inside = Command::new("sh");
        inside
            .arg("-c")
            .arg("echo $$ > \"$0\" && exec \"$@\"")
            .arg(self.folder.join("cgroup.procs"))
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(key, value),
                None => inside.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }

    /// The most that was in use, page cache included; 0 where the kernel does not tell.
    pub fn peak(&self) -> u64 {
        let file = match self.unified {
            true => "memory.peak",
            false => "memory.max_usage_in_bytes",
        };
        let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Waits until no process is left in it.
    pub fn wait_empty(&self) -> Result<()> {
        wait::until("the end of a control group's processes", EMPTY, || {
            let left = fs::read_to_string(self.folder.join("cgroup.procs"))?;
            Ok(left.trim().is_empty().then_some(()))
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = self.wait_empty();
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Whether limits can be set here; if not, why.
pub fn check() -> Result<()> {
    match Cgroup::new("millrace-bench-check", 64 << 20) {
        Ok(_) => Ok(()),
        Err(error) => bail!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_its_arguments_and_variables() {
        let group = Cgroup {
            folder: PathBuf::from("/nowhere"),
            unified: true,
        };
        let mut command = Command::new("java");
        command.args(["-a", "b c"]).env("X", "1").current_dir("/tmp");
        let inside = group.enter(&command);
        let arguments: Vec<_> = inside.get_args().collect();
        assert_eq!(arguments[2..], ["/nowhere/cgroup.procs", "java", "-a", "b c"]);
        assert_eq!(inside.get_current_dir(), Some(Path::new("/tmp")));
        assert!(
            inside
                .get_envs()
                .any(|(key, value)| key == "X" && value.is_some())
        );
    }
}

//! Nothing is left behind: every program that is started is told to a small shell process that
//! outlives this one. When this process ends, in whatever way (Ctrl-C, a panic, `kill -9`), the
//! shell reads the end of its input, kills what still runs and removes the directory.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Reads lines `add PID` and `del PID`; ignores the signals that a terminal sends to the group.
const SCRIPT: &str = r#"
trap '' INT TERM HUP QUIT
pids=
while read -r what pid; do
    left=
    for p in $pids; do [ "$p" = "$pid" ] || left="$left $p"; done
    [ "$what" = add ] && left="$left $pid"
    pids=$left
done
[ -z "$pids" ] || kill -9 $pids 2>/dev/null
rm -rf "$1"
"#;

/// The directory of the demo and the process that cleans it up.
pub struct Guard {
    shell: Child,
    pub dir: PathBuf,
}

impl Guard {
    /// Makes a fresh directory and starts the guard.
    pub fn start() -> Result<Guard, String> {
        let dir = std::env::temp_dir().join(format!("sentineld-demo.{}", std::process::id()));
        fs::create_dir(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match shell {
            Ok(shell) => Ok(Guard { shell, dir }),
            Err(e) => {
                let _ = fs::remove_dir_all(&dir);
                Err(format!("cannot run sh: {e}"))
            }
        }
    }

    /// Starts a program in the directory, its output in the file `<name>.out` there.
    pub fn spawn(&mut self, name: &str, program: &Path, args: &[&str]) -> Result<Child, String> {
        let out = File::create(self.dir.join(format!("{name}.out"))).map_err(|e| e.to_string())?;
        let err = out.try_clone().map_err(|e| e.to_string())?;
        let child = Command::new(program)
            .args(args)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| format!("cannot run {}: {e}", program.display()))?;
        self.tell("add", child.id());
        Ok(child)
    }

    /// Kills a program at once and takes its exit status.
    pub fn kill(&mut self, child: &mut Child) {
        let _ = child.kill();
        let _ = child.wait();
        self.tell("del", child.id());
    }

    fn tell(&mut self, what: &str, pid: u32) {
        if let Some(input) = &mut self.shell.stdin {
            let _ = writeln!(input, "{what} {pid}");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The end of its input starts the cleaning.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

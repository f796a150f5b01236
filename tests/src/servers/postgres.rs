//! One Postgres for each test process, and an empty database for each test.
//!
//! A guard, which is a shell, starts the server and waits for its standard input to end. That
//! happens with the test process, however it ends: the guard then stops the server and removes its
//! folder.

use std::{
    env,
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

const GUARD: &str = r#"
    bin=$1 folder=$2 settings=$3
    # An interrupted test process ends by itself; the guard must outlive it.
    trap '' INT TERM HUP
    cd "$folder" || exit 1
    if "$bin/initdb" -D data -U postgres -A trust -N -E UTF8 --no-locale >log 2>&1 &&
        "$bin/pg_ctl" -D data -w -t 60 -l log -o "-c listen_addresses='' -k $folder \
            -c max_connections=400 $settings" start >>log 2>&1
    then echo ready; read -r _
    else cat log
    fi
    "$bin/pg_ctl" -D data -w -m immediate stop >/dev/null 2>&1
    cd / && rm -rf "$folder"
"#;

/// For tests, which lose nothing that anybody wants to keep.
const HASTY: &str = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off \
                     -c shared_buffers=64MB";

/// A server of this process.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    folder: PathBuf,
    /// The user and group that the server runs as, if it is not ours.
    run_as: Option<(u32, u32)>,
    databases: AtomicU32,
    /// Its standard input is held open by this process, and by nobody else.
    _guard: Child,
}

impl Postgres {
    /// The server of this process, which the first to ask starts.
    pub fn start() -> &'static Postgres {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        SERVER.get_or_init(|| Postgres::with(HASTY))
    }

    /// Another server, with settings as its command line takes them: `-c fsync=on`.
    pub fn with(settings: &str) -> Self {
        let bin = binaries();
        let folder = tempfile::Builder::new()
            .prefix("buildfleet-pg-")
            .tempdir()
            .expect("the temporary folder can be written")
            .keep();
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&bin).arg(&folder).arg(settings);
        let run_as = unprivileged(&folder);
        if let Some((user, group)) = run_as {
            // Postgres refuses to run as root.
            chown(&folder, Some(user), Some(group)).expect("root gives folders away");
            fs::set_permissions(&folder, Permissions::from_mode(0o700)).expect("a folder of ours");
            guard.uid(user).gid(group);
        }
        let mut guard = guard
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("sh runs");
        let said = BufReader::new(guard.stdout.take().expect("it was asked for"));
        let mut lines = said.lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        if first != "ready" {
            let rest: Vec<_> = lines.collect();
            panic!("Postgres did not start: {first}\n{}", rest.join("\n"));
        }
        Self { bin, folder, run_as, databases: AtomicU32::new(0), _guard: guard }
    }

    /// Stops the server at once, as a crash of it would, and starts it again as it was.
    pub fn restart(&self) {
        let mut restart = Command::new(self.bin.join("pg_ctl"));
        restart.args(["-D", "data", "-w", "-t", "60", "-l", "log", "-m", "immediate", "restart"]);
        if let Some((user, group)) = self.run_as {
            restart.uid(user).gid(group);
        }
        let status = restart
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("pg_ctl runs");
        assert!(status.success(), "Postgres did not start again: {status}");
    }

    /// The process that all others of the server come from.
    pub fn process(&self) -> Option<u32> {
        let said = fs::read_to_string(self.folder.join("data/postmaster.pid")).ok()?;
        said.lines().next()?.trim().parse().ok()
    }

    /// Makes an empty database; answers with its URL.
    pub fn fresh_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let created = Command::new(self.bin.join("createdb"))
            .arg("-h")
            .arg(&self.folder)
            .args(["-U", "postgres", &name])
            .output()
            .expect("createdb runs");
        let said = String::from_utf8_lossy(&created.stderr);
        assert!(created.status.success(), "{name} was not created: {said}");
        format!("postgres://postgres@localhost/{name}?host={}", self.folder.display())
    }
}

/// The user and group to run as, if this is root.
fn unprivileged(own_folder: &Path) -> Option<(u32, u32)> {
    let me = fs::metadata(own_folder).expect("a folder of ours").uid();
    if me != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = ["postgres", "nobody"].into_iter().find_map(|wanted| {
        let mut fields = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(wanted)).then_some(fields)
        })?;
        // Name, password, user, group.
        let user = fields.nth(1)?.parse().ok()?;
        Some((user, fields.next()?.parse().ok()?))
    });
    Some(ids.expect("Postgres does not run as root: add a user called postgres"))
}

/// The folder of `initdb` and its kin: where the path leads, where Debian keeps it, or where
/// `pg_config` says.
fn binaries() -> PathBuf {
    let is_whole = |folder: &PathBuf| {
        ["initdb", "pg_ctl", "createdb"].iter().all(|program| folder.join(program).exists())
    };
    #[expect(clippy::disallowed_methods, reason = "no setting of ours: where programs are")]
    let path = env::var("PATH").unwrap_or_default();
    // A single program may be linked into a folder on the path; its kin are where the link leads.
    let on_path = env::split_paths(&path)
        .filter_map(|folder| Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned()))
        .find(is_whole);
    let installed = || {
        let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .filter(is_whole)
            .collect();
        versions.sort();
        versions.pop()
    };
    let configured = || {
        let said = Command::new("pg_config").arg("--bindir").output().ok()?;
        let folder = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim());
        is_whole(&folder).then_some(folder)
    };
    on_path.or_else(installed).or_else(configured).expect(
        "these tests need Postgres 15 or newer: install it (Debian: `apt-get install postgresql`, \
         macOS: `brew install postgresql`) or put its `initdb` on the PATH",
    )
}

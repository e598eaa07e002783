//! What the Rust programs share. ../../README.md tells the variables and the lines.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Pause between two writes.
pub const PAUSE: Duration = Duration::from_millis(20);

/// What the program was told.
pub struct Task {
    /// Hosts and ports of the sentinels.
    pub sentinels: Vec<(String, u16)>,
    /// Name of the master.
    pub master: String,
    /// User and password for the sentinels.
    pub sentinel_user: Option<String>,
    pub sentinel_password: Option<String>,
    /// Password for the data nodes.
    pub data_password: Option<String>,
    /// True for RESP3.
    pub resp3: bool,
    stop_file: PathBuf,
}

impl Task {
    /// Reads the environment.
    pub fn from_env() -> Task {
        let text = |name: &str| std::env::var(name).expect(name);
        let given = |name: &str| Some(text(name)).filter(|value| !value.is_empty());
        let split = |address: &str| {
            let (host, port) = address.rsplit_once(':').expect("host:port");
            (host.to_string(), port.parse().expect("a port"))
        };
        Task {
            sentinels: text("SENTINELS").split(',').map(split).collect(),
            master: text("MASTER"),
            sentinel_user: given("SENTINEL_USER"),
            sentinel_password: given("SENTINEL_PASSWORD"),
            data_password: given("DATA_PASSWORD"),
            resp3: text("RESP") == "3",
            stop_file: text("STOP_FILE").into(),
        }
    }

    /// True when the program is to end.
    pub fn is_over(&self) -> bool {
        self.stop_file.exists()
    }
}

/// Prints the outcome of a write.
pub fn tell(outcome: Result<i64, String>) {
    match outcome {
        Ok(value) => println!("ok {} {value}", now_ms()),
        Err(error) => println!("error {} {error}", now_ms()),
    }
}

/// Prints what was discovered.
pub fn tell_discovered(master: &str, mut replicas: Vec<u16>, peers: usize) {
    replicas.sort_unstable();
    let replicas: Vec<String> = replicas.iter().map(u16::to_string).collect();
    println!("discovered {master} {} {peers}", replicas.join(","));
}

/// The version of a package in the lock file of these programs.
pub fn tell_version(package: &str) {
    let lock = include_str!("../Cargo.lock");
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split(&entry).nth(1).and_then(|rest| rest.split('"').next());
    println!("version {}", version.expect("the package is locked"));
}

/// Milliseconds of the epoch.
pub fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis()
}

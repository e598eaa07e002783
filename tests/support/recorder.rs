//! A subscriber that writes down every event of a sentinel in the background.

use super::client::{Client, Closer};
use super::wait;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One message as received.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it was read.
    pub at: Instant,
    /// The channel, which is the name of the event.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A `PSUBSCRIBE *` with a thread that reads it until this is dropped.
pub struct Recorder {
    events: Arc<Mutex<Vec<Event>>>,
    closer: Option<Closer>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Subscribes to everything on a logged-in connection.
    pub fn new(mut client: Client) -> Recorder {
        let reply = client.ask(&["PSUBSCRIBE", "*"]).expect("PSUBSCRIBE is answered");
        assert_eq!(reply.texts(), ["psubscribe", "*", "1"]);
        client.set_timeout(Duration::from_secs(3600)).expect("a timeout can be set");
        let closer = Some(client.closer().expect("a handle to close it"));
        let events = Arc::new(Mutex::new(Vec::new()));
        let thread = std::thread::spawn({
            let events = events.clone();
            move || record(client, &events)
        });
        Recorder { events, closer, thread: Some(thread) }
    }

    /// Everything so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().expect("the recorder did not panic").clone()
    }

    /// `name text` of everything so far.
    pub fn lines(&self) -> Vec<String> {
        self.events().iter().map(|event| format!("{} {}", event.name, event.text)).collect()
    }

    /// Names of everything so far.
    pub fn names(&self) -> Vec<String> {
        self.events().into_iter().map(|event| event.name).collect()
    }

    /// The texts of all events of a name.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let events = self.events().into_iter();
        events.filter(|event| event.name == name).map(|event| event.text).collect()
    }

    /// Waits for an event whose text contains `part`; gives its text.
    #[track_caller]
    pub fn wait(&self, name: &str, part: &str) -> String {
        wait::wait(&format!("event {name} with {part:?}"), wait::LONG, || {
            let found = self.texts(name).into_iter().find(|text| text.contains(part));
            found.ok_or_else(|| format!("{:#?}", self.lines()))
        })
    }

    /// Panics unless the named events occur in this order (others may stand between them).
    #[track_caller]
    pub fn assert_order(&self, wanted: &[&str]) {
        let seen = self.names();
        let mut rest = seen.iter();
        for name in wanted {
            assert!(
                rest.any(|seen| seen == name),
                "{name} is missing or out of order; wanted {wanted:?}, seen {:#?}",
                self.lines()
            );
        }
    }

    /// Panics if an event of this name was seen.
    #[track_caller]
    pub fn assert_none(&self, name: &str) {
        assert!(self.texts(name).is_empty(), "unwanted {name} in {:#?}", self.lines());
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(closer) = self.closer.take() {
            closer.close();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn record(mut client: Client, events: &Mutex<Vec<Event>>) {
    while let Ok(message) = client.read() {
        if let [_, _, name, text] = message.items() {
            let event = Event { at: Instant::now(), name: name.text(), text: text.text() };
            events.lock().expect("readers do not panic").push(event);
        }
    }
}

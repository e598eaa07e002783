//! Our program and the oracle, `redis-sentinel` 7.0.15, are sent the same requests side by side.
//!
//! Each has a group of its own. The replies are read by a parser that forgives nothing, taken
//! apart into leaves ([`leaves`]) and compared leaf by leaf, with types and texts; values that
//! each twin has for itself (ports, ids) have common names. What may differ stands in [`rules`].
//! The requests stand in [`tables`]. The results go to `target/conformance.txt`, from which
//! `make conformance` makes docs/conformance.md.
//!
//! With SENTINEL_UNDER_TEST=/usr/bin/redis-sentinel the oracle is compared with itself, which
//! must give no difference. ORACLE_SHOW=1 prints every reply.
#![forbid(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

mod allowed;
mod findings;
mod leaves;
mod resp;
mod rules;
mod tables;
mod twins;
mod words;

use findings::Book;
use std::rc::Rc;
use support::sentinel::Program;
use support::world::World;
use twins::Twins;

#[test]
fn replies_are_those_of_the_oracle() {
    let world = world!();
    if !world.need("redis-sentinel") {
        return;
    }
    let name = world.name.clone();
    // Each has processes of its own, so they can go side by side.
    let parts: [fn(&Rc<World>) -> Twins; 4] = [group, users, locked, scripts];
    let books = std::thread::scope(|scope| {
        let start = |part: fn(&Rc<World>) -> Twins| {
            let name = &name;
            scope.spawn(move || part(&World::open(name).expect("opened before")).book)
        };
        let running: Vec<_> = parts.map(start).into();
        running.into_iter().map(|part| part.join().expect("no panic")).collect::<Vec<Book>>()
    });
    let mut book = Book::default();
    books.into_iter().for_each(|part| book.absorb(part));
    println!("{} requests compared", book.requests());
    if !Program::UnderTest.is_redis() {
        write_results(&book);
    }
    let complaints = book.complaints();
    assert!(complaints.is_empty(), "{}\n{complaints}", complaints.lines().count());
}

fn learn_names(twins: &mut Twins) {
    for (is_oracle, side) in [(false, &mut twins.ours), (true, &mut twins.oracle)] {
        let table = side.ask("COMMAND");
        twins.book.learn_names(&table, is_oracle);
    }
}

fn group(world: &Rc<World>) -> Twins {
    let mut twins = Twins::groups(world, Book::default());
    learn_names(&mut twins);
    tables::connection::run(&mut twins);
    tables::protocol::run(&mut twins);
    tables::client::run(&mut twins);
    tables::command::run(&mut twins);
    tables::sentinel::run(&mut twins);
    tables::pubsub::run(&mut twins);
    tables::changes::run(&mut twins);
    tables::failover::run(&mut twins);
    twins
}

fn users(world: &Rc<World>) -> Twins {
    let mut twins = Twins::alone(world, Book::default(), &[], "");
    learn_names(&mut twins);
    tables::acl::run(&mut twins);
    twins
}

fn locked(world: &Rc<World>) -> Twins {
    let lines = tables::locked::LINES.map(String::from);
    let mut twins = Twins::alone(world, Book::default(), &lines, tables::locked::PASSWORD);
    twins.ok(&format!("AUTH {}", tables::locked::PASSWORD));
    learn_names(&mut twins);
    tables::locked::run(&mut twins);
    twins
}

fn scripts(world: &Rc<World>) -> Twins {
    let script = world.script("long", "exec sleep 100");
    let lines = tables::scripts::lines(&script.display().to_string());
    let mut twins = Twins::alone(world, Book::default(), &lines, "");
    learn_names(&mut twins);
    tables::scripts::run(&mut twins);
    twins
}

/// Leaves the results for `make conformance`.
fn write_results(book: &Book) {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/target");
    std::fs::create_dir_all(dir).expect("a directory for the results");
    std::fs::write(format!("{dir}/conformance.txt"), book.lines()).expect("they are written");
}

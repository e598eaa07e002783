#![forbid(unsafe_code)]

mod frame;
mod net;
mod switch;

#[test]
fn hello() {
    use std::io::{Read, Write};
    let net = net::Net::new(3, 1).unwrap();
    let listener = net.within(0, || std::net::TcpListener::bind((net.address(0).as_str(), 99)).unwrap());
    let t = std::thread::spawn(move || { let (mut c, _) = listener.accept().unwrap(); let mut v = vec![]; c.read_to_end(&mut v).unwrap(); v.len() });
    let start = std::time::Instant::now();
    let mut c = net.within(1, || std::net::TcpStream::connect((net.address(0).as_str(), 99)).unwrap());
    println!("connect {:?}", start.elapsed());
    c.write_all(&vec![9; 10_000_000]).unwrap();
    drop(c);
    println!("{} {:?} {:?}", t.join().unwrap(), start.elapsed(), net.counts());
}

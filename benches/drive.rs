//! An open-loop driver: it sends requests at a fixed rate, whether the server keeps up or not. `make bench` starts it.
//!
//! `drive ADDRESS BODY CONNECTIONS RATE SECONDS` prints one JSON object. A latency counts from the moment at which the request was due, so
//! that one that had to wait for a slow one before it is counted as slow too.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "its result")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What one connection saw: the latency of each answer, and how many were not 200.
fn drive(
    address: &str,
    request: &[u8],
    first: Instant,
    every: Duration,
    until: Instant,
) -> (Vec<Duration>, usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let (mut latencies, mut n_bad) = (Vec::new(), 0);
    let (mut line, mut body) = (String::new(), Vec::new());
    let mut due = first;
    while due < until {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(request).unwrap();
        line.clear();
        answers.read_line(&mut line).unwrap();
        n_bad += usize::from(!line.starts_with("HTTP/1.1 200"));
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line).unwrap();
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        body.resize(length, 0);
        answers.read_exact(&mut body).unwrap();
        latencies.push(due.elapsed());
        due += every;
    }
    (latencies, n_bad)
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [address, body, n_connections, rate, seconds] = arguments.as_slice() else {
        println!("usage: drive ADDRESS BODY CONNECTIONS RATE SECONDS");
        return;
    };
    let body = std::fs::read(body).unwrap();
    let mut request = format!(
        "POST /v1/predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    let n_connections: u32 = n_connections.parse().unwrap();
    let (rate, seconds): (f64, f64) = (rate.parse().unwrap(), seconds.parse().unwrap());
    let between = Duration::from_secs_f64(1.0 / rate);
    let start = Instant::now() + Duration::from_millis(100);
    let until = start + Duration::from_secs_f64(seconds);
    let mut latencies = Vec::new();
    let mut n_bad = 0;
    std::thread::scope(|scope| {
        let request = &request;
        let drivers: Vec<_> = (0..n_connections)
            .map(|at| {
                let (first, every) = (start + between * at, between * n_connections);
                scope.spawn(move || drive(address, request, first, every, until))
            })
            .collect();
        for driver in drivers {
            let (found, bad) = driver.join().unwrap();
            latencies.extend(found);
            n_bad += bad;
        }
    });
    latencies.sort_unstable();
    let share = |per_mille: usize| {
        let at = (latencies.len() * per_mille / 1000).min(latencies.len() - 1);
        latencies[at].as_secs_f64() * 1e6
    };
    println!(
        "{{\"requests\": {}, \"bad\": {n_bad}, \"p50_us\": {:.1}, \"p99_us\": {:.1}, \"p999_us\": {:.1}}}",
        latencies.len(),
        share(500),
        share(990),
        share(999)
    );
}

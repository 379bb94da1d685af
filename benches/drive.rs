//! An open-loop driver: it sends requests at a fixed rate, whether the server keeps up or not. `make bench` and `make chaos` start it.
//!
//! `drive ADDRESS BODY CONNECTIONS RATE SECONDS [MEDIA_TYPE FILE]` prints one JSON object. A latency counts from the moment at which the
//! request was due, so that one that had to wait for a slow one before it is counted as slow too. FILE has a line for each request: when it
//! was sent, its status, and what the answer took from then on, in microseconds.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "its result")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// An answer.
struct Seen {
    sent: Instant,
    status: u16,
    took: Duration,
    /// With what the request had to wait before it was sent.
    latency: Duration,
}

/// What one connection saw.
fn drive(
    address: &str,
    request: &[u8],
    first: Instant,
    every: Duration,
    until: Instant,
) -> Vec<Seen> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut seen = Vec::new();
    let (mut line, mut body) = (String::new(), Vec::new());
    let mut due = first;
    while due < until {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        stream.write_all(request).unwrap();
        line.clear();
        answers.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
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
        seen.push(Seen { sent, status, took: sent.elapsed(), latency: due.elapsed() });
        due += every;
    }
    seen
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [address, body, n_connections, rate, seconds, more @ ..] = arguments.as_slice() else {
        println!("usage: drive ADDRESS BODY CONNECTIONS RATE SECONDS [MEDIA_TYPE FILE]");
        return;
    };
    let media_type = more.first().map_or("application/json", String::as_str);
    let body = std::fs::read(body).unwrap();
    let mut request = format!(
        "POST /v1/predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    let n_connections: u32 = n_connections.parse().unwrap();
    let (rate, seconds): (f64, f64) = (rate.parse().unwrap(), seconds.parse().unwrap());
    let between = Duration::from_secs_f64(1.0 / rate);
    let start = Instant::now() + Duration::from_millis(100);
    let until = start + Duration::from_secs_f64(seconds);
    let mut seen: Vec<Seen> = Vec::new();
    std::thread::scope(|scope| {
        let request = &request;
        let drivers: Vec<_> = (0..n_connections)
            .map(|at| {
                let (first, every) = (start + between * at, between * n_connections);
                scope.spawn(move || drive(address, request, first, every, until))
            })
            .collect();
        drivers.into_iter().for_each(|driver| seen.extend(driver.join().unwrap()));
    });
    if let Some(file) = more.get(1) {
        let mut file = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
        for Seen { sent, status, took, .. } in &seen {
            let at = sent.saturating_duration_since(start).as_micros();
            writeln!(file, "{at}\t{status}\t{}", took.as_micros()).unwrap();
        }
        file.flush().unwrap();
    }
    let n_bad = seen.iter().filter(|seen| seen.status != 200).count();
    let mut latencies: Vec<Duration> = seen.iter().map(|seen| seen.latency).collect();
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

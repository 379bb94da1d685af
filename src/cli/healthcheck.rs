//! `seaworthy healthcheck`: asks the server on this machine how it is, for images without a shell.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::{Context, FAILED};
use crate::tls;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// What to ask
    #[arg(long, default_value = "/health", value_name = "PATH")]
    path: String,
    /// How long to wait, in milliseconds
    #[arg(long, default_value_t = 2000, value_name = "MS")]
    timeout: u64,
}

pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let server = &context.settings.server;
    let host = match server.host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    let address = SocketAddr::new(host, server.port);
    let is_tls = !server.tls_certificate.is_empty();
    let scheme = if is_tls { "https" } else { "http" };
    match ask(address, is_tls, &options.path, Duration::from_millis(options.timeout.max(1))) {
        Ok((200, body)) => {
            context.printer.note(body.trim());
            Ok(ExitCode::SUCCESS)
        }
        Ok((status, body)) => {
            context.printer.error(&format!(
                "{scheme}://{address}{} answers {status}: {}",
                options.path,
                body.trim()
            ));
            Ok(ExitCode::from(FAILED))
        }
        Err(error) => {
            use std::io::ErrorKind;
            let problem = match error.kind() {
                // What a socket says when its time is up.
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    format!("within {} ms", options.timeout)
                }
                _ => format!(": {error}"),
            };
            let space = if problem.starts_with(':') { "" } else { " " };
            context.printer.error(&format!(
                "{scheme}://{address}{} does not answer{space}{problem}",
                options.path
            ));
            if error.kind() == ErrorKind::ConnectionRefused {
                context.printer.hint(
                    "no server listens there; the port is that of PORT or the setting `server.port`",
                );
            }
            Ok(ExitCode::from(FAILED))
        }
    }
}

/// A GET over HTTP/1.0, which ends with the connection: all that is needed here.
fn ask(
    address: SocketAddr,
    is_tls: bool,
    path: &str,
    timeout: Duration,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let answer = if is_tls {
        let mut session = tls::to_this_machine().map_err(std::io::Error::other)?;
        exchange(&mut session.stream(&mut stream), &request)?
    } else {
        exchange(&mut stream, &request)?
    };
    let answer = String::from_utf8_lossy(&answer);
    let broken = || std::io::Error::new(std::io::ErrorKind::InvalidData, "the answer is not HTTP");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    Ok((status, body.to_owned()))
}

fn exchange(stream: &mut (impl Read + Write), request: &str) -> std::io::Result<Vec<u8>> {
    const LONGEST: u64 = 64 * 1024;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(answer)
}

//! Asking the host's resolvers.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Resolvers that are asked, in order.
const SERVERS_MAX: usize = 3;
/// Longest wait for one resolver.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Longest reply over UDP.
const REPLY_BYTES_MAX: usize = 4096;

/// The name servers of a `resolv.conf`; our own addresses are left out, because a question to them would go round for ever.
/// Read for each question: it is short, in the page cache, and may change.
pub(crate) fn servers(resolv_conf: &Path, own: &[SocketAddr]) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(resolv_conf).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .filter(|ip| !own.iter().any(|o| o.ip() == *ip))
        .map(|ip| SocketAddr::new(ip, 53))
        .take(SERVERS_MAX)
        .collect()
}

/// The first reply that any resolver gives.
pub(crate) async fn ask(servers: &[SocketAddr], query: &[u8], tcp: bool) -> Option<Vec<u8>> {
    for server in servers {
        let asked = tokio::time::timeout(WAIT_MAX, async {
            if tcp { ask_tcp(*server, query).await } else { ask_udp(*server, query).await }
        });
        match asked.await {
            Ok(Ok(reply)) => return Some(reply),
            Ok(Err(error)) => tracing::debug!(%server, %error, "ask a resolver"),
            Err(_) => tracing::debug!(%server, "a resolver does not answer"),
        }
    }
    None
}

/// Over UDP, from a port and with an id that nobody can guess; a reply that is not to this question is not taken.
async fn ask_udp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let here: SocketAddr =
        if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { (std::net::Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(here).await?;
    socket.connect(server).await?;
    let mut asked = query.to_vec();
    let id: [u8; 2] = rand::random();
    asked[..2].copy_from_slice(&id);
    socket.send(&asked).await?;
    let mut buffer = vec![0; REPLY_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if length >= 12 && buffer[..2] == id && same_question(&asked, &buffer[..length]) {
            let mut reply = buffer[..length].to_vec();
            reply[..2].copy_from_slice(&query[..2]);
            return Ok(reply);
        }
    }
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_u16(u16::try_from(query.len()).unwrap_or(u16::MAX)).await?;
    stream.write_all(query).await?;
    let mut reply = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

/// True if both carry the same single question; a reply repeats it right behind the header.
fn same_question(query: &[u8], reply: &[u8]) -> bool {
    let end = |bytes: &[u8]| {
        let mut at = 12;
        while let Some(length) = bytes.get(at) {
            at += 1 + usize::from(*length);
            if *length == 0 {
                return Some(at + 4);
            }
        }
        None
    };
    let (Some(end), Some(2)) = (end(query), Some(2)) else {
        return false;
    };
    match (query.get(12..end), reply.get(12..end)) {
        (Some(asked), Some(answered)) => asked.eq_ignore_ascii_case(answered),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_address_is_never_asked() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text =
            "# comment\nsearch x\nnameserver 10.64.0.1\nnameserver 127.0.0.53\nnameserver nonsense\nnameserver ::1\n";
        std::fs::write(file.path(), text).expect("write");
        let own = [SocketAddr::from(([10, 64, 0, 1], 53))];
        let found: Vec<String> = servers(file.path(), &own).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.53:53", "[::1]:53"]);
    }
}

//! Opening one connection: name, TCP, TLS, and the HTTP version both sides speak.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use metrics::timeline::{Failure, FailureKind};
use rustls::ClientConfig as TlsConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::answer::failure;
use crate::clock::RunClock;
use crate::conn::{H1, H2, Transport};
use crate::endpoint::{HttpVersion, Origin};
use crate::socket::{self, Socket};
use crate::tls::ALPN_H2;

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("cannot find the address of {host}: check the host name")]
    Resolve { host: String, source: io::Error },
    #[error("connection to {address} refused: is the server running?")]
    Refused {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(
        "no file descriptor is left for a connection to {address}: raise the limit (ulimit -n)"
    )]
    Descriptors {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("no local port is left for a connection to {address}")]
    Ports {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot connect to {address}")]
    Tcp {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("no connection to {authority} within {} s: is the server reachable?", limit.as_secs_f64())]
    Timeout { authority: String, limit: Duration },
    #[error("the certificate of {authority} is not trusted: --insecure accepts it")]
    Certificate {
        authority: String,
        source: io::Error,
    },
    #[error("no TLS handshake with {authority}: does it speak https?")]
    Tls {
        authority: String,
        source: io::Error,
    },
    #[error("the server at {authority} does not speak HTTP/2: leave out --http 2")]
    NoHttp2 { authority: String },
    #[error("no HTTP connection with {authority}")]
    Handshake {
        authority: String,
        source: hyper::Error,
    },
}

impl DialError {
    /// One line with the causes behind.
    pub(crate) fn into_failure(self) -> Failure {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(&self);
        while let Some(error) = cause {
            message.push_str(&format!(" ({error})"));
            cause = error.source();
        }
        failure(FailureKind::Connect, message)
    }
}

/// An open connection of either kind.
#[derive(Debug)]
pub(crate) enum Dialled {
    H1(H1),
    H2(H2),
}

/// Opens connections to one server.
#[derive(Debug)]
pub(crate) struct Dialer {
    host: String,
    port: u16,
    authority: String,
    tls: Option<(Arc<TlsConfig>, ServerName<'static>)>,
    http: HttpVersion,
    limit: Duration,
    clock: RunClock,
}

impl Dialer {
    /// `tls` is for https, `clock` stamps what is read.
    pub(crate) fn new(
        origin: &Origin,
        http: HttpVersion,
        tls: Option<(Arc<TlsConfig>, ServerName<'static>)>,
        limit: Duration,
        clock: RunClock,
    ) -> Self {
        Self {
            host: origin.host.clone(),
            port: origin.port,
            authority: origin.authority.clone(),
            tls,
            http,
            limit,
            clock,
        }
    }

    /// Whether the first connection decides which HTTP version is spoken.
    pub(crate) fn negotiates(&self) -> bool {
        self.tls.is_some() && self.http == HttpVersion::Auto
    }

    /// Whether every connection is HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.http == HttpVersion::Http2
    }

    /// Latest moment for a connection whose opening begins now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    pub(crate) fn timed_out(&self) -> DialError {
        DialError::Timeout {
            authority: self.authority.clone(),
            limit: self.limit,
        }
    }

    /// Addresses of the host in the order of the resolver.
    pub(crate) async fn resolve(&self, deadline: Instant) -> Result<Vec<SocketAddr>, DialError> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let resolve_error = |source| DialError::Resolve {
            host: self.host.clone(),
            source,
        };
        let found = timeout_at(deadline, lookup_host((self.host.as_str(), self.port)))
            .await
            .map_err(|_| self.timed_out())?
            .map_err(resolve_error)?;
        let addresses: Vec<SocketAddr> = found.collect();
        if addresses.is_empty() {
            return Err(resolve_error(io::Error::other("the name has no address")));
        }
        Ok(addresses)
    }

    /// Opens one connection to the first address that takes it.
    pub(crate) async fn open(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Dialled, DialError> {
        let stream = self.connect(addresses, deadline).await?;
        timeout_at(deadline, self.speak(stream))
            .await
            .unwrap_or_else(|_| Err(self.timed_out()))
    }

    /// Tries the addresses in turn; each gets an equal share of the time that is left, so that one that
    /// swallows packets does not use it all.
    async fn connect(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<TcpStream, DialError> {
        let mut last = self.timed_out();
        for (i, &address) in addresses.iter().enumerate() {
            let now = Instant::now();
            let n_left = u32::try_from(addresses.len() - i).unwrap_or(u32::MAX);
            let share = now + deadline.saturating_duration_since(now) / n_left;
            match timeout_at(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = tcp_error(address, error),
                Err(_) => last = self.timed_out(),
            }
        }
        Err(last)
    }

    async fn speak(&self, stream: TcpStream) -> Result<Dialled, DialError> {
        // Small frames must leave at once. Not fatal: on a socket that has just died the handshake says so.
        let _ = stream.set_nodelay(true);
        let (socket, wire) = socket::watched(stream, self.clock);
        let Some((config, name)) = &self.tls else {
            return self.handshake(socket, wire, self.is_http2()).await;
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector
            .connect(name.clone(), wire)
            .await
            .map_err(|source| self.tls_error(source))?;
        let chose_h2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_H2);
        if self.is_http2() && !chose_h2 {
            return Err(DialError::NoHttp2 {
                authority: self.authority.clone(),
            });
        }
        self.handshake(socket, stream, chose_h2).await
    }

    async fn handshake(
        &self,
        socket: Socket,
        stream: impl Transport + 'static,
        http2: bool,
    ) -> Result<Dialled, DialError> {
        let failed = |source| DialError::Handshake {
            authority: self.authority.clone(),
            source,
        };
        if http2 {
            let connection = H2::handshake(socket, stream).await.map_err(failed)?;
            // Only the server's settings say that it speaks HTTP/2, and how many streams it takes.
            if !connection.settings_arrived().await {
                return Err(DialError::NoHttp2 {
                    authority: self.authority.clone(),
                });
            }
            Ok(Dialled::H2(connection))
        } else {
            let connection = H1::handshake(socket, stream).await.map_err(failed)?;
            Ok(Dialled::H1(connection))
        }
    }

    fn tls_error(&self, source: io::Error) -> DialError {
        let authority = self.authority.clone();
        let inner = source
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(_)) => {
                DialError::Certificate { authority, source }
            }
            Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol))
                if self.is_http2() =>
            {
                DialError::NoHttp2 { authority }
            }
            _ => DialError::Tls { authority, source },
        }
    }
}

fn tcp_error(address: SocketAddr, source: io::Error) -> DialError {
    /// "Too many open files", for the process and for the system: EMFILE and ENFILE of Linux and BSD.
    const NO_DESCRIPTORS: [i32; 2] = [24, 23];
    match source.kind() {
        io::ErrorKind::ConnectionRefused => DialError::Refused { address, source },
        io::ErrorKind::AddrNotAvailable => DialError::Ports { address, source },
        _ if source
            .raw_os_error()
            .is_some_and(|code| NO_DESCRIPTORS.contains(&code)) =>
        {
            DialError::Descriptors { address, source }
        }
        _ => DialError::Tcp { address, source },
    }
}

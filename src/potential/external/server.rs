//! godiff as an i-PI server. Clients of any kind connect and leave at any time.

use super::board::Board;
use super::connection::{Connection, Fault, Manner, Socket, serve};
use crate::error::{Error, Result};
use crate::potential::IpiSettings;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The place where i-PI's clients look for a Unix socket that is given by name.
const SOCKET_PREFIX: &str = "/tmp/ipi_";
/// Time between two checks for new clients.
const LOOK: Duration = Duration::from_millis(20);

/// An address that clients connect to.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    manner: Manner,
}

#[derive(Debug)]
enum Listener {
    /// A Unix socket with its path, which is removed at the end.
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener),
}

impl Server {
    /// Binds the address of `settings`.
    ///
    /// # Errors
    /// `BadInput` if it is in use or cannot be bound.
    pub fn bind(settings: &IpiSettings) -> Result<Self> {
        let listener = match &settings.tcp_address {
            Some(address) => {
                let refused = |cause| {
                    Error::bad_input(format!(
                        "potential.tcp_address: cannot listen on {address} ({cause}); give a free one, such as localhost:31415"
                    ))
                };
                let listener = TcpListener::bind(address).map_err(refused)?;
                listener.set_nonblocking(true).map_err(refused)?;
                Listener::Tcp(listener)
            }
            None => {
                let name = settings.unix_socket.as_deref().unwrap_or_default();
                let path =
                    if name.contains('/') { name.into() } else { PathBuf::from(format!("{SOCKET_PREFIX}{name}")) };
                let listener = bind_unix(&path)?;
                Listener::Unix(listener, path)
            }
        };
        let manner = Manner { batch: settings.batch, box_angstrom: Some(settings.box_angstrom) };
        Ok(Server { listener, manner })
    }

    /// The address in a form for the user.
    pub fn address(&self) -> String {
        match &self.listener {
            Listener::Unix(_, path) => path.display().to_string(),
            Listener::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "TCP".into(), |address| address.to_string())
            }
        }
    }

    fn accept(&self) -> Option<(Socket, String)> {
        match &self.listener {
            Listener::Unix(listener, _) => {
                listener.accept().ok().map(|(stream, _)| (Socket::Unix(stream), String::new()))
            }
            Listener::Tcp(listener) => {
                listener.accept().ok().map(|(stream, from)| (Socket::Tcp(stream), format!(" from {from}")))
            }
        }
    }

    /// Accepts clients until the board closes. Each client has its own thread; all have ended when this returns.
    pub fn run(self, board: &Arc<Board>) {
        let mut clients: Vec<JoinHandle<()>> = Vec::new();
        let mut n_clients = 0;
        while !board.closing() {
            let Some((socket, from)) = self.accept() else {
                board.pause(LOOK);
                continue;
            };
            n_clients += 1;
            let (name, manner, board) = (format!("client {n_clients}{from}"), self.manner, Arc::clone(board));
            clients.push(std::thread::spawn(move || attend(&name, socket, manner, &board)));
            clients.retain(|client| !client.is_finished());
        }
        for client in clients {
            // A panic of its thread has already been reported.
            let _ = client.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = &self.listener {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Binds a Unix socket at `path`. Replaces a socket that no process listens to any more.
fn bind_unix(path: &PathBuf) -> Result<UnixListener> {
    let refused = |cause: std::io::Error| {
        Error::bad_input(format!(
            "potential.unix_socket: cannot listen on {} ({cause}); give another name or path, of at most 100 characters",
            path.display()
        ))
    };
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket {
        match UnixStream::connect(path) {
            Ok(_) => return Err(refused(ErrorKind::AddrInUse.into())),
            Err(_) => std::fs::remove_file(path).map_err(refused)?,
        }
    }
    let listener = UnixListener::bind(path).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(listener)
}

/// One client from its first to its last message.
fn attend(name: &str, socket: Socket, manner: Manner, board: &Board) {
    let outcome = Connection::new(socket, manner).and_then(|mut connection| {
        connection.get_ready(None, board, board.startup_limit())?;
        Ok(connection)
    });
    let fault = match outcome {
        Ok(mut connection) => {
            let id = board.joined(None);
            board.note(format!("{name} connected"));
            let served = serve(&mut connection, id, board);
            board.left(id);
            connection.dismiss();
            served.fault
        }
        Err(fault) => fault,
    };
    match fault {
        Fault::Closing => {}
        Fault::Left => board.note(format!("{name} left")),
        fault => board.note(format!("{name} was dropped because it {fault}")),
    }
}

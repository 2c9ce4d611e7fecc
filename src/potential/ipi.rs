//! Programs that speak i-PI's protocol: the keys of `kind = "i-pi"`. `external/server.rs` is the server.

use super::Potential;
#[cfg(unix)]
use super::external::External;
use super::kind::{Form, Kind, check_count, check_positive};
use crate::error::{Error, Result};
use crate::gpu::Place;
use crate::system::System;
use serde::{Deserialize, Serialize};
use toml::Table;

/// The name of the Unix socket where no address is given.
const SOCKET: &str = "godiff";

/// `kind = "i-pi"`: godiff is the server, and any i-PI client computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IpiSettings {
    /// Name (then the path is `/tmp/ipi_NAME`, as in i-PI) or path of a Unix socket.
    // Not the struct's default: an address over TCP leaves no socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_socket: Option<String>,
    /// HOST:PORT to listen on, instead of the Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_address: Option<String>,
    /// Structures in a request; more than 1 needs clients that support i-PI's batches.
    pub batch: usize,
    /// Length of the lattice vectors for axes without one, Å.
    pub box_angstrom: f64,
    /// Longest time without any client, s.
    pub startup_limit_seconds: f64,
    /// How long a call may take, s; without it the larger of 60 s and ten times the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_limit_seconds: Option<f64>,
    /// Failed structures in a row, with no answer between them, that end the run; without it 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_after_failures: Option<usize>,
}

impl Default for IpiSettings {
    fn default() -> Self {
        IpiSettings {
            unix_socket: Some(SOCKET.into()),
            tcp_address: None,
            batch: 1,
            box_angstrom: 30.0,
            startup_limit_seconds: 600.0,
            call_limit_seconds: None,
            end_after_failures: None,
        }
    }
}

impl Kind for IpiSettings {
    const NAME: &'static str = "i-pi";
    const FORM: Option<Form> = None;

    fn fill_in(keys: &mut Table) {
        if !keys.contains_key("tcp_address") {
            keys.entry("unix_socket").or_insert(SOCKET.into());
        }
    }

    fn check(&self) -> Result<()> {
        if self.unix_socket.is_some() && self.tcp_address.is_some() {
            return Err(Error::bad_input(
                "the potential \"i-pi\" listens at one address: give unix_socket or tcp_address, not both",
            ));
        }
        check_positive("box_angstrom", self.box_angstrom, "Å")?;
        check_count("batch", self.batch)?;
        check_positive("startup_limit_seconds", self.startup_limit_seconds, "seconds")?;
        check_positive("call_limit_seconds", self.call_limit_seconds, "seconds")?;
        check_count("end_after_failures", self.end_after_failures.unwrap_or(1))
    }

    fn describe(&self) -> String {
        "an i-PI client".into()
    }

    #[cfg(unix)]
    fn open(&self, system: Option<&System>, _place: &Place) -> Result<Box<dyn Potential>> {
        Ok(Box::new(External::ipi(self.clone(), system)?))
    }

    #[cfg(not(unix))]
    fn open(&self, _system: Option<&System>, _place: &Place) -> Result<Box<dyn Potential>> {
        Err(super::kind::needs_unix())
    }
}

//! `tidegate drain`: has a running gateway give up its connections, all or a share of them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::{ArgGroup, Args};
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime, time::timeout};

use super::boot::{BootError, say};
use crate::{
    admin::{DRAIN, DrainRequest},
    config,
};

/// The gateway is told over its admin server.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("where").required(true).args(["config", "admin"]))]
pub(super) struct DrainArgs {
    /// The configuration file of the gateway that is to drain.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address of its admin server.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Only this share of the connections in use, the oldest first: for new gateways beside it to get their part. Without it, all
    /// of them, and the gateway ends.
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    share: Option<f64>,
}

impl DrainArgs {
    pub(super) fn run(&self) -> Result<(), BootError> {
        let address = match (self.admin, &self.config) {
            (Some(address), _) => address,
            (None, Some(file)) => config::load(file)?
                .admin
                .ok_or_else(|| BootError::Config("the file has no `admin`: nobody can tell that gateway".to_owned()))?,
            (None, None) => return Err(BootError::Config("give --config or --admin".to_owned())),
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(BootError::run)?;
        let told = runtime.block_on(async { timeout(PATIENCE, tell(address, self.share)).await });
        let failed = |error: &dyn std::fmt::Display| BootError::Run(format!("the admin server at {address}: {error}"));
        say(&told.map_err(|_| failed(&"no answer"))?.map_err(|error| failed(&error))?);
        Ok(())
    }
}

/// `20%`
fn share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    let share = percent.map(|percent| percent / 100.0).filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "a percentage above 0% and at most 100%, such as 20%".to_owned())
}

async fn tell(address: SocketAddr, share: Option<f64>) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
    let body = serde_json::to_vec(&DrainRequest { share })?;
    let request = Request::post(DRAIN).header(header::HOST, address.to_string()).body(Full::<Bytes>::from(body))?;
    let answered = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        let text = format!("{}\n", String::from_utf8_lossy(&body).trim_end());
        if head.status.is_success() { Ok(text) } else { Err(format!("{}: {text}", head.status).into()) }
    };
    tokio::select! {
        biased;
        answered = answered => answered,
        ended = connection => Err(ended.map_or_else(Into::into, |()| "the connection ended".into())),
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        for (text, expected) in [("20%", 0.2), ("100%", 1.0), ("0.5%", 0.005)] {
            assert_eq!(share(text), Ok(expected), "{text}");
        }
        for text in ["", "%", "0%", "-1%", "101%", "NaN%", "inf%", "0.2", "20", "20%%", "x%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}

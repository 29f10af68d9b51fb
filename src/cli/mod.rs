//! The commands of the binary: serve, demo, check, routes, explain, openapi, typescript, drain.

mod boot;
mod demo;
mod drain;
mod explain;
mod listener;
mod openapi;
mod routes;
mod schemas;
mod slow_readers;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{ArgGroup, Args, Parser, Subcommand};

use self::boot::BootError;
use crate::config::{self, Quick, Settings};

/// Turns what browsers and services speak into gRPC calls, and multiplexes the answers back.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: from a configuration file, or just in front of some upstreams.
    Serve(Serve),
    /// Serve a demonstration with its backend inside, and a page that shows it.
    Demo(demo::Demo),
    /// Check a configuration file: print what it resolves to, or every error in it.
    Check {
        /// The configuration file.
        file: PathBuf,
        /// An older configuration file: what clients of its schemas could no longer rely on is an error (exit code 1).
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
    /// Print every path that is served, and where it leads.
    Routes(routes::Routes),
    /// Tell what becomes of a request: its rule, its message, its upstream; or why there is none.
    Explain(explain::Explain),
    /// Print the OpenAPI 3.1 document of what is served.
    Openapi(openapi::OpenApi),
    /// Print the services and messages of what is served as a module of TypeScript, for @tidegate/client.
    Typescript(openapi::TypeScript),
    /// Have a running gateway give up its connections, all or a share of them.
    Drain(drain::DrainArgs),
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    addresses: Addresses,
}

/// What is served.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("served").required(true).args(["config", "upstreams"]))]
struct Source {
    /// The configuration file (YAML; docs/config.md).
    #[arg(long, short, value_name = "FILE", conflicts_with = "descriptor_set")]
    config: Option<PathBuf>,
    /// An upstream, such as http://127.0.0.1:50051; may be given several times.
    #[arg(long = "upstream", value_name = "URL")]
    upstreams: Vec<String>,
    /// A serialized FileDescriptorSet, instead of asking the upstream by reflection.
    #[arg(long, value_name = "FILE")]
    descriptor_set: Option<PathBuf>,
}

/// Where to listen; beside a configuration file, only `--workers` and `--admin` may be given, and override it.
#[derive(Debug, Default, Args)]
struct Addresses {
    /// TLS address, with a development certificate; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Address without TLS (HTTP/1.1, and HTTP/2 with prior knowledge).
    #[arg(long, value_name = "ADDR")]
    listen_plain: Option<SocketAddr>,
    /// Address of the admin server.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Worker threads; one per core unless set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
}

/// Runs the command; the exit code is 2 for a configuration that cannot be served.
pub fn run(cli: Cli) -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let outcome = match cli.command {
        Command::Serve(serve) => serve.settings().and_then(|settings| boot::serve(&settings, |_| ())).map(done),
        Command::Demo(demo) => demo.run().map(done),
        Command::Check { file, against } => check(&file, against.as_deref()).map(done),
        Command::Routes(routes) => routes.run().map(done),
        Command::Explain(explain) => explain.run(),
        Command::Openapi(openapi) => openapi.run().map(done),
        Command::Typescript(typescript) => typescript.run().map(done),
        Command::Drain(drain) => drain.run().map(done),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}

impl Serve {
    fn settings(&self) -> Result<Settings, BootError> {
        if self.source.config.is_none() {
            return self.source.settings(&self.addresses);
        }
        if self.addresses.listen.is_some() || self.addresses.listen_plain.is_some() {
            let text = "--listen and --listen-plain do not go with --config: the file says where to listen";
            return Err(BootError::Config(text.to_owned()));
        }
        let mut settings = self.source.settings(&self.addresses)?;
        if let Some(workers) = self.addresses.workers {
            settings.workers = workers.into();
        }
        if let Some(admin) = self.addresses.admin {
            settings.admin = Some(admin);
        }
        Ok(settings)
    }
}

impl Source {
    fn settings(&self, addresses: &Addresses) -> Result<Settings, BootError> {
        Ok(match &self.config {
            Some(file) => config::load(file)?,
            None => config::quick(&addresses.quick(self.upstreams.clone(), self.descriptor_set.clone()))?,
        })
    }
}

impl Addresses {
    fn quick(&self, upstreams: Vec<String>, descriptor_set: Option<PathBuf>) -> Quick {
        Quick {
            upstreams,
            descriptor_set,
            listen: self.listen,
            listen_plain: self.listen_plain,
            admin: self.admin,
            workers: self.workers.map(usize::from),
        }
    }
}

fn check(file: &Path, against: Option<&Path>) -> Result<(), BootError> {
    let settings = config::load(file)?;
    let old = against.map(config::load).transpose()?;
    boot::check(&settings, old.as_ref())?;
    boot::say(&config::render(&settings));
    Ok(())
}

//! The local backends of a run: which they are, and doing one thing with each.

use std::time::Instant;

use common::address::Target;

use crate::blocklist::Blocklist;
use crate::config::Settings;
use crate::firewall::{Backend, Block, Fault, Firewall, Standing};
use crate::ipset::Ipset;
use crate::iptables::Iptables;
use crate::nftables::{Nftables, Shape};
use crate::state::State;

/// What became of one backend's part.
#[derive(Debug)]
pub struct Outcome {
    /// Which one; never `auto`, but what it stood for.
    pub backend: Backend,
    /// True when it had to be built first.
    pub result: Result<bool, Fault>,
}

/// Opens backends as they are configured.
#[derive(Debug)]
pub struct Backends<'a> {
    settings: &'a Settings,
    state: &'a State,
    deadline: Instant,
}

/// What `auto` tries, in this order.
const AUTOMATIC: [Backend; 3] = [Backend::Nftables, Backend::Ipset, Backend::Iptables];

impl<'a> Backends<'a> {
    /// Backends that end by the deadline.
    #[must_use]
    pub fn new(settings: &'a Settings, state: &'a State, deadline: Instant) -> Backends<'a> {
        Backends { settings, state, deadline }
    }

    /// How the nftables table is built here.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            size: self.settings.max_blocks,
            outbound: self.settings.nftables.outbound,
            reject: self.settings.nftables.reject,
        }
    }

    /// Opens one. The API, and doing nothing, are no firewalls of this host.
    ///
    /// # Errors
    /// When the kernel does not have it.
    pub fn open(&self, backend: Backend) -> Result<Option<Box<dyn Firewall>>, Fault> {
        Ok(Some(match backend {
            Backend::Nftables => Box::new(Nftables::open(self.shape(), self.deadline)?),
            Backend::Ipset => Box::new(Ipset::open(self.settings.max_blocks, self.deadline)?),
            Backend::Iptables => Box::new(Iptables::new(&self.settings.iptables, self.deadline)),
            Backend::File => {
                let Some(path) = self.settings.file.path.clone() else { return Ok(None) };
                Box::new(Blocklist::new(path, self.state, self.deadline, self.settings.max_blocks))
            }
            Backend::Auto => match self.automatic() {
                Some(backend) => return self.open(backend),
                None => return Ok(None),
            },
            Backend::Api | Backend::DryRun => return Ok(None),
        }))
    }

    /// What `auto` stands for here: the first that the kernel has.
    #[must_use]
    pub fn automatic(&self) -> Option<Backend> {
        let has = |backend: &Backend| match backend {
            Backend::Nftables => Nftables::open(self.shape(), self.deadline).and_then(|mut nft| nft.probe()),
            Backend::Ipset => {
                Ipset::open(self.settings.max_blocks, self.deadline).and_then(|mut set| set.probe())
            }
            _ => Iptables::new(&self.settings.iptables, self.deadline).standing().map(drop),
        };
        // One that forbids us is there: another would forbid us, too.
        AUTOMATIC.into_iter().find(|backend| !matches!(has(backend), Err(Fault::Absent(_))))
    }

    /// These backends, `auto` replaced by what it stands for here.
    #[must_use]
    pub fn resolve(&self, wanted: &[Backend]) -> Vec<Backend> {
        let mut resolved: Vec<Backend> = wanted
            .iter()
            .filter_map(|&backend| if backend == Backend::Auto { self.automatic() } else { Some(backend) })
            .collect();
        resolved.sort_unstable();
        resolved.dedup();
        resolved
    }

    /// Blocks with each local one of these. `auto` asks the kernel by trying.
    #[must_use]
    pub fn put(&self, wanted: &[Backend], block: &Block) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for &backend in wanted {
            let choices: &[Backend] = if backend == Backend::Auto { &AUTOMATIC } else { &[backend] };
            for (at, &choice) in choices.iter().enumerate() {
                if outcomes.iter().any(|outcome| outcome.backend == choice) {
                    break;
                }
                let result = match self.open(choice) {
                    Ok(None) => break,
                    Ok(Some(mut firewall)) => firewall.put(block),
                    Err(fault) => Err(fault),
                };
                let next = at + 1 < choices.len() && matches!(result, Err(Fault::Absent(_)));
                if !next {
                    outcomes.push(Outcome { backend: choice, result });
                    break;
                }
            }
        }
        outcomes
    }

    /// Lifts with each local one of these, all of them, whatever happens.
    #[must_use]
    pub fn lift(&self, from: &[Backend], target: Target) -> Vec<Outcome> {
        let lift = |backend| match self.open(backend) {
            Ok(None) => None,
            Ok(Some(mut firewall)) => {
                Some(Outcome { backend, result: firewall.lift(target).map(|()| false) })
            }
            // What the kernel does not have blocks nobody.
            Err(Fault::Absent(_)) => Some(Outcome { backend, result: Ok(false) }),
            Err(fault) => Some(Outcome { backend, result: Err(fault) }),
        };
        self.resolve(from).into_iter().filter_map(lift).collect()
    }

    /// How many targets stand in these backends; `None` when one cannot tell.
    #[must_use]
    pub fn count(&self, of: &[Backend]) -> Option<u64> {
        let mut targets = std::collections::BTreeSet::new();
        for backend in self.resolve(of) {
            match self.open(backend) {
                Ok(Some(mut firewall)) => {
                    targets.extend(firewall.standing().ok()?.into_iter().map(|standing| standing.target));
                }
                Ok(None) => {}
                Err(_) => return None,
            }
        }
        Some(targets.len() as u64)
    }

    /// What stands in each local backend, configured or not: the kernel's
    /// truth. Those that cannot be read are named with their fault.
    #[must_use]
    pub fn standing(&self) -> (Vec<Standing>, Vec<Outcome>) {
        let (mut all, mut faults) = (Vec::new(), Vec::new());
        for backend in [Backend::Nftables, Backend::Ipset, Backend::Iptables, Backend::File] {
            let read = match self.open(backend) {
                Ok(None) => continue,
                Ok(Some(mut firewall)) => firewall.standing(),
                Err(fault) => Err(fault),
            };
            match read {
                Ok(standing) => all.extend(standing),
                Err(Fault::Absent(_)) => {}
                Err(fault) => faults.push(Outcome { backend, result: Err(fault) }),
            }
        }
        (all, faults)
    }
}
